use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::identity::{AlternativeName, BasicConstraints, Certificate, Version};

/// 2026-11-22T14:00:00Z.
const NOW: i64 = 1_795_356_000;
const DAY: i64 = 86_400;

fn world() -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("pki"));
    init(&folder, CA_DAYS, NOW).unwrap();
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
    let server = issue_server(&folder, &hosts(), SERVER_DAYS, NOW).unwrap();
    let client = issue_client(&folder, &alice(), CLIENT_DAYS, NOW).unwrap();
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
    let issued = issue_client(&folder, &name, CLIENT_DAYS, NOW).unwrap();
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
    let leaf = read(&issue_server(&folder, &hosts(), SERVER_DAYS, NOW).unwrap().certificate);
    let portrait = leaf.portrait().unwrap();
    let names = [
        AlternativeName::Dns("db.example".into()),
        AlternativeName::Address("127.0.0.1".parse().unwrap()),
        AlternativeName::Address("::1".parse().unwrap()),
    ];
    assert_eq!(portrait.alternative_names, names);
    assert_eq!(leaf.subject().common_name().unwrap().as_str(), "db.example");
    assert_eq!(portrait.extended_key_usage, Some(vec!["serverAuth".to_owned()]));
    assert!(matches!(issue_server(&folder, &[], SERVER_DAYS, NOW), Err(PkiError::NoHost)));
}

#[test]
fn serial_numbers_are_positive_different_and_at_most_20_octets() {
    let (_dir, folder) = world();
    let serials: Vec<_> = (0..20)
        .map(|number| {
            let name = ClientName::parse(&format!("client{number}")).unwrap();
            read(&issue_client(&folder, &name, CLIENT_DAYS, NOW).unwrap().certificate).serial().to_vec()
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
    let first = issue_client(&folder, &alice(), CLIENT_DAYS, NOW).unwrap();
    let before = [&first.certificate, &first.key, &folder.authority_key(Purpose::Server)].map(|path| fs::read(path).unwrap());
    assert!(matches!(init(&folder, CA_DAYS, NOW), Err(PkiError::Taken(path)) if path.ends_with("server-ca.key")));
    assert!(matches!(issue_client(&folder, &alice(), CLIENT_DAYS, NOW), Err(PkiError::Taken(path)) if path == first.key));
    // Half of a pair is enough, and the other half is not made.
    fs::remove_file(&first.key).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), CLIENT_DAYS, NOW), Err(PkiError::Taken(path)) if path == first.certificate));
    assert!(!first.key.exists());
    fs::write(&first.key, &before[1]).unwrap();
    let after = [&first.certificate, &first.key, &folder.authority_key(Purpose::Server)].map(|path| fs::read(path).unwrap());
    assert_eq!(before, after);
}

#[test]
fn a_link_that_points_nowhere_is_taken_too() {
    let (dir, folder) = world();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), folder.client_key(&alice())).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), CLIENT_DAYS, NOW), Err(PkiError::Taken(_))));
    assert!(!dir.path().join("elsewhere").exists());
}

#[test]
fn a_copy_of_everything_that_was_issued_is_kept_by_serial_number() {
    let (_dir, folder) = world();
    let issued = issue_client(&folder, &alice(), CLIENT_DAYS, NOW).unwrap();
    let copy = folder.issued(&read(&issued.certificate).serial_hex());
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&issued.certificate).unwrap());
    // So a pair can be moved away and issued anew, and both are known.
    fs::remove_file(&issued.certificate).unwrap();
    fs::remove_file(&issued.key).unwrap();
    issue_client(&folder, &alice(), CLIENT_DAYS, NOW).unwrap();
    assert_eq!(fs::read_dir(copy.parent().unwrap()).unwrap().count(), 2);
}

#[test]
fn a_leaf_does_not_outlive_its_ca() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("pki"));
    init(&folder, 30, NOW).unwrap();
    let issued = issue_client(&folder, &alice(), CLIENT_DAYS, NOW).unwrap();
    assert!(issued.ends_with_authority);
    assert_eq!(issued.not_after, NOW + 30 * DAY);
    assert!(matches!(issue_client(&folder, &alice(), 1, NOW + 31 * DAY), Err(PkiError::Authority { .. })));
}

#[test]
fn a_ca_without_its_key_or_with_anothers_issues_nothing() {
    let (_dir, folder) = world();
    let key = folder.authority_key(Purpose::Client);
    fs::copy(folder.authority_key(Purpose::Server), &key).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), 1, NOW), Err(PkiError::Authority { .. })));
    fs::remove_file(&key).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), 1, NOW), Err(PkiError::NoAuthority(path)) if path == key));
    assert!(!folder.client_key(&alice()).exists());
}

#[test]
fn a_folder_or_a_key_that_others_can_use_is_refused() {
    let (_dir, folder) = world();
    let key = folder.authority_key(Purpose::Client);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), 1, NOW), Err(PkiError::OpenKey(_))));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(issue_client(&folder, &alice(), 1, NOW), Err(PkiError::OpenFolder(_))));
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
    let leaf = read(&issue_client(&folder, &alice(), 1, NOW).unwrap().certificate);
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
    let refused = issue_client(&folder, &alice(), 1, NOW).unwrap_err().to_string();
    assert!(refused.contains("issue with the tool that made it"), "{refused}");
}
