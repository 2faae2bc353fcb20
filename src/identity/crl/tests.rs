use std::time::Instant;

use super::*;
use crate::identity::testing::*;

fn parse(draft: &CrlDraft) -> Result<Crl, CrlError> {
    Crl::parse(&draft.sign(&Maker::new("ca")))
}

fn leaf(draft: Draft) -> Certificate {
    Certificate::parse(&draft.sign(&key(), &Maker::new("ca"))).expect("a certificate")
}

/// distributionPoint with one URI, as issuingDistributionPoint holds it.
fn point(uri: &str) -> Vec<u8> {
    element(0xa0, &element(0xa0, &element(0x86, uri.as_bytes())))
}

#[test]
fn a_crl_is_read_with_all_its_parts() {
    let crl = parse(&CrlDraft::of(&[&[9], &[5], &[0, 0x80], &[5]])).expect("a CRL");
    assert_eq!(crl.issuer().rfc2253(), "CN=ca");
    assert_eq!((crl.this_update(), crl.next_update()), (NOW - 86_400, Some(NOW + 86_400)));
    assert_eq!((crl.len(), crl.is_empty()), (3, false));
    for (serial, listed) in
        [(&[5][..], true), (&[9], true), (&[0, 0x80], true), (&[6], false), (&[0, 0x81], false), (&[0, 5], false), (&[], false)]
    {
        assert_eq!(crl.lists(serial), listed, "{serial:?}");
    }
}

#[test]
fn a_v1_crl_and_one_without_entries_or_next_update_are_read() {
    let v1 = CrlDraft { version: vec![], extensions: vec![], ..CrlDraft::of(&[&[5]]) };
    assert!(parse(&v1).expect("a v1 CRL").lists(&[5]));
    let open = parse(&CrlDraft { next_update: None, ..CrlDraft::of(&[]) }).expect("a CRL");
    assert_eq!((open.next_update(), open.is_empty()), (None, true));
    assert!(parse(&CrlDraft { version: vec![], ..CrlDraft::of(&[]) }).is_err(), "extensions in v1");
    assert_eq!(parse(&CrlDraft { version: vec![2, 1, 2], ..CrlDraft::of(&[]) }).err(), Some(CrlError::Version));
}

#[test]
fn an_entry_that_lifts_a_hold_lists_nothing() {
    let reason = |code: u8| extension(&[0x55, 0x1d, 21], false, &[0x0a, 1, code]);
    let crl = parse(&CrlDraft::of(&[]).entry(&[5], &[reason(8)]).entry(&[6], &[reason(6)])).expect("a CRL");
    assert!(!crl.lists(&[5]) && crl.lists(&[6]));
    let twice = CrlDraft::of(&[]).entry(&[5], &[reason(1), reason(8)]);
    assert!(parse(&twice).is_err());
    let unreadable = extension(&[0x55, 0x1d, 21], false, &[0x0a, 1]);
    assert!(parse(&CrlDraft::of(&[]).entry(&[5], &[unreadable])).expect("a CRL").lists(&[5]));
}

#[test]
fn a_crl_that_says_less_than_it_seems_to_is_refused() {
    let error = |draft: CrlDraft| parse(&draft).err();
    assert_eq!(error(CrlDraft::of(&[]).with(&[0x55, 0x1d, 27], true, &[2, 1, 1])), Some(CrlError::Delta));
    assert_eq!(error(CrlDraft::of(&[]).scope(&[0x84, 1, 0xff])), Some(CrlError::Indirect));
    assert_eq!(error(CrlDraft::of(&[]).scope(&[0x83, 2, 0, 0x40])), Some(CrlError::SomeReasons));
    assert_eq!(error(CrlDraft::of(&[]).scope(&element(0xa0, &element(0xa1, &[])))), Some(CrlError::RelativeName));
    assert_eq!(error(CrlDraft::of(&[]).with(&[0x2a, 3], true, &[5, 0])), Some(CrlError::UnknownCritical));
    assert_eq!(error(CrlDraft::of(&[]).entry(&[5], &[extension(&[0x2a, 3], true, &[5, 0])])), Some(CrlError::UnknownCritical));
    assert_eq!(error(CrlDraft::of(&[]).entry(&[5], &[extension(&[0x55, 0x1d, 29], true, &[0x30, 0])])), Some(CrlError::Indirect));
    assert!(error(CrlDraft::of(&[]).scope(&[0x81, 1, 0xff, 0x82, 1, 0xff])).is_some());
    assert!(error(CrlDraft::of(&[]).scope(&[0x84, 1, 0x01])).is_some(), "x509-parser reads no indirectCRL here");
    assert!(error(CrlDraft::of(&[]).scope(&element(0xa0, &[0xa0]))).is_some(), "and no distributionPoint here");
    assert!(parse(&CrlDraft::of(&[]).with(&[0x2a, 3], false, &[5, 0])).is_ok());
}

#[test]
fn a_broken_entry_is_never_an_empty_list() {
    let broken = CrlDraft { entries: vec![element(2, &[5])], ..CrlDraft::of(&[]) };
    assert!(parse(&broken).is_err());
    let padded = CrlDraft::of(&[&[0, 5]]);
    assert!(parse(&padded).is_err());
}

#[test]
fn the_scope_says_which_certificates_are_covered() {
    let covers = |content: &[u8], draft: Draft| parse(&CrlDraft::of(&[]).scope(content)).expect("a CRL").scope().covers(&leaf(draft));
    assert_eq!(covers(&[], Draft::leaf("a")), Ok(true));
    assert_eq!(covers(&[0x81, 1, 0xff], Draft::leaf("a")), Ok(true));
    assert_eq!(covers(&[0x81, 1, 0xff], Draft::leaf("a").authority(None)), Ok(false));
    assert_eq!(covers(&[0x82, 1, 0xff], Draft::leaf("a")), Ok(false));
    assert_eq!(covers(&[0x82, 1, 0xff], Draft::leaf("a").authority(None)), Ok(true));
    assert_eq!(covers(&[0x85, 1, 0xff], Draft::leaf("a")), Ok(false));
    assert_eq!(covers(&point("http://x/1"), Draft::leaf("a")), Ok(false));
    assert_eq!(covers(&point("http://x/1"), Draft::leaf("a").distribution_point("http://x/2")), Ok(false));
    assert_eq!(covers(&point("http://x/1"), Draft::leaf("a").distribution_point("http://x/1")), Ok(true));
    let broken = Draft::leaf("a").with(&[0x55, 0x1d, 31], false, &[0x30, 2, 5, 0]);
    assert!(covers(&point("http://x/1"), broken).is_err());
}

#[test]
fn two_hundred_thousand_entries_are_read_and_searched_without_delay() {
    let serials: Vec<Vec<u8>> =
        (0u32..200_000).map(|number| [&[0x40][..], &number.wrapping_mul(2_654_435_761).to_be_bytes(), &[1; 11]].concat()).collect();
    let der = CrlDraft::of(&serials.iter().map(Vec::as_slice).collect::<Vec<_>>()).sign(&Maker::new("ca"));
    let started = Instant::now();
    let crl = Crl::parse(&der).expect("a CRL");
    assert!(serials.iter().step_by(97).all(|serial| crl.lists(serial)));
    assert_eq!(crl.len(), serials.len());
    // A release build needs a tenth of this; the limit is for a busy machine and no optimisation.
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}
