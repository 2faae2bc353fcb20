//! A line of pg_hba.conf as a rule (src/backend/libpq/hba.c, parse_hba_line).

use std::net::IpAddr;

use super::super::diagnostic::{Diagnostic, Faults};
use super::super::reader::Wrong;
use super::super::words::{Lookup, address, database, masked, user};
use super::elsewhere;
use super::options::{Asked, ClientCert};
use super::{Fields, Line};
use crate::notice::Notice;
use crate::policy::{AddressPattern, Bounds, Method, Rule, UserName};

/// The rules of these lines, and what an operator should know of those that let nobody in.
pub(super) fn rules(lines: &[Line], lookup: Lookup, faults: &mut Faults) -> (Vec<Rule>, Vec<Notice>) {
    let (mut rules, mut notices) = (Vec::new(), Vec::new());
    for line in lines {
        match read(line, lookup) {
            Ok(Read::Rule(rule)) => {
                if let Method::Unsupported(word) = rule.method {
                    let found = format!("{}: the method {word} asks for no certificate: whom this line matches is refused", rule.source);
                    notices.push(Notice::of_course(found));
                }
                rules.push(*rule);
            }
            Ok(Read::Elsewhere(kind)) => {
                let found = format!("{}: {kind} lines do not apply to TLS over TCP: this line matches nobody here", line.source());
                notices.push(Notice::of_course(found));
            }
            Err(fault) => faults.push(fault),
        }
    }
    (rules, notices)
}

enum Read {
    Rule(Box<Rule>),
    /// A line for connections of another kind.
    Elsewhere(&'static str),
}

/// Which connections the line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Over TCP, with TLS or without.
    Any,
    /// Over TCP with TLS.
    Tls,
    /// Over TCP, and never with TLS: this word.
    NoTls(&'static str),
    /// Over a Unix socket.
    Local,
}

impl Kind {
    /// The word of the file; `host` for `hostnogssenc` too.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Any => "host",
            Self::Tls => "hostssl",
            Self::NoTls(word) => word,
            Self::Local => "local",
        }
    }
}

fn read(line: &Line, lookup: Lookup) -> Result<Read, Diagnostic> {
    let mut fields = Fields::of(line);
    let kind = connection(&mut fields)?;
    match kind {
        Kind::Any | Kind::Tls => {}
        Kind::NoTls(_) | Kind::Local => return elsewhere::check(&mut fields, kind).map(|()| Read::Elsewhere(kind.word())),
    }
    let mut databases = Vec::new();
    for token in fields.next("database", DATABASES)? {
        databases.push(database(token.word(), lookup).map_err(|wrong| fields.wrong(token, "database", wrong))?);
    }
    let mut users = Vec::new();
    for token in fields.next("user", USERS)? {
        users.push(user(token.word(), lookup).map_err(|wrong| fields.wrong(token, "user", wrong))?);
    }
    let address = location(&mut fields)?;
    let asked = Asked::read(&mut fields, kind)?;
    Ok(Read::Rule(Box::new(Rule {
        databases,
        users,
        address,
        method: method(&asked),
        clientcert: asked.clientcert.is_some() || asked.word == "cert",
        clientname: asked.clientname,
        map: asked.map,
        user_name: UserName::Requested,
        denied_parameters: Vec::new(),
        bounds: Bounds::default(),
        source: line.source(),
    })))
}

pub(super) const DATABASES: &str = "a database's name, all, sameuser, samerole, replication or /REGEX";
pub(super) const USERS: &str = "a role's name, all, +ROLE or /REGEX";
pub(super) const ADDRESS: &str = "a CIDR block, an address with its mask, all, samehost or samenet";

fn connection(fields: &mut Fields<'_>) -> Result<Kind, Diagnostic> {
    let expected = "host, hostssl, hostnossl, hostgssenc, hostnogssenc or local";
    let token = fields.only("type", expected)?;
    match &*token.text {
        b"host" | b"hostnogssenc" => Ok(Kind::Any),
        b"hostssl" => Ok(Kind::Tls),
        b"local" => Ok(Kind::Local),
        b"hostnossl" => Ok(Kind::NoTls("hostnossl")),
        b"hostgssenc" => Ok(Kind::NoTls("hostgssenc")),
        _ => Err(fields.wrong(token, "type", Wrong::new(expected, "write one of them"))),
    }
}

/// One word, or an address and its mask.
fn location(fields: &mut Fields<'_>) -> Result<AddressPattern, Diagnostic> {
    let token = fields.only("address", ADDRESS)?;
    let alone = str::from_utf8(&token.text).ok().and_then(|text| text.parse::<IpAddr>().ok());
    let Some(alone) = alone else {
        return address(token.word()).map_err(|wrong| fields.wrong(token, "address", wrong));
    };
    let mask = fields.only("address", "the address's mask")?;
    masked(alone, &mask.text).map_err(|wrong| fields.wrong(mask, "address", wrong))
}

/// What a method asks of whom it matches. Nobody comes in without a certificate and its name, whatever else the method is.
fn method(asked: &Asked) -> Method {
    match (asked.word, asked.clientcert) {
        ("cert", _) => Method::Cert,
        ("reject", _) => Method::Reject,
        ("trust", Some(ClientCert::VerifyFull)) => Method::TrustWithCertificate,
        ("scram-sha-256", Some(ClientCert::VerifyFull)) => Method::ScramWithCertificate,
        (word, _) => Method::Unsupported(word),
    }
}
