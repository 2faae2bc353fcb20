//! Just enough DER and X.509 to make certificates that no library would agree to make.
//!
//! A test certificate is described by a [`CertificateSpec`] and signed as it stands: nothing here checks that it makes sense.

use time::{Duration, OffsetDateTime};

pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![tag];
    match body.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend(body);
    out
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

pub fn integer(value: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
    if bytes.first().is_none_or(|b| *b >= 0x80) {
        bytes.insert(0, 0);
    }
    tlv(0x02, &[&bytes])
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut body = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let mut septets = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            septets.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        body.extend(septets.iter().rev());
    }
    tlv(0x06, &[&body])
}

pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], bytes])
}

pub fn octet_string(bytes: &[u8]) -> Vec<u8> {
    tlv(0x04, &[bytes])
}

/// Days from now, as UTCTime.
pub fn utc_time(days: i64) -> Vec<u8> {
    utc_time_in(Duration::days(days))
}

fn utc_time_in(span: Duration) -> Vec<u8> {
    let at = OffsetDateTime::now_utc() + span;
    let text =
        format!("{:02}{:02}{:02}{:02}{:02}{:02}Z", at.year() % 100, u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second());
    tlv(0x17, &[text.as_bytes()])
}

pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place)) & 0x3f;
            text.push(if place <= chunk.len() { ALPHABET[sextet as usize] as char } else { '=' });
        }
    }
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// One attribute of a distinguished name: its type, the tag of its string type, its bytes.
#[derive(Clone, Debug)]
pub struct Attribute(pub &'static str, pub u8, pub Vec<u8>);

pub const COMMON_NAME: &str = "2.5.4.3";
pub const ORGANIZATION: &str = "2.5.4.10";
pub const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";

pub const UTF8_STRING: u8 = 0x0c;
pub const T61_STRING: u8 = 0x14;
pub const BMP_STRING: u8 = 0x1e;

pub fn common_name(text: impl AsRef<[u8]>) -> Attribute {
    Attribute(COMMON_NAME, UTF8_STRING, text.as_ref().to_vec())
}

pub fn name(attributes: &[Attribute]) -> Vec<u8> {
    let rdns: Vec<u8> =
        attributes.iter().flat_map(|Attribute(kind, tag, value)| tlv(0x31, &[&sequence(&[&oid(kind), &tlv(*tag, &[value])])])).collect();
    sequence(&[&rdns])
}

/// The extensions that matter to a verifier. KeyUsage is given as the bits of its one byte.
#[derive(Clone, Debug)]
pub enum Extension {
    Authority { path_length: Option<u64> },
    EndEntity,
    KeyUsage(u8),
    ExtendedKeyUsage(&'static [&'static str]),
    SubjectKeyIdentifier(Vec<u8>),
    DnsNames(&'static [&'static str]),
}

pub const DIGITAL_SIGNATURE: u8 = 0x80;
pub const KEY_ENCIPHERMENT: u8 = 0x20;
pub const KEY_AGREEMENT: u8 = 0x08;
pub const KEY_CERT_SIGN: u8 = 0x04;
pub const CRL_SIGN: u8 = 0x02;

pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";

impl Extension {
    fn der(&self) -> Vec<u8> {
        let (kind, critical, value) = match self {
            Self::Authority { path_length } => {
                let length = path_length.map(integer).unwrap_or_default();
                ("2.5.29.19", true, sequence(&[&[0x01, 0x01, 0xff], &length]))
            }
            Self::EndEntity => ("2.5.29.19", true, sequence(&[])),
            Self::KeyUsage(bits) => ("2.5.29.15", true, tlv(0x03, &[&[bits.trailing_zeros().min(7) as u8, *bits]])),
            Self::ExtendedKeyUsage(purposes) => {
                let purposes: Vec<u8> = purposes.iter().flat_map(|purpose| oid(purpose)).collect();
                ("2.5.29.37", false, sequence(&[&purposes]))
            }
            Self::SubjectKeyIdentifier(id) => ("2.5.29.14", false, octet_string(id)),
            Self::DnsNames(names) => {
                let names: Vec<u8> = names.iter().flat_map(|dns| tlv(0x82, &[dns.as_bytes()])).collect();
                ("2.5.29.17", false, sequence(&[&names]))
            }
        };
        let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
        sequence(&[&oid(kind), critical, &octet_string(&value)])
    }
}

