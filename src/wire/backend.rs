//! The backend's messages: those that Postern must understand, the ones it sends itself, and the backend's half of "is this
//! session idle".

use std::fmt;

use super::scan::{InvalidLength, MessageScanner};
use super::{CancelKey, FrontendScanner, SqlState};

/// The state that ReadyForQuery tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: no transaction.
    Idle,
    /// `T`: in a transaction.
    Open,
    /// `E`: in a transaction that has failed.
    Failed,
}

impl TransactionStatus {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Open),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }
}

/// Follows the backend's messages: boundaries, and what the last ReadyForQuery said.
#[derive(Debug)]
pub struct BackendScanner {
    messages: MessageScanner,
    /// `None` from any other message on until the next ReadyForQuery.
    ready: Option<TransactionStatus>,
    /// CommandCompletes seen.
    statements: u64,
    /// ErrorResponses seen.
    errors: u64,
    /// The last whole message was an ErrorResponse.
    ended_with_error: bool,
}

impl BackendScanner {
    /// A scanner for the bytes that follow the first ReadyForQuery of a session.
    pub fn after_login() -> Self {
        Self {
            messages: MessageScanner::default(),
            ready: Some(TransactionStatus::Idle),
            statements: 0,
            errors: 0,
            ended_with_error: false,
        }
    }

    /// Takes the next bytes from the backend and tells `frontend` what they answer. Returns the length of the part that ends with
    /// the last whole message.
    ///
    /// # Errors
    /// [`InvalidLength`], as [`MessageScanner::scan`].
    #[inline]
    pub fn feed(&mut self, chunk: &[u8], frontend: &mut FrontendScanner) -> Result<usize, InvalidLength> {
        let Self { messages, ready, statements, errors, ended_with_error } = self;
        messages.scan(
            chunk,
            |_| usize::MAX,
            |piece| match piece.kind {
                // Of any other length it is none: libpq does not take it either (fe-protocol3.c, pqParseInput3: "message contents do not
                // agree").
                b'Z' if piece.length == 1 => {
                    if let [status] = piece.body {
                        *ready = TransactionStatus::from_byte(*status);
                        frontend.answered();
                    }
                    *ended_with_error = false;
                }
                // Asynchronous messages leave an idle session idle.
                b'A' | b'N' | b'S' => *ended_with_error = false,
                kind => {
                    *ready = None;
                    *ended_with_error = kind == b'E';
                    match kind {
                        b'C' if piece.first => *statements = statements.saturating_add(1),
                        b'E' if piece.first => *errors = errors.saturating_add(1),
                        b'G' | b'W' if piece.first => frontend.copying_began(),
                        _ => {}
                    }
                }
            },
        )
    }

    /// Whether the last byte was the last of a message: only here may a message of our own be put in.
    pub fn at_boundary(&self) -> bool {
        self.messages.at_boundary()
    }

    /// What the last message said, if it was ReadyForQuery.
    pub fn ready(&self) -> Option<TransactionStatus> {
        self.ready
    }

    /// Whether the last message was an ErrorResponse: a backend that closes behind one has told the client why.
    pub fn ended_with_error(&self) -> bool {
        self.ended_with_error
    }

