//! `postern pki`: the two CAs, their certificates and revocation lists, and a look at any certificate.

mod words;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand, value_parser};

use super::Exit;
use crate::identity::Certificate;
use crate::os;
use crate::pki::{
    AuthorityName, CA_DAYS, CLIENT_DAYS, CRL_DAYS, ClientName, Folder, Founding, HostName, KeyKind, Order, OtherName, PkiError, Purpose,
    ROOT_CRL_DAYS, Reason, Revokee, SERVER_DAYS, SerialDigits, WrittenCrl, init, issue_client, issue_server, list, revoke, show,
    write_crls,
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
    /// Withdraw certificates: all that a client has, or one by its serial number
    Revoke(Revoke),
    /// Sign the revocation lists anew
    Crl(Crl),
    /// List all that was issued and revoked
    List(List),
    /// Say what a PEM or DER file holds, and what Postern will make of it
    Show {
        /// A file with certificates, keys, requests or CRLs
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Whose CAs they are, for their subjects: "NAME client CA" [default: the names of their files]
    #[arg(long, value_name = "NAME", value_parser = AuthorityName::parse)]
    name: Option<AuthorityName>,
    /// How long the CAs are valid
    #[arg(long, value_name = "N", default_value_t = CA_DAYS, value_parser = value_parser!(u32).range(1..=MAX_DAYS))]
    days: u32,
    #[command(flatten)]
    key: Key,
    /// Put a root above each CA, whose key can then be kept away from every network
    #[arg(long)]
    intermediate: bool,
}

#[derive(Debug, Args)]
pub(super) struct Server {
    /// The folder that `postern pki init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A DNS name or IP address that clients connect to; once for each
    #[arg(long = "host", value_name = "HOST", required = true, value_parser = HostName::parse)]
    hosts: Vec<HostName>,
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MAX_DAYS), help = lifetime_help(SERVER_DAYS))]
    days: Option<u32>,
    #[command(flatten)]
    key: Key,
    /// Issue another certificate beside the one that there is, with a key and files of its own
    #[arg(long)]
    renew: bool,
}

#[derive(Debug, Args)]
pub(super) struct Client {
    /// The folder that `postern pki init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The role to log in as
    #[arg(long = "cn", value_name = "NAME", value_parser = ClientName::parse)]
    name: ClientName,
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MAX_DAYS), help = lifetime_help(CLIENT_DAYS))]
    days: Option<u32>,
    #[command(flatten)]
    key: Key,
    /// Issue another certificate beside those that the role has, with a key and files of its own
    #[arg(long)]
    renew: bool,
    /// Write the key as PKCS#8 in DER too, which pgjdbc reads
    #[arg(long)]
    pk8: bool,
    /// A URI as subject alternative name, for rules with clientname SAN-URI
    #[arg(long = "san-uri", value_name = "URI", value_parser = OtherName::uri)]
    uris: Vec<OtherName>,
    /// A DNS name as subject alternative name, for rules with clientname SAN-DNS
    #[arg(long = "san-dns", value_name = "NAME", value_parser = OtherName::dns)]
    dns: Vec<OtherName>,
    /// An email address as subject alternative name, for rules with clientname SAN-EMAIL
    #[arg(long = "san-email", value_name = "ADDRESS", value_parser = OtherName::email)]
    emails: Vec<OtherName>,
}

#[derive(Debug, Args)]
struct Key {
    /// The kind of key: p256, p384, ed25519, rsa2048, rsa3072, rsa4096
    #[arg(long = "key", value_name = "KIND", default_value = "p256", hide_default_value = false, value_parser = KeyKind::parse)]
    kind: KeyKind,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["name", "serial"])))]
pub(super) struct Revoke {
    /// The folder that `postern pki init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// All certificates of this role
    #[arg(long = "cn", value_name = "NAME", value_parser = ClientName::parse)]
    name: Option<ClientName>,
    /// The certificate with this serial number
    #[arg(long, value_name = "HEX", value_parser = SerialDigits::parse)]
    serial: Option<SerialDigits>,
    /// Why: unspecified, keyCompromise, CACompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn
    #[arg(long, value_name = "REASON", default_value = "unspecified", value_parser = Reason::parse)]
    reason: Reason,
}

