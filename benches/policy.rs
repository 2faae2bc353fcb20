//! What a decision costs with ten thousand rules and ten thousand map lines, a hundred of each with regular expressions; and what loading
//! them costs. Measured is the worst: the last rule decides by the last line of its map, and nobody but it matches.

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

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use measure::seconds_per_call;
use postern::config::load;
use postern::identity::ClientIdentity;
use postern::policy::{Policy, Replication, Request, Surroundings};
use postern::tls::{Acceptor, read_certificates};
use postern::types::{DatabaseName, PeerAddress, RoleName};
use rcgen::PKCS_ECDSA_P256_SHA256;
use world::World;

const LINES: usize = 10_000;
const EXPRESSIONS: usize = 100;

fn main() {
    let world = World::new(&PKCS_ECDSA_P256_SHA256);
    let alice = alice(&world);
    for (what, column) in [("a user each", Column::User), ("a database each", Column::Database), ("an address each", Column::Address)] {
        let file = write(world.folder.path(), column);
        println!("load rules with {what:<16} {:>9.1} ms", seconds_per_call(|| load(&file).unwrap().settings.live.policy) * 1e3);
        let policy = load(&file).unwrap_or_else(|faults| panic!("{faults}")).settings.live.policy;
        for (outcome, user) in [("admitted", "role_alice"), ("refused", "mallory")] {
            let seconds = decision(&policy, &alice, &request(user));
            println!("decide, {outcome:<8} rules with {what:<16} {:>9.1} us", seconds * 1e6);
        }
    }
}

/// What tells the rules apart that match nobody.
#[derive(Clone, Copy)]
enum Column {
    User,
    Database,
    Address,
}

fn decision(policy: &Policy, alice: &ClientIdentity, request: &Request) -> f64 {
    let surroundings = Surroundings::unasked();
    assert_eq!(policy.authorize(Some(alice.clone()), request, &surroundings).is_ok(), request.user.as_bytes() == b"role_alice");
    seconds_per_call(|| policy.authorize(Some(alice.clone()), request, &surroundings).is_ok())
}

fn request(user: &str) -> Request {
    Request {
        user: RoleName::truncated(user.as_bytes()).unwrap(),
        database: DatabaseName::truncated(b"app").unwrap(),
        replication: Replication::None,
        address: PeerAddress::new("10.1.2.3:5000".parse().unwrap()),
        settings: Vec::new(),
    }
}

/// A configuration whose last rule is the one for everybody, and whose last map line is alice's.
fn write(folder: &Path, column: Column) -> PathBuf {
    let mut hba = String::new();
    for number in 1..LINES {
        let expression = number % (LINES / EXPRESSIONS) == 0;
        let (database, user, address) = match column {
            Column::User if expression => ("all".to_owned(), format!("\"/^user{number}_[a-z]+$\""), "all".to_owned()),
            Column::User => ("all".to_owned(), format!("user{number}"), "all".to_owned()),
            Column::Database if expression => (format!("\"/^db{number}_[a-z]+$\""), "all".to_owned(), "all".to_owned()),
            Column::Database => (format!("db{number}"), "all".to_owned(), "all".to_owned()),
            Column::Address => ("all".to_owned(), "all".to_owned(), format!("10.{}.{}.0/24", 2 + number / 256, number % 256)),
        };
        hba += &format!("hostssl {database} {user} {address} cert map=m\n");
    }
    let mut ident = String::new();
    for number in 1..LINES {
        ident += &if number % (LINES / EXPRESSIONS) == 0 {
            format!("m /^(.*)@host{number}\\.example$ \\1\n")
        } else {
            format!("m client{number} user{number}\n")
        };
    }
    fs::write(folder.join("pg_hba.conf"), hba + "hostssl all all all cert map=m\n").unwrap();
    fs::write(folder.join("pg_ident.conf"), ident + "m /^(al.*)$ role_\\1\n").unwrap();
    let yaml = fs::read_to_string(folder.join("postern.yaml")).unwrap();
    let file = folder.join("rules.yaml");
    fs::write(&file, format!("{yaml}hba_file: pg_hba.conf\nident_file: pg_ident.conf\n")).unwrap();
    file
}

fn alice(world: &World) -> ClientIdentity {
    let acceptor = Acceptor::load(&world.settings.live.tls).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let chain = read_certificates(&world.folder.path().join("alice.crt"), "--cert").unwrap_or_else(|faults| panic!("{}", faults[0]));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    acceptor.verify(&chain[0], &[], i64::try_from(now).unwrap()).unwrap_or_else(|_| panic!("alice's certificate is good"))
}
