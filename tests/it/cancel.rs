//! CancelRequest: what drivers send reaches the right statement, and nothing else does.

use std::net::SocketAddr;
use std::process::Stdio;

use crate::harness::clients::{Clients, failed, psycopg, succeeded};
use crate::harness::pki::Credentials;
use crate::harness::postgres::Installation;
use crate::harness::wire::{End, Message, Refusal, TlsOptions, Wire, cancel_request, startup_of_version};
use crate::harness::{World, signal};

/// One statement under way, and what cancels it.
struct Victim {
    wire: Wire,
    pid: u32,
    key: Vec<u8>,
}

const SLEEPING: &str = "select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'PgSleep'";

impl Victim {
    fn asleep(world: &World, seconds: &str) -> Self {
        let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
        let newest = if world.postgres.installation.major >= 18 { 2 } else { 0 };
        wire.send(&startup_of_version(3, newest, &[("user", "alice"), ("database", "postgres")]));
        let messages = wire.until_ready().unwrap();
        let key = messages.into_iter().find(|message| message.is('K')).map(|message| message.body).unwrap();
        wire.query(&format!("select pg_sleep({seconds}), 'slept well'"));
        world.postgres.wait_until(SLEEPING);
        Self { wire, pid: u32::from_be_bytes(key[..4].try_into().unwrap()), key: key[4..].to_vec() }
    }

    fn request(&self) -> Vec<u8> {
        cancel_request(self.pid, &self.key)
    }

    #[track_caller]
    fn was_cancelled(mut self) {
        let refusal = self.wire.until_ready().unwrap_err();
        let Refusal::Error(fields) = refusal else { panic!("{refusal}") };
        assert_eq!(fields.to_string(), "ERROR 57014 canceling statement due to user request");
        self.wire.until_ready().unwrap();
    }

    #[track_caller]
    fn slept_well(mut self) {
        let answer = self.wire.until_ready().unwrap();
        assert_eq!(answer.iter().find(|message| message.is('D')).map(Message::columns).unwrap()[1].as_deref(), Some("slept well"));
    }
}

/// Sends a request and waits for the only answer there ever is: the end of the connection.
#[track_caller]
fn ask_in_the_clear(server: SocketAddr, request: &[u8]) {
    let mut wire = Wire::connect(server);
    wire.send(request);
    let (answer, end) = wire.read_to_end();
    assert!(answer.is_empty() && end.is_orderly(), "{answer:?} {end}");
}

#[track_caller]
fn ask_in_tls(server: SocketAddr, credentials: Option<&Credentials>, request: &[u8]) {
    let mut wire = Wire::connect_tls(server, &TlsOptions::with(credentials.cloned())).unwrap();
    wire.send(request);
    let (answer, end) = wire.read_to_end();
    assert!(answer.is_empty() && matches!(end, End::Closed | End::Fin), "{answer:?} {end}");
}

#[test]
fn ctrl_c_in_psql_cancels_the_statement() {
    for installation in Installation::both() {
        let world = World::before(&installation);
        for clients in [Clients::debian(), Clients::eighteen()] {
            let mut psql = clients.command("psql");
            psql.args([&world.conninfo(), "-X", "-c", "select pg_sleep(600)"]).stdout(Stdio::null()).stderr(Stdio::piped());
            let psql = psql.spawn().unwrap();
            world.postgres.wait_until(SLEEPING);

            signal("INT", psql.id());

            let complaint = failed(psql.wait_with_output().unwrap());
            assert!(complaint.contains("canceling statement due to user request"), "{complaint}");
        }
    }
}

