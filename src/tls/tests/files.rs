use super::*;

fn faults(settings: &TlsSettings) -> Vec<String> {
    Acceptor::load(settings).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn every_fault_of_every_file_is_named_at_once() {
    let mut world = World::new();
    world.write("server.key", "");
    world.write("ca.crt", "junk");
    world.settings.ssl_crl_file = Some(world.folder.path().join("missing.crl"));
    let found = faults(&world.settings);
    let starts = ["tls.ssl_key_file", "tls.ssl_crl_file", "tls.ssl_ca_file"];
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().zip(starts).all(|(fault, start)| fault.starts_with(start)), "{found:#?}");
}

#[test]
fn a_key_of_another_certificate_is_a_fault_in_v3_and_in_v1() {
    let (one, other) = (key(), key());
    for draft in [Draft::leaf("localhost"), Draft::leaf("localhost").v1()] {
        let world = World::with_server(draft.sign(&one, &Maker::new("server-ca")), &other);
        let found = faults(&world.settings);
        assert!(found.len() == 1 && found[0].contains("does not belong to the first certificate"), "{found:#?}");
    }
}

#[test]
fn a_ca_file_without_an_anchor_is_a_fault() {
    let world = World::new();
    let sub = Draft::leaf("sub").authority(None).sign(&key(), &Maker::new("root"));
    world.write("ca.crt", &pem("CERTIFICATE", &sub));
    let found = faults(&world.settings);
    assert!(found.len() == 1 && found[0].contains("no self-signed certificate"), "{found:#?}");
}

#[test]
fn keys_of_every_kind_and_format_serve() {
    let ca = Maker::new("server-ca");
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let world = World::with_server(Draft::leaf("localhost").sign(&key, &ca), &key);
        assert_eq!(faults(&world.settings), Vec::<String>::new());
        let own_format = inside_pkcs8(key.serialized_der());
        let label = match algorithm {
            rsa if *rsa == rcgen::PKCS_RSA_SHA256 => "RSA PRIVATE KEY",
            ed25519 if *ed25519 == rcgen::PKCS_ED25519 => continue,
            _ => "EC PRIVATE KEY",
        };
        world.write("server.key", &pem(label, &own_format));
        assert_eq!(faults(&world.settings), Vec::<String>::new(), "{label}");
    }
    let world = World::new();
    world.write("server.key", &pem("PRIVATE KEY", b"junk"));
    assert!(faults(&world.settings)[0].contains("the private key cannot be used"));
}

#[test]
fn a_good_set_of_files_has_no_warning() {
    let world = World::new();
    assert_eq!(world.acceptor().warnings(), []);
    assert_eq!(world.acceptor().expiries(), Expiries { server: 2_366_841_600, client_ca: 2_366_841_600, crl: None });
}

#[test]
fn what_will_fail_later_is_warned_of() {
    let server = key();
    let draft = Draft::leaf("localhost").v1().dates(0, 1000);
    let mut world = World::with_server(draft.sign(&server, &Maker::new("server-ca")), &server);
    let old = Maker::new("old");
    let expired = Draft::of(&old.name).authority(None).dates(0, 2000).sign(&old.key, &old);
    let v1_sub = Draft::leaf("sub").v1().sign(&key(), &old);
    let authorities = [world.ca.root(), expired, v1_sub].map(|der| pem("CERTIFICATE", &der)).concat();
    world.write("ca.crt", &authorities);
    let crls = [CrlDraft::of(&[]).dates(0, 3000).sign(&world.ca), CrlDraft::of(&[]).dates(0, 2_000_000_000).sign(&Maker::new("client-ca"))];
    world.settings.ssl_crl_file = Some(world.write("crl.pem", &crls.map(|der| pem("X509 CRL", &der)).concat()));
    let acceptor = world.acceptor();
    let warnings = acceptor.warnings();
    for part in [
        "ssl_cert_file: clients that verify the server will refuse it: client certificate has expired",
        "ssl_cert_file: the certificate is X.509 v1",
        "ssl_ca_file: every client of this CA is refused",
        "\"CN=sub\" (serial 05) is never used",
        "the CRL of \"CN=client-ca\" has expired",
        "no CA of tls.ssl_ca_file has signed the CRL of \"CN=client-ca\"",
        "it has no CRL of \"CN=old\"",
    ] {
        assert!(warnings.iter().any(|warning| warning.found().contains(part)), "{part} in {warnings:#?}");
    }
    assert_eq!(acceptor.expiries(), Expiries { server: 1000, client_ca: 2000, crl: Some(3000) });
}

#[test]
fn an_issuer_of_the_deny_list_that_is_no_ca_is_warned_of() {
    let mut world = World::new();
    let list = "serial 05 \"CN=client-ca\" lost\nserial 06 \"CN = client-ca\" lost\nserial 07 \"CN = client-ca\" lost\nname bob left\n";
    world.settings.denylist_file = Some(world.write("denied.txt", list));
    let acceptor = world.acceptor();
    let [warning] = acceptor.warnings() else { panic!("{:#?}", acceptor.warnings()) };
    assert_eq!(
        warning.to_string(),
        "denylist_file: line 2: no CA of tls.ssl_ca_file is named \"CN = client-ca\"; write the issuer as the audit shows it, as \
         \"CN=client-ca\", unless clients send its certificate along"
    );
}

#[test]
fn a_crl_that_a_newer_one_has_replaced_is_not_waited_for() {
    let mut world = World::new();
    let crls = [CrlDraft::of(&[]).dates(0, 3000), CrlDraft::of(&[]).dates(1000, 2_000_000_000)].map(|crl| crl.sign(&world.ca));
    world.settings.ssl_crl_file = Some(world.write("crl.pem", &crls.map(|der| pem("X509 CRL", &der)).concat()));
    let acceptor = world.acceptor();
    assert_eq!(acceptor.expiries().crl, Some(2_000_000_000));
    assert_eq!(acceptor.warnings(), []);
}

#[test]
fn a_certificate_can_be_judged_without_a_handshake() {
    let world = World::new();
    let leaf = pem("CERTIFICATE", &Draft::leaf("alice").sign(&key(), &world.ca));
    let file = world.write("alice.crt", &leaf);
    let read = read_certificates(&file, "--cert").expect("a certificate");
    let identity = world.acceptor().verify(&read[0], &read[1..], NOW).expect("an identity");
    assert_eq!(identity.subject(), "CN=alice");
    assert!(world.acceptor().still_holds(&identity, NOW).is_ok());
    assert!(matches!(world.acceptor().verify(&read[0], &[], 0), Err(Refusal { cause: TlsFailure::NotYetValid(_), .. })));
    assert!(matches!(World::new().acceptor().still_holds(&identity, NOW), Err(TlsFailure::Untrusted(_))));
}
