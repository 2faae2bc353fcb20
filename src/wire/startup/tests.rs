use proptest::prelude::*;

use super::*;
use crate::wire::CancelKey;

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 0x0003_0000u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    body
}

fn message(parameters: &[(&str, &str)]) -> StartupMessage {
    match StartupPacket::decode(&startup(parameters)) {
        Ok(StartupPacket::Startup(message)) => message,
        other => panic!("not a StartupMessage: {other:?}"),
    }
}

#[test]
fn a_length_is_judged_before_anything_is_read() {
    assert_eq!(body_length(8u32.to_be_bytes()), Ok(4));
    assert_eq!(body_length(10_004u32.to_be_bytes()), Ok(10_000));
    for length in [0, 1, 4, 7, 10_005, 1 << 31, u32::MAX] {
        assert_eq!(body_length(length.to_be_bytes()), Err(StartupError::Length(length)));
    }
}

#[test]
fn the_three_requests_are_told_apart() {
    assert_eq!(StartupPacket::decode(&80_877_103u32.to_be_bytes()), Ok(StartupPacket::SslRequest));
    assert_eq!(StartupPacket::decode(&80_877_104u32.to_be_bytes()), Ok(StartupPacket::GssEncRequest));
    let cancel = CancelRequest { pid: 7, key: CancelKey::new(&[9; 32]).unwrap() };
    assert_eq!(StartupPacket::decode(&cancel.encode()[4..]), Ok(StartupPacket::Cancel(cancel)));
}

#[test]
fn a_cancel_key_has_4_to_256_bytes() {
    for (length, fits) in [(0, false), (3, false), (4, true), (256, true), (257, false)] {
        let mut body = 80_877_102u32.to_be_bytes().to_vec();
        body.extend_from_slice(&vec![1; 4 + length]);
        assert_eq!(matches!(StartupPacket::decode(&body), Ok(StartupPacket::Cancel(_))), fits, "{length}");
    }
}

#[test]
fn the_database_defaults_to_the_user_and_both_are_cut_to_63_bytes() {
    let long = "a".repeat(80);
    assert_eq!(message(&[("user", &long)]).database().as_bytes(), &long.as_bytes()[..63]);
    assert_eq!(message(&[("user", "alice"), ("database", "")]).database().as_bytes(), b"alice");
}

#[test]
fn replication_takes_what_parse_bool_takes() {
    for (value, expected) in [
        ("database", ReplicationParameter::Database),
        ("true", ReplicationParameter::Physical),
        ("ON", ReplicationParameter::Physical),
        ("y", ReplicationParameter::Physical),
        ("1", ReplicationParameter::Physical),
        ("off", ReplicationParameter::Off),
        ("F", ReplicationParameter::Off),
        ("0", ReplicationParameter::Off),
    ] {
        assert_eq!(message(&[("user", "a"), ("replication", value)]).replication(), expected, "{value}");
    }
    for value in ["junk", "", "o", "truex", "DATABASE", "10"] {
        let refused = StartupPacket::decode(&startup(&[("user", "a"), ("replication", value)]));
        assert_eq!(refused, Err(StartupError::Replication(value.as_bytes().into())), "{value}");
    }
}

#[test]
fn a_parameter_that_decides_is_given_once() {
    for name in ["user", "database", "replication"] {
        let packet = startup(&[("user", "a"), (name, "1"), (name, "1")]);
        assert!(matches!(StartupPacket::decode(&packet), Err(StartupError::Duplicate(_))), "{name}");
    }
    assert_eq!(message(&[("user", "a"), ("x", "1"), ("x", "2"), ("_pq_.y", "")]).parameters().count(b"x"), 2);
}

#[test]
fn a_layout_without_its_terminator_is_refused() {
    let good = startup(&[("user", "alice")]);
    for body in [&good[..good.len() - 1], &good[..9], &[good.as_slice(), b"x"].concat(), &good[..4]] {
        assert_eq!(StartupPacket::decode(body), Err(StartupError::Layout));
    }
    assert_eq!(StartupPacket::decode(&startup(&[])), Err(StartupError::NoUser));
    assert_eq!(StartupPacket::decode(&startup(&[("user", "")])), Err(StartupError::NoUser));
}

#[test]
fn only_major_version_3_is_served() {
    for (word, version) in [(0x0002_0000u32, (2, 0)), (0x0004_0000, (4, 0)), (80_877_105, (1234, 5681))] {
        let mut body = startup(&[("user", "a")]);
        body.splice(..4, word.to_be_bytes());
        let (major, minor) = version;
        assert_eq!(StartupPacket::decode(&body), Err(StartupError::Version(ProtocolVersion { major, minor })));
    }
}

#[test]
fn the_backend_gets_all_parameters_in_order_with_the_granted_role() {
    let message = message(&[("options", "-c x=y"), ("user", "alice"), ("database", &"d".repeat(70)), ("options", "z")]);
    let sent = message.encode_as(&RoleName::truncated(b"mapped").unwrap(), &[]).unwrap();
    assert_eq!(u32::from_be_bytes(sent[..4].try_into().unwrap()) as usize, sent.len());
    let expected = startup(&[("options", "-c x=y"), ("user", "mapped"), ("database", &"d".repeat(63)), ("options", "z")]);
    assert_eq!(sent[4..], expected);
}

#[test]
fn parameters_of_our_own_go_last_and_the_packet_stays_one_that_postgresql_reads() {
    let message = message(&[("user", "alice"), ("x.y", "theirs")]);
    let sent = |value: &[u8]| message.encode_as(message.user(), &[("x.y", value.to_vec())]);
    assert_eq!(sent(b"ours").unwrap()[4..], startup(&[("user", "alice"), ("x.y", "theirs"), ("x.y", "ours")]));
    let room = 10_004 - sent(b"").unwrap().len();
    assert_eq!(sent(&vec![b'a'; room]).map(|packet| packet.len()), Ok(10_004));
    assert_eq!(sent(&vec![b'a'; room + 1]), Err(StartupError::Length(10_005)));
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_a_cause(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = StartupPacket::decode(&body);
    }

    #[test]
    fn what_is_decoded_is_encoded_again_to_the_byte(
        user in "[a-z]{1,63}",
        others in prop::collection::vec(("[a-c]{1,5}", "[ -~]{0,9}"), 0..8),
    ) {
        let mut parameters = vec![("user", user.as_str())];
        parameters.extend(others.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let message = message(&parameters);
        prop_assert_eq!(&message.encode_as(message.user(), &[]).unwrap()[4..], startup(&parameters));
    }
}
