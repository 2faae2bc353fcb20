use super::*;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

struct Session(FrontendScanner, BackendScanner);

impl Session {
    fn new() -> Self {
        Self(FrontendScanner::default(), BackendScanner::after_login())
    }

    fn client(&mut self, kinds: &[u8]) -> &mut Self {
        for kind in kinds {
            self.0.feed(&message(*kind, b"x\0")).unwrap();
        }
        self
    }

    fn backend(&mut self, messages: &[(u8, &[u8])]) -> &mut Self {
        for (kind, body) in messages {
            // One byte at a time: the hardest way to cut it.
            for byte in message(*kind, body) {
                self.1.feed(&[byte], &mut self.0).unwrap();
            }
        }
        self
    }

    fn is_idle(&self) -> bool {
        self.1.ready() == Some(TransactionStatus::Idle) && self.0.is_answered()
    }
}

const READY: (u8, &[u8]) = (b'Z', b"I");

#[test]
fn a_session_is_idle_when_every_query_has_its_ready_for_query() {
    let mut session = Session::new();
    assert!(session.is_idle());
    assert!(!session.client(b"QQ").is_idle());
    assert!(!session.backend(&[(b'C', b"SELECT 1\0"), READY]).is_idle());
    assert!(session.backend(&[(b'C', b"SELECT 1\0"), READY]).is_idle());
}

#[test]
fn a_ready_for_query_of_another_length_answers_nothing_however_it_is_cut() {
    let long = message(b'Z', b"II");
    let mut at_once = Session::new();
    at_once.client(b"QQ");
    at_once.1.feed(&long, &mut at_once.0).unwrap();
    let mut by_bytes = Session::new();
    by_bytes.client(b"QQ").backend(&[(b'Z', b"II")]);
    for session in [at_once, by_bytes] {
        assert_eq!(session.1.ready(), None);
        assert!(!session.0.is_answered());
    }
}

#[test]
fn a_transaction_is_not_idle() {
    assert!(!Session::new().client(b"Q").backend(&[(b'Z', b"T")]).is_idle());
    assert!(!Session::new().client(b"Q").backend(&[(b'Z', b"E")]).is_idle());
}

#[test]
fn a_half_sent_message_is_not_idle() {
    let mut session = Session::new();
    session.0.feed(b"Q\0\0").unwrap();
    assert!(!session.is_idle());
}

#[test]
fn a_parse_without_sync_is_not_a_question_yet_but_its_answer_shows() {
    let mut session = Session::new();
    session.client(b"PH").backend(&[(b'1', b"")]);
    assert!(!session.is_idle());
    assert!(session.client(b"S").backend(&[READY]).is_idle());
}

#[test]
fn notices_and_notifications_leave_a_session_idle() {
    assert!(Session::new().backend(&[(b'A', b"\0\0\0\x01c\0p\0"), (b'N', b"\0"), (b'S', b"TimeZone\0UTC\0")]).is_idle());
}

#[test]
fn a_sync_that_copy_in_reads_over_is_not_waited_for() {
    let mut session = Session::new();
    session.client(b"PBES").backend(&[(b'1', b""), (b'2', b""), (b'G', b"\0\0\0")]);
    session.client(b"ddcS");
    assert!(session.backend(&[(b'C', b"COPY 2\0"), READY]).is_idle());
}

#[test]
fn copy_in_by_a_simple_query_ends_with_one_ready_for_query() {
    let mut session = Session::new();
    session.client(b"Q").backend(&[(b'G', b"\0\0\0")]).client(b"dSdf");
    assert!(!session.is_idle());
    assert!(session.backend(&[(b'E', b"\0"), READY]).is_idle());
    assert_eq!(session.1.errors(), 1);
}

#[test]
fn a_copy_in_that_the_server_ends_is_idle_after_the_clients_sync() {
    let mut session = Session::new();
    session.client(b"PBES").backend(&[(b'G', b"\0\0\0"), (b'E', b"\0")]).client(b"dcS");
    assert!(session.backend(&[READY]).is_idle());
}

#[test]
fn an_error_response_has_postgresqls_fields_in_its_order() {
    let mut error = ErrorResponse::new(SqlState::CANNOT_CONNECT_NOW, "no\0pe");
    error.detail = Some("why".into());
    error.hint = Some("do".into());
    let encoded = error.encode();
    let expected = message(b'E', b"SFATAL\0VFATAL\0C57P03\0Mnope\0Dwhy\0Hdo\0\0");
    assert_eq!(encoded, expected);
    let Ok(Some((BackendMessage::ErrorResponse(fields), length))) = BackendMessage::decode_login(&encoded) else { panic!() };
    assert_eq!((length, fields.field(b'C'), fields.field(b'X')), (encoded.len(), Some(&b"57P03"[..]), None));
    assert_eq!(error.encode_version_2(), b"EFATAL:  nope\n\0");
}

#[test]
fn a_login_message_is_read_whole_or_not_at_all() {
    let key = message(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]);
    for cut in 0..key.len() {
        assert_eq!(BackendMessage::decode_login(&key[..cut]), Ok(None));
    }
    assert_eq!(BackendMessage::decode_login(&key), Ok(Some((BackendMessage::BackendKeyData(7, CancelKey::new(&[1, 2, 3, 4])), key.len()))));
}

#[test]
fn what_no_postgresql_says_during_a_login_is_a_cause() {
    assert_eq!(BackendMessage::decode_login(b"R\xff\xff\xff\xff"), Err(FrameError::Length(u32::MAX)));
    assert_eq!(BackendMessage::decode_login(b"R\0\0\0\x03"), Err(FrameError::Length(3)));
    assert_eq!(BackendMessage::decode_login(&message(b'R', b"\0")), Err(FrameError::Malformed(b'R')));
    assert_eq!(BackendMessage::decode_login(&message(b'Z', b"x")), Err(FrameError::Malformed(b'Z')));
    assert_eq!(BackendMessage::decode_login(&message(b'D', b"")), Err(FrameError::Unexpected(b'D')));
}
