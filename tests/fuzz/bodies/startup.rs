//! The first packet of a connection, its length word included.

use postern::types::{MAX_NAME_LENGTH, RoleName};
use postern::wire::{MAX_STARTUP_PACKET_LENGTH, StartupMessage, StartupPacket, body_length};

/// A length that PostgreSQL refuses is refused before anything is allocated, and a packet that is taken says what PostgreSQL reads
/// in it: the parameters are those of a walk from NUL to NUL, and what is encoded for the backend reads the same.
pub fn startup(data: &[u8]) {
    let Some((word, body)) = data.split_first_chunk::<4>() else { return };
    let announced = u32::from_be_bytes(*word);
    match body_length(*word) {
        Ok(length) => assert!(u32::try_from(length + 4) == Ok(announced) && (4..=MAX_STARTUP_PACKET_LENGTH).contains(&length)),
        Err(_) => assert!(!(8..=10_004).contains(&announced)),
    }
    match StartupPacket::decode(body) {
        Ok(StartupPacket::Startup(message)) => check_message(&message, body),
        Ok(StartupPacket::Cancel(request)) => {
            let encoded = request.encode();
            assert_eq!(encoded.get(4..), Some(body), "a cancel request is forwarded as it came");
            assert!((4..=256).contains(&request.key.as_bytes().len()));
        }
        Ok(StartupPacket::SslRequest | StartupPacket::GssEncRequest) => assert!(body.starts_with(&[4, 210, 22])),
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?} is not fit for a log line"),
    }
}

fn check_message(message: &StartupMessage, body: &[u8]) {
    let pairs = pairs(body.get(4..).unwrap_or_default()).expect("the layout was found good");
    let taken: Vec<(Vec<u8>, Vec<u8>)> = message.parameters().iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(taken, pairs);
    let only = |wanted: &[u8]| {
        let mut values = pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_slice());
        let first = values.next();
        assert_eq!(values.next(), None, "a parameter that decides is given once");
        first
    };
    let cut = |name: &[u8]| name.iter().copied().take(MAX_NAME_LENGTH).collect::<Vec<u8>>();
    let user = only(b"user").expect("nobody enters without a name");
    assert_eq!(message.user().as_bytes(), cut(user));
    let database = only(b"database").filter(|name| !name.is_empty()).unwrap_or(user);
    assert_eq!(message.database().as_bytes(), cut(database));

    // For the backend: the same but for the role, and the database as it was judged.
    let role = RoleName::truncated(b"role-of-the-certificate").expect("it is a name");
    let Ok(encoded) = message.encode_as(&role, &[]) else {
        // The role's name is longer than the one that was asked for, or the database was left to its default.
        let more = role.as_bytes().len() + b"database".len() + MAX_NAME_LENGTH + 2;
        assert!(body.len().saturating_add(more) > MAX_STARTUP_PACKET_LENGTH);
        return;
    };
    assert_eq!(encoded.get(..4), u32::try_from(encoded.len()).ok().map(u32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
    let Ok(StartupPacket::Startup(forwarded)) = StartupPacket::decode(encoded.get(4..).unwrap_or_default()) else {
        panic!("what is sent to the backend is no startup packet: {encoded:?}")
    };
    assert_eq!(forwarded.user(), &role);
    assert_eq!(forwarded.version(), message.version());
    assert_eq!(forwarded.replication(), message.replication());
    let others = |message: &StartupMessage| {
        let named = |name: &[u8]| name == b"user" || name == b"database";
        let parameters = message.parameters().iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
        parameters.map(|(name, value)| if named(&name) { (name, Vec::new()) } else { (name, value) }).collect::<Vec<_>>()
    };
    let mut expected = others(message);
    if only(b"database").is_none() && message.user() != &role {
        expected.push((b"database".to_vec(), Vec::new()));
    }
    assert_eq!(others(&forwarded), expected, "order, doubles and bytes stay");
    assert_eq!(forwarded.database(), message.database());
}

/// Name and value pairs from NUL to NUL, and a NUL as the last byte.
fn pairs(body: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut fields: Vec<&[u8]> = body.strip_suffix(&[0])?.split(|byte| *byte == 0).collect();
    // Every field ends with a NUL of its own, so behind the last one there is nothing.
    if fields.pop() != Some(&[]) || !fields.len().is_multiple_of(2) {
        return None;
    }
    let pairs = fields.chunks(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec()));
    pairs.map(|(name, value)| (!name.is_empty()).then_some((name, value))).collect()
}
