//! What `postern pki` says: what it did, and what comes next.

use std::path::{Path, PathBuf};

use crate::cli::conninfo::{Connection, Format, absolute, first_certificate, host_of, pk8_command};
use crate::cli::table::{Align, table as aligned};
use crate::pki::{ClientName, CrlPart, Entry, Folder, Issued, Purpose, WrittenCrl, date};

/// After `init`.
pub(super) fn founded(folder: &Folder, written: &[PathBuf], intermediate: bool) -> String {
    let lines: String = written.iter().map(|path| format!("wrote {}\n", path.display())).collect();
    let path = folder.path().display();
    let keys = if intermediate {
        format!(
            "Take {} and {} away from here: they are needed once a year, for `postern pki crl`, and to replace a CA.",
            folder.root_key(Purpose::Client).display(),
            folder.root_key(Purpose::Server).display()
        )
    } else {
        "Whoever has client-ca.key can log in as anybody: once you have issued, keep it where this server is not.".to_owned()
    };
    format!("{lines}Next: postern pki server {path} --host NAME, then postern pki client {path} --cn ROLE.\n{keys}")
}

/// After `server`.
pub(super) fn server(folder: &Folder, issued: &Issued, now: i64) -> String {
    format!(
        "{}For Postern's configuration:\ntls:\n  ssl_cert_file: {}\n  ssl_key_file: {}\n  ssl_ca_file: {}\n  # With \
         this, a revoked client is refused, and every client once the list is overdue: run `postern pki crl` every month.\n  # \
         ssl_crl_file: {}",
        certificate(issued, now),
        yaml(&issued.certificate),
        yaml(&issued.key),
        yaml(&folder.authority_certificate(Purpose::Client)),
        yaml(&folder.crl(Purpose::Client))
    )
}

/// After `client`: the last line is one for the shell.
pub(super) fn client(folder: &Folder, name: &ClientName, issued: &Issued, now: i64) -> String {
    let server = first_certificate(&folder.server_certificate());
    let connection = Connection {
        host: server.as_ref().and_then(host_of).unwrap_or_else(|| "localhost".to_owned()),
        port: 5432,
        user: name.as_str().to_owned(),
        database: "postgres".to_owned(),
        sslrootcert: shown(&folder.authority_certificate(Purpose::Server)),
        sslcert: shown(&issued.certificate),
        sslkey: shown(&issued.key),
    };
    let before = match &issued.pk8 {
        Some(_) => String::new(),
        None => format!("For Java, once: {}\n", pk8_command(&connection)),
    };
    // A JDBC URL has a way to write everything.
    let jdbc = connection.render(Format::Jdbc).unwrap_or_default();
    format!("{}{before}{jdbc}\n{}", certificate(issued, now), connection.psql())
}

/// After `revoke`.
pub(super) fn revoked(folder: &Folder, entries: &[Entry]) -> String {
    let lines: String = entries.iter().map(|entry| format!("revoked {}{}\n", described(entry), reason(entry))).collect();
    let client = entries.iter().all(|entry| entry.authority.starts_with("client"));
    let file = folder.crl(if client { Purpose::Client } else { Purpose::Server });
    let setting = if client { "tls.ssl_crl_file (PostgreSQL: ssl_crl_file)" } else { "the clients' sslcrl" };
    format!(
        "{lines}No server knows it yet. Next: postern pki crl {}, put {} where {setting} points, and reload: `postern reload` or SIGHUP.",
        folder.path().display(),
        file.display()
    )
}

