//! `postern demo`: it goes as it should, again and again, and leaves nothing but its certificates.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::clients::{Clients, failed, succeeded};
use crate::harness::daemon::postern_path;
use crate::harness::postgres::private_dir;
use crate::harness::signal;

#[test]
fn the_demo_goes_as_it_should_twice_and_leaves_nothing_behind() {
    let (certificates, temporary) = (private_dir(), private_dir());
    for round in ["made two CAs", "as the last run left them"] {
        let told = succeeded(demo(&certificates.path().join("certs-dev"), temporary.path()));
        assert!(told.contains(round), "{told}");
        for line in [
            "alice                   select hostname, owner                 web-1 alice, web-2 alice",
            "charlie                 select hostname, status                db-1 up, db-2 up, web-1 down, web-2 up",
            "FATAL:  certificate authentication failed for user \"postgres\"",
            "FATAL:  connection requires a valid client certificate",
            "Everything went as it should",
        ] {
            assert!(told.contains(line), "no {line:?} in:\n{told}");
        }
        assert_eq!(told.matches("\n  ok  ").count(), 15, "{told}");
        assert!(told.contains(readmes_table()), "the README shows another table than:\n{told}");
        assert!(!told.contains("NOT AS EXPECTED"), "{told}");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left in the temporary folder");
    }
}

/// What the README says that the demo prints.
fn readmes_table() -> &'static str {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```\n");
    blocks.into_iter().find(|block| block.starts_with("      who ")).expect("the README shows the demo's table")
}

#[test]
fn the_printed_line_works_until_the_demo_is_told_to_end() {
    let (certificates, temporary) = (private_dir(), private_dir());
    let mut child = command(certificates.path(), temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let psql = lines.find(|line| line.starts_with("psql \"")).expect("a psql line");
    let conninfo = psql.trim_start_matches("psql ").trim_matches('"');
    assert!(lines.any(|line| line.starts_with("sslkey=")), "the stanza ends with the key");
    assert_eq!(succeeded(Clients::debian().psql(conninfo, "select current_user, count(*) from server_inventory group by 1")), "alice|2\n");

    signal("TERM", child.id());
    let rest: Vec<_> = lines.collect();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {rest:?}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left in the temporary folder");
    failed(Clients::debian().psql(conninfo, "select 1"));
}

#[test]
fn a_folder_with_somebodys_ca_is_left_alone() {
    let (certificates, temporary) = (private_dir(), private_dir());
    fs::write(certificates.path().join("client-ca.key"), "somebody's").unwrap();
    let said = failed(demo(certificates.path(), temporary.path()));
    assert!(said.contains("name another folder with --dir"), "{said}");
    assert_eq!(fs::read_to_string(certificates.path().join("client-ca.key")).unwrap(), "somebody's");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left in the temporary folder");
}

fn demo(certificates: &Path, temporary: &Path) -> Output {
    command(certificates, temporary).arg("--exit").output().unwrap()
}

fn command(certificates: &Path, temporary: &Path) -> Command {
    let mut command = Command::new(postern_path());
    command.arg("demo").arg("--dir").arg(certificates).env("TMPDIR", temporary).stdin(Stdio::null());
    command
}
