//! The PROXY protocol: the first bytes that a load balancer sends on behalf of its client, version 1 in text and version 2 in binary.
//!
//! A header says where the client is, and nothing vouches for it but the address that it comes from. Nothing here is lenient: what is
//! not exactly a header is an error, and what is read is never more than the header itself.
//!
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A client's, who connected to the balancer from this address.
    Client(SocketAddr),
    /// The balancer's own, such as a health check: v2 LOCAL.
    Local,
    /// Of an origin that the balancer does not state: v1 UNKNOWN, v2 UNSPEC, or a client of the balancer's by Unix socket.
    Unknown,
}

/// How far a header has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProgress {
    /// At least this many bytes, one or more, still belong to it: so many can be read without taking any of the client's.
    Missing(usize),
    /// The bytes are a whole header and nothing behind it.
    Whole(ProxyHeader),
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin like neither version.
    Signature,
    /// A version 1 line that is not what it should be.
    Line,
    /// A version 2 header of another version or command.
    Version(u8),
    /// A version 2 header for another transport than TCP. Holds the octet.
    Transport(u8),
    /// A version 2 header that is longer than is taken. Holds its length.
    TooLong(usize),
    /// A version 2 header that is too short for the addresses that it announces.
    TooShort,
    /// Bytes stand behind it.
    Trailing,
}

impl ProxyHeader {
    /// Reads a header as far as it is there.
    ///
    /// # Errors
    /// The bytes are not the beginning of a header, or more than one.
    pub fn parse(bytes: &[u8]) -> Result<ProxyProgress, ProxyError> {
        let common = bytes.len().min(SIGNATURE.len());
        if bytes.is_empty() {
            return Ok(ProxyProgress::Missing(SHORTEST_LINE));
        }
        if bytes.get(..common) == SIGNATURE.get(..common) {
            return binary(bytes);
        }
        let common = bytes.len().min(PREFIX.len());
        if bytes.get(..common) == PREFIX.get(..common) {
            return line(bytes);
        }
        Err(ProxyError::Signature)
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => write!(f, "found other bytes, expected a PROXY header"),
            Self::Line => write!(f, "found a PROXY v1 line that is malformed"),
            Self::Version(octet) => write!(f, "found a PROXY header with version and command {octet:#04x}, expected v2 PROXY or LOCAL"),
            Self::Transport(octet) => write!(f, "found a PROXY v2 header with family and transport {octet:#04x}, expected TCP"),
            Self::TooLong(length) => write!(f, "found a PROXY v2 header of {length} bytes, expected at most {LONGEST_HEADER}"),
            Self::TooShort => write!(f, "found a PROXY v2 header that is too short for its addresses"),
            Self::Trailing => write!(f, "found bytes behind a PROXY header that was read to its end"),
        }
    }
}

/// Version 1: `PROXY TCP4 SOURCE DESTINATION PORT PORT`, CR, LF.
fn line(bytes: &[u8]) -> Result<ProxyProgress, ProxyError> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        None if bytes.len() >= LONGEST_LINE => Err(ProxyError::Line),
        None => missing_in_line(bytes),
        Some(end) if end.saturating_add(1) < bytes.len() => Err(ProxyError::Trailing),
        Some(_) if bytes.len() > LONGEST_LINE => Err(ProxyError::Line),
        Some(end) => {
            let text = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).filter(|line| is_plain(line));
            text.and_then(|line| std::str::from_utf8(line).ok()).and_then(words).map(ProxyProgress::Whole).ok_or(ProxyError::Line)
        }
    }
}

/// How many bytes a line lacks at least: each of its five blanks with the byte behind it, and its end.
fn missing_in_line(bytes: &[u8]) -> Result<ProxyProgress, ProxyError> {
    let text = bytes.strip_suffix(b"\r");
    if !is_plain(text.unwrap_or(bytes)) {
        return Err(ProxyError::Line);
    }
    if text.is_some() {
        return Ok(ProxyProgress::Missing(1));
    }
    let blanks = bytes.iter().filter(|byte| **byte == b' ').count();
    // `PROXY UNKNOWN` may end without another word, and so may what begins like it.
    let fields = if bytes.starts_with(b"PROXY TCP") { 5usize.saturating_sub(blanks).saturating_mul(2) } else { 0 };
    let least = SHORTEST_LINE.saturating_sub(bytes.len());
    Ok(ProxyProgress::Missing(least.max(fields.saturating_add(2))))
}

/// Whether a line, or the beginning of one, holds nothing but what is printed.
fn is_plain(line: &[u8]) -> bool {
    line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}

