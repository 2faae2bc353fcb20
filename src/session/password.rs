//! The password exchange of a rule that says `scram-sha-256` with `clientcert: verify-full`: the backend asks, the client answers, and
//! Postern passes on what each says, once the certificate was checked. Both count.
//!
//! What is passed on is one exchange of SCRAM-SHA-256 (RFC 7677) and nothing else, in its order: a backend that lets the session in
//! without it, or asks for anything else, lets nobody in, and a client sends nothing but its answers. No password is known here.

use super::Transport;
use super::answer::Answer;
use super::login::Connecting;
use crate::error::{BackendFailure, PasswordFault, SessionError};
use crate::wire::{Authentication, BackendMessage, FrameError, authentication_sasl};

/// The only mechanism that is offered on: SCRAM-SHA-256-PLUS binds to a TLS channel that ends here.
const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// An exchange that is passed on, by whose turn it is and what must come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RelayedExchange {
    /// The backend's: AuthenticationSASL.
    #[default]
    Offer,
    /// The client's: SASLInitialResponse.
    Choice,
    /// The backend's: AuthenticationSASLContinue.
    Challenge,
    /// The client's: SASLResponse.
    Proof,
    /// The backend's: AuthenticationSASLFinal.
    Signature,
    /// The backend's: AuthenticationOk.
    Outcome,
    /// Nobody's: the client is authenticated.
    Complete,
}

/// The longest message of the backend's part that is passed on; PostgreSQL's are below 200 bytes.
const LONGEST_FROM_BACKEND: usize = 2048;
/// The length word of the longest message that PostgreSQL reads (src/backend/libpq/auth-sasl.c, PG_MAX_SASL_MESSAGE_LENGTH).
const LONGEST_FROM_CLIENT: u32 = 1024;

impl RelayedExchange {
    fn is_clients_turn(self) -> bool {
        match self {
            Self::Choice | Self::Proof => true,
            Self::Offer | Self::Challenge | Self::Signature | Self::Outcome | Self::Complete => false,
        }
    }

    /// What comes behind this Authentication message of the backend's.
    fn hear_backend(self, authentication: Authentication<'_>) -> Result<Self, PasswordFault> {
        match (self, authentication) {
            (Self::Offer, Authentication::Sasl(mechanisms)) => {
                let offered = mechanisms.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes());
                if offered { Ok(Self::Choice) } else { Err(PasswordFault::NoScram) }
            }
            (Self::Challenge, Authentication::SaslContinue(message)) if message.len() <= LONGEST_FROM_BACKEND => Ok(Self::Proof),
            (Self::Signature, Authentication::SaslFinal(message)) if message.len() <= LONGEST_FROM_BACKEND => Ok(Self::Outcome),
            (Self::Outcome, Authentication::Ok) => Ok(Self::Complete),
            (_, Authentication::Ok) => Err(PasswordFault::NotAsked),
            (_, Authentication::Other(code)) => Err(PasswordFault::AskedOtherwise(code)),
            (_, Authentication::Sasl(_) | Authentication::SaslContinue(_) | Authentication::SaslFinal(_)) => Err(PasswordFault::OutOfTurn),
        }
    }

    /// What comes behind this password message of the client's, given without type and length.
    fn hear_client(self, body: &[u8]) -> Result<Self, PasswordFault> {
        match self {
            // SASLInitialResponse: the mechanism, and the length of the client's first message, which is there (not -1).
            Self::Choice => match body.strip_prefix(SCRAM_SHA_256.as_bytes()).and_then(|rest| rest.split_first_chunk::<5>()) {
                Some(([0, length @ ..], first)) if usize::try_from(u32::from_be_bytes(*length)) == Ok(first.len()) => Ok(Self::Challenge),
                Some(_) | None => Err(PasswordFault::ClientMechanism),
            },
            Self::Proof => Ok(Self::Signature),
            Self::Offer | Self::Challenge | Self::Signature | Self::Outcome | Self::Complete => Err(PasswordFault::ClientMessage(b'p')),
        }
    }
}

impl<S: Transport> Connecting<S> {
    /// Passes the exchange on, up to AuthenticationOk, which is left for `answer` with what follows it. Before that the client hears
    /// what is of the exchange, what negotiates the protocol's version, and a refusal.
    pub(super) async fn relay_password(&mut self, answer: &mut Answer) -> Result<(), SessionError> {
        let mut exchange = RelayedExchange::default();
        let mut inbound = Vec::new();
        loop {
            if exchange.is_clients_turn() {
                let message = self.read_password_message().await?;
                exchange = exchange.hear_client(message.get(5..).unwrap_or_default()).map_err(|fault| self.password(fault))?;
                self.tell_backend(&message).await;
                continue;
            }
            let decoded = BackendMessage::decode_login(&inbound).map_err(|error| SessionError::Backend(BackendFailure::Protocol(error)))?;
            let Some((message, length)) = decoded else {
                self.receive(&mut inbound, false).await?;
                continue;
            };
            let raw = inbound.get(..length).unwrap_or_default();
            match message {
                BackendMessage::Authentication(authentication) => {
                    let next = exchange.hear_backend(authentication).map_err(|fault| self.password(fault))?;
                    match exchange {
                        RelayedExchange::Outcome => {
                            answer.admit(inbound);
                            return Ok(());
                        }
                        RelayedExchange::Offer => self.tell_client(&authentication_sasl(SCRAM_SHA_256)).await?,
                        RelayedExchange::Choice
                        | RelayedExchange::Challenge
                        | RelayedExchange::Proof
                        | RelayedExchange::Signature
                        | RelayedExchange::Complete => self.tell_client(raw).await?,
                    }
                    exchange = next;
                }
                BackendMessage::ErrorResponse(fields) => return Err(answer.pass_refusal(fields, raw)),
                BackendMessage::ForClient if matches!(raw, [b'v', ..]) && exchange == RelayedExchange::Offer => {
                    self.tell_client(raw).await?;
                }
                BackendMessage::ForClient | BackendMessage::BackendKeyData(..) | BackendMessage::ReadyForQuery => {
                    let kind = raw.first().copied().unwrap_or_default();
                    return Err(SessionError::Backend(BackendFailure::Protocol(FrameError::Unexpected(kind))));
                }
            }
            inbound.drain(..length);
        }
    }

