//! What the backend says until its first ReadyForQuery, as far as it has been heard: sans-IO, and not trusted.

use crate::backend::{Credentials, Login};
use crate::error::{BackendFailure, SessionError};
use crate::wire::{BackendMessage, CancelRequest, ErrorFields, FrameError};

/// The most that the backend may say before ReadyForQuery; beside a login trigger's notices it is below 1 KiB.
const MAX_GREETING_LENGTH: usize = 256 * 1024;

/// The length of AuthenticationOk with its type.
const AUTHENTICATION_OK: usize = 9;
/// ReadyForQuery: its type, its length and the one byte of its status.
const READY_FOR_QUERY_LENGTH: usize = 6;

/// The backend's answer so far.
#[derive(Default)]
pub(super) struct Answer {
    /// What was received and not yet understood.
    inbound: Vec<u8>,
    /// What was said before AuthenticationOk: the client's as soon as the backend is known to be one.
    withheld: Vec<u8>,
    /// Whole messages, for the client.
    outbound: Vec<u8>,
    login: Login,
    cancel: Option<CancelRequest>,
    pid: Option<u32>,
    ready: bool,
}

impl Answer {
    /// Where the next bytes are to be put.
    pub(super) fn inbound(&mut self) -> &mut Vec<u8> {
        &mut self.inbound
    }

    /// Whether AuthenticationOk was heard.
    pub(super) fn is_authenticated(&self) -> bool {
        self.login.is_authenticated()
    }

    /// Whether ReadyForQuery was heard.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The process ID of BackendKeyData.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The client itself has given its password: what follows begins with AuthenticationOk.
    pub(super) fn admit(&mut self, mut inbound: Vec<u8>) {
        self.inbound = inbound.split_off(AUTHENTICATION_OK.min(inbound.len()));
        self.outbound = inbound;
        self.login = Login::by_client();
    }

    /// Puts a message of our own before ReadyForQuery, which ends what is for the client.
    pub(super) fn put_before_ready(&mut self, message: Vec<u8>) {
        let before = self.outbound.len().saturating_sub(READY_FOR_QUERY_LENGTH);
        self.outbound.splice(before..before, message);
    }

