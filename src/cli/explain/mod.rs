//! `postern explain`: would this certificate be let in as this role, by which rule, and what would its client read?
//!
//! The same code answers that decides at a login: the chain check of a handshake, the policy with a witness, and where a decision
//! depends on memberships, the question to the backend.

mod case;
mod groups;
mod overview;
mod render;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::load::load;
use super::{ConfigFile, Exit};
use case::{Case, Court};

use crate::os;

/// What is asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The client's certificate in PEM, and behind it what the client would send with it
    #[arg(long, value_name = "FILE", required_unless_present = "all")]
    cert: Option<PathBuf>,
    /// The role that it asks for
    #[arg(short = 'U', long, value_name = "ROLE", required_unless_present = "all")]
    user: Option<String>,
    /// The database that it asks for [default: the role's name, as PostgreSQL has it]
    #[arg(short, long, value_name = "NAME")]
    database: Option<String>,
    /// Where the client is
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Ask for physical replication
    #[arg(long)]
    replication: bool,
    /// A role that the requested one is a member of, in place of asking PostgreSQL as backend.lookup_role; may be repeated
    #[arg(long, value_name = "ROLE")]
    member_of: Vec<String>,
    /// Every certificate of a folder, as every role and in every database that it, the rules or the maps name
    #[arg(long, value_name = "DIR", conflicts_with_all = ["cert", "user", "database", "replication"])]
    all: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let snapshot = match load(&arguments.config.clone().path()) {
        Ok((_, ready)) => ready.snapshot,
        Err(faults) => {
            println!("{faults}");
            return Exit::Config;
        }
    };
    let court = match Court::new(snapshot, &arguments.member_of, os::unix_now()) {
        Ok(court) => court,
        Err(fault) => return failed(&fault),
    };
    match (&arguments.all, &arguments.cert, &arguments.user) {
        (Some(folder), _, _) => overview(&court, folder, &arguments),
        (None, Some(file), Some(user)) => one(&court, file, user, &arguments),
        // Clap sees to it that there are both.
        (None, _, _) => Exit::Failed,
    }
}

fn one(court: &Court, file: &Path, user: &str, arguments: &Arguments) -> Exit {
    let database = arguments.database.as_deref().unwrap_or(user);
    let case = Case { file, user, database, address: arguments.address, replication: arguments.replication };
    match court.judge(&case) {
        Ok(explanation) => {
            print!("{}", if arguments.json { json(&explanation) } else { harmless(&render::text(&explanation)) });
            if explanation.outcome.admitted { Exit::Done } else { Exit::Failed }
        }
        Err(fault) => failed(&fault),
    }
}

fn overview(court: &Court, folder: &Path, arguments: &Arguments) -> Exit {
    match overview::of(court, folder, arguments.address) {
        Ok(rows) => {
            print!("{}", if arguments.json { json(&rows) } else { harmless(&overview::text(&rows)) });
            if overview::undecided(&rows).is_empty() { Exit::Done } else { Exit::Failed }
        }
        Err(fault) => failed(&fault),
    }
}

/// Without what would speak to the terminal: some of it is a stranger's certificate.
fn harmless(text: &str) -> String {
    text.replace(|character: char| character.is_control() && character != '\n', " ")
}

fn failed(fault: &str) -> Exit {
    eprintln!("postern: {fault}");
    Exit::Failed
}

fn json(value: &impl serde::Serialize) -> String {
    // Text, numbers and lists of them are always JSON.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
