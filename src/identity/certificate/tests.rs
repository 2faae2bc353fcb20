use proptest::prelude::*;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use super::*;
use crate::identity::testing::*;

fn parse(draft: &Draft) -> Result<Certificate, CertificateError> {
    Certificate::parse(&draft.sign(&key(), &Maker::new("ca")))
}

#[test]
fn a_v3_certificate_is_read_with_all_its_parts() {
    let (maker, key) = (Maker::new("ca"), key());
    let der = Draft::leaf("alice").serial(&[0, 0xc0, 0x63]).key_usage(DIGITAL_SIGNATURE).purpose(CLIENT_AUTH).sign(&key, &maker);
    let read = Certificate::parse(&der).expect("a certificate");
    assert_eq!(read.version(), Version::V3);
    assert_eq!((read.subject().rfc2253(), read.issuer().rfc2253()), ("CN=alice".to_owned(), "CN=ca".to_owned()));
    assert_eq!((read.serial(), read.serial_hex().as_str()), (&[0, 0xc0, 0x63][..], "c063"));
    assert_eq!((read.not_before(), read.not_after()), (1_577_836_800, 2_366_841_600));
    assert_eq!(read.sha256(), Sha256::of(&der));
    assert_eq!(read.public_key(), rcgen::PublicKeyData::subject_public_key_info(&key));
    assert_eq!(read.extensions().extended_key_usage, Some(ExtendedKeyUsage { client_auth: true, any: false }));
    let usage = KeyUsage { digital_signature: true, key_agreement: false, cert_sign: false, crl_sign: false };
    assert_eq!(read.extensions().key_usage, Some(usage));
    assert!(!read.is_authority() && !read.self_issued());
}

#[test]
fn a_v1_certificate_has_no_extensions() {
    let read = parse(&Draft::leaf("alice").v1()).expect("a certificate");
    assert_eq!((read.version(), read.extensions()), (Version::V1, &Extensions::default()));
}

#[test]
fn a_root_is_an_authority_that_issued_itself() {
    let read = Certificate::parse(&Maker::new("ca").root()).expect("a certificate");
    assert!(read.is_authority() && read.self_issued());
    let limited = parse(&Draft::leaf("sub").authority(Some(3)).key_usage(CERT_SIGN | CRL_SIGN)).expect("a certificate");
    assert_eq!(limited.extensions().basic_constraints, Some(BasicConstraints { ca: true, path_length: Some(3) }));
    assert!(limited.extensions().key_usage.is_some_and(|usage| usage.cert_sign && usage.crl_sign && !usage.digital_signature));
}

#[test]
fn a_serial_number_prints_as_openssl_prints_it() {
    for (octets, text) in [
        (&[0][..], "00"),
        (&[5], "05"),
        (&[0x03, 0xc0, 0x63], "03c063"),
        (&[0, 0x80], "80"),
        (&[0xff], "-01"),
        (&[0x80], "-80"),
        (&[0xff, 0x00], "-0100"),
    ] {
        assert_eq!(serial_hex(octets), text);
    }
}

#[test]
fn what_follows_the_certificate_or_one_of_its_parts_is_refused() {
    let der = Draft::leaf("alice").sign(&key(), &Maker::new("ca"));
    assert!(Certificate::parse(&der).is_ok());
    assert!(Certificate::parse(&[der.clone(), vec![0]].concat()).is_err());
    let (tbs, signed) = Signed::split(&der).expect("a frame");
    let frame = |tbs: &[u8], algorithm: &[u8]| sequence(&[element(0x30, tbs), element(0x30, algorithm), element(3, &[0, 1])]);
    assert!(Certificate::parse(&frame(tbs, &signed.algorithm)).is_ok());
    assert!(Certificate::parse(&frame(&[tbs, &[5, 0]].concat(), &signed.algorithm)).is_err());
    assert_eq!(Certificate::parse(&frame(tbs, &[6, 1, 1])).err(), Some(CertificateError::AlgorithmMismatch));
}

#[test]
fn the_frame_that_no_signature_covers_has_one_form() {
    let der = Draft::leaf("alice").sign(&key(), &Maker::new("ca"));
    let (tbs, signed) = Signed::split(&der).expect("a frame");
    let parts = [element(0x30, tbs), element(0x30, &signed.algorithm), element(3, &[&[0], &*signed.signature].concat())];
    assert_eq!(sequence(&parts), der);
    let mut with_more = parts.to_vec();
    with_more.push(vec![5, 0]);
    let longer_length = [&[0x30, 0x83, 0][..], &der[2..]].concat();
    let mut of_another_class = der.clone();
    of_another_class[0] = 0xb0;
    for other in [sequence(&with_more), longer_length, of_another_class] {
        assert!(X509Certificate::from_der(&other).is_ok_and(|(rest, _)| rest.is_empty()), "x509-parser takes it");
        assert!(Certificate::parse(&other).is_err());
    }
}

