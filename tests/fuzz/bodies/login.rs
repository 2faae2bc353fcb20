//! What whoever listens at the backend's address says until its first ReadyForQuery.

use postern::backend::{Exchange, Passfile, Password, Wanted};
use postern::error::BackendFailure;
use postern::wire::{Authentication, BackendMessage, ErrorFields};

/// A message is understood as soon as it is whole, never asked for beyond its limit, and whoever does not know the password is
/// never taken for the backend.
pub fn backend_login(data: &[u8]) {
    let mut exchange: Option<(Exchange, Vec<u8>)> = None;
    let mut rest = data;
    loop {
        let (message, length) = match BackendMessage::decode_login(rest) {
            Ok(Some(found)) => found,
            Ok(None) => return check_incomplete(rest),
            Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error:?} is not fit for a log line"),
        };
        let whole = rest.get(..length).expect("a message is as long as what was received, at most");
        let announced = u32::from_be_bytes([whole[1], whole[2], whole[3], whole[4]]);
        assert_eq!(usize::try_from(announced).expect("lengths have 32 bits") + 1, length);
        for part in [0, 1, 4, 5.min(length - 1), length / 2, length - 1] {
            assert!(matches!(BackendMessage::decode_login(&whole[..part]), Ok(None)), "{part} bytes of {length} were taken for all");
        }
        match message {
            BackendMessage::Authentication(authentication) => converse(authentication, &mut exchange),
            BackendMessage::ErrorResponse(fields) => check_fields(fields, &whole[5..]),
            BackendMessage::BackendKeyData(_, key) => assert_eq!(key.is_some(), (4..=256).contains(&(length - 9))),
            BackendMessage::ReadyForQuery => assert_eq!(length, 6),
            BackendMessage::ForClient => assert!(b"NSv".contains(&whole[0])),
        }
        rest = &rest[length..];
    }
}

fn check_incomplete(rest: &[u8]) {
    if let Some([a, b, c, d]) = rest.get(1..5) {
        let announced = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        assert!((rest.len()..=BackendMessage::MAX_LOGIN_MESSAGE_LENGTH).contains(&announced), "{announced} bytes are waited for");
    }
}

/// The exchange as a session has it. A challenge is given the nonce that it lacks, so that what is behind it is read.
fn converse(authentication: Authentication<'_>, exchange: &mut Option<(Exchange, Vec<u8>)>) {
    match (authentication, exchange.as_mut()) {
        (Authentication::Sasl(mechanisms), None) => match Exchange::begin(&password(), mechanisms) {
            Ok((begun, mechanism, first)) => {
                assert!(mechanism == "SCRAM-SHA-256" && mechanisms.split(|byte| *byte == 0).any(|name| name == mechanism.as_bytes()));
                let nonce = first.strip_prefix(b"n,,n=,r=").expect("the first message ends with a nonce").to_vec();
                *exchange = Some((begun, nonce));
            }
            Err(failure) => assert!(matches!(failure, BackendFailure::NoScram)),
        },
        (Authentication::SaslContinue(challenge), Some((begun, nonce))) => {
            let completed = [b"r=", nonce.as_slice(), challenge.strip_prefix(b"r=").unwrap_or(challenge)].concat();
            if let Ok(answer) = begun.answer(&completed) {
                assert!(answer.starts_with(&[b"c=biws,r=", nonce.as_slice()].concat()), "{}", answer.escape_ascii());
                assert!(!answer.windows(6).any(|part| part == b"pencil"));
            }
        }
        (Authentication::SaslFinal(signature), Some((begun, _))) => assert!(begun.verify(signature).is_err()),
        (Authentication::Ok | Authentication::Sasl(_) | Authentication::SaslContinue(_), _) => {}
        (Authentication::SaslFinal(_) | Authentication::Other(_), _) => {}
    }
    assert!(exchange.as_ref().is_none_or(|(exchange, _)| !exchange.is_proven()), "nobody proves by chance what they do not know");
}

fn password() -> Password {
    let file = Passfile::parse(b"*:*:*:*:pencil").expect("it is a password file");
    file.find(Wanted { host: "localhost", port: 5432, database: b"", user: b"" }).expect("it is for everybody").clone()
}

/// The fields are those of a walk from NUL to NUL, and a SQLSTATE is five digits and capitals whatever was sent.
fn check_fields(fields: ErrorFields<'_>, body: &[u8]) {
    let sqlstate = fields.sqlstate();
    assert!(sqlstate.len() == 5 && sqlstate.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()), "{sqlstate:?}");
    for kind in *b"SVCMDH" {
        let walked = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&kind)).map(|field| &field[1..]);
        assert_eq!(fields.field(kind), walked);
    }
}
