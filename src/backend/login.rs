//! Postern's own answers to a backend that asks for a password: by SCRAM-SHA-256, or not at all.

use super::{BackendSettings, BackendTarget, Exchange, Passfile, Password, Wanted};
use crate::error::BackendFailure;
use crate::types::RoleName;
use crate::wire::{Authentication, FrameError, sasl_initial_response, sasl_response};

/// What a backend that asks for a password is given.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The password of `backend.passfile` for the role.
    pub password: Option<&'a Password>,
    /// Anybody on this machine could listen in the backend's place, so where there is a password it must prove that it knows it.
    pub must_prove: bool,
}

impl<'a> Credentials<'a> {
    /// What the password file has for a role and database; for physical replication the database is `replication`.
    pub fn of(settings: &BackendSettings, passfile: Option<&'a Passfile>, database: &[u8], role: &RoleName) -> Self {
        let wanted = Wanted { host: &settings.host, port: settings.port, database, user: role.as_bytes() };
        Self {
            password: passfile.and_then(|passfile| passfile.find(wanted)),
            must_prove: matches!(settings.target, BackendTarget::Loopback(_)),
        }
    }
}

/// A login at the backend, as far as it is about a password.
#[derive(Default)]
pub struct Login {
    exchange: Option<Exchange>,
    authenticated: bool,
}

impl Login {
    /// One in which the client itself has given the password.
    pub fn by_client() -> Self {
        Self { exchange: None, authenticated: true }
    }

    /// Whether AuthenticationOk was heard, and believed.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether the backend has asked for the password and was answered.
    pub fn has_begun_exchange(&self) -> bool {
        self.exchange.is_some()
    }

    /// Takes an Authentication message; gives what is to be sent to the backend, if anything.
    ///
    /// # Errors
    /// It asks for what is not there or not given, or its side of the exchange is at fault.
    pub fn hear(&mut self, authentication: Authentication<'_>, credentials: Credentials<'_>) -> Result<Vec<u8>, BackendFailure> {
        match (authentication, &mut self.exchange, credentials.password) {
            _ if self.authenticated => Err(BackendFailure::Protocol(FrameError::Unexpected(b'R'))),
            (Authentication::Ok, exchange, password) => {
                let proven = exchange.as_ref().map(Exchange::is_proven);
                if proven.unwrap_or(password.is_none() || !credentials.must_prove) {
                    self.authenticated = true;
                    Ok(Vec::new())
                } else {
                    Err(BackendFailure::NotProven)
                }
            }
            (Authentication::Sasl(mechanisms), None, Some(password)) => {
                let (exchange, mechanism, first) = Exchange::begin(password, mechanisms)?;
                self.exchange = Some(exchange);
                Ok(sasl_initial_response(mechanism, &first))
            }
            (Authentication::Sasl(_), None, None) => Err(BackendFailure::AsksForPassword(10)),
            (Authentication::SaslContinue(challenge), Some(exchange), _) => Ok(sasl_response(&exchange.answer(challenge)?)),
            (Authentication::SaslFinal(signature), Some(exchange), _) => exchange.verify(signature).map(|()| Vec::new()),
            (Authentication::Sasl(_) | Authentication::SaslContinue(_) | Authentication::SaslFinal(_), _, _) => {
                Err(BackendFailure::ScramInvalid)
            }
            (Authentication::Other(code), _, _) => Err(BackendFailure::AsksForPassword(code)),
        }
    }
}
