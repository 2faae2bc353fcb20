use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::super::AuthorityName;
use super::*;
use crate::identity::{AlternativeName, BasicConstraints, Certificate, Version};
use crate::pki::{Founding, init};

/// 2026-11-22T14:00:00Z.
const NOW: i64 = 1_795_356_000;
const DAY: i64 = 86_400;

fn world() -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("pki"));
    init(&folder, &Founding::default(), NOW).unwrap();
    (dir, folder)
}

fn read(path: &Path) -> Certificate {
    Certificate::parse(pem::parse(fs::read(path).unwrap()).unwrap().contents()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn alice() -> ClientName {
    ClientName::parse("alice").unwrap()
}

fn for_days(days: u32) -> Order {
    Order { days: Some(days), ..Order::default() }
}

fn renewal() -> Order {
    Order { renew: true, ..Order::default() }
}

fn hosts() -> Vec<HostName> {
    ["db.example", "127.0.0.1", "::1"].map(|host| HostName::parse(host).unwrap()).into()
}

#[test]
fn init_makes_two_cas_that_share_neither_key_nor_name() {
    let (_dir, folder) = world();
    let [server, client] = [Purpose::Server, Purpose::Client].map(|purpose| read(&folder.authority_certificate(purpose)));
    assert_ne!(server.public_key(), client.public_key());
    assert_ne!(server.subject(), client.subject());
    for authority in [server, client] {
        let usage = authority.extensions().key_usage.unwrap();
        assert_eq!(authority.version(), Version::V3);
        assert_eq!(authority.extensions().basic_constraints, Some(BasicConstraints { ca: true, path_length: Some(0) }));
        assert!(usage.cert_sign && usage.crl_sign && !usage.digital_signature);
        assert_eq!((authority.not_before(), authority.not_after()), (NOW - 300, NOW + 3652 * DAY));
        assert_eq!(authority.key_words(), "ECDSA P-256");
        assert!(authority.portrait().unwrap().subject_key_identifier.is_some());
    }
}

#[test]
fn keys_are_for_their_owner_alone_and_certificates_for_everybody() {
    let (_dir, folder) = world();
    let server = issue_server(&folder, &hosts(), Order::default(), NOW).unwrap();
    let client = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap();
    assert_eq!(mode(folder.path()), 0o700);
    for key in [&server.key, &client.key, &folder.authority_key(Purpose::Client), &folder.authority_key(Purpose::Server)] {
        assert_eq!(mode(key), 0o600, "{key:?}");
    }
    for certificate in [&server.certificate, &client.certificate, &folder.authority_certificate(Purpose::Client)] {
        assert_eq!(mode(certificate), 0o644, "{certificate:?}");
    }
}

#[test]
fn a_client_certificate_says_the_role_and_nothing_else() {
    let (_dir, folder) = world();
    let name = ClientName::parse("Søren O'Neil/ops").unwrap();
    let issued = issue_client(&folder, &name, &[], Order::default(), NOW).unwrap();
    let leaf = read(&issued.certificate);
    assert_eq!(leaf.subject().common_name().unwrap().as_str(), "Søren O'Neil/ops");
    let portrait = leaf.portrait().unwrap();
    assert_eq!(portrait.key_usage.as_deref(), Some(&["digitalSignature"][..]));
    assert_eq!(portrait.extended_key_usage, Some(vec!["clientAuth".to_owned()]));
    assert!(portrait.alternative_names.is_empty());
    assert!(!leaf.is_authority());
    let authority = read(&folder.authority_certificate(Purpose::Client));
    assert_eq!(leaf.issuer(), authority.subject());
    assert_eq!(portrait.authority_key_identifier, authority.portrait().unwrap().subject_key_identifier);
    assert_eq!(leaf.not_after(), NOW + 90 * DAY);
}

#[test]
fn a_server_certificate_says_every_host() {
    let (_dir, folder) = world();
    let leaf = read(&issue_server(&folder, &hosts(), Order::default(), NOW).unwrap().certificate);
    let portrait = leaf.portrait().unwrap();
    let names = [
        AlternativeName::Dns("db.example".into()),
        AlternativeName::Address("127.0.0.1".parse().unwrap()),
        AlternativeName::Address("::1".parse().unwrap()),
    ];
    assert_eq!(portrait.alternative_names, names);
    assert_eq!(leaf.subject().common_name().unwrap().as_str(), "db.example");
    assert_eq!(portrait.extended_key_usage, Some(vec!["serverAuth".to_owned()]));
    assert!(matches!(issue_server(&folder, &[], Order::default(), NOW), Err(PkiError::NoHost)));
}

#[test]
fn serial_numbers_are_positive_different_and_at_most_20_octets() {
    let (_dir, folder) = world();
    let serials: Vec<_> = (0..20)
        .map(|number| {
            let name = ClientName::parse(&format!("client{number}")).unwrap();
            read(&issue_client(&folder, &name, &[], Order::default(), NOW).unwrap().certificate).serial().to_vec()
        })
        .collect();
    for (index, serial) in serials.iter().enumerate() {
        assert!((8..=20).contains(&serial.len()) && serial[0] & 0x80 == 0, "{serial:02x?}");
        assert!(!serials[..index].contains(serial));
    }
}

#[test]
fn nothing_is_overwritten() {
    let (_dir, folder) = world();
    let first = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap();
    let files = [&first.certificate, &first.key, &folder.authority_key(Purpose::Server)];
    let before = files.map(|path| fs::read(path).unwrap());
    assert!(matches!(init(&folder, &Founding::default(), NOW), Err(PkiError::Taken(path)) if path.ends_with("server-ca.key")));
    assert!(matches!(issue_client(&folder, &alice(), &[], Order::default(), NOW), Err(PkiError::Live { .. })));
    issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap();
    assert_eq!(files.map(|path| fs::read(path).unwrap()), before);
}

#[test]
fn a_renewed_certificate_gets_a_key_and_files_of_its_own_and_both_are_good() {
    let (_dir, folder) = world();
    let first = issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap();
    assert!(first.earlier.is_empty() && first.certificate == folder.client_certificate(&alice()));
    let second = issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap();
    assert!(second.certificate.ends_with("alice-2.crt") && second.key.ends_with("alice-2.key"));
    assert_eq!(second.earlier.len(), 1);
    assert_ne!(read(&first.certificate).public_key(), read(&second.certificate).public_key());
    let third = issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap();
    assert!(third.certificate.ends_with("alice-3.crt") && third.earlier.len() == 2);
    // Where the earlier ones have ended there is nothing to be surprised of, and still nothing is overwritten.
    let later = issue_client(&folder, &alice(), &[], Order::default(), NOW + 91 * DAY).unwrap();
    assert!(later.certificate.ends_with("alice-4.crt") && later.earlier.is_empty());
}

#[test]
fn a_certificate_that_was_taken_away_is_still_known() {
    let (_dir, folder) = world();
    let first = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap();
    fs::remove_file(&first.certificate).unwrap();
    fs::remove_file(&first.key).unwrap();
    let refused = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap_err().to_string();
    assert!(refused.starts_with("alice has a certificate: alice.crt in ") && refused.contains("With --renew"), "{refused}");
    // Half of a pair is enough for another name, and the other half is not made.
    fs::write(&first.key, "somebody's").unwrap();
    assert!(issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap().certificate.ends_with("alice-2.crt"));
    assert!(!first.certificate.exists());
}

#[test]
fn a_server_is_renewed_like_a_client() {
    let (_dir, folder) = world();
    issue_server(&folder, &hosts(), Order::default(), NOW).unwrap();
    let other = [HostName::parse("other.example").unwrap()];
    assert!(matches!(issue_server(&folder, &other, Order::default(), NOW), Err(PkiError::Live { .. })));
    let renewed = issue_server(&folder, &other, renewal(), NOW).unwrap();
    assert!(renewed.certificate.ends_with("server-2.crt") && renewed.key.ends_with("server-2.key"));
}

#[test]
fn a_client_called_as_anothers_renewal_gets_files_of_its_own() {
    let (_dir, folder) = world();
    issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap();
    issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap();
    let namesake = ClientName::parse("alice-2").unwrap();
    let issued = issue_client(&folder, &namesake, &[], Order::default(), NOW).unwrap();
    assert!(issued.certificate.ends_with("alice-2-2.crt"));
    assert_eq!(read(&issued.certificate).subject().common_name().unwrap().as_str(), "alice-2");
}

#[test]
fn keys_are_of_the_kind_that_was_asked_for() {
    let (_dir, folder) = world();
    let words = ["ECDSA P-256", "ECDSA P-384", "Ed25519", "RSA 2048 bits", "RSA 3072 bits", "RSA 4096 bits"];
    for ((name, key), words) in KeyKind::ALL.into_iter().zip(words) {
        let order = Order { key: KeyKind::parse(name).unwrap(), pk8: true, ..Order::default() };
        assert_eq!(order.key, key);
        let issued = issue_client(&folder, &ClientName::parse(name).unwrap(), &[], order, NOW).unwrap();
        assert_eq!(read(&issued.certificate).key_words(), words);
        let pk8 = issued.pk8.unwrap();
        assert_eq!(mode(&pk8), 0o600);
        assert_eq!(fs::read(pk8).unwrap(), pem::parse(fs::read(issued.key).unwrap()).unwrap().contents());
    }
    assert!(KeyKind::parse("P256").unwrap_err().to_string().starts_with("expected one of p256, "));
}

#[test]
fn further_names_stand_in_the_certificate() {
    let (_dir, folder) = world();
    let names = [
        OtherName::uri("spiffe://example.org/a").unwrap(),
        OtherName::dns("a.example").unwrap(),
        OtherName::email("a@example.org").unwrap(),
    ];
    let issued = issue_client(&folder, &alice(), &names, Order::default(), NOW).unwrap();
    let expected = [
        AlternativeName::Uri("spiffe://example.org/a".into()),
        AlternativeName::Dns("a.example".into()),
        AlternativeName::Email("a@example.org".into()),
    ];
    assert_eq!(read(&issued.certificate).portrait().unwrap().alternative_names, expected);
}

#[test]
fn a_certificate_of_an_intermediate_ca_brings_it_along() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("pki"));
    let founding = Founding { intermediate: true, name: Some(AuthorityName::parse("Example").unwrap()), ..Founding::default() };
    init(&folder, &founding, NOW).unwrap();
    // The root's key is not needed.
    fs::remove_file(folder.root_key(Purpose::Client)).unwrap();
    let issued = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap();
    let subjects = |path: &Path| {
        let blocks = pem::parse_many(fs::read(path).unwrap()).unwrap();
        let subjects = blocks.iter().map(|block| Certificate::parse(block.contents()).unwrap().subject().rfc2253());
        subjects.collect::<Vec<_>>()
    };
    assert_eq!(subjects(&issued.certificate), ["CN=alice", "CN=Example client CA"]);
    assert_eq!(subjects(&folder.authority_certificate(Purpose::Client)), ["CN=Example client CA", "CN=Example client root CA"]);
    let below = read(&folder.authority_certificate(Purpose::Client));
    assert_eq!(below.extensions().basic_constraints, Some(BasicConstraints { ca: true, path_length: Some(0) }));
    assert_eq!(read(&issued.certificate).issuer(), below.subject());
}

