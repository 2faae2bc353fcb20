use super::*;
use crate::identity::testing::{CLIENT_AUTH, DIGITAL_SIGNATURE, Draft, Maker, NOW, SERVER_AUTH, element, key, sequence};

/// Signatures fit where the names do, and a login has nothing against anybody but servers.
struct Double {
    signatures: Option<bool>,
}

impl Verifier for Double {
    fn is_signed_by(&self, _: &Certificate, _: &Certificate) -> Option<bool> {
        self.signatures
    }

    fn faults_at_login(&self, certificate: &Certificate, _: i64) -> Vec<String> {
        let purposes = certificate.extensions().extended_key_usage;
        purposes.filter(|purposes| !purposes.client_auth).map(|_| "no clientAuth".to_owned()).into_iter().collect()
    }

    fn unusable_key(&self, _: &Certificate) -> Option<String> {
        None
    }
}

fn shown(blocks: &[(&str, Vec<u8>)]) -> String {
    shown_by(Some(true), blocks)
}

fn shown_by(signatures: Option<bool>, parts: &[(&str, Vec<u8>)]) -> String {
    let text: String = parts.iter().map(|(label, der)| pem::encode(&pem::Pem::new(*label, der.as_slice()))).collect();
    render(&blocks(text.as_bytes()).unwrap(), &Double { signatures }, NOW)
}

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in:\n{text}");
}

#[test]
fn a_client_certificate_is_shown_with_the_role_it_logs_in_as() {
    let ca = Maker::new("client-ca");
    let leaf = Draft::leaf("alice").key_usage(DIGITAL_SIGNATURE).purpose(CLIENT_AUTH).sign(&key(), &ca);
    let text = shown(&[("CERTIFICATE", leaf)]);
    has(&text, "  subject      CN=alice\n  issuer       CN=client-ca\n  serial       05\n  version      v3\n");
    has(&text, "  valid        2020-01-01T00:00:00Z to 2045-01-01T00:00:00Z, 6560 days left\n");
    has(
        &text,
        "  key usage    digitalSignature\n  purposes     clientAuth\n  key          ECDSA P-256\n  signature    ecdsa-with-SHA256\n",
    );
    has(&text, "  chain        its issuer is not in this file\n");
    has(&text, "  as a client  logs in as \"alice\", if tls.ssl_ca_file vouches for its issuer\n");
}

#[test]
fn a_chain_is_followed_within_the_file_and_no_further() {
    let ca = Maker::new("client-ca");
    let parts = [("CERTIFICATE", Draft::leaf("alice").sign(&key(), &ca)), ("CERTIFICATE", ca.root())];
    let text = shown(&parts);
    has(&text, "certificate 1\n");
    has(&text, "  chain        certificate 2 issued it, and the signature fits\n");
    has(&text, "  chain        it signed itself: in tls.ssl_ca_file it is a trust anchor\n");
    has(&text, "  as a CA      it may issue client certificates for tls.ssl_ca_file");
    has(&shown_by(Some(false), &parts), "  chain        certificate 2 bears its issuer's name, but did not sign it\n");
    has(&shown_by(None, &parts), "certificate 2 bears its issuer's name; the signature cannot be verified here\n");
}

#[test]
fn a_certificate_for_every_purpose_with_a_hosts_name_is_shown_as_a_servers_too() {
    let ca = Maker::new("server-ca");
    let names = sequence(&[element(0x82, b"localhost")]);
    let server = Draft::leaf("localhost").with(&[0x55, 0x1d, 17], false, &names).sign(&key(), &ca);
    has(&shown(&[("CERTIFICATE", server)]), "  as a server  sslmode=verify-full takes it for localhost\n");
    let alice = shown(&[("CERTIFICATE", Draft::leaf("alice").sign(&key(), &ca))]);
    assert!(!alice.contains("as a server"), "{alice}");
}

#[test]
fn what_speaks_against_a_login_is_listed_with_the_fault_of_the_name() {
    let ca = Maker::new("client-ca");
    let server = Draft::of(&[0x30, 0]).purpose(SERVER_AUTH).sign(&key(), &ca);
    let text = shown(&[("CERTIFICATE", server)]);
    has(&text, "  subject      (empty)\n");
    has(&text, "  as a client  refused: no clientAuth; client certificate contains no user name: its subject has no CN\n");
    let long = shown(&[("CERTIFICATE", Draft::leaf(&"a".repeat(64)).sign(&key(), &ca))]);
    has(&long, "its CN has 64 bytes");
}

#[test]
fn a_servers_certificate_is_shown_with_its_hosts() {
    let ca = Maker::new("server-ca");
    let names = sequence(&[element(0x82, b"db.example"), element(0x87, &[127, 0, 0, 1])]);
    let server = Draft::leaf("db.example").purpose(SERVER_AUTH);
    has(&shown(&[("CERTIFICATE", server.clone().sign(&key(), &ca))]), "  as a server  its subjectAltName names no host");
    let text = shown(&[("CERTIFICATE", server.with(&[0x55, 0x1d, 17], false, &names).sign(&key(), &ca))]);
    has(&text, "  as a server  sslmode=verify-full takes it for db.example, 127.0.0.1\n  as a client  refused: no clientAuth\n");
}

#[test]
fn v1_is_named_with_what_becomes_of_it() {
    let ca = Maker::new("client-ca");
    let text = shown(&[("CERTIFICATE", Draft::leaf("alice").v1().sign(&key(), &ca))]);
    has(&text, "  version      v1: no extensions");
    has(&text, "  note         X.509 v1 is judged as OpenSSL does, unless tls.x509_v1 is refuse");
}

