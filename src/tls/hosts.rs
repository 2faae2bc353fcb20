//! The names of hosts that a server certificate is shown for, and those that it carries.

use std::fmt;

use crate::identity::{AlternativeName, Certificate};

/// A host name as certificates have it: in lower case, whole, or with `*.` for its first label (RFC 6125, 6.4.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern(Box<str>);

impl HostPattern {
    /// The pattern that `text` is; `None` if it is no name of the DNS.
    pub fn parse(text: &str) -> Option<Self> {
        let label = |label: &str| {
            let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
        };
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_wild = name.len() < text.len();
        // `*.com` would be every host of a top-level domain: certificates do not have it, and a typing slip may.
        let good = text.len() <= LONGEST && name.split('.').all(label) && (!is_wild || name.contains('.'));
        good.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The name of one host, for a lookup.
    pub(super) fn exact(&self) -> Option<&str> {
        (!self.0.starts_with('*')).then_some(&*self.0)
    }

    /// What stands behind the first label of the hosts that a wildcard is for: `example.com` of `*.example.com`.
    pub(super) fn domain(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether a certificate with the name `carried` is one for all hosts of this pattern.
    fn is_carried_by(&self, carried: &str) -> bool {
        let carried = carried.to_ascii_lowercase();
        match (self.exact(), carried.strip_prefix("*.")) {
            (Some(host), Some(domain)) => above(host) == Some(domain),
            (Some(_) | None, _) => *self.0 == carried,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands behind the first label of a host's name.
pub(super) fn above(host: &str) -> Option<&str> {
    host.split_once('.').map(|(_, domain)| domain)
}

/// The host names of a certificate, as clients look for them: its DNS names, or its common name where it has none (libpq,
/// src/interfaces/libpq/fe-secure-common.c, pq_verify_peer_name_matches_certificate).
pub(super) fn carried(certificate: &Certificate) -> Vec<String> {
    let names = certificate.portrait().map(|portrait| portrait.alternative_names).unwrap_or_default();
    let dns = names.into_iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name),
        AlternativeName::Email(_)
        | AlternativeName::Uri(_)
        | AlternativeName::Address(_)
        | AlternativeName::Directory(_)
        | AlternativeName::Other => None,
    });
    let dns: Vec<String> = dns.collect();
    if certificate.extensions().dns_name {
        return dns;
    }
    certificate.subject().common_name().ok().map(|name| name.as_str().to_owned()).into_iter().collect()
}

/// Those of `hosts` that a certificate with the names `carried` is not for.
pub(super) fn missing<'a>(hosts: &'a [HostPattern], carried: &[String]) -> Vec<&'a HostPattern> {
    hosts.iter().filter(|host| !carried.iter().any(|name| host.is_carried_by(name))).collect()
}

/// A name of the DNS (RFC 1035, 2.3.4).
const LONGEST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap_or_else(|| panic!("{text} is a name"))
    }

    #[test]
    fn what_is_no_name_of_the_dns_is_no_pattern() {
        let long = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            ".",
            "a..b",
            "*",
            "*.",
            "*.com",
            "a.*.com",
            "*a.example.com",
            "a b",
            "-a.example",
            "a.example.",
            "a:5432",
            "é.example",
            &long,
        ] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
        assert_eq!(pattern("DB.Example").to_string(), "db.example");
        assert_eq!(pattern("localhost").exact(), Some("localhost"));
        assert_eq!((pattern("*.db.example").exact(), pattern("*.db.example").domain()), (None, Some("db.example")));
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let carried = |host: &str, name: &str| missing(&[pattern(host)], &[name.to_owned()]).is_empty();
        assert!(carried("a.db.example", "A.db.example") && carried("a.db.example", "*.db.example"));
        assert!(carried("*.db.example", "*.db.example"));
        for (host, name) in [
            ("a.b.db.example", "*.db.example"),
            ("db.example", "*.db.example"),
            ("a.db.example", "b.db.example"),
            ("*.db.example", "a.db.example"),
            ("*.db.example", "*.example"),
        ] {
            assert!(!carried(host, name), "{host} by {name}");
        }
    }
}