    /// Statements that were completed.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    /// ErrorResponses seen.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

/// What the backend wants by an Authentication message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// The session is authenticated.
    Ok,
    /// SASL is asked for; the names of the mechanisms, each NUL-terminated.
    Sasl(&'a [u8]),
    /// The SASL server's challenge.
    SaslContinue(&'a [u8]),
    /// The SASL server's last message.
    SaslFinal(&'a [u8]),
    /// Anything else, by its code: 3 cleartext password, 5 MD5, 7 and 8 GSSAPI, 9 SSPI.
    Other(u32),
}

/// A message of the backend's during the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendMessage<'a> {
    /// AuthenticationOk, or a request for more.
    Authentication(Authentication<'a>),
    /// The session's process ID and key; no key where its length is not 4 to 256 bytes.
    BackendKeyData(u32, Option<CancelKey>),
    /// The login is complete.
    ReadyForQuery,
    /// The backend refuses.
    ErrorResponse(ErrorFields<'a>),
    /// NoticeResponse, ParameterStatus or NegotiateProtocolVersion: for the client.
    ForClient,
}

/// A message that no PostgreSQL sends where it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A length word that is impossible or beyond the limit.
    Length(u32),
    /// A message that has no place here, by its type byte.
    Unexpected(u8),
    /// A message whose body does not fit its type.
    Malformed(u8),
    /// More messages than any login or answer has.
    TooMuch,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a message of {length} bytes"),
            Self::Unexpected(kind) => write!(f, "the unexpected message '{}'", kind.escape_ascii()),
            Self::TooMuch => write!(f, "too much before ReadyForQuery"),
            Self::Malformed(kind) => write!(f, "the malformed message '{}'", kind.escape_ascii()),
        }
    }
}

impl<'a> BackendMessage<'a> {
    /// The longest message of a login; PostgreSQL's own are below 1 KiB, a login trigger's notices may be longer.
    pub const MAX_LOGIN_MESSAGE_LENGTH: usize = 65_536;

    /// Reads the first message of `bytes` with its whole length; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`], before more is asked for.
    pub fn decode_login(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((kind, body)) = frame(bytes, Self::MAX_LOGIN_MESSAGE_LENGTH)? else { return Ok(None) };
        let message = match kind {
            b'R' => decode_authentication(body).ok_or(FrameError::Malformed(kind))?,
            b'K' => {
                let (pid, key) = body.split_first_chunk::<4>().ok_or(FrameError::Malformed(kind))?;
                Self::BackendKeyData(u32::from_be_bytes(*pid), CancelKey::new(key))
            }
            b'Z' if matches!(body, [status] if TransactionStatus::from_byte(*status).is_some()) => Self::ReadyForQuery,
            b'Z' => return Err(FrameError::Malformed(kind)),
            b'E' => Self::ErrorResponse(ErrorFields(body)),
            b'N' | b'S' | b'v' => Self::ForClient,
            kind => return Err(FrameError::Unexpected(kind)),
        };
        Ok(Some((message, body.len().saturating_add(5))))
    }
}

/// The type and body of the first message of `bytes`; `None` if more bytes are needed. `longest` bounds the length word.
pub(super) fn frame(bytes: &[u8], longest: usize) -> Result<Option<(u8, &[u8])>, FrameError> {
    let Some(([kind, word @ ..], rest)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
    let length = u32::from_be_bytes(*word);
    let body = usize::try_from(length)
        .ok()
        .filter(|length| *length <= longest)
        .and_then(|length| length.checked_sub(4))
        .ok_or(FrameError::Length(length))?;
    Ok(rest.get(..body).map(|body| (*kind, body)))
}

fn decode_authentication(body: &[u8]) -> Option<BackendMessage<'_>> {
    let (code, rest) = body.split_first_chunk::<4>()?;
    let authentication = match u32::from_be_bytes(*code) {
        0 => rest.is_empty().then_some(Authentication::Ok)?,
        10 => Authentication::Sasl(rest),
        11 => Authentication::SaslContinue(rest),
        12 => Authentication::SaslFinal(rest),
        code => Authentication::Other(code),
    };
    Some(BackendMessage::Authentication(authentication))
}

/// The fields of an ErrorResponse that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorFields<'a>(&'a [u8]);

impl<'a> ErrorFields<'a> {
    /// The body of an ErrorResponse.
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// Field C; `XX000` where it is not five digits and capitals, as every SQLSTATE is.
    pub fn sqlstate(&self) -> &'a str {
        let sound = |code: &&[u8]| code.len() == 5 && code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        let code = self.field(b'C').filter(sound).and_then(|code| std::str::from_utf8(code).ok());
        code.unwrap_or(SqlState::INTERNAL_ERROR.code())
    }

