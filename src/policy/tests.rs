use super::*;
use crate::identity::testing::{CN, UTF8, identity, identity_of, name};

fn rule(databases: Vec<DatabasePattern>, users: Vec<UserPattern>, network: &str, method: Method) -> Rule {
    let address = if network == "all" { AddressPattern::All } else { AddressPattern::Network(network.parse().unwrap()) };
    Rule { databases, users, address, method, bounds: Bounds::default(), source: format!("{method:?} {network}").into() }
}

fn everyone(method: Method) -> Rule {
    rule(vec![DatabasePattern::All], vec![UserPattern::All], "all", method)
}

fn request(user: &str, database: &str, replication: Replication) -> Request {
    Request {
        user: RoleName::truncated(user.as_bytes()).unwrap(),
        database: DatabaseName::truncated(database.as_bytes()).unwrap(),
        replication,
        address: PeerAddress::new("10.1.2.3:5000".parse().unwrap()),
    }
}

fn cause(rules: Vec<Rule>, identity: Option<ClientIdentity>, request: &Request) -> Option<Cause> {
    Policy::new(rules).authorize(identity, request).err().map(|denial| denial.cause().clone())
}

fn named(database: &str) -> DatabasePattern {
    DatabasePattern::Name(DatabaseName::truncated(database.as_bytes()).unwrap())
}

#[test]
fn the_certificates_name_is_the_role_or_nobody_comes_in() {
    let asked = request("alice", "app", Replication::None);
    let granted = Policy::new(vec![everyone(Method::Cert)]).authorize(Some(identity("alice")), &asked);
    assert_eq!(granted.map(|(grant, _)| grant.role().clone()), Ok(asked.user.clone()));
    for other in ["ALICE", "alice ", "bob", "alic", "alicee"] {
        assert_eq!(cause(vec![everyone(Method::Cert)], Some(identity(other)), &asked), Some(Cause::NameDiffers), "{other}");
    }
    assert_eq!(cause(vec![everyone(Method::Cert)], None, &asked), Some(Cause::NoCertificate));
}

#[test]
fn a_certificate_with_two_names_has_none() {
    let two = identity_of(&name(&[&[(CN, UTF8, b"alice")], &[(CN, UTF8, b"bob")]]));
    let refused = cause(vec![everyone(Method::Cert)], Some(two), &request("alice", "app", Replication::None));
    assert!(matches!(refused, Some(Cause::UnusableName(_))), "{refused:?}");
}

#[test]
fn a_name_of_64_bytes_does_not_meet_a_role_cut_to_63() {
    let asked = request(&"a".repeat(64), "app", Replication::None);
    assert_eq!(cause(vec![everyone(Method::Cert)], Some(identity(&"a".repeat(64))), &asked), Some(Cause::NameDiffers));
    assert_eq!(cause(vec![everyone(Method::Cert)], Some(identity(&"a".repeat(63))), &asked), None);
}

#[test]
fn the_first_rule_that_matches_decides_and_nothing_falls_through() {
    let asked = request("alice", "app", Replication::None);
    let rules = |first, second| vec![everyone(first), everyone(second)];
    assert_eq!(cause(rules(Method::Reject, Method::Cert), Some(identity("alice")), &asked), Some(Cause::Rejected));
    assert_eq!(cause(rules(Method::Cert, Method::Reject), Some(identity("bob")), &asked), Some(Cause::NameDiffers));
}

#[test]
fn no_match_refuses_before_a_certificate_is_missed() {
    let rules = vec![rule(vec![named("app")], vec![UserPattern::All], "10.0.0.0/8", Method::Cert)];
    assert_eq!(cause(rules.clone(), None, &request("alice", "other", Replication::None)), Some(Cause::NoMatch));
    let elsewhere = vec![rule(vec![named("app")], vec![UserPattern::All], "192.168.0.0/16", Method::Cert)];
    assert_eq!(cause(elsewhere, None, &request("alice", "app", Replication::None)), Some(Cause::NoMatch));
    assert_eq!(cause(Vec::new(), Some(identity("alice")), &request("alice", "app", Replication::None)), Some(Cause::NoMatch));
}

#[test]
fn physical_replication_matches_its_keyword_alone() {
    let physical = request("alice", "app", Replication::Physical);
    let logical = request("alice", "app", Replication::Logical);
    for patterns in [vec![DatabasePattern::All], vec![named("app")], vec![named("replication")]] {
        let rules = vec![rule(patterns, vec![UserPattern::All], "all", Method::Cert)];
        assert_eq!(cause(rules, Some(identity("alice")), &physical), Some(Cause::NoMatch));
    }
    let rules = vec![rule(vec![DatabasePattern::Replication], vec![UserPattern::All], "all", Method::Cert)];
    assert_eq!(cause(rules.clone(), Some(identity("alice")), &physical), None);
    assert_eq!(cause(rules, Some(identity("alice")), &logical), Some(Cause::NoMatch));
    assert_eq!(cause(vec![everyone(Method::Cert)], Some(identity("alice")), &logical), None);
}
