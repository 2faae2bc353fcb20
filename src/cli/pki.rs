//! `postern pki`: the two CAs, their certificates, and a look at any certificate.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, value_parser};

use super::Exit;
use super::conninfo::{Connection, absolute, first_certificate, host_of};
use crate::identity::Certificate;
use crate::pki::{
    CA_DAYS, CLIENT_DAYS, ClientName, Folder, HostName, Issued, PkiError, Purpose, SERVER_DAYS, init, issue_client, issue_server, show,
};
use crate::tls;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make two CAs in a folder: one for the server, one for its clients
    Init(Init),
    /// Issue the server's certificate
    Server(Server),
    /// Issue a client's certificate, and print what psql needs
    Client(Client),
    /// Say what a PEM file holds, and what Postern will make of it
    Show {
        /// A file with certificates, keys or CRLs
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// How long the CAs are valid
    #[arg(long, value_name = "N", default_value_t = CA_DAYS, value_parser = value_parser!(u32).range(1..=MAX_DAYS))]
    days: u32,
}

#[derive(Debug, Args)]
pub(super) struct Server {
    /// The folder that `postern pki init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A DNS name or IP address that clients connect to; once for each
    #[arg(long = "host", value_name = "HOST", required = true, value_parser = HostName::parse)]
    hosts: Vec<HostName>,
    /// How long the certificate is valid
    #[arg(long, value_name = "N", default_value_t = SERVER_DAYS, value_parser = value_parser!(u32).range(1..=MAX_DAYS))]
    days: u32,
}

#[derive(Debug, Args)]
pub(super) struct Client {
    /// The folder that `postern pki init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The role to log in as
    #[arg(long = "cn", value_name = "NAME", value_parser = ClientName::parse)]
    name: ClientName,
    /// How long the certificate is valid
    #[arg(long, value_name = "N", default_value_t = CLIENT_DAYS, value_parser = value_parser!(u32).range(1..=MAX_DAYS))]
    days: u32,
}

pub(super) fn run(command: Command) -> Exit {
    let now = unix_now();
    let done = match command {
        Command::Init(arguments) => arguments.run(now),
        Command::Server(arguments) => arguments.run(now),
        Command::Client(arguments) => arguments.run(now),
        Command::Show { file } => return show(&file, now),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            Exit::Done
        }
        Err(error) => {
            eprintln!("postern: {error}");
            Exit::Failed
        }
    }
}

impl Init {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let written = init(&Folder::new(&self.folder), self.days, now)?;
        let lines: String = written.iter().map(|path| format!("wrote {}\n", path.display())).collect();
        let folder = self.folder.display();
        Ok(format!(
            "{lines}Next: postern pki server {folder} --host NAME, then postern pki client {folder} --cn ROLE.\n\
             Whoever has client-ca.key can log in as anybody: once you have issued, keep it where this server is not."
        ))
    }
}

impl Server {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let folder = Folder::new(&self.folder);
        let issued = issue_server(&folder, &self.hosts, self.days, now)?;
        // A JSON string is a YAML string.
        let quoted = |path: PathBuf| serde_json::Value::from(absolute(&path).unwrap_or_else(|_| path.display().to_string()));
        Ok(format!(
            "{}For Postern's configuration:\ntls:\n  ssl_cert_file: {}\n  ssl_key_file: {}\n  ssl_ca_file: {}",
            written(&issued, now),
            quoted(folder.server_certificate()),
            quoted(folder.server_key()),
            quoted(folder.authority_certificate(Purpose::Client))
        ))
    }
}

impl Client {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let folder = Folder::new(&self.folder);
        let issued = issue_client(&folder, &self.name, self.days, now)?;
        let server = first_certificate(&folder.server_certificate());
        let shown = |path: &Path| absolute(path).unwrap_or_else(|_| path.display().to_string());
        let connection = Connection {
            host: server.as_ref().and_then(host_of).unwrap_or_else(|| "localhost".to_owned()),
            port: 5432,
            user: self.name.as_str().to_owned(),
            database: "postgres".to_owned(),
            sslrootcert: shown(&folder.authority_certificate(Purpose::Server)),
            sslcert: shown(&issued.certificate),
            sslkey: shown(&issued.key),
        };
        Ok(format!("{}{}", written(&issued, now), connection.psql()))
    }
}

fn written(issued: &Issued, now: i64) -> String {
    let days = issued.not_after.saturating_sub(now) / 86_400;
    let why = if issued.ends_with_authority { ", when its CA ends" } else { "" };
    format!("wrote {}, valid for {days} days{why}\nwrote {}\n", issued.certificate.display(), issued.key.display())
}

fn show(file: &Path, now: i64) -> Exit {
    match show::read(file) {
        Ok(blocks) => {
            print!("{}", show::render(&blocks, &Logins, now));
            let unusable = |block: &show::Block| matches!(block, show::Block::Certificate(Err(_)) | show::Block::Crl(Err(_)));
            if blocks.iter().any(unusable) { Exit::Failed } else { Exit::Done }
        }
        Err(error) => {
            eprintln!("postern: {}: {error}", file.display());
            Exit::Failed
        }
    }
}

/// What a login would say, by the rules that logins are judged by.
struct Logins;

impl show::Verifier for Logins {
    fn is_signed_by(&self, certificate: &Certificate, issuer: &Certificate) -> Option<bool> {
        tls::is_signed_by(certificate, issuer)
    }

    fn faults_at_login(&self, certificate: &Certificate, now: i64) -> Vec<String> {
        tls::faults_at_login(certificate, now)
    }

    fn unusable_key(&self, certificate: &Certificate) -> Option<String> {
        tls::unusable_key(certificate)
    }
}

/// The time, in seconds since 1970.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// A hundred years.
const MAX_DAYS: i64 = 36_525;
