//! What passing bytes on costs: a whole session, from accept to its record, with TLS on the client's side and a backend that
//! answers at once. Client and daemon share a socket pair, so that no network is measured.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench panics when it cannot measure"
)]

mod measure;
mod world;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use measure::median;
use postern::observe::Observers;
use postern::session::{Door, House, serve};
use postern::snapshot::{Snapshot, Snapshots};
use postern::types::PeerAddress;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::crypto::aws_lc_rs::kx_group::X25519;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::sync::mpsc;
use world::{World, cpu_time};

const RUNS: usize = 7;
/// Bytes that pass in one run.
const AMOUNT: usize = 512 << 20;

#[derive(Clone, Copy)]
enum Direction {
    Down,
    Up,
}

/// What passes: messages of one size, written in pieces of another.
#[derive(Clone, Copy)]
struct Load {
    direction: Direction,
    message: usize,
    write: usize,
}

/// What one run took.
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn main() {
    let world = World::new(&PKCS_ECDSA_P256_SHA256);
    let listener = UnixListener::bind(world.folder.path().join(".s.PGSQL.5432")).unwrap();
    let observers = Observers::start(&world.settings.boot.observe).unwrap_or_else(|error| panic!("{error}"));
    for (direction, message, write) in [
        (Direction::Down, 8192, 8192),
        (Direction::Down, 8192, 65536),
        (Direction::Down, 50, 65536),
        (Direction::Up, 8192, 8192),
        (Direction::Up, 8192, 65536),
        (Direction::Up, 50, 65536),
    ] {
        let load = Load { direction, message, write };
        let costs: Vec<Cost> = (0..RUNS).map(|_| run(&world, &listener, &observers, load)).collect();
        let gigabytes = AMOUNT as f64 / 1e9;
        let cpu = median(&mut costs.iter().map(|cost| cost.cpu.as_secs_f64()).collect::<Vec<_>>()) / gigabytes;
        let wall = median(&mut costs.iter().map(|cost| cost.wall.as_secs_f64()).collect::<Vec<_>>()) / gigabytes;
        let arrow = match direction {
            Direction::Down => "down",
            Direction::Up => "up",
        };
        println!("{arrow:<4} messages of {message:>4}, writes of {write:>5} {cpu:>6.2} CPU s/GB {:>6.0} MB/s", 1e3 / wall);
    }
    observers.shutdown(Duration::from_secs(5));
}

fn run(world: &World, listener: &UnixListener, observers: &Observers, load: Load) -> Cost {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(door.local_addr().unwrap()).unwrap();
    let transport = door.accept().unwrap().0;
    for socket in [&client, &transport] {
        socket.set_nodelay(true).unwrap();
    }
    thread::scope(|scope| {
        let daemon = scope.spawn(|| daemon(world, observers, transport));
        scope.spawn(|| backend(&listener.accept().unwrap().0, load));
        let wall = alice(world, client, load);
        Cost { wall, cpu: daemon.join().unwrap() }
    })
}

/// Serves the one connection on a runtime of this thread's own; returns what it used of a processor.
fn daemon(world: &World, observers: &Observers, transport: TcpStream) -> Duration {
    let snapshot = Snapshot::load(&world.settings.live).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let (alive, mut all_gone) = mpsc::channel(1);
    let door = Door { snapshots: Arc::new(Snapshots::new(snapshot)), house: House::default(), observers: observers.clone(), alive };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = cpu_time();
    runtime.block_on(async {
        transport.set_nonblocking(true).unwrap();
        let transport = tokio::net::TcpStream::from_std(transport).unwrap();
        serve(transport, PeerAddress::new("127.0.0.1:50000".parse().unwrap()), Arc::new(door)).await;
        // The session runs as a task of its own by now.
        all_gone.recv().await;
    });
    cpu_time() - begun
}

/// A backend that trusts everyone, answers a Query with the whole load, and reads whatever else comes.
fn backend(mut stream: &UnixStream, load: Load) {
    let mut word = [0; 4];
    stream.read_exact(&mut word).unwrap();
    stream.read_exact(&mut vec![0; u32::from_be_bytes(word) as usize - 4]).unwrap();
    let ready = message(b'Z', b"I");
    stream.write_all(&[message(b'R', &[0; 4]), message(b'K', &[1; 8]), ready.clone()].concat()).unwrap();
    if let Direction::Down = load.direction {
        stream.read_exact(&mut [0; QUERY.len()]).unwrap();
        load.pieces(b'D', |piece| stream.write_all(piece).unwrap());
        stream.write_all(&[message(b'C', b"SELECT 1\0"), ready].concat()).unwrap();
    }
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer).unwrap() > 0 {}
}

/// A client that asks for the load, or sends it; returns how long it took to the last byte's arrival.
fn alice(world: &World, mut socket: TcpStream, load: Load) -> Duration {
    socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    let connection = ClientConnection::new(world.client(X25519), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut tls = StreamOwned::new(connection, socket);
    tls.write_all(b"\0\0\0\x14\0\x03\0\0user\0alice\0\0").unwrap();
    let mut greeting = vec![0; 9 + 13 + 6];
    tls.read_exact(&mut greeting).unwrap();
    assert!(greeting.starts_with(b"R"));

    let begun = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    match load.direction {
        Direction::Down => {
            tls.write_all(QUERY).unwrap();
            let mut left = load.length() + 14 + 6;
            while left > 0 {
                left -= tls.read(&mut buffer).unwrap();
            }
            tls.write_all(TERMINATE).unwrap();
        }
        Direction::Up => {
            load.pieces(b'd', |piece| tls.write_all(piece).unwrap());
            tls.write_all(TERMINATE).unwrap();
        }
    }
    // The backend reads to the end before it closes, and then the daemon closes.
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    tls.sock.shutdown(Shutdown::Write).unwrap();
    while tls.read(&mut buffer).is_ok_and(|count| count > 0) {}
    begun.elapsed()
}

impl Load {
    /// The amount in whole messages.
    fn length(self) -> usize {
        AMOUNT / self.message * self.message
    }

    /// The messages' bytes, piece by piece.
    fn pieces(self, kind: u8, mut write: impl FnMut(&[u8])) {
        let block = message(kind, &vec![0; self.message - 5]).repeat(self.write.max(self.message) / self.message);
        let mut left = self.length();
        while left > 0 {
            let piece = &block[..left.min(block.len())];
            write(piece);
            left -= piece.len();
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

const QUERY: &[u8] = b"Q\0\0\0\x05\0";
const TERMINATE: &[u8] = b"X\0\0\0\x04";