#[test]
fn who_issue_at_once_do_not_lose_each_others_lines() {
    let (_dir, folder) = world();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap());
        }
    });
    let clients: Vec<_> = crate::pki::list(&folder).unwrap().into_iter().filter(|entry| entry.cn == "alice").collect();
    assert_eq!(clients.len(), 8);
    for entry in clients {
        let certificate = read(&folder.path().join(&entry.file));
        assert_eq!((certificate.serial_hex(), certificate.sha256().to_string()), (entry.serial, entry.sha256));
    }
}

#[test]
fn a_link_that_points_nowhere_is_taken_too() {
    let (dir, folder) = world();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), folder.client_key(&alice())).unwrap();
    let issued = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap();
    assert!(issued.key.ends_with("alice-2.key"));
    assert!(!dir.path().join("elsewhere").exists());
}

#[test]
fn a_copy_of_everything_that_was_issued_is_kept_by_serial_number() {
    let (_dir, folder) = world();
    let issued = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap();
    let copy = folder.issued(&read(&issued.certificate).serial_hex());
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&issued.certificate).unwrap());
    // So a pair can be moved away and issued anew, and both are known.
    fs::remove_file(&issued.certificate).unwrap();
    fs::remove_file(&issued.key).unwrap();
    issue_client(&folder, &alice(), &[], renewal(), NOW).unwrap();
    assert_eq!(fs::read_dir(copy.parent().unwrap()).unwrap().count(), 2);
}

