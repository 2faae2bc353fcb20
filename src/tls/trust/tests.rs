mod revocation;

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::identity::Crl;
use crate::identity::testing::*;
use crate::tls::refusal::Alert;
use crate::tls::server::provider;

fn trust_in(authorities: &[&[u8]], crls: Option<&[Vec<u8>]>) -> ClientTrust {
    let authority =
        |der: &&[u8]| Authority { certificate: Certificate::parse(der).expect("a certificate"), der: CertificateDer::from(der.to_vec()) };
    let algorithms = provider().signature_verification_algorithms;
    let authorities: Vec<Authority> = authorities.iter().map(authority).collect();
    let lists = crls.map(|crls| {
        let crls = crls.iter().map(|der| Crl::parse(der).expect("a CRL")).collect();
        let certificates: Vec<_> = authorities.iter().map(|authority| &authority.certificate).collect();
        Arc::new(RevocationLists::new(crls, &certificates, algorithms))
    });
    ClientTrust::new(authorities, lists, X509V1::Accept, algorithms).expect("anchors")
}

/// The reason code and the alert, or how many links the path has.
fn verdict_at(trust: &ClientTrust, leaf: &[u8], sent: &[&[u8]], now: i64) -> Result<usize, (&'static str, Alert)> {
    let sent: Vec<_> = sent.iter().map(|der| CertificateDer::from(*der)).collect();
    match trust.verify(leaf, &sent, now) {
        Ok(chain) => Ok(crate::identity::ClientIdentity::from(chain).links().len()),
        Err(refusal) => Err((refusal.cause.reason().code(), refusal.alert)),
    }
}

fn verdict(trust: &ClientTrust, leaf: &[u8], sent: &[&[u8]]) -> Result<usize, (&'static str, Alert)> {
    verdict_at(trust, leaf, sent, NOW)
}

/// A root, a CA below it, and the CA's certificate.
fn two_tiers() -> (Maker, Maker, Vec<u8>) {
    let (root, sub) = (Maker::new("root"), Maker::new("sub"));
    let certificate = Draft::leaf("sub").serial(&[2]).authority(None).sign(&sub.key, &root);
    (root, sub, certificate)
}

#[test]
fn a_leaf_of_the_configured_ca_is_good_in_v3_and_in_v1() {
    let ca = Maker::new("ca");
    let trust = trust_in(&[&ca.root()], None);
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &ca), &[]), Ok(2));
    assert_eq!(verdict(&trust, &Draft::leaf("alice").v1().sign(&key(), &ca), &[]), Ok(2));
    let full = Draft::leaf("alice").key_usage(DIGITAL_SIGNATURE).purpose(CLIENT_AUTH).sign(&key(), &ca);
    assert_eq!(verdict(&trust, &full, &[]), Ok(2));
}

#[test]
fn intermediates_come_from_the_client_or_from_the_file() {
    let (root, sub, certificate) = two_tiers();
    let leaf = Draft::leaf("alice").sign(&key(), &sub);
    assert_eq!(verdict(&trust_in(&[&root.root()], None), &leaf, &[&certificate]), Ok(3));
    assert_eq!(verdict(&trust_in(&[&root.root(), &certificate], None), &leaf, &[]), Ok(3));
    assert_eq!(verdict(&trust_in(&[&root.root()], None), &leaf, &[]), Err(("cert_untrusted", Alert::UnknownCa)));
}

#[test]
fn an_intermediate_alone_in_the_file_ends_no_path() {
    let (_, sub, certificate) = two_tiers();
    let trust = trust_in(&[&certificate], None);
    assert_eq!(trust.anchors().count(), 0);
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &sub), &[]), Err(("cert_untrusted", Alert::UnknownCa)));
}

#[test]
fn a_rogue_ca_of_the_same_name_is_untrusted() {
    let (ca, rogue) = (Maker::new("ca"), Maker::new("ca"));
    let trust = trust_in(&[&ca.root()], None);
    for draft in [Draft::leaf("alice"), Draft::leaf("alice").v1()] {
        assert_eq!(verdict(&trust, &draft.sign(&key(), &rogue), &[]), Err(("cert_untrusted", Alert::UnknownCa)));
        assert_eq!(verdict(&trust, &draft.sign(&key(), &rogue), &[&rogue.root()]), Err(("cert_untrusted", Alert::UnknownCa)));
        assert_eq!(verdict(&trust, &draft.sign(&key(), &Maker::new("other")), &[]), Err(("cert_untrusted", Alert::UnknownCa)));
    }
    let own = Maker::new("alice");
    assert_eq!(verdict(&trust, &own.root(), &[]), Err(("cert_untrusted", Alert::UnknownCa)));
}