/// After `crl`.
pub(super) fn crls(folder: &Folder, written: &[WrittenCrl], now: i64) -> String {
    let mut lines: Vec<_> = written.iter().flat_map(|file| file.parts.iter().map(|part| list(&file.path, part, now))).collect();
    let purposes = [(Purpose::Client, "client"), (Purpose::Server, "server")];
    for (purpose, word) in purposes.iter().filter(|(purpose, _)| written.iter().all(|file| file.path != folder.crl(*purpose))) {
        let (list, key) = (folder.crl(*purpose), folder.authority_key(*purpose));
        lines.push(format!("left {} as it is: the {word} CA's key {} is not here", list.display(), key.display()));
    }
    let soonest = written.iter().flat_map(|file| &file.parts).map(|part| part.next_update).min().unwrap_or(now);
    lines.push(format!(
        "For Postern's configuration: tls.ssl_crl_file: {}\nRun this again well before {}: a server refuses every client whose CA's list is \
         overdue.",
        yaml(&folder.crl(Purpose::Client)),
        date(soonest)
    ));
    lines.join("\n")
}

/// All certificates, for people.
pub(super) fn table(entries: &[Entry], now: i64) -> String {
    let header = ["SERIAL", "KIND", "NAME", "ISSUER", "FROM", "UNTIL", "STATUS", "FILE"].map(|title| (title, Align::Left));
    let row = |entry: &Entry| {
        vec![
            entry.serial.clone(),
            entry.kind.name().to_owned(),
            entry.cn.escape_debug().to_string(),
            entry.authority.clone(),
            date(entry.not_before),
            date(entry.not_after),
            status(entry, now),
            entry.file.clone(),
        ]
    };
    aligned(&header, entries.iter().map(row).collect())
}

/// The same, for programs.
pub(super) fn json(entries: &[Entry]) -> String {
    entries.iter().filter_map(|entry| serde_json::to_string(entry).ok()).collect::<Vec<_>>().join("\n")
}

fn status(entry: &Entry, now: i64) -> String {
    match entry.revoked {
        Some(revocation) => format!("revoked {} {}", date(revocation.time), revocation.reason.name()),
        None if entry.not_after <= now => "expired".to_owned(),
        None => format!("{} days left", days(entry.not_after, now)),
    }
}

fn certificate(issued: &Issued, now: i64) -> String {
    let why = if issued.ends_with_authority { ", when its CA ends" } else { "" };
    let mut lines = format!(
        "wrote {}, valid for {} days, until {}{why}\nwrote {}\n",
        issued.certificate.display(),
        days(issued.not_after, now),
        date(issued.not_after),
        issued.key.display()
    );
    if let Some(pk8) = &issued.pk8 {
        lines.push_str(&format!("wrote {}\n", pk8.display()));
    }
    for entry in &issued.earlier {
        lines.push_str(&format!("still good: {}\n", described(entry)));
    }
    lines
}

fn described(entry: &Entry) -> String {
    let (kind, cn, end) = (entry.kind.name(), entry.cn.escape_debug(), date(entry.not_after));
    format!("{} \"{cn}\", {kind}, serial number {}, until {end}", entry.file, entry.serial)
}

fn reason(entry: &Entry) -> String {
    entry.revoked.map(|revocation| format!(" ({})", revocation.reason.name())).unwrap_or_default()
}

fn list(path: &Path, part: &CrlPart, now: i64) -> String {
    let CrlPart { authority, lists, next_update, .. } = part;
    let certificates = if *lists == 1 { "certificate" } else { "certificates" };
    let due = format!("the next is due by {}, in {} days", date(*next_update), days(*next_update, now));
    match part.number {
        Some(number) => format!("wrote {}: list {number} of {authority}, {lists} {certificates}, {due}", path.display()),
        None => format!("kept in {}: the list of {authority}, whose key is not here, {lists} {certificates}, {due}", path.display()),
    }
}

fn days(until: i64, now: i64) -> i64 {
    until.saturating_sub(now).div_euclid(86_400)
}

/// A JSON string is a YAML string.
fn yaml(path: &Path) -> serde_json::Value {
    serde_json::Value::from(shown(path))
}

fn shown(path: &Path) -> String {
    absolute(path).unwrap_or_else(|_| path.display().to_string())
}
