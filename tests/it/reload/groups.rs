//! Sessions that a group admitted: PostgreSQL is asked again at a reload, and only its answer ends one.

use super::*;
use crate::harness::wire::End;

const RULE: &str = "hba:\n- { database: all, user: +staff, address: all, method: cert }\n";

/// alice and bob are in staff, and in.
fn site() -> (Site, Wire, Wire) {
    let site = Site::with(|config| config.backend_key("lookup_role: postern, lookup_ttl: 1h").with("reload: { poll: 0 }").with(RULE));
    site.world
        .postgres
        .sql("create role postern login; create role staff; create role other; grant staff to alice, bob; grant other to bob");
    let alice = site.world.log_in();
    let bob = Wire::log_in(site.world.address(), &site.world.pki.named("bob"), "bob").unwrap();
    (site, alice, bob)
}

#[track_caller]
fn is_ended(wire: &mut Wire) {
    let words = wire.read_message().unwrap().fields().to_string();
    assert_eq!(words, "FATAL 57P01 terminating connection because it is no longer admitted by the access rules");
    assert_eq!(wire.read_to_end(), (vec![], End::Closed));
}

#[track_caller]
fn goes_on(wire: &mut Wire) {
    assert_eq!(wire.rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn a_session_ends_that_has_lost_its_membership_and_whoever_has_kept_it_goes_on() {
    let (site, mut alice, mut bob) = site();
    site.reload();
    site.world.postgres.sql("revoke staff from alice");
    goes_on(&mut alice);
    site.reload();
    is_ended(&mut alice);
    goes_on(&mut bob);
    let record = site.world.postern().wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "policy");
    assert!(record["detail"].to_string().contains("no rule"), "{record}");
}

#[test]
fn a_session_ends_whose_groups_rule_is_gone_from_beside_another_groups() {
    let (site, mut alice, mut bob) = site();
    site.write("postern.yaml", site.config.yaml().replace("+staff", "+other"));
    site.hup();
    is_ended(&mut alice);
    goes_on(&mut bob);
}

#[test]
fn memberships_that_cannot_be_asked_end_nobody() {
    let (site, mut alice, mut bob) = site();
    site.world.postgres.sql("revoke staff from alice; alter role postern nologin");
    site.reload();
    wait_until("it was asked", || site.world.postgres.log().contains("role \"postern\" is not permitted to log in"));
    goes_on(&mut alice);
    goes_on(&mut bob);
    assert!(Wire::log_in(site.world.address(), &site.world.alice, "alice").is_err(), "nobody new comes in");
    // The next reload asks again.
    site.world.postgres.sql("alter role postern login");
    site.reload();
    is_ended(&mut alice);
    goes_on(&mut bob);
}
