//! Ten thousand damaged openings: nothing panics, nobody gets in, and whoever has a certificate is let in meanwhile.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::World;
use crate::harness::clients::Clients;
use crate::harness::wire::{
    End, TlsOptions, Wire, cancel_request, gssenc_request, old_client_hello, ssl_request, startup, startup_of_version,
};

const ROUNDS: usize = 10_000;
const WORKERS: usize = 4;

#[test]
fn ten_thousand_damaged_openings_let_nobody_in() {
    let seed = std::env::var("POSTERN_IT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let world = World::new();
    let vectors = Vectors::read();
    let mut logins = 0;

    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (vectors, server) = (&vectors, world.address());
                scope.spawn(move || {
                    let mut random = Xorshift::new(seed.wrapping_mul(31).wrapping_add(worker as u64));
                    (0..ROUNDS / WORKERS).for_each(|_| vectors.attack(server, &mut random));
                })
            })
            .collect();
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let begun = Instant::now();
            drop(world.log_in());
            logins += 1;
            assert!(begun.elapsed() < Duration::from_secs(10), "a login took {:?} (POSTERN_IT_SEED={seed})", begun.elapsed());
            thread::sleep(Duration::from_millis(100));
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    drop(world.log_in());
    logins += 1;

    let started = || world.postern().records().iter().filter(|record| record["event"] == "session.start").count();
    crate::harness::wait_until("every login has its record", || started() >= logins);
    assert_eq!(started(), logins, "somebody got in (POSTERN_IT_SEED={seed})");
    assert!(!world.postern().log().contains("panicked"), "POSTERN_IT_SEED={seed}");
    let memory = resident_kib(world.postern().pid());
    assert!(memory < 200 * 1024, "{memory} KiB are held after the storm (POSTERN_IT_SEED={seed})");
}

/// Recorded openings, in `tests/vectors`: `*.hello.bin` are ClientHellos, `*.startup.bin` what comes before or inside TLS.
struct Vectors {
    hellos: Vec<Vec<u8>>,
    startups: Vec<Vec<u8>>,
}

impl Vectors {
    fn read() -> Self {
        let of = |ending: &str| {
            let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let files = files.iter().filter(|file| file.to_str().is_some_and(|name| name.ends_with(ending)));
            files.map(|file| fs::read(file).unwrap()).collect::<Vec<_>>()
        };
        let vectors = Self { hellos: of(".hello.bin"), startups: of(".startup.bin") };
        assert!(vectors.hellos.len() > 3 && vectors.startups.len() > 3, "the vectors are missing");
        vectors
    }

    /// One connection. Whatever happens to it, it must end, and in silence or with an error.
    fn attack(&self, server: SocketAddr, random: &mut Xorshift) {
        let mut wire = match random.below(10) {
            0 => match Wire::connect_tls(server, &TlsOptions::default()) {
                Ok(mut wire) => {
                    wire.send(&random.damage(&self.startups));
                    wire
                }
                Err(_) => return,
            },
            1..=4 => {
                let mut wire = Wire::connect(server);
                wire.send(&random.damage(&self.startups));
                wire
            }
            5..=7 => {
                let mut wire = Wire::connect(server);
                wire.send(&[ssl_request(), random.damage(&self.hellos)].concat());
                wire
            }
            _ => {
                let mut wire = Wire::connect(server);
                wire.send(&random.damage(&self.hellos));
                wire
            }
        };
        if random.below(20) == 0 {
            return wire.reset();
        }
        wire.shutdown_write();
        let (_, end) = wire.read_to_end();
        assert_ne!(end, End::Timeout, "a connection was left open");
    }
}

/// George Marsaglia's generator: enough for damage, and the same everywhere for a seed.
struct Xorshift(u64);

impl Xorshift {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A vector with one to four injuries.
    fn damage(&mut self, vectors: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vectors[self.below(vectors.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().max(1)).min(bytes.len());
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.next() as u8),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => {
                    let other = &vectors[self.below(vectors.len())];
                    bytes.splice(at.., other[self.below(other.len())..].iter().copied());
                }
                4 if bytes.len() >= 4 => {
                    // A length word, most likely: to its edges.
                    let edge = [0, 4, 7, 8, 9, 10_004, 10_005, 1 << 31, u32::MAX][self.below(9)];
                    bytes[..4].copy_from_slice(&edge.to_be_bytes());
                }
                5 => bytes.extend_from_within(at..),
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "writes tests/vectors anew, from the clients that are installed"]
fn record_the_vectors() {
    let alice = [("user", "alice"), ("database", "postgres")];
    let psql = [&alice[..], &[("application_name", "psql"), ("client_encoding", "UTF8")]].concat();
    let options = [&alice[..], &[("options", "-c search_path=x -c geqo=off"), ("replication", "database"), ("_pq_.x", "1")]].concat();
    for (name, bytes) in [
        ("ssl-request.startup", ssl_request()),
        ("gssenc-request.startup", gssenc_request()),
        ("cancel-request.startup", cancel_request(4711, &[1, 2, 3, 4])),
        ("cancel-request-3.2.startup", cancel_request(4711, &[7; 32])),
        ("alice.startup", startup(&alice)),
        ("psql.startup", startup(&psql)),
        ("options-3.2.startup", startup_of_version(3, 2, &options)),
        ("tls-1.2.hello", old_client_hello(0x0303)),
        ("rustls.hello", hello_of(&TlsOptions::default())),
        ("rustls-alpn.hello", hello_of(&TlsOptions::default().alpn("postgresql").alpn("h2"))),
        ("psql-openssl-3.hello", hello_of_psql(&Clients::debian(), "")),
        ("psql-18-openssl-1.1.hello", hello_of_psql(&Clients::eighteen(), "")),
        ("psql-18-direct.hello", hello_of_psql(&Clients::eighteen(), "sslnegotiation=direct")),
    ] {
        fs::write(folder().join(format!("{name}.bin")), bytes).unwrap();
    }
}

fn hello_of(options: &TlsOptions) -> Vec<u8> {
    let mut hello = Vec::new();
    options.connection().write_tls(&mut hello).unwrap();
    hello
}

/// What psql sends where a server's TLS would begin.
fn hello_of_psql(clients: &Clients, more: &str) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let conninfo = format!("host=127.0.0.1 port={port} user=alice sslmode=require gssencmode=disable {more}");
    let mut psql = clients.command("psql").args([conninfo.as_str(), "-c", ""]).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    let mut count = stream.read(&mut buffer).unwrap();
    if buffer[0] != 0x16 {
        std::io::Write::write_all(&mut stream, b"S").unwrap();
        count = stream.read(&mut buffer).unwrap();
    }
    drop(stream);
    psql.wait().unwrap();
    buffer[..count].to_vec()
}
