use super::*;
use crate::identity::testing::*;

fn names() -> Vec<Vec<u8>> {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    vec![
        name(&[&[(O, UTF8, b"Ex")], &[(OU, UTF8, b"eng")], &[(CN, UTF8, b"alice")]]),
        name(&[&[(O, UTF8, b"Ex"), (OU, UTF8, b"eng")], &[(CN, UTF8, b"first")], &[(CN, PRINTABLE, b"alice")]]),
        name(&[&[(CN, UTF8, b" #a,b+c\"d\\e<f>g;h=i/j ")]]),
        name(&[&[(CN, UTF8, b"#x")], &[(CN, UTF8, b"#")], &[(CN, UTF8, b" ")], &[(CN, UTF8, b"")], &[(CN, UTF8, b"x#")]]),
        name(&[&[(CN, UTF8, "zo\u{eb}\u{20ac}\u{1f600}".as_bytes())]]),
        name(&[&[(CN, UTF8, b"a\0b\n\x1b\x7f")]]),
        name(&[&[(CN, BMP, &wide("zo\u{eb} \u{20ac}, "))], &[(O, 0x14, b"t\xe9l\xe9")], &[(OU, 0x16, b"ia\xe9")]]),
        name(&[&[(CN, 0x1c, &[0, 0, 0, 0x61, 0, 1, 0xf6, 0])], &[(O, 0x12, b"12 3")]]),
        name(&[&[(&[0x2a, 3, 4], UTF8, b"unknown")], &[(&[0x88, 0x37, 0x83, 0x7f], PRINTABLE, b"big")]]),
        name(&[
            &[(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], 0x16, b"org")],
            &[(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], UTF8, b"uid")],
            &[(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], 0x16, b"a@b.c")],
            &[(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x3c, 2, 1, 3], PRINTABLE, b"DE")],
            &[(&[0x55, 4, 5], PRINTABLE, b"42"), (&[0x55, 4, 42], UTF8, b"G"), (&[0x55, 4, 4], UTF8, b"S")],
            &[(&[0x2a, 0x85, 3, 3, 0x81, 3, 1, 1], 0x12, b"7")],
        ]),
        name(&[]),
    ]
}

/// What `openssl x509 -noout -subject -nameopt RFC2253` of OpenSSL 3.0.19 printed for `names()`.
const OPENSSL: [&str; 11] = [
    r"CN=alice,OU=eng,O=Ex",
    r"CN=alice,CN=first,OU=eng+O=Ex",
    r#"CN=\ #a\,b\+c\"d\\e\<f\>g\;h=i/j\ "#,
    r"CN=x#,CN=,CN=\ ,CN=#,CN=\#x",
    r"CN=zo\C3\AB\E2\82\AC\F0\9F\98\80",
    r"CN=a\00b\0A\1B\7F",
    r"OU=ia\C3\A9,O=t\C3\A9l\C3\A9,CN=zo\C3\AB \E2\82\AC\,\ ",
    r"O=12 3,CN=a\F0\9F\98\80",
    r"2.999.511=#1303626967,1.2.3.4=#0C07756E6B6E6F776E",
    r"INN=7,SN=S+GN=G+serialNumber=42,jurisdictionC=DE,emailAddress=a@b.c,UID=uid,DC=org",
    r"",
];

#[test]
fn a_name_prints_as_openssl_prints_it() {
    for (name, expected) in names().iter().zip(OPENSSL) {
        assert_eq!(Name::parse(name).expect("a name").rfc2253(), expected);
    }
}