fn words(line: &str) -> Option<ProxyHeader> {
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(ProxyHeader::Unknown);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (port, destination_port) = (port(words.next()?)?, self::port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let address = match family {
        "TCP4" => IpAddr::V4(source.parse().ok().filter(|_| destination.parse::<Ipv4Addr>().is_ok())?),
        "TCP6" => IpAddr::V6(source.parse().ok().filter(|_| destination.parse::<Ipv6Addr>().is_ok())?),
        _ => return None,
    };
    let _ = destination_port;
    Some(ProxyHeader::Client(SocketAddr::new(address, port)))
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Version 2: the signature, version and command, family and transport, a length, the addresses, and what else there is.
fn binary(bytes: &[u8]) -> Result<ProxyProgress, ProxyError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(ProxyProgress::Missing(HEAD.saturating_sub(bytes.len())));
    };
    let [.., command, transport, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = HEAD.saturating_add(length);
    if whole > LONGEST_HEADER {
        return Err(ProxyError::TooLong(whole));
    }
    if !matches!(command, LOCAL | PROXY) {
        return Err(ProxyError::Version(command));
    }
    match rest.len() {
        there if there < length => Ok(ProxyProgress::Missing(length.saturating_sub(there))),
        there if there > length => Err(ProxyError::Trailing),
        // What a LOCAL header says of addresses is to be ignored.
        _ if command == LOCAL => Ok(ProxyProgress::Whole(ProxyHeader::Local)),
        _ => addresses(transport, rest).map(ProxyProgress::Whole),
    }
}

fn addresses(transport: u8, rest: &[u8]) -> Result<ProxyHeader, ProxyError> {
    match transport {
        UNSPEC | UNIX_STREAM => Ok(ProxyHeader::Unknown),
        TCP_OVER_IPV4 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *rest.first_chunk::<12>().ok_or(ProxyError::TooShort)?;
            Ok(ProxyHeader::Client(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))))
        }
        TCP_OVER_IPV6 => {
            let (addresses, ports) = rest.first_chunk::<36>().and_then(|all| all.split_first_chunk::<16>()).ok_or(ProxyError::TooShort)?;
            let [.., high, low, _, _] = *ports.first_chunk::<20>().ok_or(ProxyError::TooShort)?;
            Ok(ProxyHeader::Client(SocketAddr::new(Ipv6Addr::from(*addresses).into(), u16::from_be_bytes([high, low]))))
        }
        _ => Err(ProxyError::Transport(transport)),
    }
}

