//! A connection of Postern's own: it logs in as one role and asks what it must know, and carries nothing of any client's.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::{BackendStream, open};
use super::{BackendSettings, Credentials, Login, Passfile};
use crate::error::BackendFailure;
use crate::types::{DatabaseName, RoleName};
use crate::wire::{Authentication, BackendMessage, ErrorFields, FrameError, QueryMessage, query, startup_packet, terminate};

/// The most that an answer, or the greeting, may hold.
const MAX_ANSWER_LENGTH: usize = 256 * 1024;

/// A row's columns as text; `None` is NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// A session at the backend.
pub struct Client {
    stream: BackendStream,
    inbound: Vec<u8>,
}

impl Client {
    /// Connects and logs in. Every statement of the session ends within `patience` on the backend's side too: one that waits for a
    /// lock does not stay there when nobody waits for it any more. The caller bounds the time on this side.
    ///
    /// # Errors
    /// The backend cannot be reached, refuses, or is none.
    pub async fn log_in(
        settings: &BackendSettings,
        passfile: Option<&Passfile>,
        role: &RoleName,
        database: &'static str,
        patience: Duration,
    ) -> Result<Self, BackendFailure> {
        let mut client = Self { stream: open(settings).await?, inbound: Vec::new() };
        let timeout = patience.as_millis().to_string();
        client
            .send(&startup_packet(&[
                ("user", role.as_bytes()),
                ("database", database.as_bytes()),
                ("application_name", b"postern"),
                // Names come and go as the bytes that they are, whatever the database's encoding.
                ("client_encoding", b"SQL_ASCII"),
                ("statement_timeout", timeout.as_bytes()),
            ]))
            .await?;
        client.greet(Credentials::of(settings, passfile, database.as_bytes(), role)).await?;
        Ok(client)
    }

    async fn greet(&mut self, credentials: Credentials<'_>) -> Result<(), BackendFailure> {
        let mut login = Login::default();
        let mut heard = 0_usize;
        loop {
            let inbound = std::mem::take(&mut self.inbound);
            let mut rest = inbound.as_slice();
            while let Some((message, length)) = BackendMessage::decode_login(rest).map_err(BackendFailure::Protocol)? {
                let unproven = !login.is_authenticated() && credentials.password.is_some() && credentials.must_prove;
                match message {
                    BackendMessage::Authentication(authentication) => {
                        let reply = login.hear(authentication, credentials)?;
                        self.send(&reply).await?;
                    }
                    BackendMessage::ErrorResponse(fields) if unproven => return Err(BackendFailure::RefusedUnproven(said(fields))),
                    BackendMessage::ErrorResponse(fields) => return Err(refused(fields)),
                    BackendMessage::ReadyForQuery if login.is_authenticated() => return Ok(()),
                    BackendMessage::ReadyForQuery => return Err(BackendFailure::Protocol(FrameError::Unexpected(b'Z'))),
                    BackendMessage::BackendKeyData(..) | BackendMessage::ForClient => {}
                }
                rest = rest.get(length..).unwrap_or_default();
                heard = heard.saturating_add(length);
            }
            self.inbound = rest.to_vec();
            self.receive(heard).await?;
        }
    }

    /// Asks one statement; the parameters are `bytea`.
    ///
    /// # Errors
    /// The backend refuses it, is gone, or answers with what is no answer.
    pub async fn query(&mut self, sql: &'static str, parameters: &[&[u8]]) -> Result<Vec<Row>, BackendFailure> {
        self.send(&query(sql, parameters)).await?;
        let (mut rows, mut error, mut heard) = (Vec::new(), None, 0_usize);
        loop {
            let inbound = std::mem::take(&mut self.inbound);
            let mut rest = inbound.as_slice();
            while let Some((message, length)) = QueryMessage::decode(rest).map_err(BackendFailure::Protocol)? {
                rest = rest.get(length..).unwrap_or_default();
                heard = heard.saturating_add(length);
                match message {
                    QueryMessage::DataRow(columns) => rows.push(columns.iter().map(|column| column.map(<[u8]>::to_vec)).collect()),
                    QueryMessage::ErrorResponse(fields) => error = Some(refused(fields)),
                    QueryMessage::ReadyForQuery => {
                        self.inbound = rest.to_vec();
                        return error.map_or(Ok(rows), Err);
                    }
                    QueryMessage::Other => {}
                }
            }
            self.inbound = rest.to_vec();
            self.receive(heard).await?;
        }
    }

