//! The end of a line of pg_hba.conf: the method and its options (src/backend/libpq/hba.c, parse_hba_line, parse_hba_auth_opt).
//!
//! Options of methods that let nobody in here are known by name and method, as PostgreSQL knows them; their values are not looked into.

use std::collections::BTreeSet;

use super::super::diagnostic::Diagnostic;
use super::super::keys::one_of;
use super::super::reader::Wrong;
use super::super::words::map_name;
use super::hba::Kind;
use super::{Fields, Token};
use crate::identity::ClientName;
use crate::policy::MapName;

/// What a line asks of whom it matches, as it is written.
pub(super) struct Asked {
    /// The method.
    pub(super) word: &'static str,
    pub(super) map: Option<MapName>,
    pub(super) clientname: ClientName,
    pub(super) clientcert: Option<ClientCert>,
    /// The options of other methods that are there.
    others: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientCert {
    VerifyCa,
    VerifyFull,
}

impl Asked {
    pub(super) fn read(fields: &mut Fields<'_>, kind: Kind) -> Result<Self, Diagnostic> {
        let token = fields.only("method", "an authentication method")?;
        let word = METHODS.into_iter().find(|word| word.as_bytes() == &*token.text);
        let word = word.ok_or_else(|| fields.wrong(token, "method", unknown_method(kind)))?;
        fits(word, kind).map_err(|wrong| fields.wrong(token, "method", wrong))?;
        let mut asked = Self { word, map: None, clientname: ClientName::default(), clientcert: None, others: BTreeSet::new() };
        while !fields.rest.is_empty() {
            for token in fields.next("option", "NAME=VALUE")? {
                asked.take(token, kind).map_err(|wrong| fields.wrong(token, "option", wrong))?;
            }
        }
        asked.complete().map_err(|wrong| fields.wrong(token, "method", wrong))?;
        Ok(asked)
    }

    /// The last of several options of one name counts.
    fn take(&mut self, token: &Token, kind: Kind) -> Result<(), Wrong> {
        let method = self.word;
        let equals = token.text.iter().position(|byte| *byte == b'=');
        let (name, value) = equals
            .and_then(|equals| Some((token.text.get(..equals)?, token.text.get(equals.saturating_add(1)..)?)))
            .ok_or_else(|| Wrong::new("NAME=VALUE", "write an option of the method"))?;
        match (name, value) {
            (b"map", _) if !MAPPED.contains(&method) => Err(foreign("map", &MAPPED, method)),
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
            (name, _) => match OTHER_OPTIONS.iter().find(|(other, _)| other.as_bytes() == name) {
                Some((name, methods)) if methods.contains(&method) => {
                    self.others.insert(name);
                    Ok(())
                }
                Some((name, methods)) => Err(foreign(name, methods, method)),
                None => Err(Wrong::new(format!("an option of the method {method}"), "remove it")),
            },
        }
    }

    /// Whether the method has what it cannot be without, and nothing that excludes the rest.
    fn complete(&self) -> Result<(), Wrong> {
        let needs = |all: &[&'static str]| match all.iter().find(|name| !self.others.contains(**name)) {
            Some(name) => Err(Wrong::new(format!("the option {name} beside it"), "add it")),
            None => Ok(()),
        };
        match self.word {
            "radius" => needs(&["radiusservers", "radiussecrets"]),
            "oauth" => needs(&["scope", "issuer"]),
            "ldap" => {
                let found = |names: &[&'static str]| names.iter().copied().find(|name| self.others.contains(name));
                let simple = found(&["ldapprefix", "ldapsuffix"]);
                let search = found(&["ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter"]);
                match (simple, search) {
                    (Some(simple), Some(search)) => Err(Wrong::new(format!("either {simple} or {search}"), "remove one of them")),
                    (Some(_), None) => Ok(()),
                    (None, _) if found(&["ldapbasedn", "ldapurl"]).is_some() => Ok(()),
                    (None, _) => Err(Wrong::new("the option ldapbasedn, ldapprefix or ldapsuffix beside it", "add one of them")),
                }
            }
            _ => Ok(()),
        }
    }
}

/// Whether PostgreSQL knows the method for such connections.
fn fits(word: &str, kind: Kind) -> Result<(), Wrong> {
    match (word, kind) {
        ("cert", Kind::Any | Kind::NoTls(_) | Kind::Local) => {
            let expected = format!("another method beside {}", kind.word());
            Err(Wrong::new(expected, "write hostssl: only TLS has certificates"))
        }
        ("peer", Kind::Any | Kind::Tls | Kind::NoTls(_)) => Err(Wrong::new("a method for TCP", "write peer in local lines alone")),
        ("gss" | "sspi", Kind::Local) => Err(Wrong::new("a method for Unix sockets", "write it in host lines alone")),
        _ => Ok(()),
    }
}

fn unknown_method(kind: Kind) -> Wrong {
    let advice = match kind {
        Kind::Tls => "write cert or reject",
        Kind::Any | Kind::NoTls(_) | Kind::Local => "correct it, or remove the line: it lets nobody in here",
    };
    Wrong::new("an authentication method of PostgreSQL", advice)
}

fn foreign(name: &str, methods: &[&str], method: &str) -> Wrong {
    Wrong::new(format!("{name} beside {}", one_of(methods)), "remove it").which(format!("which the method {method} does not have"))
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

/// Options of methods that let nobody in here, and the methods that have them.
const OTHER_OPTIONS: [(&str, &[&str]); 26] = [
    ("pamservice", &["pam"]),
    ("pam_use_hostname", &["pam"]),
    ("ldapurl", &["ldap"]),
    ("ldaptls", &["ldap"]),
    ("ldapscheme", &["ldap"]),
    ("ldapserver", &["ldap"]),
    ("ldapport", &["ldap"]),
    ("ldapbinddn", &["ldap"]),
    ("ldapbindpasswd", &["ldap"]),
    ("ldapsearchattribute", &["ldap"]),
    ("ldapsearchfilter", &["ldap"]),
    ("ldapbasedn", &["ldap"]),
    ("ldapprefix", &["ldap"]),
    ("ldapsuffix", &["ldap"]),
    ("krb_realm", &["gss", "sspi"]),
    ("include_realm", &["gss", "sspi"]),
    ("compat_realm", &["sspi"]),
    ("upn_username", &["sspi"]),
    ("radiusservers", &["radius"]),
    ("radiussecrets", &["radius"]),
    ("radiusports", &["radius"]),
    ("radiusidentifiers", &["radius"]),
    ("issuer", &["oauth"]),
    ("scope", &["oauth"]),
    ("validator", &["oauth"]),
    ("delegate_ident_mapping", &["oauth"]),
];