    /// A whole password message of the client's, and nothing behind it.
    async fn read_password_message(&mut self) -> Result<Vec<u8>, SessionError> {
        let mut head = [0; 5];
        self.read_exact_from_client(&mut head).await?;
        let [kind, word @ ..] = head;
        let length = u32::from_be_bytes(word);
        if kind != b'p' {
            return Err(self.password(PasswordFault::ClientMessage(kind)));
        }
        let body = length.checked_sub(4).filter(|_| length <= LONGEST_FROM_CLIENT).and_then(|body| usize::try_from(body).ok());
        let Some(body) = body else { return Err(self.password(PasswordFault::ClientLength(length))) };
        let mut message = head.to_vec();
        message.resize(body.saturating_add(head.len()), 0);
        self.read_exact_from_client(message.get_mut(head.len()..).unwrap_or_default()).await?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Authentication<'_> = Authentication::Sasl(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    const CHOICE: &[u8] = b"SCRAM-SHA-256\0\0\0\0\x05n,,n=";

    /// The exchange after its first `steps` steps.
    fn after(steps: usize) -> RelayedExchange {
        let all: [fn(RelayedExchange) -> Result<RelayedExchange, PasswordFault>; 6] = [
            |exchange| exchange.hear_backend(OFFER),
            |exchange| exchange.hear_client(CHOICE),
            |exchange| exchange.hear_backend(Authentication::SaslContinue(b"r=")),
            |exchange| exchange.hear_client(b"c="),
            |exchange| exchange.hear_backend(Authentication::SaslFinal(b"v=")),
            |exchange| exchange.hear_backend(Authentication::Ok),
        ];
        all.iter().take(steps).try_fold(RelayedExchange::default(), |exchange, step| step(exchange)).unwrap()
    }

    #[test]
    fn an_exchange_is_complete_after_all_its_steps_and_not_before() {
        assert_eq!(after(6), RelayedExchange::Complete);
        for steps in 0..5 {
            assert_eq!(after(steps).hear_backend(Authentication::Ok), Err(PasswordFault::NotAsked), "{steps}");
        }
    }

    #[test]
    fn nothing_else_is_asked_of_the_client() {
        for steps in 0..6 {
            for code in [2, 3, 5, 7, 9, 42] {
                assert_eq!(after(steps).hear_backend(Authentication::Other(code)), Err(PasswordFault::AskedOtherwise(code)));
            }
        }
        for mechanisms in [&b"SCRAM-SHA-256-PLUS\0\0"[..], b"OAUTHBEARER\0\0", b"XSCRAM-SHA-256\0\0", b""] {
            assert_eq!(after(0).hear_backend(Authentication::Sasl(mechanisms)), Err(PasswordFault::NoScram));
        }
    }

    #[test]
    fn every_step_has_its_turn() {
        for steps in 1..6 {
            assert_eq!(after(steps).hear_backend(OFFER), Err(PasswordFault::OutOfTurn), "{steps}");
        }
        for steps in [0, 1, 3, 4, 5] {
            assert_eq!(after(steps).hear_backend(Authentication::SaslContinue(b"r=")), Err(PasswordFault::OutOfTurn), "{steps}");
        }
        for steps in [0, 1, 2, 3, 5] {
            assert_eq!(after(steps).hear_backend(Authentication::SaslFinal(b"v=")), Err(PasswordFault::OutOfTurn), "{steps}");
        }
        for steps in [0, 2, 4, 5] {
            assert!(!after(steps).is_clients_turn() && after(steps).hear_client(CHOICE).is_err(), "{steps}");
        }
    }

    #[test]
    fn a_message_of_the_backends_that_is_too_long_is_not_passed_on() {
        let long = [b'a'; LONGEST_FROM_BACKEND + 1];
        assert_eq!(after(2).hear_backend(Authentication::SaslContinue(&long)), Err(PasswordFault::OutOfTurn));
        assert_eq!(after(4).hear_backend(Authentication::SaslFinal(&long)), Err(PasswordFault::OutOfTurn));
    }

    #[test]
    fn the_client_takes_the_mechanism_that_it_was_offered() {
        for choice in [
            &b"SCRAM-SHA-256-PLUS\0\0\0\0\x05n,,n="[..],
            b"SCRAM-SHA-256\0\xff\xff\xff\xff",
            b"SCRAM-SHA-256\0\0\0\0\x06n,,n=",
            b"SCRAM-SHA-256\0\0\0\0",
            b"SCRAM-SHA-256",
            b"PLAIN\0\0\0\0\x01x",
            b"",
        ] {
            assert_eq!(after(1).hear_client(choice), Err(PasswordFault::ClientMechanism), "{}", choice.escape_ascii());
        }
    }
}
