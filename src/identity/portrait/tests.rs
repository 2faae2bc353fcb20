use super::*;
use crate::identity::testing::{Draft, Maker, element, key, sequence};

fn certificate(draft: Draft) -> Certificate {
    Certificate::parse(&draft.sign(&key(), &Maker::new("ca"))).unwrap()
}

/// The words for a key whose AlgorithmIdentifier has these contents.
fn words_of(algorithm: &[u8]) -> String {
    let spki = sequence(&[element(0x30, algorithm), element(3, &[0, 4])]);
    let der = Draft::leaf("a").sign(&key(), &Maker::new("ca"));
    let own = Certificate::parse(&der).unwrap().public_key().to_vec();
    let at = der.windows(own.len()).position(|window| window == own).unwrap();
    // The key of a certificate is replaced in place; what is around it is as long as it says only if the lengths agree.
    let padded = pad(&spki, own.len());
    let forged = [&der[..at], &padded, &der[at + own.len()..]].concat();
    Certificate::parse(&forged).unwrap().key_words()
}

/// A SubjectPublicKeyInfo with the algorithm of `spki` and a key of as many octets as make it `length` long.
fn pad(spki: &[u8], length: usize) -> Vec<u8> {
    let algorithm = &spki[2..2 + 2 + usize::from(spki[3])];
    let rest = length - 2 - algorithm.len() - 3;
    sequence(&[algorithm.to_vec(), element(3, &[vec![0], vec![4; rest]].concat())])
}

#[test]
fn names_of_every_form_are_read() {
    let names = sequence(&[
        element(0x82, b"db.example"),
        element(0x87, &[127, 0, 0, 1]),
        element(0x87, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        element(0x81, b"a@b.example"),
        element(0x86, b"spiffe://x/y"),
        element(0x82, b"a\x1b[2Jb"),
        element(0x87, &[1, 2, 3]),
        element(0x88, &[42]),
    ]);
    let portrait = certificate(Draft::leaf("a").with(&[0x55, 0x1d, 17], false, &names)).portrait().unwrap();
    let expected = [
        AlternativeName::Dns("db.example".into()),
        AlternativeName::Address("127.0.0.1".parse().unwrap()),
        AlternativeName::Address("::1".parse().unwrap()),
        AlternativeName::Email("a@b.example".into()),
        AlternativeName::Uri("spiffe://x/y".into()),
        AlternativeName::Dns("a\\x1b[2Jb".into()),
        AlternativeName::Other,
        AlternativeName::Other,
    ];
    assert_eq!(portrait.alternative_names, expected);
}

#[test]
fn usages_and_purposes_are_in_words_and_unknown_ones_in_numbers() {
    let purposes = sequence(&[element(6, &[0x2b, 6, 1, 5, 5, 7, 3, 1]), element(6, &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 2])]);
    let draft = Draft::leaf("a").key_usage(0b1010_0110).with(&[0x55, 0x1d, 37], false, &purposes);
    let portrait = certificate(draft).portrait().unwrap();
    assert_eq!(portrait.key_usage.unwrap(), ["digitalSignature", "keyEncipherment", "keyCertSign", "cRLSign"]);
    assert_eq!(portrait.extended_key_usage.unwrap(), ["serverAuth", "1.3.6.1.4.1.311.20.2.2"]);
}

#[test]
fn a_v1_certificate_says_nothing() {
    assert_eq!(certificate(Draft::leaf("a").v1()).portrait(), Ok(Portrait::default()));
}

#[test]
fn an_extension_that_is_not_what_its_name_says_is_an_error() {
    let draft = Draft::leaf("a").with(&[0x55, 0x1d, 17], false, b"junk");
    assert!(certificate(draft).portrait().is_err());
}

#[test]
fn keys_are_named_whatever_they_are() {
    let ec = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    assert_eq!(words_of(&[&ec[..], &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]].concat()), "ECDSA P-256");
    assert_eq!(words_of(&[&ec[..], &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7]].concat()), "ECDSA brainpoolP256r1");
    assert_eq!(words_of(&[6, 3, 0x2b, 0x65, 0x71]), "Ed448");
    assert_eq!(words_of(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]), "RSA-PSS");
    assert_eq!(words_of(&[6, 3, 0x2a, 3, 4]), "1.2.3.4");
}
