use super::*;

/// What the server makes of `bytes` and the end that follows them, and what it sends back.
async fn say(bytes: &[u8]) -> (TlsFailure, Vec<u8>) {
    let (near, mut far) = tokio::io::duplex(256 * 1024);
    let acceptor = World::new().acceptor();
    let speak = async {
        far.write_all(bytes).await.expect("a write");
        far.shutdown().await.expect("an end");
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.expect("an answer");
        answer
    };
    let listen = async { acceptor.accept(near, Negotiation::Direct).await.err().map(|(cause, _)| cause).expect("a failure") };
    within(async { tokio::join!(listen, speak) }).await
}

/// The ClientHello that a rustls client sends, as one record.
fn client_hello(client: &Client) -> (ClientConnection, Vec<u8>) {
    let mut connection = client.connection();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a ClientHello");
    (connection, hello)
}

#[tokio::test]
async fn what_is_no_tls_is_called_so_and_answered_by_less_than_was_sent() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"\0\0\0\x21\0\x03\0\0user\0alice\0database\0app\0\0",
        b"\x17\x03\x03\0\x10aaaaaaaaaaaaaaaa",
        b"\x16\x03\x01\xff\xff\x01\0\0\0",
        b"\x16\x03\x01\0\x04\x02\0\0\0\0\0\0",
        b"\x16\x03\x01\0\x08\x01\0\0\x04\x03\x03\0\0",
    ] {
        let (cause, answer) = say(bytes).await;
        assert!(matches!(cause, TlsFailure::NotTls(_)), "{cause:?} for {:?}", bytes.escape_ascii().to_string());
        assert!(answer.len() <= bytes.len(), "{answer:02x?}");
    }
}

#[tokio::test]
async fn a_client_of_tls_1_2_or_older_is_refused_for_its_version() {
    // ClientHellos for TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: with signature_algorithms as in TLS 1.2, without as before.
    for (version, extensions, alert) in [(3, &[0, 8, 0, 13, 0, 4, 0, 2, 4, 1][..], 70), (2, &[], 40)] {
        let body = [&[3, version][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x2f], &[1, 0], extensions].concat();
        let hello = [&[1, 0, 0, body.len() as u8][..], &body].concat();
        let (cause, answer) = say(&[&[0x16, 3, 1, 0, hello.len() as u8][..], &hello].concat()).await;
        assert_eq!(cause, TlsFailure::Version);
        assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, alert]);
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_has_closed() {
    let (_, hello) = client_hello(&Client::without_certificate());
    assert_eq!(say(b"").await.0, TlsFailure::ClientClosed);
    assert_eq!(say(&hello[..100]).await.0, TlsFailure::ClientClosed);
    assert_eq!(say(&hello).await.0, TlsFailure::ClientClosed);
}

#[tokio::test]
async fn an_alert_of_the_clients_ends_the_handshake_by_its_name() {
    let (_, hello) = client_hello(&Client::without_certificate());
    let with_alert = [&hello[..], &[0x15, 3, 3, 0, 2, 2, 48]].concat();
    assert_eq!(say(&with_alert).await.0, TlsFailure::ClientAlert("unknown_ca".to_owned()));
    // RUSTSEC-2024-0336: a close_notify before the handshake's end once made rustls loop.
    let (cause, _) = say(&[0x15, 3, 1, 0, 2, 1, 0]).await;
    assert!(matches!(cause, TlsFailure::ClientClosed | TlsFailure::ClientAlert(_)), "{cause:?}");
    let (cause, _) = say(&[&hello[..], &[0x15, 3, 3, 0, 2, 1, 0]].concat()).await;
    assert!(matches!(cause, TlsFailure::ClientClosed | TlsFailure::ClientAlert(_)), "{cause:?}");
}

#[tokio::test]
async fn a_client_hello_in_records_of_one_byte_is_served() {
    // RUSTSEC-2024-0399: rustls' Acceptor once panicked on one.
    let world = World::new();
    let acceptor = world.acceptor();
    let client = world.client(&Draft::leaf("alice"));
    let (mut connection, hello) = client_hello(&client);
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let speak = async {
        for byte in &hello[5..] {
            far.write_all(&[0x16, 3, 1, 0, 1, *byte]).await.expect("a write");
        }
        let mut buffer = [0; 4096];
        while connection.is_handshaking() || connection.wants_write() {
            let mut out = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut out).expect("records");
            }
            far.write_all(&out).await.expect("a write");
            if !connection.is_handshaking() {
                break;
            }
            let count = far.read(&mut buffer).await.expect("a read");
            assert!(count > 0, "the server closed");
            connection.read_tls(&mut &buffer[..count]).expect("records");
            connection.process_new_packets().expect("a handshake");
        }
    };
    let (served, ()) = within(async { tokio::join!(acceptor.accept(near, Negotiation::Requested), speak) }).await;
    assert_eq!(served.ok().and_then(|served| served.peer).expect("an identity").subject(), "CN=alice");
}

#[tokio::test]
async fn a_pipe_of_sixteen_bytes_carries_a_handshake() {
    // Below six, each side would wait for the other to take its ChangeCipherSpec; no socket is that small.
    let world = World::new();
    let (near, far) = tokio::io::duplex(16);
    let acceptor = world.acceptor();
    let connector = TlsConnector::from(Arc::new(world.client(&Draft::leaf("alice")).0));
    let name = ServerName::try_from("db.example").expect("a name");
    let (served, connected) =
        within(async { tokio::join!(acceptor.accept(near, Negotiation::Requested), connector.connect(name, far)) }).await;
    assert!(served.is_ok() && connected.is_ok());
}

#[tokio::test]
async fn a_chain_of_more_than_64_kib_is_refused() {
    let world = World::new();
    let key = key();
    let large = Draft::leaf("alice").with(&[0x2a, 3], false, &vec![0; 40_000]).sign(&key, &world.ca);
    let (served, _) = handshake(&world.acceptor(), Client::with(vec![large.clone()], &key)).await;
    assert!(served.is_ok(), "40 KB of one extension");
    let (served, read) = handshake(&world.acceptor(), Client::with(vec![large.clone(), large], &key)).await;
    assert!(served.is_err() && read.is_err());
}