    /// The first field of this type, if the message has one.
    /// <https://www.postgresql.org/docs/current/protocol-error-fields.html>
    pub fn field(&self, wanted: u8) -> Option<&'a [u8]> {
        self.0.split(|byte| *byte == 0).find_map(|field| match field {
            [kind, value @ ..] if *kind == wanted => Some(value),
            _ => None,
        })
    }
}

/// AuthenticationSASL with one mechanism.
pub fn authentication_sasl(mechanism: &str) -> Vec<u8> {
    let length = u32::try_from(mechanism.len().saturating_add(10)).unwrap_or(u32::MAX).to_be_bytes();
    [&b"R"[..], &length, &10_u32.to_be_bytes(), mechanism.as_bytes(), &[0, 0]].concat()
}

/// SASLInitialResponse: the mechanism that was chosen, and the client's first message.
pub fn sasl_initial_response(mechanism: &str, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    password_message(&[mechanism.as_bytes(), &[0], &length, message].concat())
}

/// SASLResponse: the client's answer to a challenge.
pub fn sasl_response(message: &[u8]) -> Vec<u8> {
    password_message(message)
}

fn password_message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX).to_be_bytes();
    [&[b'p'][..], &length, body].concat()
}

/// A FATAL of our own, in PostgreSQL's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// Field C.
    pub sqlstate: SqlState,
    /// Field M: as PostgreSQL sends it, in the bytes of the names it quotes.
    pub message: Vec<u8>,
    /// Field D.
    pub detail: Option<String>,
    /// Field H.
    pub hint: Option<String>,
}

impl ErrorResponse {
    /// One with neither detail nor hint.
    pub fn new(sqlstate: SqlState, message: impl Into<Vec<u8>>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// The message with type byte and length.
    pub fn encode(&self) -> Vec<u8> {
        let (detail, hint) = (self.detail.as_deref(), self.hint.as_deref());
        encode_fields(b'E', "FATAL", self.sqlstate, &self.message, [(b'D', detail), (b'H', hint)])
    }

    /// The message as clients of protocol 2 read it: severity and text alone
    /// (src/backend/utils/error/elog.c, send_message_to_frontend).
    pub fn encode_version_2(&self) -> Vec<u8> {
        let mut packet = b"EFATAL:  ".to_vec();
        packet.extend(self.message.iter().copied().filter(|byte| *byte != 0));
        packet.extend_from_slice(b"\n\0");
        packet
    }
}

/// A NoticeResponse of severity NOTICE, as PostgreSQL sends one.
pub fn notice_response(message: &str, detail: Option<&str>) -> Vec<u8> {
    encode_fields(b'N', "NOTICE", SqlState::SUCCESSFUL_COMPLETION, message.as_bytes(), [(b'D', detail), (b'H', None)])
}

/// ErrorResponse and NoticeResponse differ in their first byte alone.
fn encode_fields(kind: u8, severity: &str, sqlstate: SqlState, message: &[u8], more: [(u8, Option<&str>); 2]) -> Vec<u8> {
    let mut packet = vec![kind, 0, 0, 0, 0];
    let mut field = |kind: u8, value: &[u8]| {
        packet.push(kind);
        packet.extend(value.iter().copied().filter(|byte| *byte != 0));
        packet.push(0);
    };
    field(b'S', severity.as_bytes());
    field(b'V', severity.as_bytes());
    field(b'C', sqlstate.code().as_bytes());
    field(b'M', message);
    more.iter().for_each(|(kind, value)| value.iter().for_each(|value| field(*kind, value.as_bytes())));
    packet.push(0);
    let length = u32::try_from(packet.len().saturating_sub(1)).unwrap_or(u32::MAX);
    packet.splice(1..5, length.to_be_bytes());
    packet
}

#[cfg(test)]
mod tests;
