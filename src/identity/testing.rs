//! Certificates and CRLs for unit tests, put together byte by byte: what a test is about can be as wrong as it likes.

use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

use super::{Certificate, ClientIdentity, VerifiedChain};

/// The time that tests call now, in seconds since 1970: 2027-01-15. All that does not say otherwise is valid from 2020 to 2045.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) const UTF8: u8 = 0x0c;
pub(crate) const PRINTABLE: u8 = 0x13;
pub(crate) const BMP: u8 = 0x1e;

pub(crate) const CN: &[u8] = &[0x55, 4, 3];
pub(crate) const O: &[u8] = &[0x55, 4, 10];
pub(crate) const OU: &[u8] = &[0x55, 4, 11];

pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(crate) const KEY_AGREEMENT: u8 = 0x08;
pub(crate) const CERT_SIGN: u8 = 0x04;
pub(crate) const CRL_SIGN: u8 = 0x02;

pub(crate) const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

/// The contents of ecdsa-with-SHA256's AlgorithmIdentifier.
const ECDSA_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..=0x7f => vec![short as u8],
        medium @ 0x80..=0xff => vec![0x81, medium as u8],
        long @ 0x100..=0xffff => vec![0x82, (long >> 8) as u8, long as u8],
        huge => vec![0x83, (huge >> 16) as u8, (huge >> 8) as u8, huge as u8],
    };
    [&[tag][..], &length, content].concat()
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// An attribute: contents of its type, tag of its value, value.
pub(crate) type DraftAttribute<'a> = (&'a [u8], u8, &'a [u8]);

