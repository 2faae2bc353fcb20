//! A deny list: certificates that are refused now, without a CRL. One entry a line, what is meant and why:
//!
//! ```text
//! # KIND    VALUE                                       REASON, the rest of the line
//! serial    03:c0:63 "CN=client-ca,O=Example"           laptop lost, ticket 4711
//! spki      sha256 of the SubjectPublicKeyInfo in hex   key found in a repository
//! cert      sha256 of the certificate in hex            issued by mistake
//! name      bob                                         left the company
//! ```
//!
//! A name is any that a rule can compare: the common name, the subject as RFC 2253 text, or a URI, DNS name or address of subjectAltName.

use std::collections::HashMap;

use crate::crypto::Sha256;

use super::certificate::{Certificate, serial_hex};

/// The entries of a deny list. Looking up takes the same time however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denylist(HashMap<Denied, Entry>);

/// What is denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Denied {
    /// The serial number as [`Certificate::serial_hex`] shows it, and the issuer in the form of RFC 2253.
    Serial(String, String),
    /// The digest of the public key.
    PublicKey(String),
    /// The digest of the certificate.
    Certificate(String),
    /// Any of its names.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    reason: String,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenylistFault {
    /// The line, from 1.
    pub line: usize,
    /// What was found, what was expected, what to do.
    pub what: String,
}

impl Denylist {
    /// Reads the content of a file.
    ///
    /// # Errors
    /// Every line that is no entry.
    pub fn parse(text: &str) -> Result<Self, Vec<DenylistFault>> {
        let (mut entries, mut faults) = (HashMap::new(), Vec::new());
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            match entry(content) {
                Ok((denied, reason)) => drop(entries.entry(denied).or_insert(Entry { line, reason })),
                Err(what) => faults.push(DenylistFault { line, what }),
            }
        }
        if faults.is_empty() { Ok(Self(entries)) } else { Err(faults) }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The issuers of the serial numbers, each once, with the first line that names it; in no order.
    pub fn issuers(&self) -> HashMap<&str, usize> {
        let mut issuers = HashMap::new();
        for (denied, entry) in &self.0 {
            if let Denied::Serial(_, issuer) = denied {
                let first = issuers.entry(issuer.as_str()).or_insert(entry.line);
                *first = entry.line.min(*first);
            }
        }
        issuers
    }

    /// Why a certificate is denied, with the line that says so; `None` if it is not.
    pub fn find(&self, certificate: &Traits<'_>) -> Option<String> {
        let names = certificate.names.iter().flatten().map(|name| Denied::Name((*name).to_owned()));
        let traits = [
            Denied::Serial(certificate.serial.to_owned(), certificate.issuer.to_owned()),
            Denied::PublicKey(certificate.public_key.to_string()),
            Denied::Certificate(certificate.sha256.to_string()),
        ];
        if self.is_empty() {
            return None;
        }
        let Entry { line, reason } = traits.into_iter().chain(names).find_map(|denied| self.0.get(&denied))?;
        let reason = if reason.is_empty() { "no reason given" } else { reason };
        Some(format!("line {line}: {reason}"))
    }
}

/// By what a certificate can be denied.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    /// Its serial number in lower-case hex.
    pub serial: &'a str,
    /// Its issuer in the form of RFC 2253.
    pub issuer: &'a str,
    /// The digest of its SubjectPublicKeyInfo.
    pub public_key: Sha256,
    /// The digest of its DER.
    pub sha256: Sha256,
    /// Its names that a rule can compare: of each kind the one that it has, if it has exactly one.
    pub names: [Option<&'a str>; 5],
}

fn entry(line: &str) -> Result<(Denied, String), String> {
    let (kind, rest) = word(line)?;
    let (value, rest) = word(rest)?;
    let (denied, reason) = match kind.as_str() {
        "serial" => {
            let (issuer, rest) = word(rest)?;
            if !issuer.contains('=') {
                let text =
                    "found a serial number without its issuer, expected serial HEX \"ISSUER\" REASON; copy both from the audit record";
                return Err(text.to_owned());
            }
            (Denied::Serial(serial(&value)?, issuer), rest)
        }
        "spki" => (Denied::PublicKey(digest(&value)?), rest),
        "cert" => (Denied::Certificate(digest(&value)?), rest),
        "name" if !value.is_empty() => (Denied::Name(value), rest),
        _ => return Err(format!("found {:?}, expected serial, spki, cert or name, then the value and the reason", shortened(line))),
    };
    Ok((denied, reason.trim().to_owned()))
}

