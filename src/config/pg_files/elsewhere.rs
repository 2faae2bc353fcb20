//! Lines for connections that TLS over TCP is not: `local`, `hostnossl`, `hostgssenc`. They match nobody here, and are read to their end
//! all the same, because PostgreSQL loads no file of which one is wrong.
//!
//! What only Postern does not match, a host's name or a regular expression outside the subset, is no fault in them.

use std::net::IpAddr;

use super::super::diagnostic::Diagnostic;
use super::super::reader::Wrong;
use super::hba::{ADDRESS, DATABASES, Kind, USERS};
use super::options::Asked;
use super::{Fields, Token};
use crate::policy::Pattern;

/// Whether PostgreSQL would take what stands behind the type.
pub(super) fn check(fields: &mut Fields<'_>, kind: Kind) -> Result<(), Diagnostic> {
    for (column, expected) in [("database", DATABASES), ("user", USERS)] {
        for token in fields.next(column, expected)? {
            expression(token).map_err(|wrong| fields.wrong(token, column, wrong))?;
        }
    }
    if kind != Kind::Local {
        location(fields)?;
    }
    Asked::read(fields, kind).map(drop)
}

fn expression(token: &Token) -> Result<(), Wrong> {
    match token.text.strip_prefix(b"/").map(Pattern::parse) {
        Some(Err(fault)) if fault.is_invalid() => {
            let which = format!("a regular expression that {fault}");
            Err(Wrong::new("one that PostgreSQL understands", "correct it").which(which))
        }
        Some(Ok(_) | Err(_)) | None => Ok(()),
    }
}

fn location(fields: &mut Fields<'_>) -> Result<(), Diagnostic> {
    let token = fields.only("address", ADDRESS)?;
    let text = String::from_utf8_lossy(&token.text);
    let wrong = |which: &str| fields.wrong(token, "address", Wrong::new(ADDRESS, "write 10.0.0.0/8, fd00::/8 or all").which(which));
    let address = |text: &str| text.parse::<IpAddr>().ok();
    match (text.split_once('/'), address(&text)) {
        (Some((host, bits)), _) => {
            let most = match address(host) {
                Some(IpAddr::V4(_)) => 32,
                Some(IpAddr::V6(_)) => 128,
                None => return Err(wrong("which does not begin with an IP address")),
            };
            match bits.parse::<u8>() {
                Ok(bits) if bits <= most => Ok(()),
                Ok(_) | Err(_) => Err(wrong("whose mask is out of range")),
            }
        }
        (None, None) => Ok(()),
        (None, Some(alone)) => {
            let mask = fields.only("address", "the address's mask")?;
            match address(&String::from_utf8_lossy(&mask.text)) {
                Some(other) if other.is_ipv4() == alone.is_ipv4() => Ok(()),
                Some(_) | None => {
                    Err(fields.wrong(mask, "address", Wrong::new("a mask of the address's family", "write it as 255.255.255.0")))
                }
            }
        }
    }
}