#[derive(Debug, Args)]
pub(super) struct Crl {
    /// The folder that `postern pki init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MAX_DAYS), help = crl_help())]
    days: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The folder that `postern pki init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Exit {
    let now = os::unix_now();
    let done = match command {
        Command::Init(arguments) => arguments.run(now),
        Command::Server(arguments) => arguments.run(now),
        Command::Client(arguments) => arguments.run(now),
        Command::Revoke(arguments) => arguments.run(now),
        Command::Crl(arguments) => return arguments.run(now),
        Command::List(arguments) => arguments.run(now),
        Command::Show { file } => return show(&file, now),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            Exit::Done
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &PkiError) -> Exit {
    eprintln!("postern: {error}");
    Exit::Failed
}

impl Init {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let folder = Folder::new(self.folder);
        let founding = Founding { name: self.name, days: Some(self.days), key: self.key.kind, intermediate: self.intermediate };
        let written = init(&folder, &founding, now)?;
        Ok(words::founded(&folder, &written, self.intermediate))
    }
}

impl Server {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let folder = Folder::new(self.folder);
        let order = Order { days: self.days, key: self.key.kind, renew: self.renew, pk8: false };
        let issued = issue_server(&folder, &self.hosts, order, now)?;
        Ok(words::server(&folder, &issued, now))
    }
}

impl Client {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let folder = Folder::new(self.folder);
        let order = Order { days: self.days, key: self.key.kind, renew: self.renew, pk8: self.pk8 };
        let others: Vec<_> = self.uris.into_iter().chain(self.dns).chain(self.emails).collect();
        let issued = issue_client(&folder, &self.name, &others, order, now)?;
        Ok(words::client(&folder, &self.name, &issued, now))
    }
}

impl Revoke {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let folder = Folder::new(self.folder);
        // One of the two is there: the command line was taken.
        let Some(revokee) = self.name.map(Revokee::Name).or(self.serial.map(Revokee::Serial)) else { return Ok(String::new()) };
        let revoked = revoke(&folder, &revokee, self.reason, now)?;
        Ok(words::revoked(&folder, &revoked))
    }
}

impl Crl {
    /// It fails where the list that servers look at was not signed: whoever runs it every month is told before that list is overdue.
    fn run(self, now: i64) -> Exit {
        let folder = Folder::new(self.folder);
        let written = match write_crls(&folder, self.days, now) {
            Ok(written) => written,
            Err(error) => return failed(&error),
        };
        println!("{}", words::crls(&folder, &written, now));
        let (list, key) = (folder.crl(Purpose::Client), folder.authority_key(Purpose::Client));
        let signed = |file: &WrittenCrl| file.path == list && file.parts.first().is_some_and(|part| part.number.is_some());
        if written.iter().any(signed) {
            return Exit::Done;
        }
        eprintln!(
            "postern: {}: the list of the CA that issues clients' certificates was not signed; run this where {} is",
            list.display(),
            key.display()
        );
        Exit::Failed
    }
}

impl List {
    fn run(self, now: i64) -> Result<String, PkiError> {
        let entries = list(&Folder::new(self.folder))?;
        Ok(if self.json { words::json(&entries) } else { words::table(&entries, now) })
    }
}

fn lifetime_help(days: u32) -> String {
    format!("How long the certificate is valid, at most as long as its CA [default: {days}, or what its CA has left]")
}

fn crl_help() -> String {
    format!("How long the lists hold; a login is refused once one is overdue [default: {CRL_DAYS}, and {ROOT_CRL_DAYS} for a root's]")
}

fn show(file: &Path, now: i64) -> Exit {
    match show::read(file) {
        Ok(blocks) => {
            print!("{}", show::render(&blocks, &Logins, now));
            let unusable = |block: &show::Block| {
                matches!(block, show::Block::Certificate(Err(_)) | show::Block::Crl(Err(_)) | show::Block::Request(Err(_)))
            };
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

/// A hundred years.
const MAX_DAYS: i64 = 36_525;
