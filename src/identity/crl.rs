//! A certificate revocation list in the form that a login asks of: whose it is, when it holds, what it covers, what it lists
//! (RFC 5280 section 5). Its signature is checked in `tls/`, with its issuer's key.
//!
//! What could make a list say less than it seems to (delta, indirect, part of the reasons, critical extensions nobody here
//! knows) is an error when it is read, never a surprise at a login.
//!
//! x509-parser reads the entries, one at a time. Its own type for a whole CRL keeps all of them at once, and a million entries with
//! a reason (46 MB of DER) take 525 MB while they are read; so they take 80 MB, with the copy of what is signed.

mod portrait;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use x509_parser::extensions::{ParsedExtension, X509Extension, X509ExtensionParser};
use x509_parser::nom::Parser as _;
use x509_parser::revocation_list::RevokedCertificate;
use x509_parser::time::ASN1Time;
use x509_parser::x509::ReasonCode;

use super::certificate::{Certificate, Signed, serial};
use super::der::{Element, Malformed, Reader, only, tag, whole};
use super::extensions::each_once;
use super::name::Name;

pub use portrait::{CrlPortrait, Listed};

/// A list of revoked certificates.
#[derive(Clone, Debug)]
pub struct Crl {
    issuer: Box<[u8]>,
    this_update: i64,
    next_update: Option<i64>,
    scope: Scope,
    serials: Serials,
    signed: Signed,
}

/// Why a CRL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrlError {
    /// Not the DER of a CertificateList. Says where it breaks.
    Malformed(&'static str),
    /// A version other than v1 and v2.
    Version,
    /// The signature's algorithm inside the signed part differs from the one outside.
    AlgorithmMismatch,
    /// It only lists changes to another CRL.
    Delta,
    /// It lists certificates of other issuers.
    Indirect,
    /// It covers only some of the reasons for a revocation.
    SomeReasons,
    /// It names its distribution point relative to its issuer.
    RelativeName,
    /// It, or one of its entries, has a critical extension that is not known here.
    UnknownCritical,
}

/// Which of its issuer's certificates a CRL covers: its issuingDistributionPoint (RFC 5280 section 5.2.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    only: Only,
    /// The contents of distributionPoint's fullName, a list of GeneralName.
    distribution_point: Option<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Only {
    #[default]
    Everything,
    Leaves,
    Authorities,
    Attributes,
}

/// Serial numbers by their length: a million of them take about 20 MB, as in the file.
#[derive(Clone, Debug, Default)]
struct Serials(Vec<OfOneLength>);

/// Serial numbers of one length, each once, in the order of their bytes, without gaps.
#[derive(Clone, Debug)]
struct OfOneLength {
    length: usize,
    octets: Box<[u8]>,
}

impl Crl {
    /// Reads the CRL that `der` is, from its first byte to its last. Entries that say removeFromCRL list nothing.
    pub fn parse(der: &[u8]) -> Result<Self, CrlError> {
        let (tbs, signed) = Signed::split(der)?;
        let mut fields = Reader::new(tbs);
        let v2 = match fields.optional(tag::INTEGER)? {
            None => false,
            Some(version) if version.content == [1] => true,
            Some(_) => return Err(CrlError::Version),
        };
        if fields.expect(tag::SEQUENCE, "there is no signature algorithm")?.content != &*signed.algorithm {
            return Err(CrlError::AlgorithmMismatch);
        }
        let issuer = Name::parse(fields.expect(tag::SEQUENCE, "there is no issuer")?.encoded)?.as_der();
        let this_update = time(&fields.element()?)?;
        let next_update = match fields.optional(tag::UTC_TIME)? {
            Some(next) => Some(next),
            None => fields.optional(tag::GENERALIZED_TIME)?,
        };
        let next_update = next_update.map(|next| time(&next)).transpose()?;
        let serials = match fields.optional(tag::SEQUENCE)? {
            Some(entries) => Serials::read(entries.inside(), v2)?,
            None => Serials::default(),
        };
        let scope = match fields.optional(tag::context_constructed(0))? {
            Some(extensions) if v2 => Scope::read(extensions.content)?,
            Some(_) => return Err(CrlError::Malformed("a v1 CRL has extensions")),
            None => Scope::default(),
        };
        fields.end()?;
        Ok(Self { issuer: issuer.into(), this_update, next_update, scope, serials, signed })
    }

