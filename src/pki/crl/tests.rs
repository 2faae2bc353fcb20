use super::*;
use crate::pki::{ClientName, Founding, Order, Reason, Revokee, init, issue_client, revoke};

/// 2026-11-22T14:00:00Z.
const NOW: i64 = 1_795_356_000;
const DAY: i64 = 86_400;

fn world(intermediate: bool) -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("pki"));
    init(&folder, &Founding { intermediate, ..Founding::default() }, NOW).unwrap();
    for name in ["alice", "bob"] {
        issue_client(&folder, &role(name), &[], Order::default(), NOW).unwrap();
    }
    (dir, folder)
}

fn role(name: &str) -> ClientName {
    ClientName::parse(name).unwrap()
}

fn lists(folder: &Folder) -> Vec<Crl> {
    let blocks = pem::parse_many(fs::read(folder.crl(Purpose::Client)).unwrap()).unwrap();
    blocks.iter().map(|block| Crl::parse(block.contents()).unwrap()).collect()
}

#[test]
fn there_is_an_empty_list_from_the_first_day_on() {
    let (_dir, folder) = world(false);
    let [list] = lists(&folder).try_into().unwrap();
    assert!(list.is_empty());
    assert_eq!((list.this_update(), list.next_update()), (NOW - 300, Some(NOW + 90 * DAY)));
}

#[test]
fn a_revoked_certificate_is_on_the_next_list_and_no_other_is() {
    let (_dir, folder) = world(false);
    let revoked = revoke(&folder, &Revokee::Name(role("alice")), Reason::KeyCompromise, NOW).unwrap();
    assert_eq!(revoked.len(), 1);
    let [client, server] = write_crls(&folder, Some(7), NOW + 60).unwrap().try_into().unwrap();
    assert_eq!(client.parts, [CrlPart { authority: "client-ca", number: Some(2), lists: 1, next_update: NOW + 60 + 7 * DAY }]);
    assert_eq!(server.parts[0].lists, 0);
    let [list] = lists(&folder).try_into().unwrap();
    assert!(list.len() == 1 && list.lists(&integer(&revoked[0].serial).unwrap()));
    // The number grows also where the file was lost.
    fs::remove_file(folder.crl(Purpose::Client)).unwrap();
    assert_eq!(write_crls(&folder, None, NOW).unwrap()[0].parts[0].number, Some(3));
}

#[test]
fn what_cannot_be_revoked_says_why() {
    let (_dir, folder) = world(false);
    let refused = |name: &str, now| revoke(&folder, &Revokee::Name(role(name)), Reason::default(), now).unwrap_err().to_string();
    assert!(refused("carol", NOW).starts_with("no certificate of the role carol was issued here: `postern pki list "));
    assert!(refused("alice", NOW + 91 * DAY).contains("ended on 2027-02-20T14:00:00Z"));
    revoke(&folder, &Revokee::Name(role("alice")), Reason::Superseded, NOW).unwrap();
    assert!(refused("alice", NOW).contains("was revoked on 2026-11-22T14:00:00Z (superseded)"));
    let root = super::super::list(&folder).unwrap().into_iter().find(|entry| entry.cn == "client-ca").unwrap();
    let serial = super::super::SerialDigits::parse(&root.serial).unwrap();
    assert!(
        matches!(revoke(&folder, &Revokee::Serial(serial), Reason::default(), NOW), Err(PkiError::Root(file)) if file == "client-ca.crt")
    );
}

#[test]
fn an_index_that_was_lost_lets_nobody_in_again() {
    let (_dir, folder) = world(false);
    let index = fs::read(folder.index()).unwrap();
    revoke(&folder, &Revokee::Name(role("alice")), Reason::default(), NOW).unwrap();
    write_crls(&folder, None, NOW).unwrap();
    let before = fs::read(folder.crl(Purpose::Client)).unwrap();
    for lost in [index, Vec::new()] {
        fs::write(folder.index(), lost).unwrap();
        assert!(matches!(write_crls(&folder, None, NOW), Err(PkiError::Forgotten { listed: 1, known: 0, .. })));
        assert_eq!(fs::read(folder.crl(Purpose::Client)).unwrap(), before);
    }
}

#[test]
fn the_list_of_a_root_whose_key_is_away_stays() {
    let (_dir, folder) = world(true);
    let key = folder.root_key(Purpose::Client);
    let away = folder.path().join("../root.key");
    fs::rename(&key, &away).unwrap();
    revoke(&folder, &Revokee::Name(role("alice")), Reason::default(), NOW).unwrap();
    let [client, _] = write_crls(&folder, None, NOW + DAY).unwrap().try_into().unwrap();
    let [issuing, root] = client.parts.try_into().unwrap();
    assert_eq!((issuing.authority, issuing.number, issuing.lists), ("client-ca", Some(2), 1));
    assert_eq!((root.authority, root.number, root.next_update), ("client-root", None, NOW + 397 * DAY));
    assert_eq!(lists(&folder).len(), 2);
    // The intermediate CA can be revoked, and then the root's key is wanted.
    let intermediate = super::super::list(&folder).unwrap().into_iter().find(|entry| entry.cn == "client-ca").unwrap();
    let serial = Revokee::Serial(super::super::SerialDigits::parse(&intermediate.serial).unwrap());
    revoke(&folder, &serial, Reason::CaCompromise, NOW).unwrap();
    assert!(matches!(write_crls(&folder, None, NOW), Err(PkiError::NoAuthority(path)) if path == key));
    fs::rename(&away, &key).unwrap();
    let [client, _] = write_crls(&folder, None, NOW + DAY).unwrap().try_into().unwrap();
    assert_eq!((client.parts[1].number, client.parts[1].lists), (Some(2), 1));
}

#[test]
fn without_the_keys_nothing_is_written() {
    let (_dir, folder) = world(false);
    fs::remove_file(folder.authority_key(Purpose::Server)).unwrap();
    assert_eq!(write_crls(&folder, None, NOW).unwrap().len(), 1);
    fs::remove_file(folder.authority_key(Purpose::Client)).unwrap();
    assert!(matches!(write_crls(&folder, None, NOW), Err(PkiError::NoAuthority(_))));
    fs::write(folder.crl(Purpose::Client), "junk").unwrap();
}
