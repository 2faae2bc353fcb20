//! pg_hba.conf, pg_ident.conf and their regular expressions.

use std::fs;

use postern::config::load;
use postern::policy::Pattern;
use tempfile::TempDir;

/// As either file, any bytes are rules or maps, or faults that are fit for a terminal and begin with a file's name; and they are again.
pub fn rule_files(data: &[u8]) {
    thread_local! {
        static FOLDER: TempDir = TempDir::new().expect("there is a folder for temporary files");
    }
    FOLDER.with(|folder| {
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &[u8]| fs::write(path(name), text).expect("a temporary file can be written");
        write("p.yaml", CONFIGURATION.as_bytes());
        for (hba, ident) in [(data, &b""[..]), (&b"hostssl all all all cert map=m\n"[..], data)] {
            write("pg_hba.conf", hba);
            write("pg_ident.conf", ident);
            let read = || load(&path("p.yaml")).map(|loaded| loaded.settings).map_err(|faults| faults.to_string());
            let first = read();
            if let Err(faults) = &first {
                assert!(!faults.is_empty() && faults.split('\n').all(|line| !line.contains(char::is_control) && line.starts_with('/')));
            }
            assert_eq!(first, read());
        }
    });
}

const CONFIGURATION: &str = "listen: 127.0.0.1:5432\ntls: { ssl_cert_file: c, ssl_key_file: k, ssl_ca_file: a }\n\
    backend: { host: /tmp, lookup_role: lookup }\nhba_file: pg_hba.conf\nident_file: pg_ident.conf\n";

/// What stands before the first NUL is an expression of the subset or a fault that names a construct; what stands behind it is matched.
/// A group takes a part of what is matched.
pub fn regular_expression(data: &[u8]) {
    let (source, text) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    match Pattern::parse(source) {
        Err(fault) => assert!(!fault.to_string().contains(char::is_control)),
        Ok(pattern) => {
            let taken = pattern.capture(text);
            assert!(taken.is_none() || pattern.is_match(text) && pattern.has_group());
            assert!(taken.is_none_or(|taken| taken.len() <= text.len()));
            assert_eq!(Pattern::parse(pattern.source()).as_ref(), Ok(&pattern));
        }
    }
}
