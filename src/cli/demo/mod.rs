//! `postern demo`: the whole story on this machine, in seconds, with a PostgreSQL of its own.
//!
//! It touches nothing that was there before: PostgreSQL, its data, the configuration and the audit trail live in a new folder
//! below the system's temporary one and are gone at the end. What stays are the certificates, so that the printed lines can be
//! used again.

mod certificates;
mod cluster;
mod door;
mod error;
mod interrupt;
mod logins;
mod process;
mod story;
mod table;
mod trail;
mod workplace;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::Exit;
use super::conninfo::{Connection, Format, absolute};
use crate::pki::{ClientName, Folder, Purpose};
use certificates::Certificates;
use cluster::{Cluster, Installation};
use door::Door;
use error::DemoError;
use interrupt::Interrupt;
use logins::{Outcome, Psql};
use workplace::Workplace;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the demo's certificates are made, and found again
    #[arg(long, value_name = "DIR", default_value = "certs-dev")]
    dir: PathBuf,
    /// End after the table, instead of running until Ctrl-C
    #[arg(long)]
    exit: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match tell(arguments) {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(error) => {
            eprintln!("postern: {error}");
            Exit::Failed
        }
    }
}

/// Tells the story; whether it went as it should.
fn tell(arguments: &Arguments) -> Result<bool, DemoError> {
    let started = Instant::now();
    let interrupt = Interrupt::install()?;
    let installation = Installation::find()?;
    // Values are dropped from the last to the first: the door closes before its database, and the folder goes last.
    let workplace = Workplace::make(installation.server_user()?)?;
    let certificates = Certificates::prepare(&arguments.dir, &workplace.own)?;
    say(&format!("certificates   {}: {}", certificates.folder.path().display(), certificates.state()))?;

    let mut cluster = Cluster::start(&installation, &workplace, &interrupt)?;
    cluster.run(story::SCHEMA)?;
    say(&format!("PostgreSQL     {}, {}, listen_addresses = ''", installation.version, cluster.socket().display()))?;
    let mut door = Door::open(&workplace, &certificates.folder, cluster.target(), &interrupt)?;
    say(&format!("Postern        127.0.0.1:{}, TLS 1.3, a certificate of {} is the role", door.port, Purpose::Client.authority()))?;

    say(&format!("\n{}", story::INTRODUCTION))?;
    let psql = Psql { program: installation.psql(), certificates: &certificates, port: door.port };
    let mut outcomes = Vec::new();
    for login in story::LOGINS {
        interrupt.check()?;
        outcomes.push(psql.run(login)?);
    }
    say(&table::of(&outcomes))?;
    let records = trail::read(&workplace.audit(), &outcomes, &interrupt)?;
    say(&trail::show(&records))?;

    let well = outcomes.iter().all(Outcome::is_as_expected) && trail::is_complete(&records, &outcomes);
    let verdict = if well { "Everything went as it should" } else { "Something did NOT go as it should: see above" };
    say(&format!("{verdict} ({:.1} s).", started.elapsed().as_secs_f64()))?;
    if !arguments.exit {
        say(&invitation(&certificates.folder, door.port)?)?;
        wait(&interrupt, &mut cluster, &mut door)?;
    }
    Ok(well)
}

/// Until somebody asks to end, or one of the two has ended.
fn wait(interrupt: &Arc<Interrupt>, cluster: &mut Cluster, door: &mut Door) -> Result<(), DemoError> {
    while interrupt.pause(Duration::from_millis(250)).is_ok() {
        cluster.check()?;
        door.check()?;
    }
    say("\nEnding Postern and PostgreSQL.")
}

/// How to come in by oneself.
fn invitation(folder: &Folder, port: u16) -> Result<String, DemoError> {
    let alice = ClientName::parse("alice").map_err(|error| DemoError::Text(error.to_string()))?;
    let path = |path: PathBuf| absolute(&path).map_err(DemoError::Text);
    let connection = Connection {
        host: "localhost".to_owned(),
        port,
        user: alice.as_str().to_owned(),
        database: story::DATABASE.to_owned(),
        sslrootcert: path(folder.authority_certificate(Purpose::Server))?,
        sslcert: path(folder.client_certificate(&alice))?,
        sslkey: path(folder.client_key(&alice))?,
    };
    let stanza = connection.render(Format::Service).map_err(|error| DemoError::Text(error.to_string()))?;
    Ok(format!(
        "\nIt is all yours until Ctrl-C, from another terminal:\n\n{}\n\nor in ~/.pg_service.conf, and then `psql service={}`:\n\n{stanza}\n\n\
         bob and charlie come in by their own certificates, in the same folder.",
        connection.psql(),
        connection.service_name()
    ))
}

/// Prints a line. A reader who has gone away ends the demo in good order.
fn say(text: &str) -> Result<(), DemoError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| DemoError::io("print", error))
}
