//! `backend.lookup_role`: what `+group` and `samerole` are decided by, asked of real servers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postern::backend::{BackendSettings, BackendTarget, Introduction, LookupSettings, MembershipLookup, Passfile};
use postern::types::RoleName;

use crate::harness::postgres::{Installation, Postgres};
use crate::harness::wire::{Refusal, TlsOptions, Wire, startup};
use crate::harness::{World, wait_until};

fn role(name: &[u8]) -> RoleName {
    RoleName::truncated(name).unwrap()
}

/// The groups of a role, as the lookup role `postern` learns them, or why it does not.
fn groups_of(postgres: &Postgres, passfile: Option<&str>, name: &[u8]) -> Result<BTreeSet<Vec<u8>>, String> {
    let host = postgres.dir.path().to_str().unwrap().to_owned();
    let backend = BackendSettings {
        target: BackendTarget::parse(&host, postgres.port).unwrap(),
        host,
        port: postgres.port,
        passfile: None,
        connect_timeout: Duration::from_secs(20),
        require_peer: None,
        identity: Introduction::None,
        lookup: Some(LookupSettings { role: role(b"postern"), ttl: Duration::ZERO }),
    };
    let passfile = passfile.map(|lines| Passfile::parse(lines.as_bytes()).unwrap());
    let lookup = MembershipLookup::new(Arc::new(backend), passfile).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(lookup.groups_of(&role(name)));
    answer.map(|groups| groups.iter().map(|name| name.as_bytes().to_vec()).collect()).map_err(|failure| failure.to_string())
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

#[test]
fn membership_is_direct_or_indirect_and_a_role_is_a_member_of_itself() {
    for installation in Installation::both() {
        let postgres = Postgres::isolated(&installation);
        postgres.sql(
            "create role postern login; create role staff; create role dev in role staff; create role alice login noinherit in role dev;
             create role root superuser login; create role other",
        );
        assert_eq!(groups_of(&postgres, None, b"alice"), Ok(names(["alice", "dev", "staff"])));
        assert_eq!(groups_of(&postgres, None, b"root"), Ok(names(["root"])), "a superuser is no member for being one");
        assert_eq!(groups_of(&postgres, None, b"nobody"), Ok(names([])));
        assert_eq!(groups_of(&postgres, None, b"' or true --"), Ok(names([])));
        postgres.sql("revoke dev from alice");
        assert_eq!(groups_of(&postgres, None, b"alice"), Ok(names(["alice"])));
        if installation.major >= 16 {
            postgres.sql("grant staff to alice with inherit false, set false, admin true");
            assert_eq!(groups_of(&postgres, None, b"alice"), Ok(names(["alice", "staff"])), "whatever a membership is good for");
        }
    }
}

#[test]
fn names_are_the_bytes_that_they_are() {
    for installation in Installation::both() {
        let postgres = Postgres::isolated(&installation);
        postgres.sql("create role postern login; create role \"gr\u{fc}n\"; create role \"\u{c4}\" login in role \"gr\u{fc}n\"");
        assert_eq!(groups_of(&postgres, None, "\u{c4}".as_bytes()), Ok(names(["\u{c4}", "gr\u{fc}n"])));
        assert_eq!(groups_of(&postgres, None, b"\xff\xfe"), Ok(names([])), "no encoding is asked of a name");
    }
}

#[test]
fn nothing_that_a_schema_or_a_roles_setting_says_has_a_part_in_it() {
    for installation in Installation::both() {
        let postgres = Postgres::isolated(&installation);
        postgres.sql(
            "create role postern login; create role staff; create role alice login in role staff; create schema trap;
             create table trap.pg_roles as select * from pg_catalog.pg_roles where false;
             create function trap.namesend(name) returns bytea language sql as $$ select ''::bytea $$;
             grant all on schema trap to public; grant select on trap.pg_roles to public;
             alter role postern set search_path = trap, pg_catalog; alter role postern set client_encoding = latin1;
             alter database postgres set search_path = trap",
        );
        assert_eq!(groups_of(&postgres, None, b"alice"), Ok(names(["alice", "staff"])));
    }
}

#[test]
fn where_there_is_no_database_postgres_template1_is_asked() {
    for installation in Installation::both() {
        let postgres = Postgres::isolated(&installation);
        postgres.sql("create role postern login; create role alice login; create database elsewhere");
        let elsewhere = postgres.superuser_conninfo().replace("dbname=postgres", "dbname=elsewhere");
        crate::harness::clients::succeeded(crate::harness::clients::Clients::debian().psql(&elsewhere, "drop database postgres"));
        assert_eq!(groups_of(&postgres, None, b"alice"), Ok(names(["alice"])));
    }
}

#[test]
fn a_backend_that_asks_for_the_lookup_roles_password_is_given_it() {
    for installation in Installation::both() {
        let postgres = Postgres::local(&installation, "local all all scram-sha-256\n");
        postgres.sql("create role postern login password 'secret'; create role alice login");
        assert_eq!(groups_of(&postgres, Some("*:*:postgres:postern:secret\n"), b"alice"), Ok(names(["alice"])));
        let refusal = groups_of(&postgres, Some("*:*:postgres:postern:wrong\n"), b"alice").unwrap_err();
        assert!(refusal.contains("28P01"), "{refusal}");
        let refusal = groups_of(&postgres, None, b"alice").unwrap_err();
        assert!(refusal.contains("backend.passfile has none for this role"), "{refusal}");
    }
}

#[test]
fn what_cannot_be_known_is_a_failure() {
    let mut postgres = Postgres::isolated(&Installation::debian());
    let refusal = groups_of(&postgres, None, b"alice").unwrap_err();
    assert!(refusal.contains("role \"postern\" does not exist"), "{refusal}");
    postgres.stop();
    let refusal = groups_of(&postgres, None, b"alice").unwrap_err();
    assert!(refusal.contains("cannot be reached"), "{refusal}");
}

/// Postern in front of roles and groups: dev is in staff, alice in dev; bob is in nothing.
fn world(installation: &Installation, hba: &str, ttl: &str) -> World {
    let world = World::configured_before(installation, |config| {
        config.backend_key(&format!("lookup_role: postern, lookup_ttl: {ttl}")).with(&format!("hba:\n{hba}"))
    });
    world.postgres.sql(
        "create role postern login; create role staff; create role dev in role staff; grant dev to alice;
         create role root superuser login; create database staff; create database other",
    );
    world
}

fn log_in(world: &World, user: &str, database: &str) -> Result<Wire, Refusal> {
    let credentials = if user == "alice" { world.alice.clone() } else { world.pki.named(user) };
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(credentials)))?;
    wire.send(&startup(&[("user", user), ("database", database)]));
    wire.until_ready()?;
    Ok(wire)
}

