use super::*;
use crate::identity::testing::{Draft, Maker, element, key, sequence};

fn server(names: &[Vec<u8>]) -> Certificate {
    let draft = Draft::leaf("cn.example");
    let draft = if names.is_empty() { draft } else { draft.with(&[0x55, 0x1d, 17], false, &sequence(names)) };
    Certificate::parse(&draft.sign(&key(), &Maker::new("ca"))).unwrap()
}

fn arguments(user: &str) -> Arguments {
    Arguments {
        config: ConfigFile { config: None },
        user: user.into(),
        database: "app".into(),
        format: Format::Uri,
        host: None,
        sslcert: None,
        sslkey: None,
        sslrootcert: None,
    }
}

#[test]
fn the_host_is_the_first_name_that_a_client_can_connect_to() {
    let (wildcard, name, address) = (element(0x82, b"*.example"), element(0x82, b"db.example"), element(0x87, &[10, 0, 0, 1]));
    assert_eq!(host_of(&server(&[wildcard.clone(), address.clone(), name])).as_deref(), Some("db.example"));
    assert_eq!(host_of(&server(&[wildcard.clone(), address])).as_deref(), Some("10.0.0.1"));
    assert_eq!(host_of(&server(&[wildcard])), None);
    assert_eq!(host_of(&server(&[])).as_deref(), Some("cn.example"));
}

#[test]
fn a_common_name_in_words_is_no_host() {
    let draft = Draft::leaf("The server of Example Ltd.");
    assert_eq!(host_of(&Certificate::parse(&draft.sign(&key(), &Maker::new("ca"))).unwrap()), None);
}

#[test]
fn a_host_is_a_name_or_an_address_without_port_or_wildcard() {
    assert_eq!(host("db.example").as_deref(), Ok("db.example"));
    assert_eq!(host("::1").as_deref(), Ok("::1"));
    for text in ["", "db.example:5432", "[::1]", "*.example", "a b", "/run/postgresql"] {
        assert!(host(text).is_err(), "{text:?}");
    }
}

#[test]
fn paths_follow_the_layout_of_pki_unless_they_are_given() {
    let folder = Folder::new("/etc/pki");
    let made = arguments("a/b").connection(&folder, None, "0.0.0.0:6432".parse().ok()).unwrap();
    assert_eq!((made.host.as_str(), made.port), ("localhost", 6432));
    assert_eq!(made.sslcert, "/etc/pki/a%2Fb.crt");
    assert_eq!(made.sslkey, "/etc/pki/a%2Fb.key");
    assert_eq!(made.sslrootcert, "/etc/pki/server-ca.crt");
    let given = Arguments { sslcert: Some("/x.crt".into()), sslrootcert: Some("system".into()), host: Some("h".into()), ..arguments("a") };
    let made = given.connection(&folder, None, None).unwrap();
    assert_eq!((made.sslcert.as_str(), made.sslrootcert.as_str(), made.host.as_str()), ("/x.crt", "system", "h"));
}

#[test]
fn a_user_that_can_never_log_in_is_refused() {
    assert!(arguments("").connection(&Folder::new("/"), None, None).is_err());
}
