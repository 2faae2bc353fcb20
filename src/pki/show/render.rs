//! Blocks as text for people: one fact a line, the verdict last.

use std::fmt::Write as _;

use crate::crypto::Sha256;
use crate::identity::{AlternativeName, Certificate, Crl, NameFault, Portrait, Request, Version, key_words};
use crate::types::MAX_NAME_LENGTH;

use super::super::date;
use super::{Block, Verifier};

/// All blocks of a file as text, judged at `now`, in seconds since 1970.
pub fn render(blocks: &[Block], verifier: &dyn Verifier, now: i64) -> String {
    let certificates: Vec<_> = blocks.iter().filter_map(readable).collect();
    let lists: Vec<_> = blocks.iter().filter_map(list).collect();
    let mut out = String::new();
    let mut number = 0usize;
    for block in blocks {
        if !out.is_empty() {
            out.push('\n');
        }
        match block {
            Block::Certificate(read) => {
                number = number.saturating_add(1);
                line(&mut out, format_args!("certificate {number}"));
                match read {
                    Ok(certificate) => Sheet { certificate, others: &certificates, lists: &lists, verifier, now }.write(&mut out),
                    Err(error) => fact(&mut out, "cannot be used", &error.to_string()),
                }
            }
            Block::Crl(Ok(crl)) => write_crl(&mut out, crl, now),
            Block::Request(Ok(request)) => write_request(&mut out, request),
            Block::Request(Err(error)) => {
                line(&mut out, format_args!("certificate signing request"));
                fact(&mut out, "cannot be used", error);
            }
            Block::Crl(Err(error)) => {
                line(&mut out, format_args!("certificate revocation list"));
                fact(&mut out, "cannot be used", &error.to_string());
            }
            Block::Key { label, public_key } => {
                line(&mut out, format_args!("private key ({label})"));
                let of = certificates.iter().position(|certificate| Some(certificate.public_key()) == public_key.as_deref());
                let whose = match (public_key, of) {
                    (_, Some(index)) => format!("it is the key of readable certificate {} here", index.saturating_add(1)),
                    (Some(_), None) => "it is not shown, and belongs to no certificate in this file".to_owned(),
                    (None, None) => "it is not shown; whose it is cannot be told here".to_owned(),
                };
                fact(&mut out, "secret", &whose);
                if let Some(public_key) = public_key {
                    fact(&mut out, "key", &key_words(public_key));
                    fact(&mut out, "key sha256", &Sha256::of(public_key).to_string());
                }
            }
            Block::Other(label) => line(&mut out, format_args!("a block \"{label}\", which Postern does not read")),
        }
    }
    out
}

/// One certificate, and what is needed to judge it.
struct Sheet<'a> {
    certificate: &'a Certificate,
    others: &'a [&'a Certificate],
    lists: &'a [&'a Crl],
    verifier: &'a dyn Verifier,
    now: i64,
}

