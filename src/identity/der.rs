//! Cuts DER (ITU-T X.690) into its elements, each whole: asn1-rs, which x509-parser is made of, finds where one ends; a length that
//! is longer than it need be and a tag above 30, which asn1-rs takes, are refused here.
//!
//! x509-parser reads certificates, dates, extensions and the entries of CRLs. It is left to this where reading more than DER, or less
//! than everything, would matter:
//! - the frame around what is signed, and how much is in it, before x509-parser allocates for it: no signature covers the frame;
//! - names: x509-parser ends a name before the first attribute that it cannot read, where another common name may stand, takes `[12]`
//!   for a UTF8String and an OCTET STRING for an attribute's type, and nobody but us looks into a subject;
//! - the fields of a CRL: x509-parser's own type for all of it keeps every entry (`crl.rs`);
//! - distribution points: x509-parser takes an optional part that it cannot read for absent, and a CRL of a few certificates for one
//!   of all.

use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::error::X509Error;

/// Identifier octets of the types that are asked for (X.680, table 1), with the constructed bit where it belongs.
pub(super) mod tag {
    pub(in crate::identity) const INTEGER: u8 = 0x02;
    pub(in crate::identity) const BIT_STRING: u8 = 0x03;
    pub(in crate::identity) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(in crate::identity) const UTF8_STRING: u8 = 0x0c;
    pub(in crate::identity) const NUMERIC_STRING: u8 = 0x12;
    pub(in crate::identity) const PRINTABLE_STRING: u8 = 0x13;
    pub(in crate::identity) const T61_STRING: u8 = 0x14;
    pub(in crate::identity) const IA5_STRING: u8 = 0x16;
    pub(in crate::identity) const UTC_TIME: u8 = 0x17;
    pub(in crate::identity) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::identity) const VISIBLE_STRING: u8 = 0x1a;
    pub(in crate::identity) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(in crate::identity) const BMP_STRING: u8 = 0x1e;
    pub(in crate::identity) const SEQUENCE: u8 = 0x30;
    pub(in crate::identity) const SET: u8 = 0x31;

    /// `[number] IMPLICIT` of a primitive type; `number` is at most 30.
    pub(in crate::identity) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[number]` of a constructed type; `number` is at most 30.
    pub(in crate::identity) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// What is wrong with the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// One element: its identifier octet, its contents, and both with the length between them as they were encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) encoded: &'a [u8],
}

/// What has not been read yet of some contents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads the elements that `bytes` consist of.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is. Each call takes at least two bytes or fails.
    pub(super) fn element(&mut self) -> Result<Element<'a>, Malformed> {
        let whole = self.rest;
        let (rest, any) = Any::from_der(whole).map_err(|_| Malformed("it ends in the middle of an element, or is not DER"))?;
        let encoded = whole.get(..whole.len().saturating_sub(rest.len())).unwrap_or(whole);
        if encoded.len() != encoded_len(any.data.len()) {
            return Err(Malformed("it has a tag above 30, or a length that is longer than it need be"));
        }
        self.rest = rest;
        Ok(Element { tag: encoded.first().copied().unwrap_or(0), content: any.data, encoded })
    }

    /// The next element, which must have the tag `tag`; `otherwise` says what is wrong when it has another or there is none.
    pub(super) fn expect(&mut self, tag: u8, otherwise: &'static str) -> Result<Element<'a>, Malformed> {
        self.optional(tag)?.ok_or(Malformed(otherwise))
    }

    /// The next element if it has the tag `tag`; else nothing is taken.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        match self.rest.first() {
            Some(&found) if found == tag => self.element().map(Some),
            _ => Ok(None),
        }
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed("bytes follow where it should end")) }
    }
}

impl<'a> Element<'a> {
    /// Reads the elements inside this one.
    pub(super) fn inside(&self) -> Reader<'a> {
        Reader::new(self.content)
    }
}

/// The single element that `bytes` are, with the tag `tag`.
pub(super) fn only<'a>(bytes: &'a [u8], tag: u8, otherwise: &'static str) -> Result<Element<'a>, Malformed> {
    let mut reader = Reader::new(bytes);
    let element = reader.expect(tag, otherwise)?;
    reader.end()?;
    Ok(element)
}

/// The value that x509-parser reads from `bytes`, which must be all of them; `otherwise` says what is wrong when it cannot.
pub(super) fn whole<'a, T: FromDer<'a, X509Error>>(bytes: &'a [u8], otherwise: &'static str) -> Result<T, Malformed> {
    match T::from_der(bytes) {
        Ok(([], value)) => Ok(value),
        Ok(_) | Err(_) => Err(Malformed(otherwise)),
    }
}

/// The octets of a BIT STRING whose bits fill whole octets: keys and signatures.
pub(super) fn whole_octets<'a>(element: &Element<'a>) -> Result<&'a [u8], Malformed> {
    match element.content.split_first() {
        Some((0, octets)) => Ok(octets),
        _ => Err(Malformed("a BIT STRING does not hold whole octets")),
    }
}

/// The contents of an OBJECT IDENTIFIER: at least one octet, each arc complete and without padding (X.690 8.19).
pub(super) fn object_identifier<'a>(element: &Element<'a>) -> Result<&'a [u8], Malformed> {
    let complete = element.content.last().is_some_and(|last| last & 0x80 == 0);
    let mut arcs = element.content.split_inclusive(|octet| octet & 0x80 == 0);
    if complete && arcs.all(|arc| arc.first() != Some(&0x80)) {
        Ok(element.content)
    } else {
        Err(Malformed("an OBJECT IDENTIFIER is padded or incomplete"))
    }
}

/// How many bytes an element with this much content takes in DER, its tag being one of them.
fn encoded_len(content: usize) -> usize {
    let header = match content {
        0..=0x7f => 2,
        0x80..=0xff => 3,
        0x100..=0xffff => 4,
        0x1_0000..=0xff_ffff => 5,
        _ => 6,
    };
    content.saturating_add(header)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_element_is_read_with_its_contents_and_its_encoding() {
        let mut reader = Reader::new(&[0x30, 0x03, 0x02, 0x01, 0x05, 0x05, 0x00]);
        let sequence = reader.expect(tag::SEQUENCE, "").expect("a SEQUENCE");
        assert_eq!((sequence.content, sequence.encoded), (&[2, 1, 5][..], &[0x30, 3, 2, 1, 5][..]));
        assert_eq!(reader.end(), Err(Malformed("bytes follow where it should end")));
        assert!(reader.element().is_ok() && reader.end().is_ok());
    }

    #[test]
    fn lengths_that_are_not_der_are_refused() {
        for bytes in
            [&[0x04, 0x80][..], &[4, 0x81, 0x7f], &[4, 0x82, 0, 0x80], &[4, 0x85, 1, 0, 0, 0, 0], &[4, 2, 0], &[4], &[], &[0x1f, 1, 0]]
        {
            assert!(Reader::new(bytes).element().is_err(), "{bytes:02x?}");
        }
        let long = [&[4, 0x82, 0, 0x80][..], &[0; 0x80]].concat();
        assert!(Reader::new(&long).element().is_err(), "asn1-rs takes this");
        assert!(Reader::new(&[0x1f, 0x1f, 0]).element().is_err(), "and this");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let mut taken = 0;
            while let Ok(element) = reader.element() {
                taken = element.encoded.len().saturating_add(taken);
                prop_assert!(element.encoded.len() >= 2 && element.content.len() < element.encoded.len());
            }
            prop_assert!(taken <= bytes.len());
        }
    }
}