#[test]
fn what_was_good_once_is_judged_again() {
    let (root, sub, certificate) = two_tiers();
    let trust = trust_in(&[&root.root()], None);
    let leaf = Draft::leaf("alice").sign(&key(), &sub);
    let read = Certificate::parse(&leaf).unwrap();
    for _ in 0..2 {
        assert_eq!(verdict(&trust, &leaf, &[&certificate]), Ok(3));
        assert_eq!(verdict_at(&trust, &leaf, &[&certificate], read.not_after() + 1).map_err(|(code, _)| code), Err("cert_expired"));
        assert_eq!(verdict(&trust, &leaf, &[]), Err(("cert_untrusted", Alert::UnknownCa)));
    }
    let forged = [&leaf[..leaf.len() - 1], &[leaf[leaf.len() - 1] ^ 1]].concat();
    assert!(verdict(&trust, &forged, &[&certificate]).is_err());
}

#[test]
fn a_certificate_is_good_from_its_first_second_and_over_at_its_last() {
    let ca = Maker::new("ca");
    let trust = trust_in(&[&ca.root()], None);
    for draft in [Draft::leaf("alice"), Draft::leaf("alice").v1()] {
        let leaf = draft.dates(NOW - 10, NOW + 10).sign(&key(), &ca);
        assert_eq!(verdict_at(&trust, &leaf, &[], NOW - 11), Err(("cert_not_yet_valid", Alert::BadCertificate)));
        assert_eq!(verdict_at(&trust, &leaf, &[], NOW - 10), Ok(2));
        assert_eq!(verdict_at(&trust, &leaf, &[], NOW + 9), Ok(2));
        assert_eq!(verdict_at(&trust, &leaf, &[], NOW + 10), Err(("cert_expired", Alert::CertificateExpired)));
    }
}

#[test]
fn the_dates_of_every_ca_count() {
    let (root, sub, _) = two_tiers();
    let certificate = |draft: Draft| draft.authority(None).sign(&sub.key, &root);
    let leaf = Draft::leaf("alice").sign(&key(), &sub);
    let (early, late) = (certificate(Draft::leaf("sub").dates(NOW + 1, NOW + 2)), certificate(Draft::leaf("sub").dates(0, NOW - 1)));
    let trust = trust_in(&[&root.root()], None);
    assert_eq!(verdict(&trust, &leaf, &[&early]), Err(("cert_not_yet_valid", Alert::BadCertificate)));
    assert_eq!(verdict(&trust, &leaf, &[&late]), Err(("cert_expired", Alert::CertificateExpired)));

    let ca = Maker::new("ca");
    let (v3, v1) = (Draft::leaf("alice").sign(&key(), &ca), Draft::leaf("alice").v1().sign(&key(), &ca));
    for leaf in [&v3, &v1] {
        let expired = Draft::of(&ca.name).authority(None).dates(0, NOW - 1).sign(&ca.key, &ca);
        assert_eq!(verdict(&trust_in(&[&expired], None), leaf, &[]), Err(("cert_expired", Alert::CertificateExpired)));
        let early = Draft::of(&ca.name).authority(None).dates(NOW + 1, NOW + 2).sign(&ca.key, &ca);
        assert_eq!(verdict(&trust_in(&[&early], None), leaf, &[]), Err(("cert_not_yet_valid", Alert::BadCertificate)));
        assert_eq!(verdict(&trust_in(&[&expired, &ca.root()], None), leaf, &[]), Ok(2), "a root that was renewed under its key");
    }
}

#[test]
fn a_leaf_must_be_for_client_authentication() {
    let ca = Maker::new("ca");
    let trust = trust_in(&[&ca.root()], None);
    let refused = Err(("cert_purpose", Alert::UnsupportedCertificate));
    let of = |draft: Draft| verdict(&trust, &draft.sign(&key(), &ca), &[]);
    assert_eq!(of(Draft::leaf("alice").purpose(SERVER_AUTH)), refused);
    assert_eq!(of(Draft::leaf("alice").purpose(&[0x55, 0x1d, 37, 0])), refused, "anyExtendedKeyUsage");
    assert_eq!(of(Draft::leaf("alice").key_usage(KEY_ENCIPHERMENT)), refused);
    assert_eq!(of(Draft::leaf("alice").key_usage(KEY_AGREEMENT)), Ok(2));
    assert_eq!(of(Draft::leaf("alice").with(&[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1], false, &[3, 2, 6, 0x40])), refused);
    assert_eq!(of(Draft::leaf("sub").authority(None)), refused, "a CA's certificate");
    assert_eq!(verdict(&trust, &ca.root(), &[]), refused, "the configured CA itself");
}

