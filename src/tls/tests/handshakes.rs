use rustls::HandshakeKind;

use super::*;

#[tokio::test]
async fn a_client_with_a_good_certificate_is_known_by_it() {
    let world = World::new();
    let draft = Draft::leaf("alice").serial(&[3, 0xc0, 0x63]);
    let (served, read) = handshake(&world.acceptor(), world.client(&draft)).await;
    let (peer, facts) = served.expect("a handshake");
    let peer = peer.expect("an identity");
    assert_eq!(peer.common_name().map(|name| name.as_str().to_owned()), Ok("alice".to_owned()));
    assert_eq!((peer.subject(), peer.issuer(), peer.serial()), ("CN=alice", "CN=client-ca", "03c063"));
    assert_eq!((peer.not_before(), peer.not_after(), peer.contains_nul()), (draft.not_before, draft.not_after, false));
    let expected = TlsFacts {
        cipher: "TLS_AES_256_GCM_SHA384",
        group: "X25519MLKEM768",
        sni: Some("db.example".to_owned()),
        negotiation: Negotiation::Requested,
        alpn: true,
    };
    assert_eq!(facts, expected);
    assert_eq!(read.as_deref(), Ok(&b"hello"[..]));
}

#[tokio::test]
async fn v1_certificates_work_on_both_sides() {
    let server = key();
    let world = World::with_server(Draft::leaf("localhost").v1().sign(&server, &Maker::new("server-ca")), &server);
    let (served, read) = handshake(&world.acceptor(), world.client(&Draft::leaf("alice").v1())).await;
    let (peer, _) = served.expect("a handshake");
    assert_eq!(peer.expect("an identity").subject(), "CN=alice");
    assert_eq!(read.as_deref(), Ok(&b"hello"[..]));
}

#[tokio::test]
async fn a_client_without_a_certificate_completes_the_handshake_as_nobody() {
    let (served, read) = handshake(&World::new().acceptor(), Client::without_certificate().alpn(&[])).await;
    let (peer, facts) = served.expect("a handshake");
    assert!(peer.is_none() && !facts.alpn);
    assert_eq!(read.as_deref(), Ok(&b"hello"[..]));
}

#[tokio::test]
async fn a_refused_certificate_is_told_by_openssls_alert_and_the_precise_cause() {
    let mut world = World::new();
    let now = unix_now();
    let stranger = Maker::new("stranger");
    let of_stranger = {
        let key = key();
        Client::with(vec![Draft::leaf("alice").sign(&key, &stranger)], &key)
    };
    let mut rows = vec![
        (world.acceptor(), of_stranger, "cert_untrusted", "UnknownCA"),
        (world.acceptor(), world.client(&Draft::leaf("alice").dates(0, now - 1)), "cert_expired", "CertificateExpired"),
        (world.acceptor(), world.client(&Draft::leaf("alice").dates(now + 100, now + 200)), "cert_not_yet_valid", "BadCertificate"),
        (world.acceptor(), world.client(&Draft::leaf("alice").purpose(SERVER_AUTH)), "cert_purpose", "UnsupportedCertificate"),
        (world.acceptor(), world.client(&Draft::leaf("alice").with(&[0x2a, 3], true, &[5, 0])), "cert_invalid", "CertificateUnknown"),
    ];
    for (dates, serials, reason, alert) in [
        ((now - 9, now + 900), &[5][..], "cert_revoked", "CertificateRevoked"),
        ((now - 9, now - 5), &[6], "crl_expired", "CertificateExpired"),
    ] {
        let crl = CrlDraft::of(&[serials]).dates(dates.0, dates.1).sign(&world.ca);
        world.settings.ssl_crl_file = Some(world.write("crl.pem", &pem("X509 CRL", &crl)));
        rows.push((world.acceptor(), world.client(&Draft::leaf("alice").v1()), reason, alert));
    }
    for (acceptor, client, reason, alert) in rows {
        let (served, read) = handshake(&acceptor, client).await;
        assert_eq!(served.err().map(|cause| cause.reason().code()), Some(reason));
        assert_eq!(read.err(), Some(format!("received fatal alert: {alert}")), "{reason}");
    }
}

#[tokio::test]
async fn a_certificate_without_its_private_key_is_worth_nothing() {
    let world = World::new();
    let thief = Client::with(vec![Draft::leaf("alice").sign(&key(), &world.ca)], &key());
    let (served, read) = handshake(&world.acceptor(), thief).await;
    let cause = served.expect_err("a refusal");
    assert!(matches!(&cause, TlsFailure::Invalid(what) if what.contains("private key")), "{cause}");
    assert_eq!(read.err().as_deref(), Some("received fatal alert: DecryptError"));
}