/// The first word, in double quotes where it has spaces, and what follows; inside quotes, two of them are one, as in pg_hba.conf.
fn word(text: &str) -> Result<(String, &str), String> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        return Ok((word.to_owned(), rest));
    };
    let mut word = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' if characters.next_if(|(_, next)| *next == '"').is_some() => word.push('"'),
            '"' => return Ok((word, quoted.get(at.saturating_add(1)..).unwrap_or(""))),
            other => word.push(other),
        }
    }
    Err("found no closing quote, expected \"...\"; close it".to_owned())
}

/// A serial number as openssl, `postern` or an audit record shows it.
fn serial(text: &str) -> Result<String, String> {
    let wrong = || format!("found {:?}, expected a serial number in hex, as 03c063 or 03:C0:63", shortened(text));
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let digits: String = text.trim_start_matches("0x").chars().filter(|c| *c != ':').collect();
    let odd = if digits.len().is_multiple_of(2) { "" } else { "0" };
    let octets = octets(&format!("{odd}{digits}")).filter(|octets| !octets.is_empty()).ok_or_else(wrong)?;
    let magnitude = octets.iter().position(|octet| *octet != 0).and_then(|first| octets.get(first..)).unwrap_or(&[0]);
    // A zero in front keeps the number positive: it is shown without it.
    let shown = serial_hex(&[&[0], magnitude].concat());
    Ok(if negative { format!("-{shown}") } else { shown })
}

/// A SHA-256 as openssl or Postern shows it.
fn digest(text: &str) -> Result<String, String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    let digest = octets(&digits).filter(|octets| octets.len() == 32);
    digest
        .map(|_| digits)
        .ok_or_else(|| format!("found {:?}, expected a SHA-256: 64 digits of hex, with or without colons", shortened(text)))
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

impl Certificate {
    /// The digest of its SubjectPublicKeyInfo.
    pub fn public_key_sha256(&self) -> Sha256 {
        Sha256::of(self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits<'a>(key: &'a [u8], name: Option<&'a str>) -> Traits<'a> {
        Traits {
            serial: "03c063",
            issuer: "CN=client-ca,O=Example",
            public_key: Sha256::of(key),
            sha256: Sha256::of(b"der"),
            names: [name, Some("CN=x,O=Example"), None, Some("x.example"), None],
        }
    }

    fn why(list: &str, traits: &Traits<'_>) -> Option<String> {
        Denylist::parse(list).unwrap().find(traits)
    }

    #[test]
    fn each_kind_denies_what_it_names_and_nothing_else() {
        let (alice, other) = (traits(b"key", Some("alice")), traits(b"other", Some("bob")));
        let other = Traits { serial: "04", sha256: Sha256::of(b"other"), ..other };
        for list in [
            "serial 03:C0:63 \"CN=client-ca,O=Example\" lost".to_owned(),
            "serial 0x3c063 CN=client-ca,O=Example lost".to_owned(),
            format!("spki {} lost", Sha256::of(b"key")),
            format!("cert {} lost", Sha256::of(b"der").to_string().to_uppercase()),
            "name alice lost".to_owned(),
            "name \"alice\" lost".to_owned(),
        ] {
            let list = format!("# denied\n\n  {list}  ");
            assert_eq!(why(&list, &alice).as_deref(), Some("line 3: lost"), "{list}");
            assert_eq!(why(&list, &other), None, "{list}");
        }
    }

    #[test]
    fn a_serial_number_is_one_of_its_issuer() {
        assert_eq!(why("serial 03c063 \"CN=other-ca\" lost", &traits(b"key", None)), None);
    }

    #[test]
    fn a_name_is_its_very_bytes_and_a_reason_may_be_missing() {
        let quoted = traits(b"key", Some("o \"b"));
        assert_eq!(why("name \"o \"\"b\"", &quoted).as_deref(), Some("line 1: no reason given"));
        assert_eq!(why("name Alice gone", &traits(b"key", Some("alice"))), None);
    }

    #[test]
    fn a_name_of_any_kind_denies() {
        let certificate = traits(b"key", None);
        for list in ["name x.example left", "name \"CN=x,O=Example\" left", "name CN=x,O=Example left"] {
            assert_eq!(why(list, &certificate).as_deref(), Some("line 1: left"), "{list}");
        }
        assert_eq!(why("name x left", &certificate), None);
    }

    #[test]
    fn every_line_that_is_no_entry_is_a_fault() {
        let text = "serial 03c063 lost\ncert 9f2c lost\nuser alice\nname\nname \"alice\nserial zz \"CN=a\"\nname bob left\n";
        let faults = Denylist::parse(text).unwrap_err();
        let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6]);
        assert!(faults[0].what.contains("without its issuer") && faults[1].what.contains("64 digits"), "{faults:?}");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_is_a_list_or_faults(text in "\\PC{0,80}|(serial|spki|cert|name) [0-9a-f:\"x -]{0,80}") {
            let _ = Denylist::parse(&text);
        }
    }
}
