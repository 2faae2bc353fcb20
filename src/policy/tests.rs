use std::sync::Arc;

use super::*;
use crate::identity::ClientName;
use crate::identity::testing::{CN, UTF8, identity, identity_of, name};

pub(super) fn rule(databases: Vec<DatabasePattern>, users: Vec<UserPattern>, network: &str, method: Method) -> Rule {
    let address = if network == "all" { AddressPattern::All } else { AddressPattern::Network(network.parse().unwrap()) };
    Rule {
        databases,
        users,
        address,
        method,
        clientcert: matches!(method, Method::Cert | Method::TrustWithCertificate | Method::ScramWithCertificate),
        clientname: ClientName::CommonName,
        map: None,
        user_name: UserName::Requested,
        denied_parameters: Vec::new(),
        bounds: Bounds::default(),
        source: format!("{method:?} {network}").into(),
    }
}

pub(super) fn everyone(method: Method) -> Rule {
    rule(vec![DatabasePattern::All], vec![UserPattern::All], "all", method)
}

fn request(user: &str, database: &str, replication: Replication) -> Request {
    Request {
        user: RoleName::truncated(user.as_bytes()).unwrap(),
        database: DatabaseName::truncated(database.as_bytes()).unwrap(),
        replication,
        address: PeerAddress::new("10.1.2.3:5000".parse().unwrap()),
        settings: Vec::new(),
    }
}

fn cause(rules: Vec<Rule>, identity: Option<ClientIdentity>, request: &Request) -> Option<Cause> {
    Policy::new(rules, IdentityMaps::default())
        .authorize(identity, request, &Surroundings::unasked())
        .err()
        .map(|denial| denial.cause().clone())
}

fn differs(name: &str) -> Cause {
    Cause::NameDiffers(name.into())
}

pub(super) fn named(database: &str) -> DatabasePattern {
    DatabasePattern::Name(DatabaseName::truncated(database.as_bytes()).unwrap())
}

