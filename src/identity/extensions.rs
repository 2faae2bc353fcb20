//! The extensions of a certificate that decide what it may be used for (RFC 5280 section 4.2).

use x509_parser::extensions::{self as read, NSCertType, X509Extension};

use super::clientname::AlternativeNames;
use super::der::{Malformed, only, tag, whole};

/// What a certificate's extensions say. A v1 certificate has none and says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// basicConstraints, if present.
    pub basic_constraints: Option<BasicConstraints>,
    /// keyUsage, if present.
    pub key_usage: Option<KeyUsage>,
    /// extendedKeyUsage, if present.
    pub extended_key_usage: Option<ExtendedKeyUsage>,
    /// Whether nameConstraints is present.
    pub name_constraints: bool,
    /// Whether subjectAltName is present.
    pub subject_alt_name: bool,
    /// Whether it holds a dNSName.
    pub dns_name: bool,
    /// The names in it that a rule can compare.
    pub(super) alternative_names: AlternativeNames,
    /// netscape-cert-type, if present: whether it allows TLS clients. OpenSSL still obeys it.
    pub netscape_client: Option<bool>,
    /// Whether an extension is critical that OpenSSL does not handle either (crypto/x509/v3_purp.c, supported_nids).
    pub unknown_critical: bool,
    /// The contents of cRLDistributionPoints, read only when a partitioned CRL makes it matter.
    pub(super) crl_distribution_points: Option<Box<[u8]>>,
}

/// basicConstraints (RFC 5280 section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether the subject is a CA.
    pub ca: bool,
    /// How many CA certificates that are not self-issued may stand between this one and the leaf.
    pub path_length: Option<u32>,
}

/// The bits of keyUsage that matter here (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// digitalSignature.
    pub digital_signature: bool,
    /// keyAgreement.
    pub key_agreement: bool,
    /// keyCertSign.
    pub cert_sign: bool,
    /// cRLSign.
    pub crl_sign: bool,
}

/// extendedKeyUsage (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    /// id-kp-clientAuth is listed.
    pub client_auth: bool,
    /// anyExtendedKeyUsage is listed. Neither OpenSSL nor webpki takes it for clientAuth.
    pub any: bool,
}

impl Extensions {
    /// Understands the extensions of a certificate.
    pub(super) fn read(extensions: &[X509Extension<'_>]) -> Result<Self, Malformed> {
        let mut understood = Self::default();
        each_once(extensions, |extension| understood.remember(extension))?;
        Ok(understood)
    }

    fn remember(&mut self, extension: &X509Extension<'_>) -> Result<(), Malformed> {
        match extension.oid.as_bytes() {
            KEY_USAGE => self.key_usage = Some(KeyUsage::parse(extension.value)?),
            BASIC_CONSTRAINTS => self.basic_constraints = Some(BasicConstraints::parse(extension.value)?),
            EXTENDED_KEY_USAGE => self.extended_key_usage = Some(ExtendedKeyUsage::parse(extension.value)?),
            NETSCAPE_CERT_TYPE => {
                let usages: NSCertType = whole(extension.value, "its netscape-cert-type cannot be read")?;
                self.netscape_client = Some(usages.ssl_client());
            }
            SUBJECT_ALT_NAME => {
                self.subject_alt_name = true;
                // Names that cannot be read are none: what they are wanted for then fails closed.
                let names = whole::<read::SubjectAlternativeName<'_>>(extension.value, "its subjectAltName cannot be read");
                let is_dns = |name: &read::GeneralName<'_>| matches!(name, read::GeneralName::DNSName(_));
                if let Ok(names) = names {
                    self.dns_name = names.general_names.iter().any(is_dns);
                    self.alternative_names = AlternativeNames::of(&names.general_names);
                }
            }
            NAME_CONSTRAINTS => self.name_constraints = true,
            CRL_DISTRIBUTION_POINTS => {
                let points = only(extension.value, tag::SEQUENCE, "cRLDistributionPoints is not a SEQUENCE")?;
                self.crl_distribution_points = Some(points.content.into());
            }
            CERTIFICATE_POLICIES | POLICY_MAPPINGS | POLICY_CONSTRAINTS | INHIBIT_ANY_POLICY => {}
            _ => self.unknown_critical |= extension.critical,
        }
        Ok(())
    }
}

impl BasicConstraints {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let constraints: read::BasicConstraints = whole(value, "its basicConstraints cannot be read")?;
        Ok(Self { ca: constraints.ca, path_length: constraints.path_len_constraint })
    }
}

impl KeyUsage {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let usage: read::KeyUsage = whole(value, "its keyUsage cannot be read")?;
        Ok(Self {
            digital_signature: usage.digital_signature(),
            key_agreement: usage.key_agreement(),
            cert_sign: usage.key_cert_sign(),
            crl_sign: usage.crl_sign(),
        })
    }
}

impl ExtendedKeyUsage {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let usage: read::ExtendedKeyUsage<'_> = whole(value, "its extendedKeyUsage cannot be read")?;
        Ok(Self { client_auth: usage.client_auth, any: usage.any })
    }
}

/// Calls `each` with every extension. One that stands twice is an error, and so are more than `MAX_EXTENSIONS`.
pub(super) fn each_once<'e, 'a, E: From<Malformed>>(
    extensions: &'e [X509Extension<'a>],
    mut each: impl FnMut(&'e X509Extension<'a>) -> Result<(), E>,
) -> Result<(), E> {
    if extensions.len() > MAX_EXTENSIONS {
        return Err(Malformed("there are more than 64 extensions").into());
    }
    for (index, extension) in extensions.iter().enumerate() {
        if extensions.iter().take(index).any(|before| before.oid == extension.oid) {
            return Err(Malformed("an extension stands twice").into());
        }
        each(extension)?;
    }
    Ok(())
}

/// More than any CA writes; the search for a second one is quadratic in it.
pub(super) const MAX_EXTENSIONS: usize = 64;

/// Contents of the OBJECT IDENTIFIERs, id-ce being 2.5.29.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 32];
const POLICY_MAPPINGS: &[u8] = &[0x55, 0x1d, 33];
const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 36];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const INHIBIT_ANY_POLICY: &[u8] = &[0x55, 0x1d, 54];
/// netscape-cert-type, 2.16.840.1.113730.1.1.
const NETSCAPE_CERT_TYPE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01];