#[track_caller]
fn enters(world: &World, user: &str, database: &str) {
    log_in(world, user, database).unwrap_or_else(|refusal| panic!("{user} in {database}: {refusal}"));
}

#[track_caller]
fn has_no_entry(world: &World, user: &str, database: &str) {
    let Err(refusal) = log_in(world, user, database) else { panic!("{user} was let into {database}") };
    let expected =
        format!("FATAL 28000 no pg_hba.conf entry for host \"127.0.0.1\", user \"{user}\", database \"{database}\", SSL encryption");
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn a_group_lets_in_its_members_direct_or_indirect_and_no_superuser_for_being_one() {
    for installation in Installation::both() {
        let world = world(&installation, "  - { database: postgres, user: +staff, address: all, method: cert }", "10s");
        enters(&world, "alice", "postgres");
        for user in ["bob", "root", "nobody"] {
            has_no_entry(&world, user, "postgres");
        }
    }
}

#[test]
fn samerole_is_a_database_of_the_name_of_a_role_that_one_is_a_member_of() {
    for installation in Installation::both() {
        let world = world(&installation, "  - { database: samerole, user: all, address: all, method: cert }", "10s");
        for database in ["alice", "staff"] {
            enters(&world, "alice", database);
        }
        has_no_entry(&world, "alice", "other");
        has_no_entry(&world, "bob", "staff");
    }
}

#[test]
fn a_membership_is_believed_for_its_time_and_no_longer() {
    let rule = "  - { database: all, user: +staff, address: all, method: cert }";
    let patient = world(&Installation::debian(), rule, "1h");
    enters(&patient, "alice", "postgres");
    patient.postgres.sql("revoke dev from alice");
    enters(&patient, "alice", "postgres");

    let brief = world(&Installation::eighteen(), rule, "1s");
    enters(&brief, "alice", "postgres");
    brief.postgres.sql("revoke dev from alice");
    wait_until("alice is out", || log_in(&brief, "alice", "postgres").is_err());
    has_no_entry(&brief, "alice", "postgres");
}

#[test]
fn many_logins_of_one_role_ask_once() {
    let world = world(&Installation::debian(), "  - { database: all, user: +staff, address: all, method: cert }", "1h");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| enters(&world, "alice", "postgres"));
        }
    });
    let asked = world.postgres.log().matches("connection authorized: user=postern").count();
    assert_eq!(asked, 1, "{}", world.postgres.log());
}

#[test]
fn whoever_cannot_be_asked_about_is_refused_and_nobody_is_asked_about_who_has_no_certificate() {
    let mut world = world(&Installation::debian(), "  - { database: all, user: +staff, address: all, method: cert }", "0");
    enters(&world, "alice", "postgres");
    let before = world.postgres.log().matches("connection authorized: user=postern").count();
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(None)).unwrap();
    wire.send(&startup(&[("user", "alice"), ("database", "postgres")]));
    let refusal = wire.until_ready().unwrap_err();
    assert_eq!(refusal.to_string(), "FATAL 28000 connection requires a valid client certificate");
    assert_eq!(world.postgres.log().matches("connection authorized: user=postern").count(), before);

    world.postgres.stop();
    let Err(Refusal::Error(fields)) = log_in(&world, "alice", "postgres") else { panic!("alice was to be refused") };
    assert_eq!(fields.to_string(), "FATAL 57P03 the database system is not accepting connections");
    let record = world.postern().wait_for_record(|record| record["reason"] == "backend_unreachable");
    assert_eq!(record["event"], "connection.refused", "{record}");
    wait_until("the log says why", || world.postern().log().contains("as backend.lookup_role"));
    world.postgres.start();
    enters(&world, "alice", "postgres");
}