#[test]
fn dates_say_how_long_is_left_or_gone() {
    let ca = Maker::new("client-ca");
    let dated = |from, until| shown(&[("CERTIFICATE", Draft::leaf("alice").dates(NOW + from, NOW + until).sign(&key(), &ca))]);
    has(&dated(-86_400, 86_400 * 3 + 5), ", 3 days left\n");
    has(&dated(-86_400 * 9, -86_400 * 2), ", EXPIRED 2 days ago\n");
    has(&dated(86_400 * 4, 86_400 * 5), ", NOT YET VALID, 4 days to go\n");
}

#[test]
fn a_key_is_named_and_never_shown() {
    let ca = Maker::new("client-ca");
    let own = key();
    let parts = [("CERTIFICATE", Draft::leaf("alice").sign(&own, &ca)), ("PRIVATE KEY", own.serialize_der())];
    let text = shown(&parts);
    has(&text, "private key (PRIVATE KEY)\n  secret       it is the key of readable certificate 1 here\n");
    has(&shown(&parts[1..]), "belongs to no certificate in this file");
    has(&shown(&[("ENCRYPTED PRIVATE KEY", vec![1, 2, 3])]), "private key (ENCRYPTED PRIVATE KEY)\n  secret       it is not shown; whose");
}

#[test]
fn text_from_a_certificate_cannot_move_the_cursor() {
    let ca = Maker::new("client-ca");
    let text = shown(&[("CERTIFICATE", Draft::leaf("al\u{1b}[2J\u{202e}ice").sign(&key(), &ca))]);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    let other = shown(&[("CERTIFICATE", Draft::leaf("al\u{202e}ice").sign(&key(), &ca))]);
    has(&other, r#"logs in as "al\u{202e}ice""#);
}

#[test]
fn what_is_no_certificate_is_said_to_be_none() {
    has(&shown(&[("CERTIFICATE", vec![0x30, 0])]), "  cannot be used it is not the DER of an X.509 certificate");
    has(&shown(&[("DH PARAMETERS", vec![0x30, 0])]), "a block \"DH PARAMETERS\", which Postern does not read\n");
    assert!(matches!(blocks(b"nothing"), Err(ShowError::Nothing)));
    assert!(matches!(blocks(b"\x30\x03abc"), Err(ShowError::Nothing)));
    assert!(matches!(blocks(b"-----BEGIN CERTIFICATE-----\nMII*\n-----END CERTIFICATE-----\n"), Err(ShowError::BrokenPem(_))));
}

#[test]
fn a_certificate_in_der_is_read_too() {
    let ca = Maker::new("client-ca");
    assert!(matches!(blocks(&ca.root()).unwrap().as_slice(), [Block::Certificate(Ok(_))]));
}

#[test]
fn whatever_is_der_is_told_apart() {
    let ca = Maker::new("client-ca");
    let key = key();
    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    let request = params.serialize_request(&key).unwrap();
    let text = render(&blocks(request.der()).unwrap(), &Double { signatures: None }, NOW);
    has(&text, "certificate signing request\n  subject      CN=");
    has(&text, "  names        DNS a.example\n  key          ECDSA P-256\n");
    has(&text, "it is a wish and lets nobody in");
    has(&render(&blocks(&key.serialize_der()).unwrap(), &Double { signatures: None }, NOW), "private key (DER)\n");
    has(
        &shown(&[("CERTIFICATE REQUEST", ca.root())]),
        "certificate signing request\n  cannot be used it is not a certificate signing request\n",
    );
}

#[test]
fn a_revocation_list_is_shown_with_its_number_and_whom_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let folder = crate::pki::Folder::new(dir.path());
    crate::pki::init(&folder, &crate::pki::Founding::default(), NOW).unwrap();
    let alice = crate::pki::ClientName::parse("alice").unwrap();
    let issued = crate::pki::issue_client(&folder, &alice, &[], crate::pki::Order::default(), NOW).unwrap();
    crate::pki::revoke(&folder, &crate::pki::Revokee::Name(alice), crate::pki::Reason::KeyCompromise, NOW).unwrap();
    crate::pki::write_crls(&folder, None, NOW).unwrap();
    let both = [std::fs::read(issued.certificate).unwrap(), std::fs::read(folder.crl(crate::pki::Purpose::Client)).unwrap()].concat();
    let text = render(&blocks(&both).unwrap(), &Double { signatures: Some(true) }, NOW);
    has(&text, "  revoked      a CRL of its issuer in this file lists it");
    has(&text, "certificate revocation list\n  issuer       CN=client-ca\n  number       2\n");
    has(&text, "  lists        1 certificate\n");
    has(&text, " (keyCompromise)\n");
}

#[test]
fn keys_of_older_forms_are_told_by_their_certificate() {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let text = shown(&[("PRIVATE KEY", key.serialize_der())]);
    has(&text, "  key          RSA 2048 bits\n  key sha256   ");
    // PKCS #1 is what PKCS #8 wraps: the OCTET STRING behind 22 octets and its tag and length.
    let inner = key.serialize_der()[26..].to_vec();
    has(&shown(&[("RSA PRIVATE KEY", inner)]), "  key          RSA 2048 bits\n");
}

#[test]
fn where_postgresql_is_less_strict_it_is_said() {
    let ca = Maker::new("client-ca");
    has(&shown(&[("CERTIFICATE", ca.root())]), "it cannot log in itself, although PostgreSQL would let it");
}
