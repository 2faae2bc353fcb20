//! Who a client is: the names, dates and digests of the certificate that its handshake proved.
//!
//! x509-parser reads the certificates, and is used nowhere else. Nothing here judges trust, reads a file or knows the time. A
//! `ClientIdentity` can only be made from a `VerifiedChain`, and only `tls/` makes one of those, after the chain was verified: there
//! is no identity on any failure's path (CVE-2015-6817), and none from anything but the live handshake.

mod attributes;
mod certificate;
mod clientname;
mod crl;
mod denylist;
mod der;
mod extensions;
mod name;
mod portrait;
mod public_key;
mod request;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::sync::Arc;

use crate::crypto::Sha256;

use clientname::AlternativeNames;

pub(crate) use certificate::Signed;
pub use certificate::{Certificate, CertificateError, Version};
pub use clientname::{ClientName, UnusableName};
pub use crl::{Crl, CrlError, CrlPortrait, Listed, Scope};
pub use denylist::{Denylist, DenylistFault, Traits};
pub use extensions::{BasicConstraints, ExtendedKeyUsage, Extensions, KeyUsage};
pub use name::{CommonName, Name, NameFault};
pub use portrait::{AlternativeName, Portrait, key_words};
pub use public_key::PublicKey;
pub use request::Request;

/// A client's certificate with what vouches for it, from the leaf to a configured trust anchor.
#[derive(Debug)]
pub struct VerifiedChain {
    leaf: Certificate,
    links: Vec<Link>,
}

/// One step of a chain: which certificate, and by whom. With these a later CRL can be asked about a live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The certificate's serial number.
    pub(crate) serial: Box<[u8]>,
    /// The DER of its issuer's name.
    pub(crate) issuer: Box<[u8]>,
    /// The DER of its issuer's SubjectPublicKeyInfo.
    pub(crate) issuer_key: Box<[u8]>,
}

/// A verified client, as policy and audit need it for as long as its session lives. Cheap to clone.
#[derive(Clone)]
pub struct ClientIdentity(Arc<Facts>);

struct Facts {
    common_name: Result<CommonName, NameFault>,
    alternative: AlternativeNames,
    subject: Box<str>,
    issuer: Box<str>,
    serial: Box<str>,
    sha256: Sha256,
    public_key: Sha256,
    not_before: i64,
    not_after: i64,
    contains_nul: bool,
    links: Box<[Link]>,
}

impl VerifiedChain {
    /// Called in `tls/` alone, when every check of `leaf` and of those above it was passed. The last of `links` is the
    /// trust anchor's link to itself.
    pub(crate) fn new(leaf: Certificate, links: Vec<Link>) -> Self {
        Self { leaf, links }
    }

    /// The client's own certificate.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }
}

impl From<VerifiedChain> for ClientIdentity {
    fn from(chain: VerifiedChain) -> Self {
        let VerifiedChain { leaf, links } = chain;
        let subject = leaf.subject();
        Self(Arc::new(Facts {
            common_name: subject.common_name(),
            alternative: leaf.extensions().alternative_names.clone(),
            subject: subject.rfc2253().into(),
            issuer: leaf.issuer().rfc2253().into(),
            serial: leaf.serial_hex().into(),
            sha256: leaf.sha256(),
            public_key: leaf.public_key_sha256(),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            contains_nul: subject.contains_nul(),
            links: links.into(),
        }))
    }
}

impl ClientIdentity {
    /// The subject's common name, or why it has none that can be used.
    pub fn common_name(&self) -> Result<&CommonName, NameFault> {
        self.0.common_name.as_ref().map_err(Clone::clone)
    }

    /// The one name that a rule with this `clientname` compares, or why there is none.
    pub fn name(&self, clientname: ClientName) -> Result<&str, UnusableName> {
        let name = match clientname {
            ClientName::CommonName => self.0.common_name.as_ref().map(CommonName::as_str).map_err(Clone::clone),
            ClientName::DistinguishedName if self.0.subject.is_empty() => Err(NameFault::Empty),
            ClientName::DistinguishedName => Ok(&*self.0.subject),
            ClientName::Uri => self.0.alternative.uri.as_deref().map_err(Clone::clone),
            ClientName::Dns => self.0.alternative.dns.as_deref().map_err(Clone::clone),
            ClientName::Email => self.0.alternative.email.as_deref().map_err(Clone::clone),
        };
        name.map_err(|fault| UnusableName { clientname, fault })
    }

    /// The subject as PostgreSQL prints it: `CN=alice,OU=eng,O=Ex`, ASCII, every other byte escaped.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The issuer in the same form.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The serial number in lower-case hexadecimal, two digits an octet.
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// The digest of the certificate's DER.
    pub fn sha256(&self) -> Sha256 {
        self.0.sha256
    }

    /// By what a deny list can name it.
    pub fn traits(&self) -> Traits<'_> {
        Traits {
            serial: &self.0.serial,
            issuer: &self.0.issuer,
            public_key: self.0.public_key,
            sha256: self.0.sha256,
            names: ClientName::ALL.map(|kind| self.name(kind).ok()),
        }
    }

    /// When the certificate started to be valid, in seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// When the certificate ceases to be valid, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// Whether the subject holds a NUL byte. PostgreSQL closes such a connection after the handshake, without a message
    /// (be-secure-openssl.c, be_tls_open_server).
    pub fn contains_nul(&self) -> bool {
        self.0.contains_nul
    }

    /// The steps from the certificate to its trust anchor's link to itself.
    pub(crate) fn links(&self) -> &[Link] {
        &self.0.links
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("subject", &self.0.subject).field("sha256", &self.0.sha256).finish_non_exhaustive()
    }
}
