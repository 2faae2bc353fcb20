//! Whole sessions of real clients: what they do on PostgreSQL's own door they do here.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::clients::{Clients, psycopg, run_with_input, succeeded};
use crate::harness::daemon::{Config, Daemon};
use crate::harness::pki::{Profile, run_the_usual_recipe};
use crate::harness::postgres::{Installation, Postgres};
use crate::harness::wire::{End, Message, Wire, message};
use crate::harness::{World, signal, wait_until};

#[test]
fn psql_logs_in_as_the_name_on_the_certificate() {
    for installation in Installation::both() {
        let world = World::before(&installation);
        for clients in [Clients::debian(), Clients::eighteen()] {
            let who = succeeded(clients.psql(&world.conninfo(), "select current_user, session_user, inet_server_addr() is null"));
            assert!(who.starts_with("alice|alice|"), "{who}");
        }
    }
}

#[test]
fn psql_18_logs_in_by_direct_tls() {
    let world = World::before(&Installation::eighteen());
    let conninfo = format!("{} sslnegotiation=direct", world.conninfo());
    assert_eq!(succeeded(Clients::eighteen().psql(&conninfo, "select session_user")), "alice\n");
}

#[test]
fn the_recipe_that_most_people_followed_works_as_it_stands() {
    let world = World::new();
    let config = Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port);
    run_the_usual_recipe(config.dir());
    let postern = Daemon::start(&config);
    let file = |name: &str| config.dir().join(name).display().to_string();
    let conninfo = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=alice dbname=postgres sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
        postern.port,
        file("server-ca.crt"),
        file("client.crt"),
        file("client.key")
    );
    for clients in [Clients::debian(), Clients::eighteen()] {
        assert_eq!(succeeded(clients.psql(&conninfo, "select session_user")), "alice\n");
    }
}

#[test]
fn a_v1_certificate_logs_psql_in() {
    let world = World::new();
    let conninfo = world.conninfo_of("alice", &world.pki.client(Profile::V1));
    assert_eq!(succeeded(world.clients.psql(&conninfo, "select session_user")), "alice\n");
}

#[test]
fn settings_of_the_client_arrive_unchanged() {
    let world = World::new();
    let mut psql = world.clients.command("psql");
    psql.args([&world.conninfo(), "-AtqX", "-f", "-"])
        .env("PGOPTIONS", "-c search_path=\"some\\ where\",pg_catalog -c geqo=off")
        .env("PGTZ", "Pacific/Chatham")
        .env("PGDATESTYLE", "SQL, DMY")
        .env("PGCLIENTENCODING", "LATIN1")
        .env("PGAPPNAME", "it's \"me\" \u{e9}");
    let asked = "select current_setting('search_path'), current_setting('geqo'), current_setting('TimeZone'),
                 current_setting('DateStyle'), current_setting('client_encoding'), octet_length(current_setting('application_name'))";
    let settings = succeeded(run_with_input(&mut psql, asked.as_bytes()));
    assert!(settings.starts_with("\"some where\",pg_catalog|off|Pacific/Chatham|SQL, DMY|LATIN1|"), "{settings}");
}

#[test]
fn the_process_id_in_the_key_is_the_backends_own() {
    let world = World::new();
    let mut wire = world.log_in_with_messages();
    let key = wire.1.iter().find(|message| message.is('K')).unwrap();
    let pid = u32::from_be_bytes(key.body[..4].try_into().unwrap());
    assert_eq!(wire.0.rows("select pg_backend_pid()"), [[Some(pid.to_string())]]);
}

#[test]
fn a_big_copy_goes_both_ways_unharmed() {
    let world = World::new();
    world.postgres.sql("create table big (id int, text text); grant all on big to alice");
    let file = world.dir().join("big.copy");
    let out = format!("\\copy (select i, repeat(md5(i::text), 32) from generate_series(1, 65536) i) to '{}'", file.display());
    succeeded(world.clients.psql(&world.conninfo(), &out));
    assert_eq!(fs::read(&file).unwrap().iter().filter(|byte| **byte == b'\n').count(), 65536);

    succeeded(world.clients.psql(&world.conninfo(), &format!("\\copy big from '{}'", file.display())));

    let intact = "select count(*), bool_and(text = repeat(md5(id::text), 32)), sum(length(text)) from big";
    assert_eq!(world.postgres.sql(intact), format!("65536|t|{}", 65536 * 1024));
}