    /// Leaves in order.
    pub async fn close(mut self) {
        let _ = self.send(&terminate()).await;
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), BackendFailure> {
        self.stream.write_all(bytes).await.map_err(|_| BackendFailure::Closed)
    }

    /// Waits for more of an answer of which `heard` bytes have been understood.
    async fn receive(&mut self, heard: usize) -> Result<(), BackendFailure> {
        if heard.saturating_add(self.inbound.len()) > MAX_ANSWER_LENGTH {
            return Err(BackendFailure::Protocol(FrameError::TooMuch));
        }
        match self.stream.read_buf(&mut self.inbound).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(BackendFailure::Closed),
        }
    }
}

/// Whether the backend lets a role in without asking for anything: into a database, or without one as a walsender. It leaves as soon as
/// that is known.
///
/// # Errors
/// It cannot be reached, or says neither: it is starting up, or is none.
pub async fn admits(settings: &BackendSettings, role: &RoleName, database: Option<&DatabaseName>) -> Result<bool, BackendFailure> {
    let mut client = Client { stream: open(settings).await?, inbound: Vec::new() };
    let wish: (_, &[u8]) = database.map_or(("replication", b"true"), |name| ("database", name.as_bytes()));
    client.send(&startup_packet(&[("user", role.as_bytes()), wish, ("application_name", b"postern")])).await?;
    let mut heard = 0_usize;
    loop {
        // What comes first decides, but for AuthenticationOk: that a role is none, or may not do this, is said behind it.
        let inbound = client.inbound.get(heard..).unwrap_or_default();
        match BackendMessage::decode_login(inbound).map_err(BackendFailure::Protocol)? {
            Some((BackendMessage::Authentication(Authentication::Ok), length)) if heard == 0 => heard = length,
            Some((BackendMessage::Authentication(_), _)) => return Ok(false),
            Some((BackendMessage::ErrorResponse(fields), _)) => return admitted_although(fields, heard > 0),
            Some((BackendMessage::BackendKeyData(..) | BackendMessage::ReadyForQuery | BackendMessage::ForClient, _)) if heard > 0 => {
                return Ok(true);
            }
            Some((BackendMessage::BackendKeyData(..) | BackendMessage::ReadyForQuery | BackendMessage::ForClient, _)) => {
                return Err(BackendFailure::Protocol(FrameError::Unexpected(client.inbound.first().copied().unwrap_or_default())));
            }
            None => client.receive(0).await?,
        }
    }
}

/// What an error says of it: class 28 (invalid authorization) and 42501 (insufficient privilege) keep the role out; another one, behind
/// AuthenticationOk, is about what it would have found.
fn admitted_although(fields: ErrorFields<'_>, authenticated: bool) -> Result<bool, BackendFailure> {
    let sqlstate = fields.sqlstate();
    match sqlstate.starts_with("28") || sqlstate == "42501" {
        true => Ok(false),
        false if authenticated => Ok(true),
        false => Err(refused(fields)),
    }
}

fn refused(fields: ErrorFields<'_>) -> BackendFailure {
    BackendFailure::Refused { sqlstate: fields.sqlstate().to_owned(), message: text(fields) }
}

fn said(fields: ErrorFields<'_>) -> String {
    format!("{} {}", fields.sqlstate(), text(fields))
}

/// The message, printable: quotes stay, control bytes do not.
fn text(fields: ErrorFields<'_>) -> String {
    String::from_utf8_lossy(fields.field(b'M').unwrap_or_default()).replace(char::is_control, " ")
}
