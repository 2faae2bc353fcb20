//! Postern: the front door of an isolated PostgreSQL.
//!
//! PostgreSQL listens on a Unix socket or loopback only, and this daemon is the one way in: it requires TLS 1.3 and a client
//! certificate, takes the certificate's common name as the role, decides by rules as pg_hba.conf has them, and pipes the session.
//!
//! # Floors
//! A module imports only from floors below its own; `tests/it/architecture.rs` holds it to that.
//!
//! | floor | modules | what they know |
//! |---|---|---|
//! | 11 | [`cli`] | words to actions |
//! | 10 | [`daemon`] | wiring, signals, the orderly end |
//! | 9 | [`admin`] | where operators look |
//! | 8 | [`listen`] | sockets and the accept loop |
//! | 7 | [`session`] | one connection, from accept to its record |
//! | 6 | [`snapshot`] | settings and what their files held, immutable |
//! | 5 | [`config`] | YAML to settings |
//! | 4 | [`tls`], [`backend`], [`observe`], [`harden`], [`pki`] | one external world each: rustls, PostgreSQL, sinks, the kernel, rcgen |
//! | | [`os`] | the system's answers, for floor 4 and those above |
//! | 3 | [`error`] | why, and what each reader is told |
//! | 2 | [`policy`] | may this identity do this |
//! | 1 | [`identity`] | a verified certificate's names |
//! | 0 | [`wire`], [`types`], [`notice`], [`crypto`] | bytes and words |
//!
//! # Life of a connection
//! [`listen`] accepts; [`session`] reads the first packet, does the TLS handshake by [`tls`], reads the StartupMessage, asks
//! [`policy`], connects by [`backend`], passes the backend's answer on, and then relays bytes until one side ends. What happened is
//! told to [`observe`] and to nobody else.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "tests calculate with numbers of their own"))]

pub mod admin;
pub mod backend;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod daemon;
pub mod error;
pub mod harden;
pub mod identity;
pub mod limits;
pub mod listen;
pub mod notice;
pub mod observe;
pub mod os;
pub mod pki;
pub mod policy;
pub mod session;
pub mod snapshot;
pub mod tls;
pub mod types;
pub mod wire;
