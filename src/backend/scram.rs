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
