//! `postern conninfo`: how a user connects through the Postern that a configuration describes.

mod format;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use format::SYSTEM;
pub(super) use format::{Connection, Format};

use super::{ConfigFile, Exit};
use crate::config::{self, ListenAddress};
use crate::identity::{AlternativeName, Certificate};
use crate::os::unix_now;
use crate::pki::{ClientName, Folder, HostName, NameError, Purpose, newest, show};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The role to connect as
    #[arg(short = 'U', long, value_name = "ROLE")]
    user: String,
    /// The database to connect to
    #[arg(short, long, value_name = "NAME", default_value = "postgres", value_parser = NonEmptyStringValueParser::new())]
    database: String,
    /// How to write it down
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// What clients connect to [default: the first name in the server's certificate, else localhost]
    #[arg(long, value_parser = host)]
    host: Option<String>,
    /// The user's certificate [default: the newest that `postern pki client` has put beside tls.ssl_ca_file]
    #[arg(long, value_name = "FILE")]
    sslcert: Option<String>,
    /// The user's private key [default: that of this certificate]
    #[arg(long, value_name = "FILE")]
    sslkey: Option<String>,
    /// The CA of the server's certificate; `system` for the system's own [default: server-ca.crt beside tls.ssl_ca_file]
    #[arg(long, value_name = "FILE")]
    sslrootcert: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let path = arguments.config.clone().path();
    let loaded = match config::load(&path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return Exit::Config;
        }
    };
    let tls = &loaded.settings.live.tls;
    let server = first_certificate(&tls.ssl_cert_file);
    let folder = Folder::new(tls.ssl_ca_file.parent().unwrap_or(Path::new("")));
    let listen = loaded.settings.boot.listen.iter().find_map(ListenAddress::tcp);
    let connection = match arguments.connection(&folder, server.as_ref(), listen) {
        Ok(connection) => connection,
        Err(fault) => {
            eprintln!("postern: {fault}");
            return Exit::Failed;
        }
    };
    match connection.render(arguments.format) {
        Ok(text) => {
            println!("{text}");
            advise(&connection, arguments.format, &folder);
            if arguments.host.is_none() && server.as_ref().and_then(host_of).is_none() {
                eprintln!("# the server's certificate names no host that a client could connect to: say with --host what they connect to");
            }
            Exit::Done
        }
        Err(fault) => {
            eprintln!("postern: {fault}");
            Exit::Failed
        }
    }
}

impl Arguments {
    fn connection(&self, folder: &Folder, server: Option<&Certificate>, listen: Option<SocketAddr>) -> Result<Connection, String> {
        let name = ClientName::parse(&self.user).map_err(|error| format!("--user: {error}"))?;
        let newest = newest(folder, &name, unix_now());
        let (certificate, key) = match newest {
            Some(place) => (place.certificate, place.key),
            None => (folder.client_certificate(&name), folder.client_key(&name)),
        };
        let given = |option: &Option<String>, otherwise: PathBuf| match option {
            Some(path) => absolute(Path::new(path)),
            None => absolute(&otherwise),
        };
        Ok(Connection {
            host: self.host.clone().unwrap_or_else(|| server.and_then(host_of).unwrap_or_else(|| "localhost".to_owned())),
            port: listen.map_or(5432, |address| address.port()),
            user: self.user.clone(),
            database: self.database.clone(),
            sslrootcert: match self.sslrootcert.as_deref() {
                Some(SYSTEM) => SYSTEM.to_owned(),
                _ => given(&self.sslrootcert, folder.authority_certificate(Purpose::Server))?,
            },
            sslcert: given(&self.sslcert, certificate)?,
            sslkey: given(&self.sslkey, key)?,
        })
    }
}

/// What people must know beside the line itself: on standard error, so that the line can be piped.
fn advise(connection: &Connection, format: Format, folder: &Folder) {
    match format {
        Format::Service => eprintln!("# for ~/.pg_service.conf; then: psql service={}", connection.service_name()),
        Format::Jdbc if connection.jdbc_key() != connection.sslkey => {
            eprintln!("# pgjdbc reads the key as PKCS#8 in DER; once, where the key is:");
            eprintln!("# {}", pk8_command(connection));
        }
        Format::Jdbc | Format::Uri | Format::Keywords => {}
    }
    let missing = |file: &str| file != SYSTEM && !Path::new(file).exists();
    if let Some(file) = [&connection.sslcert, &connection.sslkey].into_iter().find(|file| missing(file)) {
        let folder = if folder.path().as_os_str().is_empty() { ".".into() } else { shell(&folder.path().to_string_lossy()) };
        let role = shell(&connection.user);
        eprintln!("# there is no {file} here: name yours with --sslcert and --sslkey, or make it:");
        eprintln!("# postern pki client {folder} --cn {role}");
    }
    if missing(&connection.sslrootcert) {
        let file = &connection.sslrootcert;
        eprintln!("# there is no {file} here: name the CA of the server's certificate with --sslrootcert, or `system` for a public one");
    }
}

/// The command that makes pgjdbc's form of the key, readable by its owner alone.
pub(super) fn pk8_command(connection: &Connection) -> String {
    format!(
        "(umask 077; openssl pkcs8 -topk8 -inform PEM -outform DER -nocrypt -in {} -out {})",
        shell(&connection.sslkey),
        shell(&connection.jdbc_key())
    )
}

/// A word as a shell reads it.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The first certificate of a file, if there is one that can be read.
pub(super) fn first_certificate(file: &Path) -> Option<Certificate> {
    show::read(file).ok()?.into_iter().find_map(|block| match block {
        show::Block::Certificate(Ok(certificate)) => Some(*certificate),
        show::Block::Certificate(Err(_))
        | show::Block::Crl(_)
        | show::Block::Request(_)
        | show::Block::Key { .. }
        | show::Block::Other(_) => None,
    })
}

/// The first name that a client can write after `host=`: a DNS name, or an address. Where there is no subjectAltName libpq
/// looks at the CN.
pub(super) fn host_of(server: &Certificate) -> Option<String> {
    let names = server.portrait().ok()?.alternative_names;
    let dns = |name: &AlternativeName| if let AlternativeName::Dns(name) = name { Some(name.clone()) } else { None };
    let address = |name: &AlternativeName| if let AlternativeName::Address(address) = name { Some(address.to_string()) } else { None };
    let first_name = names.iter().filter_map(dns).find(|name| !name.starts_with('*'));
    let common_name = || if names.is_empty() { server.subject().common_name().ok().map(|name| name.as_str().to_owned()) } else { None };
    let found = first_name.or_else(|| names.iter().find_map(address)).or_else(common_name)?;
    host(&found).ok()
}

/// What a client can write after `host=`.
fn host(text: &str) -> Result<String, NameError> {
    match HostName::parse(text)? {
        HostName::Dns(name) if name.starts_with('*') => Err(NameError::Host("nobody connects to a wildcard: write a name that it covers")),
        found @ (HostName::Dns(_) | HostName::Address(_)) => Ok(found.to_string()),
    }
}

/// A path that means the same from every folder.
pub(super) fn absolute(path: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    absolute.into_os_string().into_string().map_err(|path| format!("{} is not UTF-8, which no connection string can hold", path.display()))
}

#[cfg(test)]
mod tests;