    /// The name of the CA whose list it is.
    pub fn issuer(&self) -> Name<'_> {
        Name::checked(&self.issuer)
    }

    /// When it was made, in seconds since 1970.
    pub fn this_update(&self) -> i64 {
        self.this_update
    }

    /// When the next one is due, in seconds since 1970; `None` if it does not say.
    pub fn next_update(&self) -> Option<i64> {
        self.next_update
    }

    /// Which certificates it covers.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How many certificates it lists.
    pub fn len(&self) -> usize {
        self.serials.0.iter().map(OfOneLength::count).sum()
    }

    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.serials.0.is_empty()
    }

    /// Whether it lists the serial number with these two's complement octets.
    pub fn lists(&self, serial: &[u8]) -> bool {
        self.serials.contains(serial)
    }

    /// The signed part and the signature over it. The signed part is empty once `forget_message` was called.
    pub(crate) fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Drops the signed part, which is as large as the file, once its signature has been verified.
    pub(crate) fn forget_message(&mut self) {
        self.signed.message = Box::default();
    }
}

impl Scope {
    /// Whether the CRL covers `certificate` (OpenSSL, crypto/x509/x509_vfy.c, crl_crldp_check). An error where the
    /// certificate's cRLDistributionPoints cannot be read.
    pub fn covers(&self, certificate: &Certificate) -> Result<bool, CrlError> {
        let kind = match self.only {
            Only::Everything => true,
            Only::Leaves => !certificate.is_authority(),
            Only::Authorities => certificate.is_authority(),
            Only::Attributes => false,
        };
        let Some(name) = &self.distribution_point else { return Ok(kind) };
        let Some(points) = &certificate.extensions().crl_distribution_points else { return Ok(false) };
        Ok(kind && any_point_matches(points, name)?)
    }

    /// Reads the contents of `[0] EXPLICIT Extensions` of a CRL.
    fn read(content: &[u8]) -> Result<Self, CrlError> {
        let mut scope = Self::default();
        each_once(&extensions(content)?, |extension| {
            match extension.oid.as_bytes() {
                ISSUING_DISTRIBUTION_POINT => scope = Self::parse(extension.value)?,
                DELTA_CRL_INDICATOR => return Err(CrlError::Delta),
                AUTHORITY_KEY_IDENTIFIER | CRL_NUMBER => {}
                _ if extension.critical => return Err(CrlError::UnknownCritical),
                _ => {}
            }
            Ok(())
        })?;
        Ok(scope)
    }

    fn parse(value: &[u8]) -> Result<Self, CrlError> {
        let mut fields = only(value, tag::SEQUENCE, "issuingDistributionPoint is not a SEQUENCE")?.inside();
        let mut distribution_point = None;
        if let Some(point) = fields.optional(tag::context_constructed(0))? {
            let name = only(point.content, tag::context_constructed(0), "").map_err(|_| CrlError::RelativeName)?;
            distribution_point = Some(name.content.into());
        }
        let (leaves, authorities) = (flag(&mut fields, 1)?, flag(&mut fields, 2)?);
        if fields.optional(tag::context(3))?.is_some() {
            return Err(CrlError::SomeReasons);
        }
        let (indirect, attributes) = (flag(&mut fields, 4)?, flag(&mut fields, 5)?);
        fields.end()?;
        if indirect {
            return Err(CrlError::Indirect);
        }
        let only = match (leaves, authorities, attributes) {
            (false, false, false) => Only::Everything,
            (true, false, false) => Only::Leaves,
            (false, true, false) => Only::Authorities,
            (false, false, true) => Only::Attributes,
            _ => return Err(CrlError::Malformed("issuingDistributionPoint contradicts itself")),
        };
        Ok(Self { only, distribution_point })
    }
}

impl Serials {
    fn read(mut entries: Reader<'_>, v2: bool) -> Result<Self, CrlError> {
        let mut by_length: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        while !entries.is_empty() {
            let entry = entries.expect(tag::SEQUENCE, "an entry is not a SEQUENCE")?;
            let entry: RevokedCertificate<'_> = whole(entry.encoded, "an entry cannot be read")?;
            if !v2 && !entry.extensions().is_empty() {
                return Err(CrlError::Malformed("an entry of a v1 CRL has extensions"));
            }
            let serial = serial(entry.raw_serial())?;
            if !removed(&entry)? {
                by_length.entry(serial.len()).or_default().extend_from_slice(serial);
            }
        }
        Ok(Self(by_length.into_iter().map(|(length, octets)| OfOneLength::sorted(length, &octets)).collect()))
    }

    fn contains(&self, serial: &[u8]) -> bool {
        self.0.iter().any(|serials| serials.length == serial.len() && serials.contains(serial))
    }
}

impl OfOneLength {
    /// `length` is not zero.
    fn sorted(length: usize, octets: &[u8]) -> Self {
        let mut serials: Vec<&[u8]> = octets.chunks_exact(length).collect();
        serials.sort_unstable();
        serials.dedup();
        Self { length, octets: serials.concat().into() }
    }

    fn count(&self) -> usize {
        self.octets.len().checked_div(self.length).unwrap_or(0)
    }