#[test]
fn what_pg_dump_takes_out_pg_restore_puts_back() {
    for installation in Installation::both() {
        let world = World::before(&installation);
        let alices = |database: &str| world.conninfo().replace("dbname=postgres", &format!("dbname={database}"));
        succeeded(world.clients.psql(
            &alices("alice"),
            "create table t as select i, md5(i::text) as m from generate_series(1, 100000) i; create index on t (m); create database copy;",
        ));
        let archive = world.dir().join("alice.dump");
        let archive = archive.to_str().unwrap();

        succeeded(world.clients.run("pg_dump", ["-Fc", "-f", archive, &alices("alice")]));
        succeeded(world.clients.run("pg_restore", ["--exit-on-error", "-d", &alices("copy"), archive]));

        let checksum = "select count(*), md5(string_agg(m, ',' order by i)) from t";
        let original = succeeded(world.clients.psql(&alices("alice"), checksum));
        assert_eq!(succeeded(world.clients.psql(&alices("copy"), checksum)), original);
        assert!(original.starts_with("100000|"), "{original}");
    }
}

#[test]
fn pgbench_runs_with_lasting_and_with_new_connections() {
    let world = World::new();
    let conninfo = world.conninfo().replace("dbname=postgres", "dbname=alice");
    let pgbench = |options: &[&str]| succeeded(world.clients.run("pgbench", options.iter().chain(&[conninfo.as_str()])));
    pgbench(&["-i", "-q", "-s", "1"]);
    for protocol in ["simple", "extended", "prepared"] {
        let report = pgbench(&["-n", "-M", protocol, "-c", "8", "-j", "2", "-t", "100"]);
        assert!(report.contains("actually processed: 800/800"), "{report}");
    }
    let report = pgbench(&["-n", "-S", "-C", "-c", "8", "-j", "2", "-t", "25"]);
    assert!(report.contains("actually processed: 200/200"), "{report}");
}

#[test]
fn pg_basebackup_takes_a_backup_that_verifies() {
    let world = World::new();
    let conninfo = world.conninfo_of("walreceiver", &world.pki.named("walreceiver"));
    let backup = world.dir().join("backup");
    let backup = backup.to_str().unwrap();

    succeeded(world.clients.run("pg_basebackup", ["-D", backup, "-X", "stream", "-c", "fast", "-d", &conninfo]));

    succeeded(world.clients.run("pg_verifybackup", [backup]));
}

#[test]
fn pg_receivewal_streams_until_it_is_told_to_stop() {
    let world = World::new();
    let conninfo = world.conninfo_of("walreceiver", &world.pki.named("walreceiver"));
    let wal = world.dir().join("wal");
    fs::create_dir(&wal).unwrap();
    let mut receiver = world.clients.command("pg_receivewal");
    let mut receiver = receiver.args(["-n", "-D", wal.to_str().unwrap(), "-d", &conninfo]).stderr(Stdio::piped()).spawn().unwrap();
    world.postgres.wait_until("select count(*) = 1 from pg_stat_replication where state = 'streaming'");

    let segment = world.postgres.sql("create table w as select generate_series(1, 1000); select pg_walfile_name(pg_switch_wal())");

    wait_until("the segment is complete", || wal.join(&segment).exists());
    signal("INT", receiver.id());
    assert!(receiver.wait().unwrap().success());
}

