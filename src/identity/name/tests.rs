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
        name(&[&[(CN, UTF8, b"a\0b\n\x1b\x7f\xff")]]),
        name(&[&[(CN, BMP, &wide("zo\u{eb} \u{20ac}, "))], &[(O, 0x14, b"t\xe9l\xe9")], &[(OU, 0x16, b"ia\xe9")]]),
        name(&[&[(CN, 0x1c, &[0, 0, 0, 0x61, 0, 1, 0xf6, 0])], &[(O, 0x12, b"12 3")], &[(OU, 0x1a, b"vis")]]),
        name(&[&[(CN, 0x04, b"octets")], &[(&[0x2a, 3, 4], UTF8, b"unknown")], &[(&[0x88, 0x37, 0x83, 0x7f], PRINTABLE, b"big")]]),
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

#[test]
fn scratch() {
    let maker = Maker::new("ca");
    for (i, subject) in names().iter().enumerate() {
        std::fs::write(format!("/tmp/ossl/n{i:02}.der"), Draft::of(subject).sign(&key(), &maker)).unwrap();
        println!("{i:02} {}", Name::parse(subject).unwrap().rfc2253());
    }
}