/// A Name of RDNs.
pub(crate) fn name(rdns: &[&[DraftAttribute<'_>]]) -> Vec<u8> {
    let attribute = |(oid, tag, value): &DraftAttribute<'_>| sequence(&[element(6, oid), element(*tag, value)]);
    let rdns: Vec<_> = rdns.iter().map(|rdn| element(0x31, &rdn.iter().flat_map(attribute).collect::<Vec<_>>())).collect();
    sequence(&rdns)
}

/// The Name `CN=text`.
pub(crate) fn cn(text: &str) -> Vec<u8> {
    name(&[&[(CN, UTF8, text.as_bytes())]])
}

fn time(seconds: i64) -> Vec<u8> {
    let at = ::time::OffsetDateTime::from_unix_timestamp(seconds).expect("a date");
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second());
    if year < 2050 {
        element(0x17, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        element(0x18, format!("{year:04}{rest}").as_bytes())
    }
}

pub(crate) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { vec![1, 1, 0xff] } else { Vec::new() };
    sequence(&[element(6, oid), critical, element(4, value)])
}

/// Somebody who can sign: a CA, or a leaf that takes itself for one.
pub(crate) struct Maker {
    pub(crate) name: Vec<u8>,
    pub(crate) key: KeyPair,
}

impl Maker {
    pub(crate) fn new(common_name: &str) -> Self {
        Self { name: cn(common_name), key: key() }
    }

    /// Its own root certificate, as `openssl req -x509` makes one.
    pub(crate) fn root(&self) -> Vec<u8> {
        Draft::of(&self.name).authority(None).sign(&self.key, self)
    }

    /// The certificate or CRL `der` with its fields changed, signed anew.
    pub(crate) fn re_sign(&self, der: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
        let mut left = super::der::Reader::new(der).element().and_then(|frame| frame.inside().element()).expect("a frame").inside();
        let mut fields: Vec<Vec<u8>> = std::iter::from_fn(|| left.element().ok()).map(|field| field.encoded.to_vec()).collect();
        change(&mut fields);
        self.frame(sequence(&fields))
    }

    fn frame(&self, tbs: Vec<u8>) -> Vec<u8> {
        let signature = self.key.sign(&tbs).expect("a signature");
        sequence(&[tbs, element(0x30, ECDSA_SHA256), element(3, &[&[0], signature.as_slice()].concat())])
    }
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// A certificate that is not signed yet.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) subject: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// `None` for v1.
    pub(crate) extensions: Option<Vec<Vec<u8>>>,
}

impl Draft {
    pub(crate) fn of(subject: &[u8]) -> Self {
        Self {
            subject: subject.to_vec(),
            serial: vec![5],
            not_before: 1_577_836_800,
            not_after: 2_366_841_600,
            extensions: Some(Vec::new()),
        }
    }

    pub(crate) fn leaf(common_name: &str) -> Self {
        Self::of(&cn(common_name))
    }

    pub(crate) fn v1(mut self) -> Self {
        self.extensions = None;
        self
    }

    pub(crate) fn serial(mut self, serial: &[u8]) -> Self {
        self.serial = serial.to_vec();
        self
    }

    pub(crate) fn dates(mut self, not_before: i64, not_after: i64) -> Self {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    pub(crate) fn with(mut self, oid: &[u8], critical: bool, value: &[u8]) -> Self {
        self.extensions.get_or_insert_default().push(extension(oid, critical, value));
        self
    }

    pub(crate) fn authority(self, path_length: Option<u8>) -> Self {
        let length = path_length.map(|length| vec![2, 1, length]).unwrap_or_default();
        self.with(&[0x55, 0x1d, 19], true, &sequence(&[vec![1, 1, 0xff], length]))
    }

    pub(crate) fn key_usage(self, bits: u8) -> Self {
        self.with(&[0x55, 0x1d, 15], true, &[3, 2, 0, bits])
    }

    pub(crate) fn purpose(self, purpose: &[u8]) -> Self {
        self.with(&[0x55, 0x1d, 37], false, &sequence(&[element(6, purpose)]))
    }

    /// cRLDistributionPoints with one URI.
    pub(crate) fn distribution_point(self, uri: &str) -> Self {
        let point = sequence(&[element(0xa0, &element(0xa0, &element(0x86, uri.as_bytes())))]);
        self.with(&[0x55, 0x1d, 31], false, &sequence(&[point]))
    }

    /// The certificate over `subject`'s public key.
    pub(crate) fn sign(&self, subject: &KeyPair, issuer: &Maker) -> Vec<u8> {
        let version = if self.extensions.is_some() { vec![0xa0, 3, 2, 1, 2] } else { Vec::new() };
        let extensions = match self.extensions.as_deref() {
            None | Some([]) => Vec::new(),
            Some(extensions) => element(0xa3, &sequence(extensions)),
        };
        issuer.frame(sequence(&[
            version,
            element(2, &self.serial),
            element(0x30, ECDSA_SHA256),
            issuer.name.clone(),
            sequence(&[time(self.not_before), time(self.not_after)]),
            self.subject.clone(),
            subject.subject_public_key_info(),
            extensions,
        ]))
    }
}

/// A CRL that is not signed yet.
#[derive(Clone)]
pub(crate) struct CrlDraft {
    pub(crate) version: Vec<u8>,
    pub(crate) this_update: i64,
    pub(crate) next_update: Option<i64>,
    /// Contents of the entries.
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl CrlDraft {
    /// A v2 CRL from a day before to a day after `NOW` that lists `serials`.
    pub(crate) fn of(serials: &[&[u8]]) -> Self {
        let entries = serials.iter().map(|serial| [element(2, serial), time(NOW - 86_400)].concat()).collect();
        Self {
            version: vec![2, 1, 1],
            this_update: NOW - 86_400,
            next_update: Some(NOW + 86_400),
            entries,
            extensions: vec![extension(&[0x55, 0x1d, 20], false, &[2, 1, 1])],
        }
    }

    pub(crate) fn dates(mut self, this_update: i64, next_update: i64) -> Self {
        (self.this_update, self.next_update) = (this_update, Some(next_update));
        self
    }

    pub(crate) fn with(mut self, oid: &[u8], critical: bool, value: &[u8]) -> Self {
        self.extensions.push(extension(oid, critical, value));
        self
    }

    /// issuingDistributionPoint with these contents.
    pub(crate) fn scope(self, content: &[u8]) -> Self {
        self.with(&[0x55, 0x1d, 28], true, &element(0x30, content))
    }

    pub(crate) fn entry(mut self, serial: &[u8], extensions: &[Vec<u8>]) -> Self {
        self.entries.push([element(2, serial), time(NOW), sequence(extensions)].concat());
        self
    }

    pub(crate) fn sign(&self, issuer: &Maker) -> Vec<u8> {
        let entries: Vec<_> = self.entries.iter().map(|entry| element(0x30, entry)).collect();
        issuer.frame(sequence(&[
            self.version.clone(),
            element(0x30, ECDSA_SHA256),
            issuer.name.clone(),
            time(self.this_update),
            self.next_update.map(time).unwrap_or_default(),
            if entries.is_empty() { Vec::new() } else { sequence(&entries) },
            if self.extensions.is_empty() { Vec::new() } else { element(0xa0, &sequence(&self.extensions)) },
        ]))
    }
}

/// The identity of a client whose certificate's subject is this name.
pub(crate) fn identity_of(subject: &[u8]) -> ClientIdentity {
    let leaf = Draft::of(subject).sign(&key(), &Maker::new("client-ca"));
    ClientIdentity::from(VerifiedChain::new(Certificate::parse(&leaf).expect("a certificate"), Vec::new()))
}

/// The identity of a client whose certificate's one common name is this.
pub(crate) fn identity(common_name: &str) -> ClientIdentity {
    identity_of(&cn(common_name))
}

/// The same, with names of subjectAltName: the tag of each, and its octets.
pub(crate) fn identity_with_names(common_name: &str, names: &[(u8, &[u8])]) -> ClientIdentity {
    let names: Vec<Vec<u8>> = names.iter().map(|(tag, octets)| element(*tag, octets)).collect();
    let leaf = Draft::leaf(common_name).with(&[0x55, 0x1d, 17], false, &sequence(&names)).sign(&key(), &Maker::new("client-ca"));
    ClientIdentity::from(VerifiedChain::new(Certificate::parse(&leaf).expect("a certificate"), Vec::new()))
}

/// `der` as a PEM block.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| (bits << 8) | u32::from(chunk.get(at).copied().unwrap_or(0)));
        (0..4).for_each(|at| text.push(if at <= chunk.len() { DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char } else { '=' }));
    }
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The key of a PKCS #8 document in the format of its own kind: PKCS #1 or SEC 1.
pub(crate) fn inside_pkcs8(der: &[u8]) -> Vec<u8> {
    let mut fields = super::der::Reader::new(der).element().expect("a document").inside();
    fields.element().and_then(|_| fields.element()).expect("version and algorithm");
    fields.element().expect("the key").content.to_vec()
}