#[test]
fn pg_recvlogical_reads_what_was_written() {
    let world = World::new();
    world.postgres.sql("create table changes (what text)");
    let conninfo = world.conninfo_of("walreceiver", &world.pki.named("walreceiver"));
    let recvlogical = |arguments: &[&str]| {
        let mut command = world.clients.command("pg_recvlogical");
        command.args(["-d", &conninfo, "--slot=s"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    succeeded(recvlogical(&["--create-slot", "--plugin=test_decoding"]).output().unwrap());
    let changes = world.dir().join("changes");

    let file = format!("--file={}", changes.display());
    let mut receiver = recvlogical(&["--start", "--no-loop", "--fsync-interval=0", "--status-interval=1", &file]).spawn().unwrap();
    world.postgres.sql("insert into changes values ('written')");

    wait_until("the change arrives", || fs::read_to_string(&changes).is_ok_and(|text| text.contains("'written'")));
    signal("INT", receiver.id());
    receiver.wait().unwrap();
}

#[test]
fn a_notification_reaches_the_listener_that_waits_for_it() {
    let world = World::new();
    let script = "
listener = psycopg.connect(conninfo, autocommit=True)
listener.execute('listen news')
notifier = psycopg.connect(conninfo, autocommit=True)
for i in range(3):
    notifier.execute(f\"notify news, 'number {i}'\")
for notification in listener.notifies(timeout=20, stop_after=3):
    print(notification.payload)
";
    assert_eq!(succeeded(psycopg(&world.conninfo(), script)), "number 0\nnumber 1\nnumber 2\n");
}

#[test]
fn pipeline_mode_keeps_its_order() {
    let world = World::new();
    let script = "
with psycopg.connect(conninfo) as connection:
    with connection.pipeline():
        cursors = [connection.execute('select %s::int, repeat(%s, 100)', (i, 'x')) for i in range(2000)]
        print(sum(cursor.fetchone()[0] == i for i, cursor in enumerate(cursors)))
    try:
        with connection.pipeline():
            connection.execute('select 1')
            connection.execute('select 1/0')
            connection.execute('select 2')
    except psycopg.errors.DivisionByZero:
        print('division by zero')
    connection.rollback()
    print(connection.execute('select 3').fetchone()[0])
";
    assert_eq!(succeeded(psycopg(&world.conninfo(), script)), "2000\ndivision by zero\n3\n");
}

#[test]
fn large_objects_come_back_as_they_went() {
    let world = World::new();
    let (there, back) = (world.dir().join("there"), world.dir().join("back"));
    let bytes: Vec<u8> = (0..8_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&there, &bytes).unwrap();

    let moves = format!("\\lo_import '{}'\n\\lo_export :LASTOID '{}'\n", there.display(), back.display());
    succeeded(world.clients.psql(&world.conninfo(), &moves));

    assert!(fs::read(&back).unwrap() == bytes, "the large object changed on its way");
}

#[test]
fn messages_of_nearly_one_gibibyte_pass_in_both_directions() {
    const SIZE: usize = 1_000_000_000;
    let world = World::new();
    let mut wire = world.log_in();
    wire.set_patience(Duration::from_secs(120));

    wire.query(&format!("select repeat('x', {SIZE})"));
    assert!(wire.read_message().unwrap().is('T'));
    let head = wire.read_exactly(11).unwrap();
    assert_eq!((head[0], &head[1..5]), (b'D', &(SIZE as u32 + 10).to_be_bytes()[..]));
    wire.skip(SIZE).unwrap();
    wire.until_ready().unwrap();

    wire.send_message('P', b"\0select octet_length($1::text)\0\0\0");
    let parameters = [&b"\0\0\0\0\0\x01"[..], &(SIZE as u32).to_be_bytes()].concat();
    wire.send(&[&b"B"[..], &(4 + parameters.len() as u32 + SIZE as u32 + 2).to_be_bytes(), &parameters].concat());
    let chunk = vec![b'y'; 1_000_000];
    (0..SIZE / chunk.len()).for_each(|_| wire.send(&chunk));
    wire.send(b"\0\0");
    wire.send_message('E', b"\0\0\0\0\0");
    wire.send_message('S', b"");
    let answer = wire.until_ready().unwrap();
    let row = answer.iter().find(|message| message.is('D')).map(Message::columns);
    assert_eq!(row, Some(vec![Some(SIZE.to_string())]));
}

#[test]
fn half_close_from_the_client_still_delivers_the_answer() {
    let world = World::new();
    for says_goodbye in [true, false] {
        let mut wire = world.log_in();
        wire.query("select pg_sleep(0.3), 'delivered'");
        if says_goodbye {
            wire.close_notify();
        }
        wire.shutdown_write();

        let answer = wire.until_ready().unwrap();

        assert_eq!(answer[1].columns()[1].as_deref(), Some("delivered"));
        assert!(matches!(wire.read_to_end(), (rest, End::Closed | End::Fin) if rest.is_empty()));
    }
}

#[test]
fn a_statement_followed_by_terminate_and_close_is_executed() {
    let world = World::new();
    world.postgres.sql("create table done (id int); grant insert on done to alice");
    let mut wire = world.log_in();
    wire.query("insert into done select 1 from pg_sleep(0.3)");
    wire.send(&message('X', b""));
    drop(wire);
    world.postgres.wait_until("select count(*) = 1 from done");
}

#[test]
fn after_terminate_the_server_says_goodbye_in_tls() {
    let world = World::new();
    let mut wire = world.log_in();
    wire.send(&message('X', b""));
    assert_eq!(wire.read_to_end(), (vec![], End::Closed));
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    let world = World::new();
    let mut wire = world.log_in();
    wire.query("select repeat('x', 1000) from generate_series(1, 50000)");
    // The backend is stuck in its write once nobody makes room: that is the moment to begin reading.
    world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'ClientWrite'");
    let rows = wire.until_ready().unwrap().iter().filter(|message| message.is('D')).count();
    assert_eq!(rows, 50000);
}

#[test]
fn a_client_that_resets_has_its_statement_cancelled() {
    let world = World::new();
    world.postern();
    let mut wire = world.log_in();
    wire.query("select pg_sleep(600)");
    world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and state = 'active'");
    let left = Instant::now();
    wire.reset();
    world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
    assert!(left.elapsed() < Duration::from_secs(5), "the statement lived on for {:?}", left.elapsed());
    world.postern().wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "client_lost");
}

#[test]
fn forty_sessions_work_side_by_side() {
    let world = World::new();
    let mut wires: Vec<Wire> = (0..40).map(|_| world.log_in()).collect();
    for (i, wire) in wires.iter_mut().enumerate() {
        wire.query(&format!("select {i}, repeat('x', 100000)"));
    }
    for (i, wire) in wires.iter_mut().enumerate() {
        let answer = wire.until_ready().unwrap();
        assert_eq!(answer[1].columns()[0], Some(i.to_string()));
    }
}

#[test]
fn a_restarted_database_is_found_again() {
    let mut world = World::new();
    world.postern();
    world.postgres.stop();
    assert!(Wire::log_in(world.address(), &world.alice, "alice").is_err());
    world.postgres.start();
    world.log_in();
}

impl World {
    fn log_in_with_messages(&self) -> (Wire, Vec<Message>) {
        use crate::harness::wire::{TlsOptions, startup};
        let mut wire = Wire::connect_tls(self.address(), &TlsOptions::with(Some(self.alice.clone()))).unwrap();
        wire.send(&startup(&[("user", "alice"), ("database", "postgres")]));
        let messages = wire.until_ready().unwrap();
        (wire, messages)
    }
}

/// Kept so that the harness' isolated posture is itself tested: nobody reaches it by TCP.
#[test]
fn an_isolated_database_has_no_tcp_port() {
    let postgres = Postgres::isolated(&Installation::debian());
    assert_eq!(postgres.sql("show listen_addresses"), "");
    assert!(std::net::TcpStream::connect(postgres.address()).is_err());
    let inside = Command::new("test").arg("-S").arg(postgres.dir.path().join(format!(".s.PGSQL.{}", postgres.port))).status();
    assert!(inside.unwrap().success());
}
