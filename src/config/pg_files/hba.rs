//! A line of pg_hba.conf as a rule (src/backend/libpq/hba.c, parse_hba_line, parse_hba_auth_opt).

use std::net::IpAddr;

use super::super::diagnostic::{Diagnostic, Faults};
use super::super::keys::one_of;
use super::super::reader::Wrong;
use super::super::words::{Lookup, address, database, map_name, masked, user};
use super::{Fields, Line, Token};
use crate::identity::ClientName;
use crate::policy::{AddressPattern, Bounds, MapName, Method, Rule, UserName};

/// The rules of these lines, and what an operator should know of those that let nobody in.
pub(super) fn rules(lines: &[Line], lookup: Lookup, faults: &mut Faults) -> (Vec<Rule>, Vec<String>) {
    let (mut rules, mut notices) = (Vec::new(), Vec::new());
    for line in lines {
        match read(line, lookup) {
            Ok(Read::Rule(rule)) => {
                if let Method::Unsupported(word) = rule.method {
                    notices.push(format!("{}: the method {word} asks for no certificate: whom this line matches is refused", rule.source));
                }
                rules.push(*rule);
            }
            Ok(Read::Elsewhere(kind)) => {
                notices.push(format!("{}: {kind} lines do not apply to TLS over TCP: this line matches nobody here", line.source()));
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

/// Whether the line is for TLS alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Tls,
}

fn read(line: &Line, lookup: Lookup) -> Result<Read, Diagnostic> {
    let mut fields = Fields::of(line);
    let kind = match connection(&mut fields)? {
        Ok(kind) => kind,
        Err(elsewhere) => return Ok(Read::Elsewhere(elsewhere)),
    };
    let mut databases = Vec::new();
    for token in fields.next("database", "a database's name, all, sameuser, samerole, replication or /REGEX")? {
        databases.push(database(token.word(), lookup).map_err(|wrong| fields.wrong(token, "database", wrong))?);
    }
    let mut users = Vec::new();
    for token in fields.next("user", "a role's name, all, +ROLE or /REGEX")? {
        users.push(user(token.word(), lookup).map_err(|wrong| fields.wrong(token, "user", wrong))?);
    }
    let address = location(&mut fields)?;
    let token = fields.only("method", "an authentication method")?;
    let word =
        METHODS.iter().find(|word| word.as_bytes() == &*token.text).ok_or_else(|| fields.wrong(token, "method", unknown_method()))?;
    let options = Options::read(&mut fields, kind, word)?;
    let method = method(word, kind, options.clientcert).map_err(|wrong| fields.wrong(token, "method", wrong))?;
    Ok(Read::Rule(Box::new(Rule {
        databases,
        users,
        address,
        method,
        clientname: options.clientname,
        map: options.map,
        user_name: UserName::Requested,
        denied_parameters: Vec::new(),
        bounds: Bounds::default(),
        source: line.source(),
    })))
}

/// The connection type, or the word of one that TLS over TCP is not.
fn connection(fields: &mut Fields<'_>) -> Result<Result<Kind, &'static str>, Diagnostic> {
    let expected = "host, hostssl, hostnossl, hostgssenc, hostnogssenc or local";
    let token = fields.only("type", expected)?;
    match &*token.text {
        b"host" | b"hostnogssenc" => Ok(Ok(Kind::Any)),
        b"hostssl" => Ok(Ok(Kind::Tls)),
        b"local" => Ok(Err("local")),
        b"hostnossl" => Ok(Err("hostnossl")),
        b"hostgssenc" => Ok(Err("hostgssenc")),
        _ => Err(fields.wrong(token, "type", Wrong::new(expected, "write one of them"))),
    }
}

/// One word, or an address and its mask.
fn location(fields: &mut Fields<'_>) -> Result<AddressPattern, Diagnostic> {
    let token = fields.only("address", "a CIDR block, an address with its mask, all, samehost or samenet")?;
    let alone = str::from_utf8(&token.text).ok().and_then(|text| text.parse::<IpAddr>().ok());
    let Some(alone) = alone else {
        return address(token.word()).map_err(|wrong| fields.wrong(token, "address", wrong));
    };
    let mask = fields.only("address", "the address's mask")?;
    masked(alone, &mask.text).map_err(|wrong| fields.wrong(mask, "address", wrong))
}

/// What a method asks of whom it matches. Nobody comes in without a certificate and its name, whatever else the method is.
fn method(word: &&'static str, kind: Kind, clientcert: Option<ClientCert>) -> Result<Method, Wrong> {
    match (*word, clientcert) {
        ("cert", _) if kind == Kind::Any => Err(Wrong::new("another method beside host", "write hostssl: only TLS has certificates")),
        ("peer", _) => Err(Wrong::new("a method for TCP", "write peer in local lines alone")),
        ("cert", _) => Ok(Method::Cert),
        ("reject", _) => Ok(Method::Reject),
        ("trust", Some(ClientCert::VerifyFull)) => Ok(Method::TrustWithCertificate),
        ("scram-sha-256", Some(ClientCert::VerifyFull)) => Ok(Method::ScramWithCertificate),
        _ => Ok(Method::Unsupported(word)),
    }
}

fn unknown_method() -> Wrong {
    Wrong::new("an authentication method of PostgreSQL", "write cert or reject")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientCert {
    VerifyCa,
    VerifyFull,
}

/// The options that mean something here.
#[derive(Default)]
struct Options {
    map: Option<MapName>,
    clientname: ClientName,
    clientcert: Option<ClientCert>,
}

impl Options {
    fn read(fields: &mut Fields<'_>, kind: Kind, method: &str) -> Result<Self, Diagnostic> {
        let mut options = Self::default();
        while !fields.rest.is_empty() {
            for token in fields.next("option", "NAME=VALUE")? {
                options.take(token, kind, method).map_err(|wrong| fields.wrong(token, "option", wrong))?;
            }
        }
        Ok(options)
    }

    /// The last of several options of one name counts.
    fn take(&mut self, token: &Token, kind: Kind, method: &str) -> Result<(), Wrong> {
        let equals = token.text.iter().position(|byte| *byte == b'=');
        let (name, value) = equals
            .and_then(|equals| Some((token.text.get(..equals)?, token.text.get(equals.saturating_add(1)..)?)))
            .ok_or_else(|| Wrong::new("NAME=VALUE", "write an option of the method"))?;
        match (name, value) {
            (b"map", _) if !MAPPED.contains(&method) => {
                let which = format!("which the method {method} does not have");
                Err(Wrong::new(format!("map beside {}", one_of(&MAPPED)), "remove it").which(which))
            }
            (b"map", name) => {
                // As PostgreSQL, for which an empty name is no map.
                self.map = if name.is_empty() { None } else { Some(map_name(name)?) };
                Ok(())
            }
            (b"clientcert" | b"clientname", _) if kind != Kind::Tls => {
                Err(Wrong::new("it in a hostssl line", "write hostssl: only TLS has certificates"))
            }
            (b"clientcert", b"verify-full") => {
                self.clientcert = Some(ClientCert::VerifyFull);
                Ok(())
            }
            (b"clientcert", b"verify-ca") if method != "cert" => {
                self.clientcert = Some(ClientCert::VerifyCa);
                Ok(())
            }
            (b"clientcert", _) => {
                let expected = if method == "cert" { "verify-full" } else { "verify-full or verify-ca" };
                Err(Wrong::new(expected, format!("write clientcert={expected}")))
            }
            (b"clientname", value) => {
                let names = ClientName::ALL.iter().filter(|name| POSTGRESQL_NAMES.contains(name));
                let name = names.copied().find(|name| name.word().as_bytes() == value);
                self.clientname = name.ok_or_else(|| {
                    Wrong::new("CN or DN", "write one of them; names of subjectAltName are for the rules of the configuration itself")
                })?;
                Ok(())
            }
            (name, _) if OTHER_OPTIONS.iter().any(|other| other.as_bytes() == name) && !["cert", "reject", "trust"].contains(&method) => {
                Ok(())
            }
            _ => Err(Wrong::new(format!("an option of the method {method}"), "remove it")),
        }
    }
}

/// pg_hba.conf's `clientname`.
const POSTGRESQL_NAMES: [ClientName; 2] = [ClientName::CommonName, ClientName::DistinguishedName];

/// Every method of PostgreSQL 18.
const METHODS: [&str; 15] = [
    "cert",
    "reject",
    "trust",
    "scram-sha-256",
    "md5",
    "password",
    "gss",
    "sspi",
    "ident",
    "peer",
    "ldap",
    "radius",
    "pam",
    "bsd",
    "oauth",
];

/// The methods that know maps.
const MAPPED: [&str; 6] = ["ident", "peer", "gss", "sspi", "cert", "oauth"];

/// Options of methods that let nobody in here. They are known, and not looked into.
const OTHER_OPTIONS: [&str; 28] = [
    "pamservice",
    "pam_use_hostname",
    "ldapurl",
    "ldaptls",
    "ldapscheme",
    "ldapserver",
    "ldapport",
    "ldapbinddn",
    "ldapbindpasswd",
    "ldapsearchattribute",
    "ldapsearchfilter",
    "ldapbasedn",
    "ldapprefix",
    "ldapsuffix",
    "krb_realm",
    "include_realm",
    "compat_realm",
    "upn_username",
    "radiusservers",
    "radiussecrets",
    "radiusports",
    "radiusidentifiers",
    "issuer",
    "scope",
    "validator",
    "delegate_ident_mapping",
    "radiusserver",
    "radiusport",
];