impl Sheet<'_> {
    fn write(&self, out: &mut String) {
        let certificate = self.certificate;
        fact(out, "subject", &or_nothing(certificate.subject().rfc2253()));
        fact(out, "issuer", &or_nothing(certificate.issuer().rfc2253()));
        fact(out, "serial", &certificate.serial_hex());
        let version = match certificate.version() {
            Version::V1 => "v1: no extensions, so it says nothing of hosts, purposes or CAs",
            Version::V3 => "v3",
        };
        fact(out, "version", version);
        fact(out, "valid", &self.validity());
        let portrait = certificate.portrait().unwrap_or_else(|what| {
            fact(out, "extensions", &format!("cannot be read: {what}"));
            Portrait::default()
        });
        write_portrait(out, &portrait);
        fact(out, "key", &certificate.key_words());
        fact(out, "signature", &certificate.signature_words());
        fact(out, "sha256", &certificate.sha256().to_string());
        fact(out, "key sha256", &Sha256::of(certificate.public_key()).to_string());
        fact(out, "chain", &self.chain());
        if self.lists.iter().any(|list| list.issuer() == certificate.issuer() && list.lists(certificate.serial())) {
            fact(out, "revoked", "a CRL of its issuer in this file lists it: with that as tls.ssl_crl_file it is refused");
        }
        if self.may_be_authority() {
            fact(out, "as a CA", &self.as_authority());
        } else {
            if let Some(verdict) = as_server(&portrait) {
                fact(out, "as a server", &verdict);
            }
            self.as_client(out);
        }
    }

    fn validity(&self) -> String {
        let (from, until) = (self.certificate.not_before(), self.certificate.not_after());
        format!("{} to {}, {}", date(from), date(until), remaining(from, until, self.now))
    }

    /// Whether the next certificate up is in the file, and fits.
    fn chain(&self) -> String {
        let certificate = self.certificate;
        if certificate.self_issued() {
            return match self.verifier.is_signed_by(certificate, certificate) {
                Some(true) => "it signed itself: in tls.ssl_ca_file it is a trust anchor".to_owned(),
                Some(false) => "it bears its issuer's name, and its key did not sign it".to_owned(),
                None => "it bears its issuer's name; its signature cannot be verified here".to_owned(),
            };
        }
        let named = |(_, other): &(usize, &&Certificate)| other.subject() == certificate.issuer();
        let candidates = || self.others.iter().enumerate().filter(named);
        let number = |index: usize| index.saturating_add(1);
        if let Some((index, _)) = candidates().find(|(_, other)| self.verifier.is_signed_by(certificate, other) == Some(true)) {
            return format!("certificate {} issued it, and the signature fits", number(index));
        }
        match candidates().next() {
            Some((index, other)) => match self.verifier.is_signed_by(certificate, other) {
                None => format!("certificate {} bears its issuer's name; the signature cannot be verified here", number(index)),
                Some(_) => format!("certificate {} bears its issuer's name, but did not sign it", number(index)),
            },
            None => "its issuer is not in this file".to_owned(),
        }
    }

    /// A v1 certificate does not say whether it is a CA's; one that signed itself is of use as nothing else.
    fn may_be_authority(&self) -> bool {
        self.certificate.is_authority() || (self.certificate.version() == Version::V1 && self.certificate.self_issued())
    }

    fn as_authority(&self) -> String {
        let extensions = self.certificate.extensions();
        if let Some(why) = self.verifier.unusable_key(self.certificate) {
            return format!("Postern can verify nothing that it issues: {why}");
        }
        if extensions.key_usage.is_some_and(|usage| !usage.cert_sign) {
            return "it may not issue certificates: its keyUsage lacks keyCertSign".to_owned();
        }
        if extensions.extended_key_usage.is_some_and(|usage| !usage.client_auth) {
            return "it may issue, but not for clients: its extendedKeyUsage lacks clientAuth".to_owned();
        }
        let revokes = if extensions.key_usage.is_some_and(|usage| !usage.crl_sign) { "; it may not sign CRLs" } else { "" };
        let length = match extensions.basic_constraints.and_then(|constraints| constraints.path_length) {
            Some(0) => ", and no further CA",
            Some(_) | None => ", and further CAs",
        };
        format!(
            "it may issue client certificates for tls.ssl_ca_file{length}; it cannot log in itself, although PostgreSQL would let it{revokes}"
        )
    }

    fn as_client(&self, out: &mut String) {
        let mut faults = self.verifier.faults_at_login(self.certificate, self.now);
        let name = self.certificate.subject().common_name();
        match &name {
            Ok(name) if name.as_bytes().len() > MAX_NAME_LENGTH => {
                let length = name.as_bytes().len();
                faults.push(format!(
                    "its CN has {length} bytes: no role's name is longer than {MAX_NAME_LENGTH}, so only a map can admit it"
                ));
            }
            Ok(_) => {}
            Err(fault) => faults.push(fault.to_string()),
        }
        let verdict = match &name {
            Ok(name) if faults.is_empty() => format!("logs in as {name:?}, if tls.ssl_ca_file vouches for its issuer"),
            _ => format!("refused: {}", faults.join("; ")),
        };
        fact(out, "as a client", &verdict);
        if let Some(difference) = name.as_ref().err().and_then(in_postgresql) {
            fact(out, "PostgreSQL", difference);
        }
        if self.certificate.version() == Version::V1 {
            fact(out, "note", "X.509 v1 is judged as OpenSSL does, unless tls.x509_v1 is refuse; the issuer must be a trust anchor itself");
        }
    }
}

fn write_portrait(out: &mut String, portrait: &Portrait) {
    if !portrait.alternative_names.is_empty() {
        let names: Vec<_> = portrait.alternative_names.iter().map(alternative_name).collect();
        fact(out, "names", &names.join(", "));
    }
    if let Some(usage) = &portrait.key_usage {
        fact(out, "key usage", &usage.join(", "));
    }
    if let Some(purposes) = &portrait.extended_key_usage {
        fact(out, "purposes", &purposes.join(", "));
    }
}

/// What clients with `sslmode=verify-full` will make of it, if it is meant for them.
fn as_server(portrait: &Portrait) -> Option<String> {
    let hosts: Vec<_> = portrait.alternative_names.iter().filter_map(host).collect();
    let is_servers = match &portrait.extended_key_usage {
        Some(purposes) => purposes.iter().any(|purpose| purpose == "serverAuth"),
        // Then it is for every purpose, and a host's name tells what it was made for.
        None => !hosts.is_empty(),
    };
    if !is_servers {
        return None;
    }
    Some(if hosts.is_empty() {
        "its subjectAltName names no host: libpq compares the CN, most other drivers refuse it".to_owned()
    } else {
        format!("sslmode=verify-full takes it for {}", hosts.join(", "))
    })
}

