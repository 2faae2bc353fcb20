//! SCRAM-SHA-256 towards a backend that asks for it (RFC 5802, RFC 7677; postgres-protocol does the arithmetic). The backend is not
//! trusted: sizes and iterations have limits, and it must prove that it knows the password too.

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

use super::Password;
use crate::error::BackendFailure;

/// The most iterations that are computed; PostgreSQL's default is 4096 (CVE-2026-42198: a server that asks for billions).
const MAX_ITERATIONS: u32 = 100_000;
/// The longest message of the server's that is read.
const MAX_MESSAGE_LENGTH: usize = 2048;

/// An exchange of which the client's first message has been sent.
pub struct Exchange {
    scram: ScramSha256,
    state: State,
}

/// Which message of the server's comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Challenge,
    Signature,
    Proven,
}

impl Exchange {
    /// Begins; gives the mechanism's name and the client's first message. `mechanisms` is the body of AuthenticationSASL.
    ///
    /// # Errors
    /// [`BackendFailure::NoScram`]
    pub fn begin(password: &Password, mechanisms: &[u8]) -> Result<(Self, &'static str, Vec<u8>), BackendFailure> {
        if !mechanisms.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
            return Err(BackendFailure::NoScram);
        }
        let scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let first = scram.message().to_vec();
        Ok((Self { scram, state: State::Challenge }, SCRAM_SHA_256, first))
    }

    /// Answers the server's challenge (AuthenticationSASLContinue) with the client's final message.
    ///
    /// # Errors
    /// [`BackendFailure::ScramInvalid`], before anything is computed.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, BackendFailure> {
        let sound = self.state == State::Challenge
            && challenge.len() <= MAX_MESSAGE_LENGTH
            && iterations(challenge).is_some_and(|count| (1..=MAX_ITERATIONS).contains(&count));
        if !sound {
            return Err(BackendFailure::ScramInvalid);
        }
        self.scram.update(challenge).map_err(|_| BackendFailure::ScramInvalid)?;
        self.state = State::Signature;
        Ok(self.scram.message().to_vec())
    }

    /// Verifies the server's signature (AuthenticationSASLFinal).
    ///
    /// # Errors
    /// [`BackendFailure::NotProven`] if it is wrong.
    pub fn verify(&mut self, signature: &[u8]) -> Result<(), BackendFailure> {
        if self.state != State::Signature || signature.len() > MAX_MESSAGE_LENGTH {
            return Err(BackendFailure::ScramInvalid);
        }
        self.scram.finish(signature).map_err(|_| BackendFailure::NotProven)?;
        self.state = State::Proven;
        Ok(())
    }

    /// Whether the server has proven that it knows the password.
    pub fn is_proven(&self) -> bool {
        self.state == State::Proven
    }
}