#[test]
fn a_v1_certificate_with_fields_of_v3_is_refused() {
    let (ca, key) = (Maker::new("ca"), key());
    let v3 = Draft::leaf("alice").key_usage(DIGITAL_SIGNATURE).sign(&key, &ca);
    assert!(Certificate::parse(&ca.re_sign(&v3, |fields| drop(fields.remove(0)))).is_err());
    let v1 = Draft::leaf("alice").v1().sign(&key, &ca);
    assert!(Certificate::parse(&ca.re_sign(&v1, |fields| fields.push(vec![0x81, 2, 0, 1]))).is_err());
}

#[test]
fn a_serial_number_has_one_form() {
    for serial in [&[][..], &[0, 5], &[0xff, 0x80]] {
        assert!(parse(&Draft::leaf("alice").serial(serial)).is_err(), "{serial:02x?}");
    }
}

#[test]
fn versions_other_than_v1_and_v3_are_refused() {
    let der = Draft::leaf("alice").sign(&key(), &Maker::new("ca"));
    let at = der.windows(5).position(|window| window == [0xa0, 3, 2, 1, 2]).expect("the version") + 4;
    for version in [0, 1, 3] {
        let mut other = der.clone();
        other[at] = version;
        assert_eq!(Certificate::parse(&other).err(), Some(CertificateError::Version));
    }
}

#[test]
fn extensions_that_are_broken_or_stand_twice_are_refused() {
    let broken = |oid: &[u8], value: &[u8]| parse(&Draft::leaf("alice").with(oid, false, value)).is_err();
    assert!(broken(&[0x55, 0x1d, 15], &[3, 1, 9]));
    assert!(broken(&[0x55, 0x1d, 15], &[3, 2, 0, 0x80, 0]));
    assert!(broken(&[0x55, 0x1d, 19], &[0x30, 3, 2, 1, 0xff]));
    // x509-parser takes TRUE in BER and any type for a purpose; webpki takes neither (tls/trust/tests.rs).
    assert!(!broken(&[0x55, 0x1d, 19], &[0x30, 3, 1, 1, 0x01]));
    let purpose = parse(&Draft::leaf("alice").with(&[0x55, 0x1d, 37], false, &[0x30, 2, 5, 0])).expect("a certificate");
    assert_eq!(purpose.extensions().extended_key_usage, Some(ExtendedKeyUsage { client_auth: false, any: false }));
    assert!(broken(&[0x55, 0x1d, 37], &[0x30, 2, 6, 1]));
    assert!(parse(&Draft::leaf("alice").key_usage(DIGITAL_SIGNATURE).key_usage(CERT_SIGN)).is_err());
    let many = (0..65).fold(Draft::leaf("alice"), |draft, number| draft.with(&[0x2a, number], false, &[]));
    assert!(parse(&many).is_err());
}

#[test]
fn only_unknown_critical_extensions_are_remembered_as_such() {
    let unknown = |oid: &[u8], critical| {
        parse(&Draft::leaf("alice").with(oid, critical, &[5, 0])).expect("a certificate").extensions().unknown_critical
    };
    assert!(unknown(&[0x2a, 3], true));
    assert!(!unknown(&[0x2a, 3], false));
    assert!(!unknown(&[0x55, 0x1d, 32], true));
}

#[test]
fn a_name_that_would_fill_an_audit_line_is_refused() {
    assert_eq!(parse(&Draft::leaf(&"a".repeat(9000))).err(), Some(CertificateError::NameTooLong));
}

proptest! {
    #[test]
    fn any_damage_is_an_error_or_another_certificate(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut der = Draft::leaf("alice").key_usage(DIGITAL_SIGNATURE).purpose(CLIENT_AUTH).distribution_point("http://x/").sign(&key(), &Maker::new("ca"));
        let at = at.index(der.len());
        der[at] = byte;
        if let Ok(read) = Certificate::parse(&der) {
            prop_assert!(!read.serial().is_empty() && read.key().is_some());
            prop_assert!(read.subject().common_name().is_err() || read.subject().rfc2253().starts_with("CN="));
            prop_assert_eq!(&Name::parse(read.issuer().as_der()), &Ok(read.issuer()));
        }
        prop_assert!(Certificate::parse(&der[..cut.index(der.len())]).is_err());
    }
}