#[test]
fn a_leaf_does_not_outlive_its_ca() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("pki"));
    init(&folder, &Founding { days: Some(30), ..Founding::default() }, NOW).unwrap();
    let issued = issue_client(&folder, &alice(), &[], Order::default(), NOW).unwrap();
    assert!(issued.ends_with_authority);
    assert_eq!(issued.not_after, NOW + 30 * DAY);
    let refused = issue_client(&folder, &alice(), &[], Order { renew: true, ..for_days(31) }, NOW).unwrap_err().to_string();
    assert!(refused.contains("ends on 2026-12-22T14:00:00Z"), "{refused}");
    assert!(matches!(issue_client(&folder, &alice(), &[], for_days(1), NOW + 31 * DAY), Err(PkiError::Authority { .. })));
}

#[test]
fn a_ca_without_its_key_or_with_anothers_issues_nothing() {
    let (_dir, folder) = world();
    let key = folder.authority_key(Purpose::Client);
    fs::copy(folder.authority_key(Purpose::Server), &key).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), &[], for_days(1), NOW), Err(PkiError::Authority { .. })));
    fs::remove_file(&key).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), &[], for_days(1), NOW), Err(PkiError::NoAuthority(path)) if path == key));
    assert!(!folder.client_key(&alice()).exists());
}

