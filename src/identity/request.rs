//! A certificate signing request (PKCS #10, RFC 2986), for people to look at: who asks for what. Nothing is decided by it.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;

use super::der::{Malformed, whole};
use super::name::Name;
use super::portrait::AlternativeName;

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Request {
    subject: Box<[u8]>,
    public_key: Box<[u8]>,
    alternative_names: Vec<AlternativeName>,
}

impl Request {
    /// Reads the request that `der` is, from its first byte to its last.
    ///
    /// # Errors
    /// It is none. Says where it breaks.
    pub fn parse(der: &[u8]) -> Result<Self, &'static str> {
        Self::read(der).map_err(|Malformed(what)| what)
    }

    fn read(der: &[u8]) -> Result<Self, Malformed> {
        let request: X509CertificationRequest<'_> = whole(der, "it is not a certificate signing request")?;
        let names = request.requested_extensions().into_iter().flatten().filter_map(|extension| {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { return None };
            Some(names.general_names.iter().map(AlternativeName::of))
        });
        let info = &request.certification_request_info;
        Ok(Self {
            subject: Name::parse(info.subject.as_raw())?.as_der().into(),
            public_key: info.subject_pki.raw.into(),
            alternative_names: names.flatten().collect(),
        })
    }

    /// Who asks.
    pub fn subject(&self) -> Name<'_> {
        Name::checked(&self.subject)
    }

    /// The DER of its SubjectPublicKeyInfo.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The names that are asked for beside the subject.
    pub fn alternative_names(&self) -> &[AlternativeName] {
        &self.alternative_names
    }
}
