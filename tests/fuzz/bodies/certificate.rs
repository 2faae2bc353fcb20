//! A client's certificate, and the names in it.

use postern::identity::{Certificate, CommonName, Crl, Name, NameFault};
use x509_parser::prelude::{FromDer, X509Name};

/// Whatever the bytes are, nothing that is read of them can forge a line or be taken for another name. They are read as a
/// certificate, as a CRL, and as the subject of a certificate that is good otherwise.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::parse(data) {
        check(&certificate);
    }
    if let Err(error) = Crl::parse(data) {
        check_text(&error.to_string());
    }
    match Certificate::parse(&with_subject(data)) {
        Ok(certificate) => check(&certificate),
        Err(error) => check_text(&error.to_string()),
    }
}

fn check(certificate: &Certificate) {
    check_name(certificate.subject());
    check_name(certificate.issuer());
    let serial = certificate.serial_hex();
    assert!(serial.strip_prefix('-').unwrap_or(&serial).bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    assert!(certificate.key().is_some());
}

fn check_name(name: Name<'_>) {
    check_text(&name.rfc2253());
    assert!(name.as_der().len() <= 8 * 1024);
    // A T61String's byte above 0x7f becomes two of UTF-8, each shown as three characters; nothing grows more.
    assert!(name.rfc2253().len() <= 6 * name.as_der().len());
    let common_name = name.common_name();
    match &common_name {
        Ok(common_name) => check_common_name(common_name),
        Err(fault) => check_text(&fault.to_string()),
    }
    // Another reader, where it can read the name at all, finds the same one.
    let Ok((_, other)) = X509Name::from_der(name.as_der()) else { return };
    let names: Vec<&[u8]> = other.iter_common_name().map(|attribute| attribute.as_slice()).collect();
    match (&common_name, names.as_slice()) {
        (Ok(found), [only]) => assert_eq!(found.as_bytes(), *only),
        (Ok(found), _) => panic!("{found:?} was found where there are {} common names", names.len()),
        (Err(NameFault::Missing), _) => assert!(names.is_empty()),
        (Err(NameFault::Ambiguous), _) => assert!(names.len() > 1),
        (Err(NameFault::Encoding(_) | NameFault::Control | NameFault::Empty), _) => assert_eq!(names.len(), 1),
    }
    assert_eq!(name.contains_nul(), other.iter_attributes().any(|attribute| attribute.as_slice().contains(&0)));
}

fn check_common_name(name: &CommonName) {
    assert!(!name.as_str().is_empty());
    assert!(name.as_bytes().iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
}

/// What is logged and audited is one line of printable ASCII.
fn check_text(text: &str) {
    assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?} is not fit for a log line");
}

/// A v3 certificate without extensions, not signed by anybody, with these bytes as its subject.
fn with_subject(subject: &[u8]) -> Vec<u8> {
    let tbs = [VERSION_AND_SERIAL, ALGORITHM, ISSUER, VALIDITY, subject, PUBLIC_KEY].concat();
    element(0x30, &[&element(0x30, &tbs), ALGORITHM, SIGNATURE].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let octets = length.to_be_bytes();
    let octets = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    let header = match u8::try_from(length) {
        Ok(short @ 0..0x80) => vec![tag, short],
        _ => [&[tag, 0x80 | octets.len() as u8], octets].concat(),
    };
    [&header, content].concat()
}

/// `[0] { 2 }`, and 1.
const VERSION_AND_SERIAL: &[u8] = &[0xa0, 3, 2, 1, 2, 2, 1, 1];
/// ecdsa-with-SHA256.
const ALGORITHM: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// CN=ca.
const ISSUER: &[u8] = &[0x30, 13, 0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 3, 0x0c, 2, b'c', b'a'];
/// 2020 to 2045.
const VALIDITY: &[u8] = b"\x30\x1e\x17\x0d200101000000Z\x17\x0d450101000000Z";
/// An ECDSA key on P-256: the point is none, which only a signature would show.
const PUBLIC_KEY: &[u8] = b"\x30\x18\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x01\x00";
/// No bits.
const SIGNATURE: &[u8] = &[3, 1, 0];
