//! A distinguished name: as PostgreSQL prints it, and the one common name it may hold.
//!
//! Identity is not a host name: bytes are compared, never folded, cut or converted. What could be read in two ways is refused.

use std::fmt;
use std::fmt::Write as _;

use super::attributes::{COMMON_NAME, short_name};
use super::der::{Malformed, object_identifier, only, tag};

/// An X.501 Name whose structure was checked (RFC 5280 section 4.1.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    encoded: &'a [u8],
}

/// A subject's common name that can be compared with a role: not empty, UTF-8, no control character.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CommonName(Box<str>);

/// Why a subject has no usable common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// There is none.
    Missing,
    /// There are two or more: PostgreSQL takes the first, other software the last.
    Ambiguous,
    /// Its ASN.1 type is not UTF8String, PrintableString or IA5String, or its bytes are not what the type allows. Holds the type's name.
    Encoding(&'static str),
    /// It holds a byte below 0x20, or 0x7f.
    Control,
    /// It is empty.
    Empty,
}

/// One AttributeTypeAndValue.
#[derive(Clone, Copy)]
struct Attribute<'a> {
    /// Which RelativeDistinguishedName it is in, counted from the start.
    rdn: usize,
    oid: &'a [u8],
    tag: u8,
    value: &'a [u8],
    /// The value with its tag and length.
    encoded: &'a [u8],
}

impl<'a> Name<'a> {
    /// Checks the structure of the Name that `encoded` is.
    pub(super) fn parse(encoded: &'a [u8]) -> Result<Self, Malformed> {
        walk(encoded, |attribute| match attribute.tag {
            // OpenSSL does not read such strings either (crypto/asn1/tasn_dec.c, asn1_ex_c2i).
            tag::BMP_STRING if !attribute.value.len().is_multiple_of(2) => Err(Malformed("a BMPString has an odd length")),
            tag::UNIVERSAL_STRING if !attribute.value.len().is_multiple_of(4) => Err(Malformed("a UniversalString has a broken length")),
            _ => Ok(()),
        })?;
        Ok(Self { encoded })
    }

    /// The Name that `encoded` is, which `parse` has accepted before.
    pub(super) fn checked(encoded: &'a [u8]) -> Self {
        Self { encoded }
    }

    /// The DER of the whole Name.
    pub fn as_der(&self) -> &'a [u8] {
        self.encoded
    }

    /// The name as `X509_NAME_print_ex` with XN_FLAG_RFC2253 prints it, which is what PostgreSQL logs and compares with
    /// `clientname=DN` (be-secure-openssl.c, be_tls_open_server): last attribute first, ASCII only.
    pub fn rfc2253(&self) -> String {
        let mut out = String::new();
        let mut before: Option<usize> = None;
        for attribute in self.attributes().iter().rev() {
            match before {
                Some(rdn) if rdn == attribute.rdn => out.push('+'),
                Some(_) => out.push(','),
                None => {}
            }
            before = Some(attribute.rdn);
            attribute.print(&mut out);
        }
        out
    }

    /// The common name, if there is exactly one and nobody can read it in two ways.
    pub fn common_name(&self) -> Result<CommonName, NameFault> {
        let attributes = self.attributes();
        let mut names = attributes.iter().filter(|attribute| attribute.oid == COMMON_NAME);
        match (names.next(), names.next()) {
            (None, _) => Err(NameFault::Missing),
            (Some(_), Some(_)) => Err(NameFault::Ambiguous),
            (Some(name), None) => CommonName::parse(name),
        }
    }

    /// Whether the raw value of any attribute holds a NUL byte. PostgreSQL closes a connection without a message when the
    /// CN does (CVE-2009-4034); a BMPString in ASCII's range always does.
    pub fn contains_nul(&self) -> bool {
        self.attributes().iter().any(|attribute| attribute.value.contains(&0))
    }

    /// The attributes in DER order. The structure was checked when the value was made, so none is missing.
    fn attributes(&self) -> Vec<Attribute<'a>> {
        let mut attributes = Vec::new();
        let checked = walk(self.encoded, |attribute| {
            attributes.push(attribute);
            Ok(())
        });
        debug_assert!(checked.is_ok(), "a Name is made by parse alone");
        attributes
    }
}

impl CommonName {
    fn parse(attribute: &Attribute<'_>) -> Result<Self, NameFault> {
        let kind = attribute.type_name();
        let text = match attribute.tag {
            tag::UTF8_STRING => str::from_utf8(attribute.value).ok(),
            tag::PRINTABLE_STRING | tag::IA5_STRING => str::from_utf8(attribute.value).ok().filter(|text| text.is_ascii()),
            _ => None,
        };
        let text = text.ok_or(NameFault::Encoding(kind))?;
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(NameFault::Control);
        }
        Ok(Self(text.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name's bytes, to be compared as they are.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "client certificate contains no user name: its subject has no CN"),
            Self::Ambiguous => write!(f, "client certificate's subject has more than one CN"),
            Self::Encoding(kind) => write!(f, "client certificate's CN is a {kind} that is not plain text"),
            Self::Control => write!(f, "client certificate's CN contains a control character"),
            Self::Empty => write!(f, "client certificate contains no user name: its CN is empty"),
        }
    }
}

