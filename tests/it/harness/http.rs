//! A client of the admin endpoint: it sends what a test tells it to, and reads one answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// The head, names in lower case.
    pub head: String,
    pub body: String,
}

/// `GET path` as curl would.
pub fn get(server: SocketAddr, path: &str) -> Response {
    request(server, &format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")).expect("an answer")
}

/// Sends these bytes and reads to the end; `None` if nothing comes.
pub fn request(server: SocketAddr, bytes: &str) -> Option<Response> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server that has seen enough may close before all is sent.
    let _ = stream.write_all(bytes.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&String::from_utf8(answer).unwrap())
}

/// Reads one answer of a connection that stays open.
pub fn read(stream: &mut TcpStream) -> Option<Response> {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        (stream.read(&mut byte).ok()? == 1).then_some(())?;
        answer.push(byte[0]);
    }
    let mut response = parse(&String::from_utf8(answer).unwrap())?;
    let length = response.head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    response.body = String::from_utf8(body).unwrap();
    Some(response)
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}
