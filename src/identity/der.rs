//! A reader of DER (ITU-T X.690), as strict as the standard: definite, minimal lengths; no tag above 30; nothing left over.
//!
//! Certificates and CRLs are read with this and not with x509-parser, which ignores what follows the last known field of a
//! SEQUENCE, takes BER where X.509 says DER, keeps no AlgorithmIdentifier's bytes, and allocates for each entry of a CRL.
//! What is signed and what is read must be the same bytes. The unit tests compare the two parsers.

/// Tags of the universal class that X.509 uses (X.680, table 1), with the constructed bit where it belongs.
pub(super) mod tag {
    pub(in crate::identity) const BOOLEAN: u8 = 0x01;
    pub(in crate::identity) const INTEGER: u8 = 0x02;
    pub(in crate::identity) const BIT_STRING: u8 = 0x03;
    pub(in crate::identity) const OCTET_STRING: u8 = 0x04;
    pub(in crate::identity) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(in crate::identity) const ENUMERATED: u8 = 0x0a;
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
        let (&tag, after_tag) = whole.split_first().ok_or(Malformed("it ends where an element is expected"))?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed("it has a tag above 30"));
        }
        let (length, content_and_rest) = length(after_tag)?;
        let (content, rest) = content_and_rest.split_at_checked(length).ok_or(Malformed("it ends in the middle of an element"))?;
        let taken = whole.len().saturating_sub(rest.len());
        let encoded = whole.get(..taken).unwrap_or(whole);
        self.rest = rest;
        Ok(Element { tag, content, encoded })
    }

    /// The next element, which must have the tag `tag`; `otherwise` says what is wrong when it has another or there is none.
    pub(super) fn expect(&mut self, tag: u8, otherwise: &'static str) -> Result<Element<'a>, Malformed> {
        match self.rest.first() {
            Some(&found) if found == tag => self.element(),
            _ => Err(Malformed(otherwise)),
        }
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

/// The value of a BOOLEAN (X.690 11.1: 0xff or 0x00).
pub(super) fn boolean(element: &Element<'_>) -> Result<bool, Malformed> {
    match element.content {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(Malformed("a BOOLEAN is neither TRUE nor FALSE")),
    }
}

/// The two's complement octets of an INTEGER: at least one, and not one more than needed (X.690 8.3.2).
pub(super) fn integer<'a>(element: &Element<'a>) -> Result<&'a [u8], Malformed> {
    match element.content {
        [] => Err(Malformed("an INTEGER is empty")),
        [0x00, second, ..] if second & 0x80 == 0 => Err(Malformed("an INTEGER is padded")),
        [0xff, second, ..] if second & 0x80 != 0 => Err(Malformed("an INTEGER is padded")),
        octets => Ok(octets),
    }
}

/// The value of an INTEGER or ENUMERATED that must be between 0 and 2^31 - 1.
pub(super) fn small(element: &Element<'_>) -> Result<u32, Malformed> {
    let octets = integer(element)?;
    if octets.len() > 4 || octets.first().is_some_and(|first| first & 0x80 != 0) {
        return Err(Malformed("a number is negative or too large"));
    }
    Ok(octets.iter().fold(0, |value, octet| (value << 8) | u32::from(*octet)))
}

/// The contents of an OBJECT IDENTIFIER: at least one octet, each arc complete and without padding (X.690 8.19).
pub(super) fn object_identifier<'a>(element: &Element<'a>) -> Result<&'a [u8], Malformed> {
    let mut starts = true;
    for octet in element.content {
        if starts && *octet == 0x80 {
            return Err(Malformed("an OBJECT IDENTIFIER is padded"));
        }
        starts = octet & 0x80 == 0;
    }
    if starts && !element.content.is_empty() { Ok(element.content) } else { Err(Malformed("an OBJECT IDENTIFIER is incomplete")) }
}

/// The octets of a BIT STRING whose bits fill whole octets: keys and signatures.
pub(super) fn whole_octets<'a>(element: &Element<'a>) -> Result<&'a [u8], Malformed> {
    match element.content.split_first() {
        Some((0, octets)) => Ok(octets),
        _ => Err(Malformed("a BIT STRING does not hold whole octets")),
    }
}

/// The first sixteen bits of a BIT STRING of named bits: bit 0 is the most significant.
pub(super) fn named_bits(content: &[u8]) -> Result<u16, Malformed> {
    let (&unused, octets) = content.split_first().ok_or(Malformed("a BIT STRING is empty"))?;
    if unused > 7 || (unused > 0 && octets.is_empty()) {
        return Err(Malformed("a BIT STRING has more unused bits than bits"));
    }
    let at = |index: usize| u16::from(octets.get(index).copied().unwrap_or(0));
    Ok((at(0) << 8) | at(1))
}

/// The length that `bytes` start with, and what follows it.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let (&first, rest) = bytes.split_first().ok_or(Malformed("it ends where a length is expected"))?;
    let octets = match first {
        0x00..=0x7f => return Ok((usize::from(first), rest)),
        0x81..=0x84 => usize::from(first & 0x7f),
        _ => return Err(Malformed("a length is indefinite or above 4 GiB")),
    };
    let (octets, rest) = rest.split_at_checked(octets).ok_or(Malformed("it ends in the middle of a length"))?;
    let length = octets.iter().fold(0usize, |length, octet| (length << 8) | usize::from(*octet));
    if length < 0x80 || octets.first() == Some(&0) {
        return Err(Malformed("a length is longer than it need be"));
    }
    Ok((length, rest))
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
    }

    #[test]
    fn padded_and_negative_numbers_are_told_apart() {
        let value = |bytes: &'static [u8]| small(&Element { tag: tag::INTEGER, content: bytes, encoded: bytes });
        assert_eq!(value(&[0x00]), Ok(0));
        assert_eq!(value(&[0x00, 0x80]), Ok(128));
        assert!(value(&[0x00, 0x7f]).is_err() && value(&[0xff, 0x80]).is_err() && value(&[0x80]).is_err() && value(&[]).is_err());
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