#[test]
fn a_ca_must_be_allowed_to_issue() {
    let (root, sub, _) = two_tiers();
    let leaf = Draft::leaf("alice").sign(&key(), &sub);
    let trust = trust_in(&[&root.root()], None);
    let of = |draft: Draft| verdict(&trust, &leaf, &[&draft.sign(&sub.key, &root)]);
    let no_authority = Err(("cert_purpose", Alert::UnknownCa));
    assert_eq!(of(Draft::leaf("sub")), no_authority, "a leaf as a CA");
    assert_eq!(of(Draft::leaf("sub").authority(None).key_usage(DIGITAL_SIGNATURE)), no_authority);
    assert_eq!(of(Draft::leaf("sub").authority(None).purpose(SERVER_AUTH)), Err(("cert_purpose", Alert::UnsupportedCertificate)));
    assert_eq!(of(Draft::leaf("sub").authority(None).key_usage(CERT_SIGN)), Ok(3));
    assert_eq!(of(Draft::leaf("sub").v1()), Err(("cert_untrusted", Alert::UnknownCa)), "a v1 intermediate");
}

#[test]
fn an_anchor_must_be_allowed_to_issue() {
    let (root, sub, certificate) = two_tiers();
    let leaf = Draft::leaf("alice").sign(&key(), &sub);
    let of = |draft: Draft| verdict(&trust_in(&[&draft.sign(&root.key, &root)], None), &leaf, &[&certificate]);
    let anchor = Draft::of(&root.name);
    let no_authority = Err(("cert_purpose", Alert::UnknownCa));
    assert_eq!(of(anchor.clone().v1()), Ok(3), "a v1 root");
    assert_eq!(of(anchor.clone()), no_authority, "a v3 root that does not say it is a CA");
    assert_eq!(of(anchor.clone().key_usage(CERT_SIGN)), Ok(3), "a root of old");
    assert_eq!(of(anchor.clone().authority(None).key_usage(CRL_SIGN)), no_authority);
    assert_eq!(of(anchor.clone().authority(Some(0))), no_authority, "its path length");
    assert_eq!(of(anchor.clone().authority(Some(1))), Ok(3));
    assert_eq!(of(anchor.clone().authority(None).purpose(SERVER_AUTH)), Err(("cert_purpose", Alert::UnsupportedCertificate)));
    assert_eq!(of(anchor.authority(None).with(&[0x2a, 3], true, &[5, 0])), Err(("cert_invalid", Alert::CertificateUnknown)));
}

#[test]
fn a_path_length_below_the_anchor_counts() {
    let (root, middle, low) = (Maker::new("root"), Maker::new("middle"), Maker::new("low"));
    let middle_certificate = Draft::leaf("middle").authority(Some(0)).sign(&middle.key, &root);
    let low_certificate = Draft::leaf("low").authority(None).sign(&low.key, &middle);
    let leaf = Draft::leaf("alice").sign(&key(), &low);
    let trust = trust_in(&[&root.root()], None);
    assert_eq!(verdict(&trust, &leaf, &[&low_certificate, &middle_certificate]), Err(("cert_purpose", Alert::UnknownCa)));
}

#[test]
fn v1_leaves_can_be_refused() {
    let ca = Maker::new("ca");
    let trust = ClientTrust { x509_v1: X509V1::Refuse, ..trust_in(&[&ca.root()], None) };
    assert_eq!(verdict(&trust, &Draft::leaf("alice").v1().sign(&key(), &ca), &[]), Err(("cert_invalid", Alert::UnsupportedCertificate)));
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &ca), &[]), Ok(2));
}

