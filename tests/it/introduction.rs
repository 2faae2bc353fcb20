//! `backend.identity`: what PostgreSQL is told of a client, and that no client can say otherwise at startup.

use crate::harness::World;
use crate::harness::clients::succeeded;
use crate::harness::postgres::Installation;
use crate::harness::wire::{Refusal, TlsOptions, Wire, startup};

fn world(installation: &Installation, identity: &str) -> World {
    World::configured_before(installation, |config| config.backend_key(&format!("identity: {identity}")).with(crate::harness::OPEN_TO_ALL))
}

/// Alice's session with these parameters beside her name and database.
fn log_in(world: &World, parameters: &[(&str, &str)]) -> Wire {
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    wire.send(&startup(&[&[("user", "alice"), ("database", "postgres")], parameters].concat()));
    wire.until_ready().unwrap_or_else(|refusal| panic!("{parameters:?}: {refusal}"));
    wire
}

fn shown(wire: &mut Wire, expression: &str) -> Option<String> {
    wire.rows(&format!("select {expression}"))[0][0].clone()
}

/// What the database's superuser sees of alice's one session.
fn seen_by_others(world: &World) -> String {
    world.postgres.sql("select application_name from pg_stat_activity where usename = 'alice'")
}

#[test]
fn the_application_name_says_who_and_whence_and_what_the_client_calls_itself() {
    for installation in Installation::both() {
        let world = world(&installation, "application_name");
        let mut wire = log_in(&world, &[("application_name", "billing")]);
        assert_eq!(seen_by_others(&world), "alice@127.0.0.1 billing");
        assert_eq!(shown(&mut wire, "current_setting('application_name')").as_deref(), Some("alice@127.0.0.1 billing"));
        drop(wire);
        let printed = succeeded(world.clients.psql(&world.conninfo(), "show application_name"));
        assert_eq!(printed.trim_end(), "alice@127.0.0.1 psql");
        assert!(world.postgres.log().contains("application_name=alice@127.0.0.1 psql"), "{}", world.postgres.log());
    }
}

#[test]
fn a_client_cannot_call_itself_something_else_at_startup() {
    for installation in Installation::both() {
        let world = world(&installation, "application_name");
        for (parameters, expected) in [
            (&[("application_name", "a"), ("application_name", "b")][..], "alice@127.0.0.1 b"),
            (&[("application_name", "a"), ("Application_Name", "bob@10.0.0.1")], "alice@127.0.0.1 bob@10.0.0.1"),
            (&[("options", "-c application_name=bob --application_name=bob")], "alice@127.0.0.1"),
            (&[("application_name", "a"), ("options", "-c APPLICATION_NAME=bob")], "alice@127.0.0.1 a"),
            (&[("APPLICATION_NAME", "\u{e4}\n")], &named(&installation)),
        ] {
            let mut wire = log_in(&world, parameters);
            assert_eq!(shown(&mut wire, "current_setting('application_name')").as_deref(), Some(expected), "{parameters:?}");
        }
    }
}

/// As PostgreSQL cleans `ä` and a line end.
fn named(installation: &Installation) -> String {
    if installation.major >= 16 { r"alice@127.0.0.1 \xc3\xa4\x0a".into() } else { "alice@127.0.0.1 ???".into() }
}

#[test]
fn a_long_application_name_loses_its_end() {
    for installation in Installation::both() {
        let world = world(&installation, "application_name");
        let _wire = log_in(&world, &[("application_name", &"a".repeat(90))]);
        assert_eq!(seen_by_others(&world), format!("alice@127.0.0.1 {}", "a".repeat(47)));
    }
}

#[test]
fn a_walsender_keeps_the_name_that_synchronous_standby_names_knows() {
    for installation in Installation::both() {
        let world = world(&installation, "application_name");
        for replication in ["true", "database"] {
            let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.pki.named("walreceiver")))).unwrap();
            wire.send(&startup(&[
                ("user", "walreceiver"),
                ("database", "postgres"),
                ("replication", replication),
                ("application_name", "standby1"),
            ]));
            wire.until_ready().unwrap_or_else(|refusal| panic!("{refusal}"));
            assert_eq!(wire.rows("SHOW application_name"), [[Some("standby1".to_owned())]]);
        }
    }
}

#[test]
fn settings_say_whose_certificate_it_was_and_where_the_client_is() {
    for installation in Installation::both() {
        let world = world(&installation, "guc");
        let mut wire = log_in(&world, &[("application_name", "billing")]);
        assert_eq!(shown(&mut wire, "current_setting('postern.identity')").as_deref(), Some("CN=alice"));
        assert_eq!(shown(&mut wire, "current_setting('postern.address')::inet").as_deref(), Some("127.0.0.1"));
        assert_eq!(seen_by_others(&world), "billing");
        let mut walsender = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.pki.named("walreceiver")))).unwrap();
        walsender.send(&startup(&[("user", "walreceiver"), ("replication", "true")]));
        walsender.until_ready().unwrap_or_else(|refusal| panic!("{refusal}"));
        assert_eq!(walsender.rows("SHOW postern.identity"), [[Some("CN=walreceiver".to_owned())]]);
    }
}

#[test]
fn neither_a_parameter_nor_options_nor_a_roles_setting_wins_over_them_and_a_session_can_change_them_later() {
    for installation in Installation::both() {
        let world = world(&installation, "guc");
        world.postgres.sql("alter role alice set postern.identity = 'CN=bob'; alter database postgres set postern.address = '10.0.0.1'");
        for parameters in [
            &[("postern.identity", "CN=bob"), ("postern.address", "10.0.0.1")][..],
            &[("Postern.Identity", "CN=bob"), ("POSTERN.ADDRESS", "10.0.0.1")],
            &[("options", "-c postern.identity=CN=bob --postern.address=10.0.0.1")],
            &[("options", "-cpostern.identity=CN=bob"), ("options", "-c Postern.Address=10.0.0.1")],
            &[],
        ] {
            let mut wire = log_in(&world, parameters);
            let told = "current_setting('postern.identity') || ' ' || current_setting('postern.address')";
            assert_eq!(shown(&mut wire, told).as_deref(), Some("CN=alice 127.0.0.1"), "{parameters:?}");
            wire.rows("set postern.identity = 'CN=bob'");
            assert_eq!(shown(&mut wire, told).as_deref(), Some("CN=bob 127.0.0.1"), "why nothing may be authorised by them");
            wire.rows("reset all");
            assert_eq!(shown(&mut wire, told).as_deref(), Some("CN=alice 127.0.0.1"));
        }
    }
}

#[test]
fn a_packet_that_has_no_room_for_them_is_too_long_for_postgresql() {
    let world = world(&Installation::debian(), "guc");
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    wire.send(&startup(&[("user", "alice"), ("database", "postgres"), ("options", &" ".repeat(9940))]));
    assert!(matches!(wire.until_ready(), Err(Refusal::End(end)) if end.is_orderly()));
    let record = world.postern().wait_for_record(|record| record["event"] == "connection.refused");
    assert_eq!(record["reason"], "protocol", "{record}");
}

#[test]
fn by_default_nothing_is_added() {
    let world = World::new();
    let mut wire = log_in(&world, &[("application_name", "billing")]);
    assert_eq!(shown(&mut wire, "current_setting('application_name')").as_deref(), Some("billing"));
    assert_eq!(shown(&mut wire, "current_setting('postern.identity', true)"), None);
}