fn host(name: &AlternativeName) -> Option<String> {
    match name {
        AlternativeName::Dns(name) => Some(name.clone()),
        AlternativeName::Address(address) => Some(address.to_string()),
        AlternativeName::Email(_) | AlternativeName::Uri(_) | AlternativeName::Directory(_) | AlternativeName::Other => None,
    }
}

fn alternative_name(name: &AlternativeName) -> String {
    match name {
        AlternativeName::Dns(name) => format!("DNS {name}"),
        AlternativeName::Email(address) => format!("email {address}"),
        AlternativeName::Uri(uri) => format!("URI {uri}"),
        AlternativeName::Address(address) => format!("IP {address}"),
        AlternativeName::Directory(name) => format!("DN {name}"),
        AlternativeName::Other => "one of another form".to_owned(),
    }
}

fn write_crl(out: &mut String, crl: &Crl, now: i64) {
    line(out, format_args!("certificate revocation list"));
    fact(out, "issuer", &or_nothing(crl.issuer().rfc2253()));
    let portrait = crl.portrait(SHOWN_ENTRIES).unwrap_or_default();
    if let Some(number) = portrait.number {
        fact(out, "number", &number);
    }
    let until = match crl.next_update() {
        Some(next) => format!("{} to {}, {}", date(crl.this_update()), date(next), remaining(crl.this_update(), next, now)),
        None => format!("from {} on; it does not say when the next one comes", date(crl.this_update())),
    };
    fact(out, "valid", &until);
    fact(out, "lists", &if crl.len() == 1 { "1 certificate".to_owned() } else { format!("{} certificates", crl.len()) });
    let shown = portrait.first.len();
    for entry in portrait.first {
        let reason = entry.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        fact(out, "", &format!("{} revoked {}{reason}", entry.serial, date(entry.time)));
    }
    if crl.len() > shown {
        fact(out, "", "and others");
    }
    if crl.next_update().is_some_and(|next| next <= now) {
        fact(out, "as a CRL", "every client of this CA is refused until there is a new one");
    }
}

fn write_request(out: &mut String, request: &Request) {
    line(out, format_args!("certificate signing request"));
    fact(out, "subject", &or_nothing(request.subject().rfc2253()));
    if !request.alternative_names().is_empty() {
        let names: Vec<_> = request.alternative_names().iter().map(alternative_name).collect();
        fact(out, "names", &names.join(", "));
    }
    fact(out, "key", &key_words(request.public_key()));
    fact(out, "key sha256", &Sha256::of(request.public_key()).to_string());
    fact(out, "note", "it is a wish and lets nobody in: a CA must sign it first");
}

/// Where PostgreSQL is less strict with a name than Postern.
fn in_postgresql(fault: &NameFault) -> Option<&'static str> {
    match fault {
        NameFault::Ambiguous => Some("it would take the first CN; map it by another name, or issue a certificate with one"),
        NameFault::Encoding(_) => Some("it would compare the CN's bytes as they are; issue one with a UTF8String"),
        NameFault::Control => Some("it would compare the CN's bytes as they are, unless one is a NUL"),
        NameFault::Missing | NameFault::Empty => None,
    }
}

fn remaining(from: i64, until: i64, now: i64) -> String {
    let days = |seconds: i64| seconds.div_euclid(86_400);
    match until.saturating_sub(now) {
        left if left <= 0 => format!("EXPIRED {} days ago", days(left.saturating_neg())),
        _ if now < from => format!("NOT YET VALID, {} days to go", days(from.saturating_sub(now))),
        left => format!("{} days left", days(left)),
    }
}

fn or_nothing(name: String) -> String {
    if name.is_empty() { "(empty)".to_owned() } else { name }
}

fn readable(block: &Block) -> Option<&Certificate> {
    match block {
        Block::Certificate(Ok(certificate)) => Some(certificate),
        Block::Certificate(Err(_)) | Block::Crl(_) | Block::Request(_) | Block::Key { .. } | Block::Other(_) => None,
    }
}

fn list(block: &Block) -> Option<&Crl> {
    match block {
        Block::Crl(Ok(crl)) => Some(crl),
        Block::Crl(Err(_)) | Block::Certificate(_) | Block::Request(_) | Block::Key { .. } | Block::Other(_) => None,
    }
}

fn fact(out: &mut String, name: &str, value: &str) {
    line(out, format_args!("  {name:<12} {value}"));
}

/// Writing to a String cannot fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

/// As many of a CRL's certificates as a person reads.
const SHOWN_ENTRIES: usize = 20;