    /// Binary search over records whose length is known only now.
    fn contains(&self, serial: &[u8]) -> bool {
        let mut left = &*self.octets;
        while let Some(middle) = left.len().checked_div(self.length).map(|count| count / 2) {
            let Some((before, from)) = left.split_at_checked(middle.saturating_mul(self.length)) else { return false };
            let Some((record, after)) = from.split_at_checked(self.length) else { return false };
            match record.cmp(serial) {
                Ordering::Equal => return true,
                Ordering::Less => left = after,
                Ordering::Greater => left = before,
            }
        }
        false
    }
}

impl From<Malformed> for CrlError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl fmt::Display for CrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "it is not the DER of an X.509 CRL: {what}"),
            Self::Version => write!(f, "it is neither a v1 nor a v2 CRL"),
            Self::AlgorithmMismatch => write!(f, "its two signature algorithms differ"),
            Self::Delta => write!(f, "it is a delta CRL, which lists only changes"),
            Self::Indirect => write!(f, "it is an indirect CRL, which lists certificates of other issuers"),
            Self::SomeReasons => write!(f, "it covers only some reasons for a revocation"),
            Self::RelativeName => write!(f, "it names its distribution point relative to its issuer"),
            Self::UnknownCritical => write!(f, "it has a critical extension that Postern does not know"),
        }
    }
}

/// The seconds since 1970 that `element` names, if it is a Time.
fn time(element: &Element<'_>) -> Result<i64, Malformed> {
    whole::<ASN1Time>(element.encoded, "a date cannot be read").map(|time| time.timestamp())
}

/// The extensions in the contents of `[0] EXPLICIT Extensions`, none of them understood yet.
fn extensions(content: &[u8]) -> Result<Vec<X509Extension<'_>>, Malformed> {
    let mut parser = X509ExtensionParser::new().with_deep_parse_extensions(false);
    let mut left = only(content, tag::SEQUENCE, "the extensions are not a SEQUENCE")?.inside();
    let mut extensions = Vec::new();
    while !left.is_empty() {
        let (_, extension) = parser.parse(left.element()?.encoded).map_err(|_| Malformed("an extension cannot be read"))?;
        extensions.push(extension);
    }
    Ok(extensions)
}

/// `[number] IMPLICIT BOOLEAN DEFAULT FALSE`.
fn flag(fields: &mut Reader<'_>, number: u8) -> Result<bool, Malformed> {
    match fields.optional(tag::context(number))?.map(|flag| flag.content) {
        None | Some([0x00]) => Ok(false),
        Some([0xff]) => Ok(true),
        Some(_) => Err(Malformed("a BOOLEAN is neither TRUE nor FALSE")),
    }
}

/// Whether `entry` says removeFromCRL, that is, lists nothing (OpenSSL, crypto/x509/x_crl.c). A reason that cannot be read lifts
/// nothing. An error where the entry belongs to another issuer or has a critical extension that is not known.
fn removed(entry: &RevokedCertificate<'_>) -> Result<bool, CrlError> {
    let mut removed = false;
    each_once(entry.extensions(), |extension| {
        match extension.oid.as_bytes() {
            REASON_CODE => removed = *extension.parsed_extension() == ParsedExtension::ReasonCode(ReasonCode::RemoveFromCRL),
            CERTIFICATE_ISSUER => return Err(CrlError::Indirect),
            _ if extension.critical => return Err(CrlError::UnknownCritical),
            _ => {}
        }
        Ok(())
    })?;
    Ok(removed)
}

/// Whether one of the DistributionPoints in `points` has a name in common with the names `theirs`, or no name at all
/// (OpenSSL, crypto/x509/x509_vfy.c, idp_check_dp). One for another CRL issuer does not count.
fn any_point_matches(points: &[u8], theirs: &[u8]) -> Result<bool, Malformed> {
    let mut points = Reader::new(points);
    let mut matched = false;
    while !points.is_empty() {
        let mut point = points.expect(tag::SEQUENCE, "a distribution point is not a SEQUENCE")?.inside();
        let name = point.optional(tag::context_constructed(0))?;
        point.optional(tag::context(1))?;
        let other_issuer = point.optional(tag::context_constructed(2))?.is_some();
        point.end()?;
        let same = match name.map(|name| name.inside().element()).transpose()? {
            None => true,
            Some(full) if full.tag == tag::context_constructed(0) => share_a_name(full.content, theirs)?,
            Some(_) => false,
        };
        matched |= same && !other_issuer;
    }
    Ok(matched)
}

fn share_a_name(ours: &[u8], theirs: &[u8]) -> Result<bool, Malformed> {
    let mut ours = Reader::new(ours);
    while !ours.is_empty() {
        let our = ours.element()?;
        let mut theirs = Reader::new(theirs);
        while !theirs.is_empty() {
            if theirs.element()?.encoded == our.encoded {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Contents of the OBJECT IDENTIFIERs under id-ce, 2.5.29.
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];

#[cfg(test)]
mod tests;