/// How version 1 begins.
const PREFIX: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` with its end: no header of either version is shorter.
const SHORTEST_LINE: usize = 15;
/// The longest line of version 1, its end included (section 2.1).
const LONGEST_LINE: usize = 107;
/// How version 2 begins (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of version 2 that is always there.
const HEAD: usize = 16;
/// The longest header of version 2 that is taken: addresses, and the certificates and names that balancers put behind them, fit in.
const LONGEST_HEADER: usize = 4096;
/// Version 2 with the command LOCAL, and with PROXY.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Family and transport of version 2.
const UNSPEC: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a connection is read: never more than is known to be missing. Gives what was found and what is left.
    fn read(stream: &[u8]) -> Result<(ProxyHeader, &[u8]), Option<ProxyError>> {
        let mut taken = 0;
        loop {
            match ProxyHeader::parse(&stream[..taken]) {
                Ok(ProxyProgress::Whole(header)) => return Ok((header, &stream[taken..])),
                Ok(ProxyProgress::Missing(more)) if taken < stream.len() => taken = stream.len().min(taken + more),
                Ok(ProxyProgress::Missing(more)) => {
                    assert!(more > 0);
                    return Err(None);
                }
                Err(error) => return Err(Some(error)),
            }
        }
    }

    fn client(text: &str) -> ProxyHeader {
        ProxyHeader::Client(text.parse().unwrap())
    }

    fn v2(command: u8, transport: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, transport][..], &length, rest].concat()
    }

    #[test]
    fn a_line_says_where_the_client_is_and_takes_nothing_that_follows() {
        for (line, header) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.7 56324 5432\r\n", client("192.0.2.1:56324")),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 0 65535\r\n", client("1.1.1.1:0")),
            ("PROXY TCP6 2001:db8::1 ::1 4000 5432\r\n", client("[2001:db8::1]:4000")),
            ("PROXY TCP6 ::ffff:10.1.2.3 ::1 4000 5432\r\n", client("[::ffff:10.1.2.3]:4000")),
            ("PROXY UNKNOWN\r\n", ProxyHeader::Unknown),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ProxyHeader::Unknown),
        ] {
            let stream = [line.as_bytes(), b"\0\0\0\x08\x04\xd2\x16\x2f"].concat();
            assert_eq!(read(&stream), Ok((header, &b"\0\0\0\x08\x04\xd2\x16\x2f"[..])), "{line:?}");
            for cut in 0..line.len() {
                assert_eq!(read(&line.as_bytes()[..cut]), Err(None), "{line:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_line_that_is_not_exact_is_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 5432\n",
            "PROXY TCP4 192.0.2.01 198.51.100.7 56324 5432\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 056324 5432\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 65536 5432\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 +5 5432\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 5 5432 \r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.7 5 5432\r\n",
            "PROXY TCP4 ::1 198.51.100.7 5 5432\r\n",
            "PROXY TCP6 ::1 198.51.100.7 5 5432\r\n",
            "PROXY TCP4 192.0.2.1 host 5 5432\r\n",
            "PROXY TCP5 192.0.2.1 198.51.100.7 5 5432\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN \0\r\n",
            "PROXY UNKNOWN \r\r\n",
            "PROXY UNKNOWN \u{e9}\r\n",
            "PROXY TCP4 192.0.2.1\r\n",
            "PROXY TCP4 \t92.0.2.1 198.51.100.7 5 5432\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(Some(ProxyError::Line)), "{line:?}");
        }
        let endless = ["PROXY UNKNOWN ".as_bytes(), &[b'x'; 200]].concat();
        assert_eq!(read(&endless), Err(Some(ProxyError::Line)));
    }

    #[test]
    fn version_2_says_it_in_binary() {
        let ipv4 = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x15, 0x38];
        let ipv6 = [&Ipv6Addr::LOCALHOST.octets()[..], &[0xfd; 16], &[0x0f, 0xa0, 0x15, 0x38]].concat();
        let with_more = [&ipv4[..], &[0x04, 0, 1, 0]].concat();
        for (bytes, header) in [
            (v2(PROXY, TCP_OVER_IPV4, &ipv4), client("192.0.2.1:56324")),
            (v2(PROXY, TCP_OVER_IPV4, &with_more), client("192.0.2.1:56324")),
            (v2(PROXY, TCP_OVER_IPV6, &ipv6), client("[::1]:4000")),
            (v2(LOCAL, UNSPEC, &[]), ProxyHeader::Local),
            (v2(LOCAL, TCP_OVER_IPV4, &ipv4), ProxyHeader::Local),
            (v2(PROXY, UNSPEC, &[]), ProxyHeader::Unknown),
            (v2(PROXY, UNIX_STREAM, &[0; 216]), ProxyHeader::Unknown),
            (v2(PROXY, TCP_OVER_IPV4, &[&ipv4[..], &[0; 4068]].concat()), client("192.0.2.1:56324")),
        ] {
            let stream = [&bytes[..], b"next"].concat();
            assert_eq!(read(&stream), Ok((header, &b"next"[..])));
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Err(None));
            }
        }
    }

    #[test]
    fn version_2_that_is_not_exact_is_refused_before_its_length_is_read() {
        for (bytes, error) in [
            (v2(0x11, TCP_OVER_IPV4, &[0; 12]), ProxyError::Version(0x11)),
            (v2(0x22, TCP_OVER_IPV4, &[0; 12]), ProxyError::Version(0x22)),
            (v2(PROXY, 0x12, &[0; 12]), ProxyError::Transport(0x12)),
            (v2(PROXY, TCP_OVER_IPV4, &[0; 11]), ProxyError::TooShort),
            (v2(PROXY, TCP_OVER_IPV6, &[0; 35]), ProxyError::TooShort),
            (v2(PROXY, TCP_OVER_IPV4, &[0; 4081]), ProxyError::TooLong(4097)),
            (v2(PROXY, TCP_OVER_IPV4, &[0; 65535]), ProxyError::TooLong(65551)),
        ] {
            assert_eq!(read(&bytes), Err(Some(error)));
        }
        assert_eq!(ProxyHeader::parse(&v2(PROXY, TCP_OVER_IPV4, &[0; 4081])[..16]), Err(ProxyError::TooLong(4097)));
    }

    #[test]
    fn what_begins_otherwise_is_refused_at_its_first_byte() {
        for bytes in [&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], b"\x16\x03\x01", b"GET / HTTP/1.1", b"PROXx", b"\r\n\r\n\0\r\nQUIX", b"proxy "] {
            assert_eq!(read(bytes), Err(Some(ProxyError::Signature)), "{bytes:?}");
        }
        assert_eq!(ProxyHeader::parse(b"\0"), Err(ProxyError::Signature));
    }
}