#[tokio::test]
async fn a_foreign_alpn_is_refused_with_its_alert() {
    let (served, read) = handshake(&World::new().acceptor(), Client::without_certificate().alpn(&[b"http/1.1"])).await;
    assert_eq!(served.err(), Some(TlsFailure::ForeignAlpn));
    assert_eq!(read.err().as_deref(), Some("received fatal alert: NoApplicationProtocol"));
}

#[tokio::test]
async fn a_client_that_would_resume_gets_no_ticket_and_a_full_handshake() {
    let world = World::new();
    let acceptor = world.acceptor();
    let mut client = world.client(&Draft::leaf("alice"));
    client.0.resumption = Resumption::in_memory_sessions(16);
    client.0.enable_early_data = true;
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connector = TlsConnector::from(Arc::new(client.0.clone()));
        let name = ServerName::try_from("db.example").expect("a name");
        let (served, connected) =
            within(async { tokio::join!(acceptor.accept(near, Negotiation::Direct), connector.connect(name, far)) }).await;
        let (mut served, mut connected) = (served.expect("a handshake"), connected.expect("a handshake"));
        assert!(served.peer.is_some());
        served.stream.write_all(b"x").await.expect("a write");
        assert_eq!(connected.read_u8().await.expect("a read"), b'x');
        let (_, connection) = connected.get_ref();
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(connection.tls13_tickets_received(), 0);
        assert_eq!(served.facts.negotiation.as_str(), "direct");
    }
}

#[tokio::test]
async fn a_client_may_change_its_keys() {
    let world = World::new();
    let acceptor = world.acceptor();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(world.client(&Draft::leaf("alice")).0));
    let name = ServerName::try_from("db.example").expect("a name");
    let (served, connected) =
        within(async { tokio::join!(acceptor.accept(near, Negotiation::Requested), connector.connect(name, far)) }).await;
    let (mut served, mut connected) = (served.expect("a handshake"), connected.expect("a handshake"));
    for _ in 0..3 {
        connected.get_mut().1.refresh_traffic_keys().expect("a KeyUpdate");
        connected.write_all(b"ping").await.expect("a write");
        connected.flush().await.expect("a flush");
        let mut read = [0; 4];
        served.stream.read_exact(&mut read).await.expect("a read");
        assert_eq!(&read, b"ping");
        served.stream.write_all(b"pong").await.expect("a write");
        connected.read_exact(&mut read).await.expect("a read");
        assert_eq!(&read, b"pong");
    }
}

#[tokio::test]
async fn a_session_keeps_nothing_of_the_files_it_was_accepted_by() {
    let world = World::new();
    let acceptor = world.acceptor();
    let before = (Arc::strong_count(&acceptor.0.trust), Arc::strong_count(&acceptor.0.hints));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(world.client(&Draft::leaf("alice")).0));
    let name = ServerName::try_from("db.example").expect("a name");
    let (served, _connected) =
        within(async { tokio::join!(acceptor.accept(near, Negotiation::Requested), connector.connect(name, far)) }).await;
    let served = served.expect("a handshake");
    assert_eq!((Arc::strong_count(&acceptor.0.trust), Arc::strong_count(&acceptor.0.hints)), before);
    assert!(served.peer.is_some());
}

#[tokio::test]
async fn groups_and_suites_are_those_that_both_sides_know() {
    use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
    let acceptor = World::new().acceptor();
    let rows: [(&'static dyn rustls::crypto::SupportedKxGroup, _, _, _); 3] = [
        (kx_group::X25519, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, "X25519", "TLS_CHACHA20_POLY1305_SHA256"),
        (kx_group::SECP256R1, cipher_suite::TLS13_AES_128_GCM_SHA256, "secp256r1", "TLS_AES_128_GCM_SHA256"),
        (kx_group::SECP384R1, cipher_suite::TLS13_AES_256_GCM_SHA384, "secp384r1", "TLS_AES_256_GCM_SHA384"),
    ];
    for (group, suite, group_name, cipher) in rows {
        let provider = rustls::crypto::CryptoProvider { kx_groups: vec![group], cipher_suites: vec![suite], ..default_provider() };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_no_client_auth();
        let (served, _) = handshake(&acceptor, Client(config)).await;
        let (_, facts) = served.expect("a handshake");
        assert_eq!((facts.group, facts.cipher), (group_name, cipher));
    }
}
