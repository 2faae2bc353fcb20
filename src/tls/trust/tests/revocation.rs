use super::*;

const REVOKED: Result<usize, (&str, Alert)> = Err(("cert_revoked", Alert::CertificateRevoked));
const MISSING: Result<usize, (&str, Alert)> = Err(("crl_expired", Alert::UnknownCa));
const UNCOVERED: Result<usize, (&str, Alert)> = Err(("crl_expired", Alert::CertificateUnknown));
const STALE: Result<usize, (&str, Alert)> = Err(("crl_expired", Alert::CertificateExpired));

/// What a CA's leaves with serial number 5 come to, v3 and v1, which must not differ.
fn of(ca: &Maker, root: &[u8], crls: &[Vec<u8>]) -> Result<usize, (&'static str, Alert)> {
    let trust = trust_in(&[root], Some(crls));
    let v3 = verdict(&trust, &Draft::leaf("alice").sign(&key(), ca), &[]);
    assert_eq!(verdict(&trust, &Draft::leaf("alice").v1().sign(&key(), ca), &[]), v3);
    v3
}

#[test]
fn a_listed_leaf_is_revoked_and_another_is_not() {
    let ca = Maker::new("ca");
    assert_eq!(of(&ca, &ca.root(), &[CrlDraft::of(&[&[5]]).sign(&ca)]), REVOKED);
    assert_eq!(of(&ca, &ca.root(), &[CrlDraft::of(&[&[6]]).sign(&ca)]), Ok(2));
    let v1 = CrlDraft { version: vec![], extensions: vec![], ..CrlDraft::of(&[&[5]]) };
    assert_eq!(of(&ca, &ca.root(), &[v1.sign(&ca)]), REVOKED);
}

#[test]
fn a_crl_that_is_missing_or_stale_or_early_or_forged_refuses() {
    let (ca, other) = (Maker::new("ca"), Maker::new("other"));
    let current = CrlDraft::of(&[]);
    assert_eq!(of(&ca, &ca.root(), &[current.sign(&other)]), MISSING);
    assert_eq!(of(&ca, &ca.root(), &[current.sign(&Maker::new("ca"))]), MISSING, "signed by another key of that name");
    assert_eq!(of(&ca, &ca.root(), &[current.clone().dates(NOW - 9, NOW).sign(&ca)]), STALE);
    assert_eq!(of(&ca, &ca.root(), &[current.clone().dates(NOW + 1, NOW + 9).sign(&ca)]), Err(("crl_expired", Alert::BadCertificate)));
    let stale_and_listed = CrlDraft::of(&[&[5]]).dates(NOW - 9, NOW - 1).sign(&ca);
    assert_eq!(of(&ca, &ca.root(), &[stale_and_listed]), STALE);
    let without_end = CrlDraft { next_update: None, ..current };
    assert_eq!(of(&ca, &ca.root(), &[without_end.sign(&ca)]), Ok(2));
}

#[test]
fn the_newest_crl_counts_and_one_of_the_future_does_not_yet() {
    let ca = Maker::new("ca");
    let (old, new) = (CrlDraft::of(&[]), CrlDraft::of(&[&[5]]).dates(NOW - 5, NOW + 5));
    for crls in [[old.sign(&ca), new.sign(&ca)], [new.sign(&ca), old.sign(&ca)]] {
        assert_eq!(of(&ca, &ca.root(), &crls), REVOKED);
    }
    let lifted = [CrlDraft::of(&[&[5]]).sign(&ca), CrlDraft::of(&[]).dates(NOW - 5, NOW + 5).sign(&ca)];
    assert_eq!(of(&ca, &ca.root(), &lifted), Ok(2));
    let early = [CrlDraft::of(&[]).sign(&ca), CrlDraft::of(&[&[5]]).dates(NOW + 5, NOW + 9).sign(&ca)];
    assert_eq!(of(&ca, &ca.root(), &early), Ok(2));
    let same_second = [CrlDraft::of(&[]).sign(&ca), CrlDraft::of(&[&[5]]).sign(&ca)];
    assert_eq!(of(&ca, &ca.root(), &same_second), REVOKED);
}

#[test]
fn a_ca_that_may_not_sign_crls_has_none() {
    let ca = Maker::new("ca");
    let root = |bits| Draft::of(&ca.name).authority(None).key_usage(bits).sign(&ca.key, &ca);
    let crls = [CrlDraft::of(&[]).sign(&ca)];
    assert_eq!(of(&ca, &root(CERT_SIGN), &crls), Err(("crl_expired", Alert::CertificateUnknown)));
    assert_eq!(of(&ca, &root(CERT_SIGN | CRL_SIGN), &crls), Ok(2));
}

