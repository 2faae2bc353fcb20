//! The extensions of a certificate that decide what it may be used for (RFC 5280 section 4.2).

use super::der::{Malformed, Reader, boolean, named_bits, object_identifier, only, small, tag};

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

/// One Extension, not yet understood.
pub(super) struct Extension<'a> {
    pub(super) oid: &'a [u8],
    pub(super) critical: bool,
    /// The contents of extnValue: the DER of the extension's own type.
    pub(super) value: &'a [u8],
}

impl Extensions {
    /// Reads the contents of `[3] EXPLICIT Extensions`.
    pub(super) fn parse(content: &[u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        each_extension(content, |extension| read.remember(&extension))?;
        Ok(read)
    }

    fn remember(&mut self, extension: &Extension<'_>) -> Result<(), Malformed> {
        match extension.oid {
            KEY_USAGE => self.key_usage = Some(KeyUsage::parse(extension.value)?),
            BASIC_CONSTRAINTS => self.basic_constraints = Some(BasicConstraints::parse(extension.value)?),
            EXTENDED_KEY_USAGE => self.extended_key_usage = Some(ExtendedKeyUsage::parse(extension.value)?),
            NETSCAPE_CERT_TYPE => {
                let bits = named_bits(only(extension.value, tag::BIT_STRING, "netscape-cert-type is not a BIT STRING")?.content)?;
                self.netscape_client = Some(bits & 0x8000 != 0);
            }
            SUBJECT_ALT_NAME => self.subject_alt_name = true,
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
        let mut reader = only(value, tag::SEQUENCE, "basicConstraints is not a SEQUENCE")?.inside();
        let ca = reader.optional(tag::BOOLEAN)?.map(|element| boolean(&element)).transpose()?.unwrap_or(false);
        let path_length = reader.optional(tag::INTEGER)?.map(|element| small(&element)).transpose()?;
        reader.end()?;
        Ok(Self { ca, path_length })
    }
}

impl KeyUsage {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let bits = named_bits(only(value, tag::BIT_STRING, "keyUsage is not a BIT STRING")?.content)?;
        let bit = |number: u16| bits.checked_shl(u32::from(number)).is_some_and(|shifted| shifted & 0x8000 != 0);
        Ok(Self { digital_signature: bit(0), key_agreement: bit(4), cert_sign: bit(5), crl_sign: bit(6) })
    }
}

impl ExtendedKeyUsage {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = only(value, tag::SEQUENCE, "extendedKeyUsage is not a SEQUENCE")?.inside();
        let mut read = Self { client_auth: false, any: false };
        while !reader.is_empty() {
            let purpose = object_identifier(&reader.expect(tag::OBJECT_IDENTIFIER, "extendedKeyUsage lists what is no purpose")?)?;
            read.client_auth |= purpose == CLIENT_AUTH;
            read.any |= purpose == ANY_EXTENDED_KEY_USAGE;
        }
        Ok(read)
    }
}

/// Calls `each` with every Extension of `SEQUENCE OF Extension`, which `content` is. One that stands twice is an error, and
/// so are more than `MAX_EXTENSIONS`.
pub(super) fn each_extension<'a, E: From<Malformed>>(
    content: &'a [u8],
    mut each: impl FnMut(Extension<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = only(content, tag::SEQUENCE, "the extensions are not a SEQUENCE")?.inside();
    let mut seen: Vec<&[u8]> = Vec::new();
    while !reader.is_empty() {
        let extension = extension(&mut reader)?;
        if seen.contains(&extension.oid) {
            return Err(Malformed("an extension stands twice").into());
        }
        if seen.len() >= MAX_EXTENSIONS {
            return Err(Malformed("there are more than 64 extensions").into());
        }
        seen.push(extension.oid);
        each(extension)?;
    }
    Ok(())
}

fn extension<'a>(reader: &mut Reader<'a>) -> Result<Extension<'a>, Malformed> {
    let mut fields = reader.expect(tag::SEQUENCE, "an extension is not a SEQUENCE")?.inside();
    let oid = object_identifier(&fields.expect(tag::OBJECT_IDENTIFIER, "an extension has no identifier")?)?;
    let critical = fields.optional(tag::BOOLEAN)?.map(|element| boolean(&element)).transpose()?.unwrap_or(false);
    let value = fields.expect(tag::OCTET_STRING, "an extension has no value")?.content;
    fields.end()?;
    Ok(Extension { oid, critical, value })
}

/// More than any CA writes; the search for a second one is quadratic in it.
const MAX_EXTENSIONS: usize = 64;

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
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];
/// id-kp-clientAuth, 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// netscape-cert-type, 2.16.840.1.113730.1.1.
const NETSCAPE_CERT_TYPE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01];
