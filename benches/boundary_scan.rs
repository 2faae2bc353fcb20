//! What finding message boundaries costs, in chunks of 64 KiB as the relay reads them.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench panics when it cannot measure"
)]

mod measure;

use measure::seconds_per_call;
use postern::wire::{BackendScanner, FrontendScanner};

const CHUNK: usize = 64 * 1024;
const STREAM: usize = 16 * CHUNK;

fn main() {
    for body in [45, 8187] {
        let rows = stream(b'D', body);
        report("backend", "DataRow", body, &rows, |chunks| {
            let (mut frontend, mut backend) = (FrontendScanner::default(), BackendScanner::after_login());
            for chunk in chunks {
                backend.feed(chunk, &mut frontend).unwrap();
            }
            backend.at_boundary()
        });
        let copies = stream(b'd', body);
        report("frontend", "CopyData", body, &copies, |chunks| {
            let mut frontend = FrontendScanner::default();
            for chunk in chunks {
                frontend.feed(chunk).unwrap();
            }
            frontend.at_boundary()
        });
    }
}

/// A stream of equal messages, each five bytes longer than its body.
fn stream(kind: u8, body: usize) -> Vec<u8> {
    let length = u32::try_from(body + 4).unwrap().to_be_bytes();
    let message = [&[kind][..], &length, &vec![0; body]].concat();
    message.repeat(STREAM / message.len())
}

fn report(side: &str, name: &str, body: usize, stream: &[u8], mut scan: impl FnMut(&[&[u8]]) -> bool) {
    let chunks: Vec<&[u8]> = stream.chunks(CHUNK).collect();
    assert!(scan(&chunks), "the stream ends with a whole message");
    let seconds = seconds_per_call(|| scan(&chunks));
    let messages = stream.len() / (body + 5);
    println!(
        "{side:<9} {name} of {:>4} bytes {:>8.1} GB/s {:>6.2} ns a message",
        body + 5,
        stream.len() as f64 / seconds / 1e9,
        seconds / messages as f64 * 1e9,
    );
}
