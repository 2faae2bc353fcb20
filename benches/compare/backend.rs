//! A backend that trusts everyone and answers at once, so that PostgreSQL's own work does not hide what stands before it.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::wire::{Load, Messages, message};

/// Thousands of sessions are threads.
const STACK: usize = 64 * 1024;

/// Serves for ever, each connection by a thread.
pub fn serve(folder: &Path) {
    let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
    fs::set_permissions(folder.join(".s.PGSQL.5432"), Permissions::from_mode(0o777)).unwrap();
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::Builder::new().stack_size(STACK).spawn(move || converse(stream)).unwrap();
    }
}

fn converse(mut stream: UnixStream) -> io::Result<()> {
    let mut messages = Messages::default();
    let mut length = [0; 4];
    messages.read(&mut stream, &mut length)?;
    messages.skip(&mut stream, u32::from_be_bytes(length) as usize - 4)?;
    stream.write_all(&greeting())?;
    loop {
        messages.rest();
        let (kind, length) = messages.next(&mut stream)?;
        let mut body = vec![0; length];
        messages.read(&mut stream, &mut body)?;
        match kind {
            b'Q' => answer(&mut stream, &mut messages, &body)?,
            b'X' => return Ok(()),
            _ => {}
        }
    }
}

/// About as long as PostgreSQL's.
fn greeting() -> Vec<u8> {
    let status = |name: &str, value: &str| message(b'S', format!("{name}\0{value}\0").as_bytes());
    [
        message(b'R', &[0; 4]),
        status("application_name", "bench"),
        status("client_encoding", "UTF8"),
        status("DateStyle", "ISO, MDY"),
        status("default_transaction_read_only", "off"),
        status("in_hot_standby", "off"),
        status("integer_datetimes", "on"),
        status("IntervalStyle", "postgres"),
        status("is_superuser", "off"),
        status("server_encoding", "UTF8"),
        status("server_version", "15.0"),
        status("session_authorization", "alice"),
        status("standard_conforming_strings", "on"),
        status("TimeZone", "UTC"),
        message(b'K', &[0, 0, 0, 1, 0, 0, 0, 1]),
        message(b'Z', b"I"),
    ]
    .concat()
}

fn answer(stream: &mut UnixStream, messages: &mut Messages, query: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(query);
    match Load::parse(text.trim_end_matches('\0')) {
        Some(("down", load)) => load.pieces(b'D', |piece| stream.write_all(piece))?,
        Some(("up", _)) => {
            stream.write_all(&message(b'G', &[0, 0, 0]))?;
            take_copy(stream, messages)?;
        }
        _ if text.starts_with("SELECT") => stream.write_all(&[ROW_DESCRIPTION, ROW].concat())?,
        _ => {}
    }
    stream.write_all(&[message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat())
}

fn take_copy(stream: &mut impl Read, messages: &mut Messages) -> io::Result<()> {
    loop {
        let (kind, length) = messages.next(stream)?;
        messages.skip(stream, length)?;
        if kind == b'c' {
            return Ok(());
        }
    }
}

/// One column, `abalance`, int4; one row with 0.
const ROW_DESCRIPTION: &[u8] = b"T\0\0\0\x21\0\x01abalance\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
const ROW: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x010";
