//! A statement of Postern's own, by the extended protocol: what is put into it travels beside it, never inside the SQL.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>

use super::backend::frame;
use super::{ErrorFields, FrameError};

/// `bytea` (src/include/catalog/pg_type.dat): a parameter of this type arrives as it is, whatever the encoding.
const BYTEA: u32 = 17;
/// The longest message of an answer that is read; catalog rows are a hundred times shorter.
const MAX_MESSAGE_LENGTH: usize = 65_536;

/// Parse, Bind, Execute and Sync of one statement; each parameter is a `bytea`, the result's columns are text.
pub fn query(sql: &'static str, parameters: &[&[u8]]) -> Vec<u8> {
    let count = u16::try_from(parameters.len()).unwrap_or(u16::MAX).to_be_bytes();
    let types = BYTEA.to_be_bytes().repeat(parameters.len());
    let values: Vec<u8> = parameters.iter().flat_map(|value| [&word(value.len())[..], value].concat()).collect();
    let parse = [&b"\0"[..], sql.as_bytes(), b"\0", &count, &types].concat();
    // Neither portal nor statement has a name; one format code is for all parameters (binary), none is text for all columns.
    let bind = [&b"\0\0"[..], &[0, 1, 0, 1], &count, &values, &[0, 0]].concat();
    [message(b'P', &parse), message(b'B', &bind), message(b'E', &[0, 0, 0, 0, 0]), message(b'S', b"")].concat()
}

/// Terminate.
pub fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &word(body.len().saturating_add(4)), body].concat()
}

fn word(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// A message of the backend's answer to [`query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryMessage<'a> {
    /// A row's columns; `None` is NULL.
    DataRow(Vec<Option<&'a [u8]>>),
    /// The answer is complete.
    ReadyForQuery,
    /// The statement failed.
    ErrorResponse(ErrorFields<'a>),
    /// That a step is done, or what can come at any time.
    Other,
}

impl<'a> QueryMessage<'a> {
    /// Reads the first message of `bytes` with its whole length; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`], before more is asked for.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((kind, body)) = frame(bytes, MAX_MESSAGE_LENGTH)? else { return Ok(None) };
        let message = match kind {
            b'D' => Self::DataRow(columns(body).ok_or(FrameError::Malformed(kind))?),
            b'E' => Self::ErrorResponse(ErrorFields::new(body)),
            b'Z' => Self::ReadyForQuery,
            // ParseComplete, BindComplete, CommandComplete, EmptyQueryResponse; NoticeResponse, ParameterStatus, NotificationResponse.
            b'1' | b'2' | b'C' | b'I' | b'N' | b'S' | b'A' => Self::Other,
            kind => return Err(FrameError::Unexpected(kind)),
        };
        Ok(Some((message, body.len().saturating_add(5))))
    }
}

fn columns(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (word, behind) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*word);
        let (value, behind) = match usize::try_from(length) {
            Ok(length) => behind.split_at_checked(length).map(|(value, behind)| (Some(value), behind))?,
            Err(_) if length == -1 => (None, behind),
            Err(_) => return None,
        };
        columns.push(value);
        rest = behind;
    }
    rest.is_empty().then_some(columns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_travels_beside_the_statement() {
        let sent = query("select $1", &[b"'; drop"]);
        let parse = b"P\0\0\0\x15\0select $1\0\0\x01\0\0\0\x11";
        let bind = b"B\0\0\0\x19\0\0\0\x01\0\x01\0\x01\0\0\0\x07'; drop\0\0";
        assert_eq!(sent, [&parse[..], bind, b"E\0\0\0\x09\0\0\0\0\0", b"S\0\0\0\x04"].concat(), "{}", sent.escape_ascii());
    }

    #[test]
    fn a_row_has_its_columns_or_is_malformed() {
        let row = |body: &[u8]| message(b'D', body);
        let good = row(b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(QueryMessage::decode(&good), Ok(Some((QueryMessage::DataRow(vec![Some(b"ab"), None, Some(b"")]), good.len()))));
        for bad in [&b""[..], b"\0", b"\0\x01", b"\0\x01\0\0\0\x02a", b"\0\x01\xff\xff\xff\xfe", b"\0\x01\0\0\0\x01ab", b"\xff\xff\0\0\0\0"]
        {
            assert_eq!(QueryMessage::decode(&row(bad)), Err(FrameError::Malformed(b'D')), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_length_is_judged_before_its_bytes_have_come() {
        assert_eq!(QueryMessage::decode(b"D\xff\xff\xff\xff"), Err(FrameError::Length(u32::MAX)));
        assert_eq!(QueryMessage::decode(b"D\0\0\0\x03"), Err(FrameError::Length(3)));
        assert_eq!(QueryMessage::decode(b"D\0\0\0\x08\0"), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_a_cause(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = QueryMessage::decode(&bytes);
            let _ = QueryMessage::decode(&message(b'D', &bytes));
        }
    }
}