#[test]
fn every_certificate_of_the_path_needs_a_crl() {
    let (root, sub, certificate) = two_tiers();
    let leaf = Draft::leaf("alice").sign(&key(), &sub);
    let (of_root, of_sub) = (CrlDraft::of(&[]).sign(&root), CrlDraft::of(&[]).sign(&sub));
    let with = |crls: &[Vec<u8>], file: &[&[u8]], sent: &[&[u8]]| verdict(&trust_in(file, Some(crls)), &leaf, sent);
    let (anchor, revoked) = (root.root(), CrlDraft::of(&[&[2]]).sign(&root));
    for (file, sent) in [(&[&anchor[..]][..], &[&certificate[..]][..]), (&[&anchor, &certificate], &[])] {
        assert_eq!(with(&[of_root.clone(), of_sub.clone()], file, sent), Ok(3));
        assert_eq!(with(std::slice::from_ref(&of_root), file, sent), MISSING);
        assert_eq!(with(std::slice::from_ref(&of_sub), file, sent), MISSING);
        assert_eq!(with(&[revoked.clone(), of_sub.clone()], file, sent), REVOKED);
    }
    let of_anchor = CrlDraft::of(&[&[5]]).sign(&root);
    assert_eq!(with(&[of_anchor, of_sub], &[&anchor], &[&certificate]), REVOKED, "the anchor's own serial number");
}

#[test]
fn partitions_cover_what_they_name() {
    let ca = Maker::new("ca");
    let point = |uri: &str| element(0xa0, &element(0xa0, &element(0x86, uri.as_bytes())));
    let (leaves, authorities) = (CrlDraft::of(&[&[5]]).scope(&[0x81, 1, 0xff]), CrlDraft::of(&[&[5]]).scope(&[0x82, 1, 0xff]));
    let root = Draft::of(&ca.name).serial(&[1]).authority(None).sign(&ca.key, &ca);
    assert_eq!(of(&ca, &root, &[leaves.sign(&ca), authorities.sign(&ca)]), REVOKED);
    let nothing = CrlDraft::of(&[]).scope(&[0x81, 1, 0xff]);
    assert_eq!(of(&ca, &root, &[nothing.sign(&ca), authorities.sign(&ca)]), Ok(2));
    assert_eq!(of(&ca, &root, &[nothing.sign(&ca)]), UNCOVERED, "nothing covers the CA itself");

    let crls = [
        CrlDraft::of(&[]).scope(&point("http://x/1")).sign(&ca),
        CrlDraft::of(&[&[5]]).scope(&point("http://x/2")).sign(&ca),
        authorities.sign(&ca),
    ];
    let trust = trust_in(&[&root], Some(&crls));
    let at = |uri: &str| verdict(&trust, &Draft::leaf("alice").distribution_point(uri).sign(&key(), &ca), &[]);
    assert_eq!((at("http://x/1"), at("http://x/2"), at("http://x/3")), (Ok(2), REVOKED, UNCOVERED));
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &ca), &[]), UNCOVERED);
}

#[test]
fn a_re_keyed_ca_has_a_crl_of_each_key() {
    let (old, new) = (Maker::new("ca"), Maker::new("ca"));
    let crls = [CrlDraft::of(&[&[5]]).sign(&old), CrlDraft::of(&[]).dates(NOW - 5, NOW + 5).sign(&new)];
    let root = |maker: &Maker| Draft::of(&maker.name).serial(&[1]).authority(None).sign(&maker.key, maker);
    let trust = trust_in(&[&root(&old), &root(&new)], Some(&crls));
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &old), &[]), REVOKED);
    assert_eq!(verdict(&trust, &Draft::leaf("alice").sign(&key(), &new), &[]), Ok(2));
}

#[test]
fn a_live_session_ends_only_on_positive_evidence() {
    let (root, sub, certificate) = two_tiers();
    let leaf = Draft::leaf("alice").sign(&key(), &sub);
    let anchor = root.root();
    let chain = trust_in(&[&anchor], None).verify(&leaf, &[CertificateDer::from(certificate.as_slice())], NOW).expect("a chain");
    let identity = crate::identity::ClientIdentity::from(chain);
    let holds = |file: &[u8], crls: Option<&[Vec<u8>]>| match trust_in(&[file], crls).still_holds(identity.links(), NOW) {
        Ok(()) => "holds",
        Err(cause) => cause.reason().code(),
    };
    assert_eq!(holds(&anchor, None), "holds");
    assert_eq!(holds(&Draft::of(&root.name).authority(None).serial(&[9]).sign(&root.key, &root), None), "holds", "a renewed root");
    assert_eq!(holds(&Maker::new("root").root(), None), "cert_untrusted");
    assert_eq!(holds(&anchor, Some(&[])), "holds", "no CRL at all");
    assert_eq!(holds(&anchor, Some(&[CrlDraft::of(&[]).dates(0, 1).sign(&sub)])), "holds", "a stale CRL");
    assert_eq!(holds(&anchor, Some(&[CrlDraft::of(&[&[5]]).sign(&Maker::new("sub"))])), "holds", "a forged CRL");
    assert_eq!(holds(&anchor, Some(&[CrlDraft::of(&[&[5]]).sign(&sub)])), "cert_revoked");
    assert_eq!(holds(&anchor, Some(&[CrlDraft::of(&[&[2]]).sign(&root)])), "cert_revoked");
}
