//! What reading a StartupMessage costs, and writing it for the backend.

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
use postern::types::RoleName;
use postern::wire::{StartupPacket, body_length};

/// What psql 15 sends: user, database, application_name and client_encoding.
const PSQL: &[u8] = include_bytes!("../tests/vectors/psql.startup.bin");

fn main() {
    let (word, body) = PSQL.split_first_chunk().unwrap();
    let decode = || {
        body_length(*word).unwrap();
        StartupPacket::decode(body).unwrap()
    };
    report("decode psql's packet", seconds_per_call(decode));

    let StartupPacket::Startup(message) = decode() else { panic!("it is a StartupMessage") };
    let role = RoleName::truncated(b"alice").unwrap();
    report("encode it for the backend", seconds_per_call(|| message.encode_as(&role, &[]).unwrap()));

    // Two thousand parameters: the most that fit the longest packet.
    let many = [&[0, 3, 0, 0][..], b"user\0alice\0", &b"a\0b\0".repeat(2490), &[0]].concat();
    report("decode the longest packet", seconds_per_call(|| StartupPacket::decode(&many).unwrap()));
}

fn report(what: &str, seconds: f64) {
    println!("{what:<28} {:>9.0} ns", seconds * 1e9);
}