#[test]
fn psycopg_cancels_in_the_clear_and_over_tls() {
    for installation in Installation::both() {
        let world = World::before(&installation);
        for method in ["cancel", "cancel_safe"] {
            let script = format!(
                "
connection = psycopg.connect(conninfo, autocommit=True)
def cancel():
    watcher = psycopg.connect(conninfo, autocommit=True)
    while not watcher.execute(\"select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'\", [connection.info.backend_pid]).fetchone():
        pass
    connection.{method}()
threading.Thread(target=cancel).start()
try:
    connection.execute('select pg_sleep(600)')
except psycopg.errors.QueryCanceled as error:
    print(error.sqlstate)
print(connection.execute('select 1').fetchone()[0])
"
            );
            assert_eq!(succeeded(psycopg(&world.conninfo(), &script)), "57014\n1\n", "{method}");
        }
    }
}

#[test]
fn protocol_3_2_gives_psycopg_a_long_key_that_cancels() {
    let world = World::before(&Installation::eighteen());
    let script = "
connection = psycopg.connect(conninfo + ' min_protocol_version=3.2 max_protocol_version=3.2', autocommit=True)
print(connection.pgconn.server_version >= 180000, connection.info.backend_pid == connection.execute('select pg_backend_pid()').fetchone()[0])
for cancel in (connection.cancel, connection.cancel_safe):
    timer = threading.Timer(0.3, cancel)
    timer.start()
    try:
        connection.execute('select pg_sleep(600)')
    except psycopg.errors.QueryCanceled as error:
        print(error.sqlstate)
    timer.join()
";
    assert_eq!(succeeded(psycopg(&world.conninfo(), script)), "True True\n57014\n57014\n");
}

#[test]
fn the_right_key_cancels_in_the_clear_and_in_tls() {
    for installation in Installation::both() {
        let world = World::before(&installation);

        let victim = Victim::asleep(&world, "600");
        ask_in_the_clear(world.address(), &victim.request());
        victim.was_cancelled();

        let victim = Victim::asleep(&world, "600");
        ask_in_tls(world.address(), None, &victim.request());
        victim.was_cancelled();

        let victim = Victim::asleep(&world, "600");
        let another_certificate_of_hers = world.pki.named("alice");
        ask_in_tls(world.address(), Some(&another_certificate_of_hers), &victim.request());
        victim.was_cancelled();
    }
}

#[test]
fn keys_of_newer_servers_are_longer() {
    let lengths = Installation::both().map(|installation| {
        let world = World::before(&installation);
        (installation.major >= 18, Victim::asleep(&world, "0.1").key.len())
    });
    assert!(lengths.iter().all(|(newer, length)| *length == if *newer { 32 } else { 4 }), "{lengths:?}");
}

#[test]
fn a_wrong_key_cancels_nothing() {
    for installation in Installation::both() {
        let world = World::before(&installation);
        let victim = Victim::asleep(&world, "1");
        let mut flipped = victim.key.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let longer = [&victim.key[..], &[0; 4]].concat();
        for key in [&flipped[..], &longer, &victim.key[..victim.key.len() - 1], &[]] {
            ask_in_the_clear(world.address(), &cancel_request(victim.pid, key));
            ask_in_tls(world.address(), Some(&world.alice), &cancel_request(victim.pid, key));
        }
        ask_in_the_clear(world.address(), &cancel_request(victim.pid + 1, &victim.key));
        victim.slept_well();
    }
}

#[test]
fn another_identity_cannot_cancel_even_with_the_right_key() {
    let world = World::new();
    world.postern();
    let bob = world.pki.named("bob");
    let victim = Victim::asleep(&world, "1");
    ask_in_tls(world.address(), Some(&bob), &victim.request());
    victim.slept_well();
}

#[test]
fn a_key_dies_with_its_session() {
    let world = World::new();
    let mut ended = Victim::asleep(&world, "0.1");
    ended.wire.until_ready().unwrap();
    ended.wire.send_message('X', b"");
    ended.wire.read_to_end();
    let victim = Victim::asleep(&world, "1");
    ask_in_the_clear(world.address(), &cancel_request(victim.pid, &ended.key));
    ask_in_the_clear(world.address(), &ended.request());
    victim.slept_well();
}

#[test]
fn cancel_plaintext_deny_leaves_only_the_identity_of_the_session() {
    let world = World::configured(|config| config.with("cancel: { plaintext: deny }"));
    let victim = Victim::asleep(&world, "1");
    ask_in_the_clear(world.address(), &victim.request());
    ask_in_tls(world.address(), None, &victim.request());
    victim.slept_well();

    let victim = Victim::asleep(&world, "600");
    ask_in_tls(world.address(), Some(&world.alice), &victim.request());
    victim.was_cancelled();
}

#[test]
fn every_cancel_request_leaves_a_record() {
    let world = World::new();
    let victim = Victim::asleep(&world, "600");
    ask_in_the_clear(world.address(), &cancel_request(victim.pid, &[0; 4]));
    ask_in_the_clear(world.address(), &victim.request());
    victim.was_cancelled();
    let mut cancels = 0;
    world.postern().wait_for_record(|record| {
        cancels += u64::from(record["event"] == "cancel") * record["count"].as_u64().unwrap_or(1);
        cancels == 2
    });
}