fn common_name(rdns: &[&[DraftAttribute<'_>]]) -> Result<String, NameFault> {
    Name::parse(&name(rdns)).expect("a name").common_name().map(|name| name.to_string())
}

#[test]
fn one_clean_common_name_is_taken_byte_for_byte() {
    for text in ["alice", "Alice", " alice ", "x,CN=alice", "zo\u{eb}", "\u{ff41}lice", "a\u{200b}b", &"a".repeat(64)] {
        assert_eq!(common_name(&[&[(O, UTF8, b"Ex")], &[(CN, UTF8, text.as_bytes())]]).as_deref(), Ok(text));
    }
    assert_eq!(common_name(&[&[(CN, PRINTABLE, b"alice")]]).as_deref(), Ok("alice"));
    assert_eq!(common_name(&[&[(CN, 0x16, b"alice")]]).as_deref(), Ok("alice"));
}

#[test]
fn a_common_name_that_can_be_read_in_two_ways_is_none() {
    assert_eq!(common_name(&[]), Err(NameFault::Missing));
    assert_eq!(common_name(&[&[(OU, UTF8, b"alice")]]), Err(NameFault::Missing));
    assert_eq!(common_name(&[&[(CN, UTF8, b"alice")], &[(CN, UTF8, b"bob")]]), Err(NameFault::Ambiguous));
    assert_eq!(common_name(&[&[(CN, UTF8, b"alice"), (CN, UTF8, b"alice")]]), Err(NameFault::Ambiguous));
    assert_eq!(common_name(&[&[(CN, UTF8, b"")]]), Err(NameFault::Empty));
    for control in [&b"alice\0"[..], b"a\nb", b"\x1b[2J", b"a\x7f"] {
        assert_eq!(common_name(&[&[(CN, UTF8, control)]]), Err(NameFault::Control));
    }
    assert_eq!(common_name(&[&[(CN, UTF8, b"al\xffce")]]), Err(NameFault::Encoding("UTF8String")));
    assert_eq!(common_name(&[&[(CN, PRINTABLE, b"zo\xc3\xab")]]), Err(NameFault::Encoding("PrintableString")));
    assert_eq!(common_name(&[&[(CN, BMP, b"\0a\0b")]]), Err(NameFault::Encoding("BMPString")));
    assert_eq!(common_name(&[&[(CN, 0x14, b"alice")]]), Err(NameFault::Encoding("TeletexString")));
    for class_or_form in [0x2c, 0x4c, 0x8c, 0xcc] {
        assert_eq!(common_name(&[&[(CN, class_or_form, b"alice")]]), Err(NameFault::Encoding("value of another type")));
    }
}

#[test]
fn a_nul_byte_in_any_attribute_is_seen() {
    let contains_nul = |rdns: &[&[DraftAttribute<'_>]]| Name::parse(&name(rdns)).expect("a name").contains_nul();
    assert!(contains_nul(&[&[(CN, UTF8, b"alice\0.evil")]]));
    assert!(contains_nul(&[&[(CN, UTF8, b"alice")], &[(O, BMP, b"\0a")]]));
    assert!(!contains_nul(&[&[(CN, UTF8, b"alice")], &[(O, UTF8, b"Ex")]]));
}

#[test]
fn what_is_no_name_and_what_x509_parser_reads_in_part_is_refused() {
    let wrong = [
        vec![],
        vec![0x31, 0],
        vec![0x30, 2, 0x31, 0],
        [name(&[]), vec![0]].concat(),
        name(&[&[(CN, BMP, b"odd")]]),
        name(&[&[(CN, 0x1c, b"five!")]]),
        name(&[&[(&[], UTF8, b"x")]]),
        name(&[&[(&[0x80, 1], UTF8, b"x")]]),
        name(&[&[(&[0x55, 0x84], UTF8, b"x")]]),
        sequence(&[element(0x31, &sequence(&[element(6, CN)]))]),
        [&[0x30, 19][..], &name(&[&[(CN, UTF8, b"a")]])[2..], &[0x31, 0x81, 4], &[0x30, 2, 5, 0]].concat(),
        sequence(&[element(0x31, &[sequence(&[element(6, CN), element(UTF8, b"x")]), vec![5, 0]].concat())]),
        sequence(&[element(0x31, &sequence(&[element(4, CN), element(UTF8, b"x")]))]),
        sequence(&[element(0xb1, &sequence(&[element(6, CN), element(UTF8, b"x")]))]),
        sequence(&[element(0x31, &sequence(&[element(6, CN), vec![0x1f, 0x81, 0x0c, 1, b'x']]))]),
        sequence(&[element(0x31, &sequence(&[element(6, CN), element(UTF8, b"x"), element(UTF8, b"y")]))]),
    ];
    for bytes in wrong {
        assert!(Name::parse(&bytes).is_err(), "{bytes:02x?}");
    }
}
