//! Who comes, what they try, and what must come of it.

/// The database of the story.
pub(super) const DATABASE: &str = "inventory";

/// What the superuser prepares.
pub(super) const SCHEMA: &str = "
create role operators nologin;
create role auditors nologin;
create role alice login in role operators;
create role bob login in role operators;
create role charlie login in role auditors;
create database inventory;
\\connect inventory
create table server_inventory (
    hostname text primary key,
    status text not null,
    owner name not null default current_user,
    address inet not null
);
insert into server_inventory values
    ('web-1', 'up', 'alice', '10.0.1.1'), ('web-2', 'up', 'alice', '10.0.1.2'), ('db-1', 'up', 'bob', '10.0.2.1');
alter table server_inventory enable row level security;
create policy own_rows on server_inventory to operators using (owner = current_user) with check (owner = current_user);
create policy every_row on server_inventory for select to auditors using (true);
grant select, insert on server_inventory to operators;
grant update (status) on server_inventory to operators;
grant select (hostname, status) on server_inventory to auditors;
";

/// What the reader must know.
pub(super) const INTRODUCTION: &str = "\
PostgreSQL knows alice and bob as operators, who see and change their own rows of server_inventory (row-level security on
current_user), and charlie as auditor, who may read two of its columns. Nobody has a password.";

/// One login, by psql.
pub(super) struct Login {
    /// Who it is, in words.
    pub(super) who: &'static str,
    /// The role that is asked for.
    pub(super) user: &'static str,
    /// What is shown.
    pub(super) credentials: Credentials,
    /// More of the connection string.
    pub(super) more: &'static str,
    /// What is asked, in words.
    pub(super) asks: &'static str,
    /// What is asked.
    pub(super) sql: &'static str,
    /// What must come of it.
    pub(super) expected: Expected,
}

/// What a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Its certificate of the client CA.
    Own(&'static str),
    /// A certificate with the right name, of a CA that nobody here trusts.
    Strangers(&'static str),
    /// None.
    None,
}

/// What must come of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// It is let in, and this is the whole answer.
    Answer(&'static str),
    /// It is let in, and PostgreSQL refuses what it asks; the message has this in it.
    Denied(&'static str),
    /// It is kept out; the message has this in it.
    KeptOut(&'static str),
}

impl Expected {
    /// Whether a session comes of it.
    pub(super) fn is_let_in(self) -> bool {
        !matches!(self, Self::KeptOut(_))
    }
}

/// A login by the client's own certificate, as the role that it names.
const fn own(user: &'static str, asks: &'static str, sql: &'static str, expected: Expected) -> Login {
    Login { who: user, user, credentials: Credentials::Own(user), more: "", asks, sql, expected }
}

/// A login that ends at the door.
const fn kept_out(who: &'static str, user: &'static str, credentials: Credentials, more: &'static str, message: &'static str) -> Login {
    Login { who, user, credentials, more, asks: "to log in", sql: "select current_user", expected: Expected::KeptOut(message) }
}

/// All of them, in their order.
pub(super) const LOGINS: &[Login] = &[
    own(
        "alice",
        "select hostname, owner",
        "select hostname, owner from server_inventory order by hostname",
        Expected::Answer("web-1 alice, web-2 alice"),
    ),
    own(
        "alice",
        "update status of web-1, which is hers",
        "update server_inventory set status = 'down' where hostname = 'web-1'",
        Expected::Answer("UPDATE 1"),
    ),
    own(
        "alice",
        "update status of db-1, which is bob's",
        "update server_inventory set status = 'down' where hostname = 'db-1'",
        Expected::Answer("UPDATE 0"),
    ),
    own("alice", "update owner", "update server_inventory set owner = 'bob'", Expected::Denied("permission denied for table")),
    own("bob", "select hostname, owner", "select hostname, owner from server_inventory order by hostname", Expected::Answer("db-1 bob")),
    own(
        "bob",
        "insert a row of his",
        "insert into server_inventory values ('db-2', 'up', 'bob', '10.0.2.2')",
        Expected::Answer("INSERT 0 1"),
    ),
    own(
        "bob",
        "insert a row of alice's",
        "insert into server_inventory values ('db-3', 'up', 'alice', '10.0.2.3')",
        Expected::Denied("new row violates row-level security policy"),
    ),
    own(
        "charlie",
        "select hostname, status",
        "select hostname, status from server_inventory order by hostname",
        Expected::Answer("db-1 up, db-2 up, web-1 down, web-2 up"),
    ),
    own("charlie", "select *", "select * from server_inventory", Expected::Denied("permission denied for table")),
    own("charlie", "update status", "update server_inventory set status = 'down'", Expected::Denied("permission denied for table")),
    kept_out(
        "alice as postgres",
        "postgres",
        Credentials::Own("alice"),
        "",
        "FATAL:  certificate authentication failed for user \"postgres\"",
    ),
    kept_out("no certificate", "alice", Credentials::None, "", "FATAL:  connection requires a valid client certificate"),
    kept_out("an alice of another CA", "alice", Credentials::Strangers("alice"), "", "unknown ca"),
    kept_out("alice with TLS 1.2", "alice", Credentials::Own("alice"), "ssl_max_protocol_version=TLSv1.2", "protocol version"),
    kept_out(
        "alice in plaintext",
        "alice",
        Credentials::Own("alice"),
        "sslmode=disable",
        "FATAL:  no pg_hba.conf entry for host \"127.0.0.1\", user \"alice\", database \"inventory\", no encryption",
    ),
];