/// The attribute `i` of the server's first message: `r=nonce,s=salt,i=count`.
fn iterations(challenge: &[u8]) -> Option<u32> {
    let value = challenge.split(|byte| *byte == b',').nth(2)?.strip_prefix(b"i=")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use aws_lc_rs::{hmac, pbkdf2};

    use super::super::{Passfile, Wanted};
    use super::*;

    /// "saltsalt".
    const CHALLENGE: &str = "more,s=c2FsdHNhbHQ=,i=4096";

    fn password(text: &str) -> Password {
        let file = Passfile::parse(format!("*:*:*:*:{text}").as_bytes()).unwrap();
        file.find(Wanted { host: "localhost", port: 5432, database: b"", user: b"" }).unwrap().clone()
    }

    /// An exchange, and the client's first message without its GS2 header.
    fn begun() -> (Exchange, String) {
        let (exchange, mechanism, first) = Exchange::begin(&password("pencil"), b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0").unwrap();
        assert_eq!(mechanism, "SCRAM-SHA-256");
        let first = String::from_utf8(first).unwrap();
        (exchange, first.strip_prefix("n,,").unwrap().to_owned())
    }

    /// As PostgreSQL answers, with what follows the client's nonce.
    fn challenge(first: &str, rest: &str) -> String {
        format!("{}{rest}", first.strip_prefix("n=,").unwrap())
    }

    /// The last message of a server that knows this password (RFC 5802, section 3).
    fn signature(password: &str, first: &str, challenge: &str, last: &[u8]) -> String {
        let mac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::new(4096).unwrap(), b"saltsalt", password.as_bytes(), &mut salted);
        let last = String::from_utf8(last.to_vec()).unwrap();
        let (without_proof, _) = last.rsplit_once(",p=").unwrap();
        let signed = mac(mac(&salted, b"Server Key").as_ref(), format!("{first},{challenge},{without_proof}").as_bytes());
        format!("v={}", base64(signed.as_ref()))
    }

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let encode = |chunk: &[u8]| {
            let bits = (0..3).fold(0usize, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or_default()));
            let digit = |i: usize| if i > chunk.len() { '=' } else { ALPHABET[bits >> (18 - 6 * i) & 63].into() };
            (0..4).map(digit).collect::<String>()
        };
        bytes.chunks(3).map(encode).collect()
    }

    #[test]
    fn a_server_that_knows_the_password_is_proven() {
        let (mut exchange, first) = begun();
        let challenge = challenge(&first, CHALLENGE);
        let last = exchange.answer(challenge.as_bytes()).unwrap();
        assert!(!exchange.is_proven());
        exchange.verify(signature("pencil", &first, &challenge, &last).as_bytes()).unwrap();
        assert!(exchange.is_proven());
    }

    #[test]
    fn a_server_that_does_not_know_it_is_not() {
        for last_word in [|right: String| right.replace("v=", "v=A"), |_| "v=".into(), |_| "e=other-error".into(), |_| String::new()] {
            let (mut exchange, first) = begun();
            let challenge = challenge(&first, CHALLENGE);
            let last = exchange.answer(challenge.as_bytes()).unwrap();
            let said: String = last_word(signature("pencil", &first, &challenge, &last));
            assert!(matches!(exchange.verify(said.as_bytes()), Err(BackendFailure::NotProven)), "{said}");
            assert!(!exchange.is_proven(), "{said}");
        }
        let (mut exchange, first) = begun();
        let challenge = challenge(&first, CHALLENGE);
        let last = exchange.answer(challenge.as_bytes()).unwrap();
        let of_another = signature("pen", &first, &challenge, &last);
        assert!(matches!(exchange.verify(of_another.as_bytes()), Err(BackendFailure::NotProven)));
    }

    #[test]
    fn challenges_that_no_postgresql_sends_are_not_answered() {
        for rest in [
            "more,s=c2FsdHNhbHQ=,i=0",
            "more,s=c2FsdHNhbHQ=,i=100001",
            "more,s=c2FsdHNhbHQ=,i=4294967296",
            "more,s=c2FsdHNhbHQ=,i=-1",
            "more,s=c2FsdHNhbHQ=,i=",
            "more,s=c2FsdHNhbHQ=,i=4096,x=1",
            "more,s=c2FsdHNhbHQ=",
            "more,s=***,i=4096",
            "",
        ] {
            let (mut exchange, first) = begun();
            let answer = exchange.answer(challenge(&first, rest).as_bytes());
            assert!(matches!(answer, Err(BackendFailure::ScramInvalid)), "{rest}: {answer:?}");
        }
        let (mut exchange, first) = begun();
        let long = challenge(&first, &format!("{}{CHALLENGE}", "m".repeat(MAX_MESSAGE_LENGTH)));
        assert!(matches!(exchange.answer(long.as_bytes()), Err(BackendFailure::ScramInvalid)));
        let (mut exchange, _) = begun();
        assert!(matches!(exchange.answer(format!("r=another{CHALLENGE}").as_bytes()), Err(BackendFailure::ScramInvalid)));
    }

    #[test]
    fn messages_out_of_turn_are_invalid() {
        let (mut exchange, first) = begun();
        assert!(matches!(exchange.verify(b"v=AAAA"), Err(BackendFailure::ScramInvalid)));
        let challenge = challenge(&first, CHALLENGE);
        exchange.answer(challenge.as_bytes()).unwrap();
        assert!(matches!(exchange.answer(challenge.as_bytes()), Err(BackendFailure::ScramInvalid)));
    }

    #[test]
    fn only_scram_sha_256_itself_is_chosen() {
        for mechanisms in [&b"SCRAM-SHA-256-PLUS\0OAUTHBEARER\0\0"[..], b"\0", b"", b"XSCRAM-SHA-256\0\0"] {
            assert!(matches!(Exchange::begin(&password("pencil"), mechanisms), Err(BackendFailure::NoScram)));
        }
    }
}
