//! Postern as its clients, its database and its operators see it: one binary, so that it links once.
//!
//! `make test` installs what these tests need. Each test makes the servers it wants, on loopback and on free ports,
//! waits for facts and never for time, and takes everything down with it.

// These lints guard a daemon against its peers; a test that panics has said what it had to say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub,
    reason = "tests panic on purpose and document themselves by their names"
)]

mod admin;
mod architecture;
mod audit;
mod backend_faults;
mod cancel;
mod cli;
mod config;
mod deadline;
mod demo;
mod differential;
mod doctor;
mod drain;
mod drivers;
mod explain;
mod fuzz;
mod handover;
mod harden;
mod harness;
mod hostile;
mod introduction;
mod killed;
mod limits;
mod lockdown;
mod log;
mod membership;
mod panics;
mod pki;
mod pki_life;
mod proxy;
mod readme;
mod refusals;
mod regular_expressions;
mod relayed_password;
mod reload;
mod scram;
mod sessions;
mod soak;
mod starved;
mod supply_chain;
mod systemd;
