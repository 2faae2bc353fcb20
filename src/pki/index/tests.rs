use std::path::Path;

use super::*;
use crate::pki::{ClientName, Founding, Order, init, issue_client};

/// 2026-11-22T14:00:00Z.
const NOW: i64 = 1_795_356_000;

fn world() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("pki"));
    init(&folder, &Founding::default(), NOW).unwrap();
    issue_client(&folder, &ClientName::parse("al\"i\u{e9}").unwrap(), &[], Order::default(), NOW).unwrap();
    (dir, folder)
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_certificate_has_its_line() {
    let (_dir, folder) = world();
    let lines = lines(&folder.index());
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["issued", "crl", "issued", "crl", "issued"]);
    let client = lines.last().unwrap();
    for (key, value) in [
        ("time", "2026-11-22T14:00:00Z"),
        ("kind", "client"),
        ("cn", "al\"i\u{e9}"),
        ("authority", "client-ca"),
        ("not_before", "2026-11-22T13:55:00Z"),
        ("not_after", "2027-02-20T14:00:00Z"),
        ("file", "al%22i\u{e9}.crt"),
    ] {
        assert_eq!(client[key], value, "{key}");
    }
    assert_eq!(list(&folder).unwrap().len(), 3);
}

#[test]
fn what_is_there_is_never_changed() {
    let (_dir, folder) = world();
    let before = fs::read_to_string(folder.index()).unwrap();
    let entry = list(&folder).unwrap().pop().unwrap();
    let mut index = Index::load(&folder).unwrap();
    index.revoked(&entry, Reason::KeyCompromise, NOW).unwrap();
    index.save().unwrap();
    let after = fs::read_to_string(folder.index()).unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == before.lines().count() + 1);
    assert_eq!(list(&folder).unwrap().pop().unwrap().revoked, Some(Revocation { time: NOW, reason: Reason::KeyCompromise }));
}

#[test]
fn a_line_that_is_not_one_is_named_with_its_place() {
    let (_dir, folder) = world();
    let good = fs::read_to_string(folder.index()).unwrap();
    for (line, fault) in [
        ("{\"event\":\"iss", "EOF while parsing"),
        ("{\"event\":\"burnt\"}", "unknown variant `burnt`"),
        (
            "{\"event\":\"revoked\",\"time\":\"2026-11-22T14:00:00Z\",\"authority\":\"client-ca\",\"serial\":\"01\",\"reason\":\"superseded\"}",
            "client-ca has issued no 01 before",
        ),
        (
            "{\"event\":\"crl\",\"time\":\"yesterday\",\"authority\":\"client-ca\",\"number\":1,\"next_update\":\"2026-11-22T14:00:00Z\"}",
            "found \"yesterday\", expected a date",
        ),
    ] {
        fs::write(folder.index(), format!("{good}{line}\n")).unwrap();
        let refused = list(&folder).unwrap_err().to_string();
        assert!(refused.contains("index.jsonl:6:") && refused.contains(fault), "{refused}");
    }
}

#[test]
fn certificates_from_before_there_was_an_index_are_taken_in() {
    let (_dir, folder) = world();
    fs::remove_file(folder.index()).unwrap();
    let entries = list(&folder).unwrap();
    assert_eq!(entries.iter().map(|entry| (entry.cn.as_str(), entry.kind)).collect::<Vec<_>>(), [("al\"i\u{e9}", Kind::Client)]);
    assert_eq!(entries[0].file, format!("issued/{}.crt", entries[0].serial));
    let again = issue_client(&folder, &ClientName::parse("al\"i\u{e9}").unwrap(), &[], Order::default(), NOW);
    assert!(matches!(again, Err(PkiError::Live { .. })));
    fs::write(folder.path().join("issued/junk.crt"), "junk").unwrap();
    assert!(list(&folder).unwrap_err().to_string().contains("junk.crt: found no PEM block"));
}
