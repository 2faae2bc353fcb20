mod health; mod host; mod http; mod page; mod view;