#[test]
fn under_name_constraints_a_leaf_needs_a_dns_name_that_they_permit() {
    let ca = Maker::new("ca");
    let constraints = sequence(&[element(0xa0, &sequence(&[element(0x82, b"example")]))]);
    let root = Draft::of(&ca.name).authority(None).with(&[0x55, 0x1d, 30], true, &constraints).sign(&ca.key, &ca);
    let trust = trust_in(&[&root], None);
    assert_eq!(verdict(&trust, &Draft::leaf("alice").v1().sign(&key(), &ca), &[]), Err(("cert_invalid", Alert::CertificateUnknown)));
    // OpenSSL would hold a dotted common name to them; webpki holds none.
    assert_eq!(verdict(&trust, &Draft::leaf("dba.other").sign(&key(), &ca), &[]), Err(("cert_invalid", Alert::CertificateUnknown)));
    let named = |dns: &[u8]| {
        let names = sequence(&[element(0x82, dns)]);
        verdict(&trust, &Draft::leaf("alice").with(&[0x55, 0x1d, 17], false, &names).sign(&key(), &ca), &[])
    };
    assert_eq!(named(b"alice.example"), Ok(2));
    assert_eq!(named(b"alice.other").err().map(|(reason, _)| reason), Some("cert_invalid"));
}

#[test]
fn what_cannot_be_read_is_invalid() {
    let ca = Maker::new("ca");
    let trust = trust_in(&[&ca.root()], None);
    assert_eq!(verdict(&trust, b"not a certificate", &[]), Err(("cert_invalid", Alert::BadCertificate)));
    let unknown = Draft::leaf("alice").with(&[0x2a, 3], true, &[5, 0]).sign(&key(), &ca);
    assert_eq!(verdict(&trust, &unknown, &[]), Err(("cert_invalid", Alert::CertificateUnknown)));
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &ca), &[b"junk"]), Ok(2));
}

#[test]
fn encodings_that_only_x509_parser_takes_are_refused_in_v3_and_are_the_cas_own_words_in_v1() {
    let ca = Maker::new("ca");
    let trust = trust_in(&[&ca.root()], None);
    let of = |draft: &Draft, change: &dyn Fn(&mut Vec<Vec<u8>>)| verdict(&trust, &ca.re_sign(&draft.sign(&key(), &ca), change), &[]);
    let (v3, v1) = (Draft::leaf("alice"), Draft::leaf("alice").v1());
    let refused = Err(("cert_invalid", Alert::BadCertificate));
    let validity_and = |more: &[u8]| sequence(&[element(0x17, b"200101000000Z"), element(0x17, b"450101000000Z"), more.to_vec()]);
    let without_seconds = || sequence(&[element(0x17, b"2001010000Z"), element(0x17, b"4501010000Z")]);
    assert_eq!(of(&v3, &|_| {}), Ok(2));
    assert_eq!(of(&v3, &|fields| fields[1] = vec![0x42, 1, 5]), refused, "a serial number of another class");
    assert_eq!(of(&v1, &|fields| fields[0] = vec![0x42, 1, 5]), Ok(2));
    assert_eq!(of(&v3, &|fields| fields[4] = validity_and(&[5, 0])), refused, "a third date");
    assert_eq!(of(&v1, &|fields| fields[3] = validity_and(&[5, 0])), Ok(2));
    assert_eq!(of(&v3, &|fields| fields[4] = without_seconds()), refused, "a date without seconds");
    assert_eq!(of(&v1, &|fields| fields[3] = without_seconds()), Ok(2));
    assert_eq!(of(&v3, &|fields| fields.push(vec![0x81, 2, 0, 1])), refused, "an issuerUniqueID");
    let constraints = |value: &[u8]| v3.clone().with(&[0x55, 0x1d, 19], true, value);
    assert_eq!(of(&constraints(&[0x30, 3, 1, 1, 0x01]), &|_| {}), refused, "TRUE in BER");
    let purposes = |value: &[u8]| v3.clone().with(&[0x55, 0x1d, 37], false, value);
    assert_eq!(of(&purposes(&sequence(&[element(4, CLIENT_AUTH)])), &|_| {}), refused, "a purpose that is an OCTET STRING");
}

proptest! {
    #[test]
    fn a_certificate_of_which_one_byte_is_changed_is_refused(at: prop::sample::Index, byte: u8, v1: bool) {
        let ca = Maker::new("ca");
        let trust = trust_in(&[&ca.root()], None);
        let draft = Draft::leaf("alice").key_usage(DIGITAL_SIGNATURE).purpose(CLIENT_AUTH);
        let mut der = if v1 { draft.v1() } else { draft }.sign(&key(), &ca);
        let at = at.index(der.len());
        let same = std::mem::replace(&mut der[at], byte) == byte;
        prop_assert_eq!(verdict(&trust, &der, &[]).is_ok(), same);
    }
}