#[test]
fn a_folder_or_a_key_that_others_can_use_is_refused() {
    let (_dir, folder) = world();
    let key = folder.authority_key(Purpose::Client);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), &[], for_days(1), NOW), Err(PkiError::OpenKey(_))));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), &[], for_days(1), NOW), Err(PkiError::OpenFolder(_))));
}

#[test]
fn a_ca_that_openssl_made_can_issue_too() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("client-ca");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // OpenSSL's key identifiers are SHA-1: they cannot be made from the key here and are taken over.
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
    fs::write(folder.authority_certificate(Purpose::Client), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.authority_key(Purpose::Client), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.authority_key(Purpose::Client), fs::Permissions::from_mode(0o600)).unwrap();
    let leaf = read(&issue_client(&folder, &alice(), &[], for_days(1), NOW).unwrap().certificate);
    assert_eq!(leaf.portrait().unwrap().authority_key_identifier.as_deref(), Some(&[7; 20][..]));
    assert_eq!(leaf.signature_words(), "ecdsa-with-SHA384");
    assert!(leaf.not_after() > NOW);
}

#[test]
fn a_ca_whose_name_cannot_be_written_again_issues_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("client-ca");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(folder.authority_certificate(Purpose::Client), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.authority_key(Purpose::Client), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.authority_key(Purpose::Client), fs::Permissions::from_mode(0o600)).unwrap();
    let refused = issue_client(&folder, &alice(), &[], for_days(1), NOW).unwrap_err().to_string();
    assert!(refused.contains("issue with the tool that made it"), "{refused}");
}