    /// What is for the client, what came behind it, and what cancels the session.
    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<u8>, Option<CancelRequest>) {
        (self.outbound, self.inbound, self.cancel)
    }

    /// Moves whole messages from inbound to outbound, up to ReadyForQuery; what concerns the password stays here. Gives what is to
    /// be sent to the backend, nothing mostly.
    ///
    /// # Errors
    /// The backend's refusal, or its fault; what it said for the client until then is in outbound.
    pub(super) fn understand(&mut self, credentials: Credentials<'_>) -> Result<Vec<u8>, SessionError> {
        let mut reply = Vec::new();
        let mut inbound = std::mem::take(&mut self.inbound);
        let mut rest = inbound.as_slice();
        while !self.ready {
            let decoded = BackendMessage::decode_login(rest).map_err(|error| SessionError::Backend(BackendFailure::Protocol(error)))?;
            let Some((message, length)) = decoded else { break };
            let (raw, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            let for_client = match message {
                BackendMessage::Authentication(authentication) => {
                    reply = self.login.hear(authentication, credentials).map_err(SessionError::Backend)?;
                    if self.is_authenticated() {
                        self.outbound.append(&mut self.withheld);
                    }
                    self.is_authenticated()
                }
                // Nobody speaks before AuthenticationOk but to authenticate, or to negotiate the version.
                _ if !self.is_authenticated() && !matches!(raw, [b'R' | b'E' | b'v', ..]) => {
                    let kind = raw.first().copied().unwrap_or_default();
                    return Err(SessionError::Backend(BackendFailure::Protocol(FrameError::Unexpected(kind))));
                }
                BackendMessage::BackendKeyData(pid, key) => {
                    self.pid = Some(pid);
                    self.cancel = key.map(|key| CancelRequest { pid, key });
                    true
                }
                BackendMessage::ReadyForQuery => {
                    self.ready = true;
                    true
                }
                BackendMessage::ErrorResponse(fields) => return Err(self.refused(fields, raw, credentials)),
                BackendMessage::ForClient => true,
            };
            if for_client {
                let kept = if self.is_authenticated() { &mut self.outbound } else { &mut self.withheld };
                kept.extend_from_slice(raw);
            }
            if self.outbound.len().max(self.withheld.len()) > MAX_GREETING_LENGTH {
                self.outbound = Vec::new();
                return Err(SessionError::Backend(BackendFailure::Protocol(FrameError::TooMuch)));
            }
        }
        let understood = inbound.len().saturating_sub(rest.len());
        inbound.drain(..understood);
        self.inbound = inbound;
        Ok(reply)
    }

    /// The backend's words are the client's, unless they are about a password that the client never gave, or from one that has yet to
    /// prove that it is the backend.
    fn refused(&mut self, fields: ErrorFields<'_>, raw: &[u8], credentials: Credentials<'_>) -> SessionError {
        let message = fields.field(b'M').unwrap_or_default();
        let sqlstate = fields.sqlstate();
        let said = || format!("{sqlstate} {}", message.escape_ascii());
        let unproven = credentials.password.is_some() && credentials.must_prove;
        // Classes 28 and 08: the role or its password, and the exchange. All else, such as a shutdown, concerns the client.
        let about_password = self.login.has_begun_exchange() && (sqlstate.starts_with("28") || sqlstate.starts_with("08"));
        match self.is_authenticated() {
            false if about_password => SessionError::Backend(BackendFailure::PasswordRejected(said())),
            false if unproven => SessionError::Backend(BackendFailure::RefusedUnproven(said())),
            true | false => {
                self.outbound.append(&mut self.withheld);
                self.pass_refusal(fields, raw)
            }
        }
    }

    /// The backend's refusal, for the client as it is.
    pub(super) fn pass_refusal(&mut self, fields: ErrorFields<'_>, raw: &[u8]) -> SessionError {
        self.outbound.extend_from_slice(raw);
        let message = fields.field(b'M').unwrap_or_default();
        SessionError::BackendRefused { sqlstate: fields.sqlstate().to_owned(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Passfile, Password, Wanted};

    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const STATUS: &[u8] = b"S\0\0\0\x08a\0b\0";
    const KEY: &[u8] = b"K\0\0\0\x0c\0\0\0\x07\0\0\0\x09";
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const FATAL: &[u8] = b"E\0\0\0\x16SFATAL\0C28P01\0Mx\0\0";

    const NEGOTIATE: &[u8] = b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0";
    const SHUTDOWN: &[u8] = b"E\0\0\0\x16SFATAL\0C57P01\0Mx\0\0";

    /// What Postern has for a role, and where its backend is.
    struct Setting {
        password: Option<Password>,
        must_prove: bool,
    }

    impl Setting {
        const fn without_password() -> Self {
            Self { password: None, must_prove: true }
        }

        fn with_password(must_prove: bool) -> Self {
            let file = Passfile::parse(b"*:*:*:*:pencil").unwrap();
            let password = file.find(Wanted { host: "localhost", port: 5432, database: b"", user: b"" }).cloned();
            Self { password, must_prove }
        }

        fn hears(&self, answer: &mut Answer, bytes: &[u8]) -> Result<Vec<u8>, SessionError> {
            answer.inbound().extend_from_slice(bytes);
            answer.understand(Credentials { password: self.password.as_ref(), must_prove: self.must_prove })
        }
    }

    #[test]
    fn the_greeting_is_passed_on_as_it_is_and_what_follows_waits() {
        let greeting = [OK, STATUS, KEY, READY].concat();
        let early = [STATUS, b"half"].concat();
        for step in [1, 7, 1000] {
            let mut answer = Answer::default();
            for bytes in [&greeting[..], &early].concat().chunks(step) {
                assert!(Setting::without_password().hears(&mut answer, bytes).unwrap().is_empty());
            }
            assert!(answer.is_ready() && answer.pid() == Some(7));
            let (outbound, inbound, cancel) = answer.into_parts();
            assert_eq!((outbound, inbound), (greeting.clone(), early.clone()), "by {step}");
            assert_eq!(cancel.map(|cancel| cancel.pid), Some(7));
        }
    }

    #[test]
    fn the_client_sees_nothing_of_the_password() {
        let mut answer = Answer::default();
        let reply = Setting::with_password(false).hears(&mut answer, SASL).unwrap();
        assert!(reply.starts_with(b"p") && reply.windows(8).any(|part| part == b"n,,n=,r="), "{}", reply.escape_ascii());
        assert!(!answer.is_authenticated());
        assert!(answer.into_parts().0.is_empty());
    }

    #[test]
    fn authentication_without_proof_is_taken_where_nobody_else_can_listen_or_no_password_is_known() {
        for setting in [Setting::without_password(), Setting::with_password(false)] {
            let mut answer = Answer::default();
            setting.hears(&mut answer, OK).unwrap();
            assert!(answer.is_authenticated());
        }
        let outcome = Setting::with_password(true).hears(&mut Answer::default(), OK);
        assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::NotProven))));
    }

    #[test]
    fn an_exchange_that_was_begun_must_be_finished() {
        for must_prove in [false, true] {
            let (setting, mut answer) = (Setting::with_password(must_prove), Answer::default());
            setting.hears(&mut answer, SASL).unwrap();
            assert!(matches!(setting.hears(&mut answer, OK), Err(SessionError::Backend(BackendFailure::NotProven))));
        }
    }

    #[test]
    fn scram_out_of_turn_is_invalid() {
        let (setting, mut answer) = (Setting::with_password(true), Answer::default());
        setting.hears(&mut answer, SASL).unwrap();
        assert!(matches!(setting.hears(&mut answer, SASL), Err(SessionError::Backend(BackendFailure::ScramInvalid))));
        for code in [11, 12] {
            let outcome = setting.hears(&mut Answer::default(), &[&b"R\0\0\0\x08\0\0\0"[..], &[code]].concat());
            assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::ScramInvalid))), "{code}");
        }
    }

    #[test]
    fn a_password_is_given_by_scram_or_not_at_all() {
        for code in [2, 3, 5, 7, 9, 42] {
            let outcome = Setting::with_password(false).hears(&mut Answer::default(), &[&b"R\0\0\0\x08\0\0\0"[..], &[code]].concat());
            assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::AsksForPassword(asked))) if asked == u32::from(code)));
        }
        let outcome = Setting::without_password().hears(&mut Answer::default(), SASL);
        assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::AsksForPassword(10)))));
    }

    #[test]
    fn nothing_authenticates_twice() {
        let setting = Setting::with_password(false);
        for again in [OK, SASL] {
            let outcome = setting.hears(&mut Answer::default(), &[OK, again].concat());
            assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::Protocol(FrameError::Unexpected(b'R'))))));
        }
    }

    #[test]
    fn a_refusal_is_the_clients_unless_it_is_about_the_password() {
        let setting = Setting::with_password(false);
        for before in [&b""[..], OK] {
            let mut answer = Answer::default();
            let outcome = setting.hears(&mut answer, &[before, FATAL].concat());
            assert!(matches!(outcome, Err(SessionError::BackendRefused { sqlstate, .. }) if sqlstate == "28P01"));
            assert_eq!(answer.into_parts().0, [before, FATAL].concat());
        }
        let mut answer = Answer::default();
        setting.hears(&mut answer, SASL).unwrap();
        let outcome = setting.hears(&mut answer, FATAL);
        assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::PasswordRejected(said))) if said == "28P01 x"));
        assert!(answer.into_parts().0.is_empty());
    }

    #[test]
    fn a_shutdown_during_the_exchange_is_no_wrong_password() {
        let (setting, mut answer) = (Setting::with_password(false), Answer::default());
        setting.hears(&mut answer, SASL).unwrap();
        let outcome = setting.hears(&mut answer, SHUTDOWN);
        assert!(matches!(outcome, Err(SessionError::BackendRefused { sqlstate, .. }) if sqlstate == "57P01"));
        assert_eq!(answer.into_parts().0, SHUTDOWN);
    }

    #[test]
    fn who_has_yet_to_prove_that_it_is_the_backend_says_nothing_to_the_client() {
        for before in [&b""[..], SASL, NEGOTIATE] {
            let (setting, mut answer) = (Setting::with_password(true), Answer::default());
            let outcome = setting.hears(&mut answer, &[before, SHUTDOWN].concat());
            assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::RefusedUnproven(said))) if said == "57P01 x"));
            assert!(answer.into_parts().0.is_empty(), "{}", before.escape_ascii());
        }
        let (setting, mut answer) = (Setting::with_password(true), Answer::default());
        let outcome = setting.hears(&mut answer, &[NEGOTIATE, OK].concat());
        assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::NotProven))));
        assert!(answer.into_parts().0.is_empty());
    }

    #[test]
    fn a_refusal_before_any_exchange_is_no_wrong_password() {
        let (setting, mut answer) = (Setting::with_password(true), Answer::default());
        let outcome = setting.hears(&mut answer, FATAL);
        assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::RefusedUnproven(said))) if said == "28P01 x"));
    }

    #[test]
    fn the_version_is_negotiated_before_the_authentication() {
        for (behind, complete) in [([OK, STATUS].concat(), true), (FATAL.to_vec(), false)] {
            let (setting, mut answer) = (Setting::without_password(), Answer::default());
            assert_eq!(setting.hears(&mut answer, &[NEGOTIATE, &behind].concat()).is_ok(), complete);
            assert_eq!(answer.into_parts().0, [NEGOTIATE, &behind].concat());
        }
    }

    #[test]
    fn a_message_of_our_own_comes_before_the_first_ready_for_query() {
        let (setting, mut answer) = (Setting::without_password(), Answer::default());
        setting.hears(&mut answer, &[OK, KEY, READY, STATUS].concat()).unwrap();
        answer.put_before_ready(b"N...".to_vec());
        let (greeting, early, _) = answer.into_parts();
        assert_eq!((greeting, early), ([OK, KEY, b"N...", READY].concat(), STATUS.to_vec()));
    }

    #[test]
    fn a_greeting_without_end_is_given_up() {
        let (setting, mut answer) = (Setting::without_password(), Answer::default());
        setting.hears(&mut answer, OK).unwrap();
        let notice = [&b"N\0\0\xff\xff"[..], &[0; 0xffff - 4]].concat();
        let outcome = (0..5).try_for_each(|_| setting.hears(&mut answer, &notice).map(drop));
        assert!(matches!(outcome, Err(SessionError::Backend(BackendFailure::Protocol(FrameError::TooMuch)))));
        assert!(answer.into_parts().0.is_empty());
    }
}