#[test]
fn a_re_keyed_ca_has_two_anchors_and_its_link_certificate_is_none() {
    let (old, new) = (Maker::new("ca"), Maker::new("ca"));
    let link = Draft::of(&new.name).authority(None).sign(&new.key, &old);
    let trust = trust_in(&[&old.root(), &new.root(), &link], None);
    assert_eq!(trust.anchors().count(), 2);
    for maker in [&old, &new] {
        for draft in [Draft::leaf("alice"), Draft::leaf("alice").v1()] {
            assert_eq!(verdict(&trust, &draft.sign(&key(), maker), &[]), Ok(2));
        }
    }
    let linked = trust_in(&[&old.root(), &link], None);
    assert_eq!(verdict(&linked, &Draft::leaf("alice").sign(&key(), &new), &[]), Ok(3));
}

#[test]
fn of_several_faults_the_one_that_openssl_names_is_named() {
    let (ca, other) = (Maker::new("ca"), Maker::new("other"));
    let crl = CrlDraft::of(&[&[5]]).sign(&ca);
    let trust = trust_in(&[&ca.root()], Some(&[crl]));
    let expired = |draft: Draft| draft.dates(0, NOW - 1);
    for draft in [Draft::leaf("alice"), Draft::leaf("alice").v1()] {
        let revoked_and_expired = expired(draft.clone()).sign(&key(), &ca);
        assert_eq!(verdict(&trust, &revoked_and_expired, &[]), Err(("cert_revoked", Alert::CertificateRevoked)));
        let untrusted_and_expired = expired(draft).sign(&key(), &other);
        assert_eq!(verdict(&trust, &untrusted_and_expired, &[]), Err(("cert_untrusted", Alert::UnknownCa)));
    }
    let revoked_and_for_servers = Draft::leaf("alice").purpose(SERVER_AUTH).sign(&key(), &ca);
    assert_eq!(verdict(&trust, &revoked_and_for_servers, &[]), Err(("cert_purpose", Alert::UnsupportedCertificate)));
    let untrusted_and_for_servers = Draft::leaf("alice").purpose(SERVER_AUTH).sign(&key(), &other);
    assert_eq!(verdict(&trust, &untrusted_and_for_servers, &[]), Err(("cert_untrusted", Alert::UnknownCa)));
}

#[test]
fn a_hostile_chain_costs_little() {
    let ca = Maker::new("ca");
    let trust = trust_in(&[&ca.root()], None);
    // Eight CAs of one name, each issued by the name itself and none by the anchor: 8! orders without a limit.
    let tangle: Vec<Vec<u8>> = (0..8u8)
        .map(|number| {
            let maker = Maker { name: cn("ca"), key: key() };
            Draft::leaf("ca").serial(&[number + 1]).authority(None).sign(&key(), &maker)
        })
        .collect();
    let sent: Vec<&[u8]> = tangle.iter().map(Vec::as_slice).collect();
    let leaf = Draft::leaf("alice").sign(&key(), &Maker::new("ca"));
    let started = Instant::now();
    assert_eq!(verdict(&trust, &leaf, &sent), Err(("cert_untrusted", Alert::UnknownCa)));
    let mut pairs: Vec<Vec<u8>> = Vec::new();
    for (subject, issuer) in [("a", "b"), ("a", "c"), ("b", "c"), ("b", "d"), ("c", "d"), ("c", "a"), ("d", "a"), ("d", "b")] {
        pairs.push(Draft::leaf(subject).authority(None).sign(&key(), &Maker::new(issuer)));
    }
    let sent: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &Maker::new("a")), &sent), Err(("cert_untrusted", Alert::UnknownCa)));
    assert!(started.elapsed().as_millis() < 500, "{:?}, without optimisation", started.elapsed());
    let nine = vec![sent[0]; 9];
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &ca), &nine), Err(("cert_untrusted", Alert::UnknownCa)));
}

#[test]
fn clients_are_shown_every_subject_of_the_file_once() {
    let (root, _, certificate) = two_tiers();
    let trust = trust_in(&[&root.root(), &certificate, &root.root()], None);
    let hints: Vec<Vec<u8>> = trust.hints().iter().map(|hint| hint.as_ref().to_vec()).collect();
    assert_eq!(hints, [cn("root"), cn("sub")]);
    let many: Vec<Vec<u8>> = (0..80).map(|number| Maker::new(&format!("{number:0500}")).root()).collect();
    let trust = trust_in(&many.iter().map(Vec::as_slice).collect::<Vec<_>>(), None);
    assert!(trust.hints().is_empty(), "the message would be too long");
}