impl Attribute<'_> {
    /// `type=value` as do_name_ex prints it (OpenSSL, crypto/asn1/a_strex.c).
    fn print(&self, out: &mut String) {
        let known = short_name(self.oid);
        match known {
            Some(name) => out.push_str(name),
            None => out.push_str(&dotted(self.oid)),
        }
        out.push('=');
        match (known, self.characters()) {
            (Some(_), Some(characters)) => escape(&characters, out),
            // XN_FLAG_DUMP_UNKNOWN_FIELDS and ASN1_STRFLGS_DUMP_UNKNOWN, both with ASN1_STRFLGS_DUMP_DER.
            _ => {
                out.push('#');
                self.encoded.iter().for_each(|byte| push(out, format_args!("{byte:02X}")));
            }
        }
    }

    /// The value as characters, or `None` where OpenSSL knows no width for its type (a_strex.c, tag2nbyte). The bytes of a
    /// UTF8String count as they are, each one character.
    fn characters(&self) -> Option<Characters> {
        let wide = |width: usize| {
            let numbers = self.value.chunks(width).map(|octets| octets.iter().fold(0u32, |value, octet| (value << 8) | u32::from(*octet)));
            Characters::Converted(numbers.collect())
        };
        match self.tag {
            tag::UTF8_STRING => Some(Characters::Bytes(self.value.to_vec())),
            tag::NUMERIC_STRING
            | tag::PRINTABLE_STRING
            | tag::T61_STRING
            | tag::IA5_STRING
            | tag::UTC_TIME
            | tag::GENERALIZED_TIME
            | tag::VISIBLE_STRING => Some(wide(1)),
            tag::UNIVERSAL_STRING => Some(wide(4)),
            tag::BMP_STRING => Some(wide(2)),
            _ => None,
        }
    }

    fn type_name(&self) -> &'static str {
        match self.tag {
            tag::UTF8_STRING => "UTF8String",
            tag::NUMERIC_STRING => "NumericString",
            tag::PRINTABLE_STRING => "PrintableString",
            tag::T61_STRING => "TeletexString",
            tag::IA5_STRING => "IA5String",
            tag::VISIBLE_STRING => "VisibleString",
            tag::UNIVERSAL_STRING => "UniversalString",
            tag::BMP_STRING => "BMPString",
            _ => "value of another type",
        }
    }
}

/// A value on its way to text: bytes that are UTF-8 already, or numbers of characters that become UTF-8.
enum Characters {
    Bytes(Vec<u8>),
    Converted(Vec<u32>),
}

/// Calls `each` with every attribute of the Name that `encoded` is, in DER order.
fn walk<'a>(encoded: &'a [u8], mut each: impl FnMut(Attribute<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut rdns = only(encoded, tag::SEQUENCE, "a name is not a SEQUENCE")?.inside();
    let mut rdn = 0usize;
    while !rdns.is_empty() {
        let mut set = rdns.expect(tag::SET, "a relative distinguished name is not a SET")?.inside();
        if set.is_empty() {
            return Err(Malformed("a relative distinguished name is empty"));
        }
        while !set.is_empty() {
            let mut pair = set.expect(tag::SEQUENCE, "an attribute is not a SEQUENCE")?.inside();
            let oid = object_identifier(&pair.expect(tag::OBJECT_IDENTIFIER, "an attribute has no type")?)?;
            let value = pair.element()?;
            pair.end()?;
            each(Attribute { rdn, oid, tag: value.tag, value: value.content, encoded: value.encoded })?;
        }
        rdn = rdn.saturating_add(1);
    }
    Ok(())
}

/// do_buf (a_strex.c): the first and the last character have their own rules, and a single one counts as last.
fn escape(characters: &Characters, out: &mut String) {
    let place = |index: usize, count: usize| match index {
        _ if index.saturating_add(1) == count => Place::Last,
        0 => Place::First,
        _ => Place::Middle,
    };
    match characters {
        Characters::Bytes(bytes) => {
            bytes.iter().enumerate().for_each(|(index, byte)| escape_byte(*byte, place(index, bytes.len()), out));
        }
        Characters::Converted(numbers) => {
            for (index, number) in numbers.iter().enumerate() {
                // UTF8_putc writes nothing for a surrogate or a number above 0x10ffff, and neither is a `char`.
                let Some(character) = char::from_u32(*number) else { continue };
                let mut buffer = [0; 4];
                character.encode_utf8(&mut buffer).bytes().for_each(|byte| escape_byte(byte, place(index, numbers.len()), out));
            }
        }
    }
}

/// Where a character stands in its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Middle,
    Last,
}

/// do_esc_char (a_strex.c) with the flags of ASN1_STRFLGS_RFC2253 and the classes of crypto/asn1/charmap.h.
fn escape_byte(byte: u8, place: Place, out: &mut String) {
    match byte {
        b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
            out.push('\\');
            out.push(char::from(byte));
        }
        b'#' if place == Place::First => out.push_str("\\#"),
        b' ' if place != Place::Middle => out.push_str("\\ "),
        0x00..=0x1f | 0x7f..=0xff => push(out, format_args!("\\{byte:02X}")),
        _ => out.push(char::from(byte)),
    }
}

/// The contents of an OBJECT IDENTIFIER in dotted decimal form. An arc that 128 bits cannot hold is shown as `?`.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut out = String::new();
    let mut arc: Option<u128> = Some(0);
    let mut first = true;
    for octet in oid {
        arc = arc.filter(|arc| arc.leading_zeros() >= 7).map(|arc| (arc << 7) | u128::from(octet & 0x7f));
        if octet & 0x80 != 0 {
            continue;
        }
        match arc {
            Some(arc) if first => {
                let root = (arc / 40).min(2);
                push(&mut out, format_args!("{root}.{}", arc.saturating_sub(root.saturating_mul(40))));
            }
            Some(arc) => push(&mut out, format_args!(".{arc}")),
            None => out.push_str(".?"),
        }
        (arc, first) = (Some(0), false);
    }
    out
}

/// Writing to a String cannot fail.
fn push(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests;