/// What stands in the to-be-signed part of a certificate.
pub struct CertificateSpec<'a> {
    pub version: u8,
    pub serial: u64,
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    /// Validity in days from now.
    pub days: (i64, i64),
    /// Its end in seconds from now, in place of that in days.
    pub seconds: Option<i64>,
    pub public_key: &'a [u8],
    pub extensions: &'a [Extension],
}

/// A key that can sign DER, and how X.509 calls its signatures.
pub trait Signs {
    fn algorithm(&self) -> Vec<u8>;
    fn sign(&self, message: &[u8]) -> Vec<u8>;
}

pub fn certificate(spec: &CertificateSpec<'_>, signer: &dyn Signs) -> Vec<u8> {
    let version = if spec.version == 1 { vec![] } else { tlv(0xa0, &[&integer(u64::from(spec.version) - 1)]) };
    let extensions: Vec<u8> = spec.extensions.iter().flat_map(Extension::der).collect();
    let extensions = if extensions.is_empty() { vec![] } else { tlv(0xa3, &[&sequence(&[&extensions])]) };
    signed(
        sequence(&[
            &version,
            &integer(spec.serial),
            &signer.algorithm(),
            spec.issuer,
            &sequence(&[
                &utc_time(spec.days.0),
                &spec.seconds.map_or_else(|| utc_time(spec.days.1), |end| utc_time_in(Duration::seconds(end))),
            ]),
            spec.subject,
            spec.public_key,
            &extensions,
        ]),
        signer,
    )
}

/// What stands in a certificate revocation list. A version 1 list has no extensions.
pub struct CrlSpec<'a> {
    pub version: u8,
    pub issuer: &'a [u8],
    pub days: (i64, i64),
    pub serials: &'a [u64],
    pub authority_key: &'a [u8],
    /// An extension beside those that every list has.
    pub further: &'a [u8],
}

/// deltaCRLIndicator: it lists changes to the list of number 1.
pub fn delta_indicator() -> Vec<u8> {
    sequence(&[&oid("2.5.29.27"), CRITICAL, &octet_string(&integer(1))])
}

/// issuingDistributionPoint with indirectCRL: it lists certificates of other issuers.
pub fn indirect() -> Vec<u8> {
    sequence(&[&oid("2.5.29.28"), CRITICAL, &octet_string(&sequence(&[&tlv(0x84, &[&[0xff]])]))])
}

const CRITICAL: &[u8] = &[0x01, 0x01, 0xff];

pub fn revocation_list(spec: &CrlSpec<'_>, signer: &dyn Signs) -> Vec<u8> {
    let entries: Vec<u8> = spec.serials.iter().flat_map(|serial| sequence(&[&integer(*serial), &utc_time(-1)])).collect();
    let entries = if entries.is_empty() { vec![] } else { sequence(&[&entries]) };
    let (version, extensions) = if spec.version == 1 {
        (vec![], vec![])
    } else {
        let key = sequence(&[&oid("2.5.29.35"), &octet_string(&sequence(&[&tlv(0x80, &[spec.authority_key])]))]);
        let number = sequence(&[&oid("2.5.29.20"), &octet_string(&integer(1))]);
        (integer(1), tlv(0xa0, &[&sequence(&[&key, &number, spec.further])]))
    };
    signed(
        sequence(&[&version, &signer.algorithm(), spec.issuer, &utc_time(spec.days.0), &utc_time(spec.days.1), &entries, &extensions]),
        signer,
    )
}

fn signed(body: Vec<u8>, signer: &dyn Signs) -> Vec<u8> {
    sequence(&[&body, &signer.algorithm(), &bit_string(&signer.sign(&body))])
}
