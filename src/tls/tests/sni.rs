use super::*;
use crate::identity::Certificate;

/// A self-signed certificate for these hosts, written with its key as NAME.crt and NAME.key.
fn item(world: &World, name: &str, hosts: &[&str], carried: &[&str]) -> SniSettings {
    let maker = Maker::new(name);
    let names: Vec<Vec<u8>> = carried.iter().map(|host| element(0x82, host.as_bytes())).collect();
    let draft = match names.as_slice() {
        [] => Draft::leaf(name),
        names => Draft::leaf(name).with(&[0x55, 0x1d, 17], false, &sequence(names)),
    };
    SniSettings {
        hosts: hosts.iter().map(|host| HostPattern::parse(host).expect("a host")).collect(),
        ssl_cert_file: world.write(&format!("{name}.crt"), &pem("CERTIFICATE", &draft.sign(&maker.key, &maker))),
        ssl_key_file: world.write(&format!("{name}.key"), &maker.key.serialize_pem()),
    }
}

/// The common name of the certificate that a client of `host` is shown, which may be an address.
async fn shown_to(acceptor: &Acceptor, host: &str) -> String {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(Client::without_certificate().0));
    let connect = connector.connect(ServerName::try_from(host.to_owned()).expect("a name"), far);
    let (served, connected) = within(async { tokio::join!(acceptor.accept(near, Negotiation::Requested), connect) }).await;
    served.map_err(|(cause, _)| cause).expect("a handshake");
    let stream = connected.expect("a connection");
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).expect("a certificate");
    Certificate::parse(leaf).expect("a certificate").subject().rfc2253()
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_host_that_it_names() {
    let mut world = World::new();
    world.settings.sni = vec![
        item(&world, "one", &["one.db.example", "one.example"], &["one.db.example", "*.example"]),
        item(&world, "wild", &["*.db.example"], &["*.db.example"]),
        item(&world, "old", &["old"], &[]),
    ];
    let acceptor = world.acceptor();
    for (host, name) in [
        ("one.db.example", "CN=one"),
        ("ONE.db.EXAMPLE", "CN=one"),
        ("one.example", "CN=one"),
        ("two.db.example", "CN=wild"),
        ("old", "CN=old"),
        ("db.example", "CN=localhost"),
        ("a.two.db.example", "CN=localhost"),
        ("two.example", "CN=localhost"),
        ("127.0.0.1", "CN=localhost"),
    ] {
        assert_eq!(shown_to(&acceptor, host).await, name, "{host}");
    }
}

#[test]
fn a_certificate_that_is_not_for_its_hosts_is_a_fault_and_so_is_each_file_that_cannot_be_used() {
    let mut world = World::new();
    let broken = SniSettings { ssl_cert_file: world.write("broken.crt", "junk"), ..item(&world, "c", &["c.example"], &["c.example"]) };
    let swapped = SniSettings { ssl_key_file: broken.ssl_key_file.clone(), ..item(&world, "d", &["d.example"], &["d.example"]) };
    world.settings.sni = vec![item(&world, "a", &["a.example", "b.example"], &["a.example"]), broken, swapped];
    let found: Vec<String> = Acceptor::load(&world.settings).expect_err("faults").iter().map(ToString::to_string).collect();
    let starts = [
        ("tls.sni[0].hosts: ", "its certificate is for a.example, and not for b.example"),
        ("tls.sni[1].ssl_cert_file: ", "no PEM block was found"),
        ("tls.sni[2].ssl_key_file: ", "the key does not belong"),
    ];
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().zip(starts).all(|(fault, (start, part))| fault.starts_with(start) && fault.contains(part)), "{found:#?}");
}

#[test]
fn each_certificate_is_watched_and_an_expired_one_takes_no_good_ones_place() {
    let mut world = World::new();
    world.settings.sni = vec![item(&world, "a", &["a.example"], &["a.example"])];
    let acceptor = world.acceptor();
    let servers: Vec<_> = acceptor.lifespans().iter().map(|lifespan| lifespan.setting.as_str()).collect();
    assert_eq!(servers, ["tls.ssl_cert_file", "tls.sni[0].ssl_cert_file", "tls.ssl_ca_file"]);
    let maker = Maker::new("a");
    let names = sequence(&[element(0x82, b"a.example")]);
    let expired = Draft::leaf("a").dates(0, 1000).with(&[0x55, 0x1d, 17], false, &names).sign(&maker.key, &maker);
    world.write("a.crt", &pem("CERTIFICATE", &expired));
    world.write("a.key", &maker.key.serialize_pem());
    let faults = acceptor.successor(&world.settings).expect_err("a fault");
    assert!(faults[0].to_string().starts_with("tls.sni[0].ssl_cert_file: ") && faults[0].what.contains("would refuse it"), "{faults:?}");
    assert_eq!(world.acceptor().expiries().server, 1000);
}