#[test]
fn the_certificates_name_is_the_role_or_nobody_comes_in() {
    let asked = request("alice", "app", Replication::None);
    let granted = Policy::new(vec![everyone(Method::Cert)], IdentityMaps::default()).authorize(
        Some(identity("alice")),
        &asked,
        &Surroundings::unasked(),
    );
    assert_eq!(granted.map(|(grant, _)| grant.role().clone()), Ok(asked.user.clone()));
    for other in ["ALICE", "alice ", "bob", "alic", "alicee"] {
        assert_eq!(cause(vec![everyone(Method::Cert)], Some(identity(other)), &asked), Some(differs(other)), "{other}");
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
    assert_eq!(cause(vec![everyone(Method::Cert)], Some(identity(&"a".repeat(64))), &asked), Some(differs(&"a".repeat(64))));
    assert_eq!(cause(vec![everyone(Method::Cert)], Some(identity(&"a".repeat(63))), &asked), None);
}

#[test]
fn the_first_rule_that_matches_decides_and_nothing_falls_through() {
    let asked = request("alice", "app", Replication::None);
    let rules = |first, second| vec![everyone(first), everyone(second)];
    assert_eq!(cause(rules(Method::Reject, Method::Cert), Some(identity("alice")), &asked), Some(Cause::Rejected));
    assert_eq!(cause(rules(Method::Cert, Method::Reject), Some(identity("bob")), &asked), Some(differs("bob")));
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

pub(super) fn role(name: &str) -> RoleName {
    RoleName::exact(name.as_bytes()).unwrap()
}

fn around(groups: &[&str]) -> Surroundings {
    let interfaces = Interfaces::Known(vec!["10.1.2.3/16".parse().unwrap(), "127.0.0.1/8".parse().unwrap()]);
    Surroundings { memberships: Memberships::Known(Arc::new(groups.iter().map(|name| role(name)).collect())), interfaces }
}

pub(super) fn line(map: &str, system_user: &str, pg_user: PgUser) -> MapLine {
    let map = MapName::new(map).unwrap();
    let source = format!("{system_user} {pg_user:?}").into();
    MapLine { map, system_user: SystemUser::Name(system_user.as_bytes().into()), pg_user, source }
}

/// `hostssl all all all cert map=m`, with these lines of `m` and one of another map.
fn mapped(lines: Vec<MapLine>, user_name: UserName) -> Policy {
    let rule = Rule { map: MapName::new("m"), user_name, ..everyone(Method::Cert) };
    Policy::new(vec![rule], IdentityMaps::new([vec![line("other", "alice", PgUser::All)], lines].concat()))
}

fn decide(policy: &Policy, certificate: &str, user: &str, surroundings: &Surroundings) -> Result<String, Cause> {
    let decision = policy.authorize(Some(identity(certificate)), &request(user, "app", Replication::None), surroundings);
    decision.map(|(grant, _)| grant.role().to_string()).map_err(|denial| denial.cause().clone())
}

fn not_mapped(name: &str) -> Result<String, Cause> {
    Err(Cause::NotMapped { map: MapName::new("m").unwrap(), name: name.into() })
}

#[test]
fn a_map_admits_by_any_of_its_lines_and_by_no_other_maps() {
    let lines = vec![
        line("m", "alice", PgUser::Name(role("bob"))),
        line("m", "alice", PgUser::Group(role("staff"))),
        line("m", "root", PgUser::All),
    ];
    let policy = mapped(lines, UserName::Requested);
    assert_eq!(decide(&policy, "alice", "bob", &around(&[])).as_deref(), Ok("bob"));
    assert_eq!(decide(&policy, "alice", "alice", &around(&[])), not_mapped("alice"), "a map takes the name's own role away");
    assert_eq!(decide(&policy, "alice", "carol", &around(&["staff"])).as_deref(), Ok("carol"));
    assert_eq!(decide(&policy, "root", "anyone", &around(&[])).as_deref(), Ok("anyone"));
    assert_eq!(decide(&policy, "nobody", "bob", &around(&["staff"])), not_mapped("nobody"));
}

#[test]
fn what_a_decision_depends_on_and_nobody_knows_refuses_even_a_later_rule_or_line() {
    let unasked = Surroundings::unasked();
    let group = |method| rule(vec![DatabasePattern::All], vec![UserPattern::Group(role("staff"))], "all", method);
    let policy = Policy::new(vec![group(Method::Reject), everyone(Method::Cert)], IdentityMaps::default());
    assert!(matches!(decide(&policy, "alice", "alice", &unasked), Err(Cause::MembershipsUnknown(_))));
    assert_eq!(decide(&policy, "alice", "alice", &around(&["staff"])), Err(Cause::Rejected));
    assert_eq!(decide(&policy, "alice", "alice", &around(&[])).as_deref(), Ok("alice"));
    let lines = vec![line("m", "alice", PgUser::Group(role("staff"))), line("m", "alice", PgUser::Name(role("bob")))];
    let policy = mapped(lines, UserName::Requested);
    assert_eq!(decide(&policy, "alice", "bob", &unasked).as_deref(), Ok("bob"), "another line settles it");
    assert!(matches!(decide(&policy, "alice", "carol", &unasked), Err(Cause::MembershipsUnknown(_))));
}

#[test]
fn only_a_request_that_hinges_on_it_needs_memberships_or_interfaces() {
    let unasked = Surroundings::unasked();
    let group = rule(vec![named("app")], vec![UserPattern::Group(role("staff"))], "10.0.0.0/8", Method::Cert);
    let own = Rule { address: AddressPattern::SameNet, ..rule(vec![named("own")], vec![UserPattern::All], "all", Method::Cert) };
    let policy = Policy::new(vec![group, own], IdentityMaps::default());
    let needs = |who: Option<&ClientIdentity>, database: &str| policy.needs(who, &request("alice", database, Replication::None), &unasked);
    let alice = identity("alice");
    assert_eq!(needs(Some(&alice), "app"), Some(Unknown::Memberships));
    assert_eq!(needs(None, "app"), None, "the backend is asked about nobody who has no certificate");
    assert_eq!(needs(Some(&alice), "own"), Some(Unknown::Interfaces));
    assert_eq!(needs(Some(&alice), "other"), None);
}

#[test]
fn samehost_is_this_machines_addresses_and_samenet_its_networks() {
    let with = |address| {
        let rule = Rule { address, ..everyone(Method::Cert) };
        let policy = Policy::new(vec![rule], IdentityMaps::default());
        move |client: &str| {
            let mut request = request("alice", "app", Replication::None);
            request.address = PeerAddress::new(client.parse().unwrap());
            policy.authorize(Some(identity("alice")), &request, &around(&[])).is_ok()
        }
    };
    let (host, net) = (with(AddressPattern::SameHost), with(AddressPattern::SameNet));
    for (client, of_host, of_net) in [
        ("10.1.2.3:1", true, true),
        ("10.1.9.9:1", false, true),
        ("10.2.0.1:1", false, false),
        ("127.0.0.1:1", true, true),
        ("127.9.9.9:1", false, true),
        ("[::1]:1", false, false),
    ] {
        assert_eq!((host(client), net(client)), (of_host, of_net), "{client}");
    }
}

#[test]
fn sameuser_and_samerole_compare_the_database_with_the_role_and_its_groups() {
    let policy = |pattern| Policy::new(vec![rule(vec![pattern], vec![UserPattern::All], "all", Method::Cert)], IdentityMaps::default());
    let admits = |pattern, database: &str, replication| {
        policy(pattern).authorize(Some(identity("alice")), &request("alice", database, replication), &around(&["staff"])).is_ok()
    };
    assert!(admits(DatabasePattern::SameUser, "alice", Replication::None));
    assert!(!admits(DatabasePattern::SameUser, "staff", Replication::None));
    assert!(admits(DatabasePattern::SameRole, "staff", Replication::Logical));
    assert!(!admits(DatabasePattern::SameRole, "alice", Replication::None));
    assert!(!admits(DatabasePattern::SameRole, "staff", Replication::Physical));
}

#[test]
fn a_mapped_user_name_is_the_one_role_that_the_map_yields() {
    let lines = vec![
        line("m", "alice", PgUser::Name(role("reader"))),
        line("m", "alice", PgUser::Name(role("reader"))),
        line("m", "bob", PgUser::Name(role("reader"))),
        line("m", "bob", PgUser::Name(role("writer"))),
    ];
    let policy = mapped(lines, UserName::Mapped);
    assert_eq!(decide(&policy, "alice", "postgres", &around(&[])).as_deref(), Ok("reader"));
    assert_eq!(decide(&policy, "carol", "reader", &around(&[])), not_mapped("carol"));
    let ambiguous = decide(&policy, "bob", "reader", &around(&[]));
    assert!(matches!(ambiguous, Err(Cause::AmbiguouslyMapped { .. })), "{ambiguous:?}");
}

#[test]
fn a_method_that_asks_for_no_certificate_keeps_its_place_and_refuses() {
    let rules = vec![everyone(Method::Unsupported("md5")), everyone(Method::Cert)];
    let asked = request("alice", "app", Replication::None);
    assert_eq!(cause(rules.clone(), Some(identity("alice")), &asked), Some(Cause::Unsupported));
    assert_eq!(cause(rules, None, &asked), Some(Cause::Unsupported));
}

#[test]
fn a_denied_parameter_refuses_only_whom_the_rule_would_admit() {
    let policy = Policy::new(
        vec![Rule { denied_parameters: vec![SettingName::new(b"search_path")], ..everyone(Method::Cert) }],
        IdentityMaps::default(),
    );
    let asked = |settings: &[&str]| Request {
        settings: settings.iter().map(|name| SettingName::new(name.as_bytes())).collect(),
        ..request("alice", "app", Replication::None)
    };
    let cause = |certificate: &str, settings: &[&str]| {
        let decision = policy.authorize(Some(identity(certificate)), &asked(settings), &around(&[]));
        decision.err().map(|denial| denial.cause().clone())
    };
    assert_eq!(cause("alice", &["datestyle", "Search_Path"]), Some(Cause::Parameter(SettingName::new(b"search_path"))));
    assert_eq!(cause("alice", &["datestyle"]), None);
    assert_eq!(cause("bob", &["search_path"]), Some(differs("bob")));
}

#[test]
fn a_trace_shows_what_was_consulted_and_decides_alike() {
    let lines = vec![line("m", "bob", PgUser::All), line("m", "alice", PgUser::Name(role("bob")))];
    let elsewhere = rule(vec![DatabasePattern::All], vec![UserPattern::All], "192.168.0.0/16", Method::Reject);
    let deciding = Rule { map: MapName::new("m"), ..everyone(Method::Cert) };
    let policy = Policy::new(vec![elsewhere, deciding, everyone(Method::Reject)], IdentityMaps::new(lines));
    let (decision, trace) = policy.trace(Some(identity("alice")), &request("bob", "app", Replication::None), &around(&[]));
    assert_eq!(decision.map(|(grant, _)| grant.map().map(str::to_owned)).unwrap().as_deref(), Some("alice Name(\"bob\")"));
    let rules: Vec<RuleMatch> = trace.rules.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(rules, [RuleMatch::Differs(Column::Address), RuleMatch::Matches]);
    let lines: Vec<LineMatch> = trace.map_lines.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(lines, [LineMatch::SystemUserDiffers, LineMatch::Admits(role("bob"))]);
}

#[test]
fn what_is_passed_over_unseen_changes_no_decision() {
    let user = |name: &str| UserPattern::Name(role(name));
    let matching = |source: &str| Pattern::parse(source.as_bytes()).unwrap();
    let columns = |databases, users, method| rule(databases, users, "all", method);
    let rules = vec![
        columns(vec![DatabasePattern::All], vec![user("carol"), user("carol")], Method::Reject),
        columns(vec![named("app"), named("own")], vec![UserPattern::All], Method::Cert),
        columns(vec![DatabasePattern::All], vec![UserPattern::Matching(matching("^b"))], Method::Unsupported("md5")),
        columns(vec![named("own"), DatabasePattern::SameUser], vec![user("alice"), UserPattern::All], Method::Cert),
        columns(vec![DatabasePattern::Replication], vec![user("alice")], Method::Cert),
        Rule { map: MapName::new("m"), ..columns(vec![DatabasePattern::All], vec![user("bob"), user("alice")], Method::Cert) },
    ];
    let mut lines = vec![line("m", "bob", PgUser::All), line("other", "alice", PgUser::All)];
    lines.push(MapLine { system_user: SystemUser::Matching(matching("^a(.*)$")), ..line("m", "x", PgUser::Name(role("bob"))) });
    lines.push(line("m", "alice", PgUser::Name(role("alice"))));
    let policy = Policy::new(rules, IdentityMaps::new(lines));
    for certificate in ["alice", "bob", "carol"] {
        let identity = identity(certificate);
        for asked in ["alice", "bob", "carol", "dave"] {
            for database in ["app", "own", "dave", "other"] {
                for replication in [Replication::None, Replication::Physical, Replication::Logical] {
                    let request = request(asked, database, replication);
                    let shown = |decision: Decision| format!("{:?}", decision.map(|(grant, _)| grant));
                    let quick = policy.authorize(Some(identity.clone()), &request, &around(&[]));
                    let (thorough, _) = policy.trace(Some(identity.clone()), &request, &around(&[]));
                    assert_eq!(shown(quick), shown(thorough), "{certificate} {request:?}");
                }
            }
        }
    }
}

#[test]
fn a_rule_that_asks_for_a_certificate_says_so_before_it_rejects() {
    let asked = request("alice", "app", Replication::None);
    let asking = |method| vec![Rule { clientcert: true, ..everyone(method) }];
    for method in [Method::Reject, Method::Unsupported("md5")] {
        assert_eq!(cause(asking(method), None, &asked), Some(Cause::NoCertificate), "{method:?}");
    }
    assert_eq!(cause(asking(Method::Reject), Some(identity("alice")), &asked), Some(Cause::Rejected));
    assert_eq!(cause(vec![everyone(Method::Reject)], None, &asked), Some(Cause::Rejected));
}
