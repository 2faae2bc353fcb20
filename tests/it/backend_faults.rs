//! A database that is away, silent, dying or lying: the client is told the truth, or nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::clients::{psycopg_by, succeeded};
use crate::harness::daemon::{Config, Daemon};
use crate::harness::pki::{Credentials, Pki, Profile};
use crate::harness::postgres::private_dir;
use crate::harness::wire::{End, Fields, Refusal, TlsOptions, Wire, cancel_request, message, startup};
use crate::harness::{World, conninfo, wait_until};

/// Postern in front of a socket that a script answers.
struct Stage {
    postern: Daemon,
    alice: Credentials,
    _dir: tempfile::TempDir,
    _actor: Option<JoinHandle<()>>,
}

impl Stage {
    /// Nobody listens.
    fn empty() -> Self {
        Self::set(|_| None)
    }

    /// Each connection is handed to `act`, one after the other.
    fn with(act: impl Fn(UnixStream) + Send + 'static) -> Self {
        Self::set(|dir| {
            let listener = UnixListener::bind(dir.join(".s.PGSQL.5432")).unwrap();
            Some(thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(&act)))
        })
    }

    /// The same by loopback TCP.
    fn by_tcp(act: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let actor = thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(&act));
        Self::before(private_dir(), Some(actor), |config| config.backend(&format!("{{ host: 127.0.0.1, port: {port} }}")))
    }

    fn set(actor: impl FnOnce(&Path) -> Option<JoinHandle<()>>) -> Self {
        let dir = private_dir();
        let actor = actor(dir.path());
        Self::before(dir, actor, |config| config)
    }

    fn before(dir: tempfile::TempDir, actor: Option<JoinHandle<()>>, configure: impl FnOnce(Config) -> Config) -> Self {
        let pki = Pki::new();
        let config = configure(Config::new(&pki, dir.path(), 5432)).with("limits: { authentication_timeout: 2s }");
        Self { postern: Daemon::start(&config), alice: pki.client(Profile::Good), _dir: dir, _actor: actor }
    }

    fn log_in(&self) -> Result<Wire, Refusal> {
        Wire::log_in(self.postern.address(), &self.alice, "alice")
    }

    /// The refusal of a login that the backend spoilt.
    #[track_caller]
    fn refusal(&self) -> Fields {
        match self.log_in() {
            Err(Refusal::Error(fields)) => fields,
            Err(Refusal::End(end)) => panic!("{end}"),
            Ok(_) => panic!("logged in"),
        }
    }

    #[track_caller]
    fn is_not_accepting(&self, reason: &str) {
        let fields = self.refusal();
        assert_eq!(fields.to_string(), "FATAL 57P03 the database system is not accepting connections");
        assert!(fields.detail.is_some(), "a DETAIL says what is the matter");
        self.postern.wait_for_record(|record| record["event"] == "connection.refused" && record["reason"] == reason);
    }
}

#[test]
fn an_absent_backend_is_not_accepting_connections() {
    Stage::empty().is_not_accepting("backend_unreachable");
}

#[test]
fn a_backend_that_accepts_and_closes_is_not_accepting_connections() {
    Stage::with(drop).is_not_accepting("backend_unreachable");
}

#[test]
fn a_silent_backend_is_given_up_in_time() {
    let stage = Stage::with(std::mem::forget);
    let begun = Instant::now();
    stage.is_not_accepting("backend_unreachable");
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[test]
fn a_backend_that_talks_nonsense_is_not_accepting_connections() {
    Stage::with(|mut stream| {
        read_startup(&mut stream);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    })
    .is_not_accepting("backend_protocol");
}

#[test]
fn a_backend_that_announces_a_huge_message_is_not_accepting_connections() {
    Stage::with(|mut stream| {
        read_startup(&mut stream);
        stream.write_all(b"R\xff\xff\xff\xff").unwrap();
        drop(stream.read(&mut [0; 1]));
    })
    .is_not_accepting("backend_protocol");
}

#[test]
fn a_backend_that_asks_for_a_password_lets_nobody_in() {
    let stage = Stage::with(|mut stream| {
        read_startup(&mut stream);
        stream.write_all(&message('R', &[0, 0, 0, 3])).unwrap();
        drop(stream.read(&mut [0; 1]));
    });
    assert_eq!(stage.refusal().severity, "FATAL");
    stage.postern.wait_for_record(|record| record["event"] == "connection.refused" && record["reason"] == "backend_refused");
}

#[test]
fn a_backend_that_is_starting_up_says_so_itself() {
    let stage = Stage::with(|mut stream| {
        read_startup(&mut stream);
        stream.write_all(&message('E', b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0")).unwrap();
    });
    assert_eq!(stage.refusal().to_string(), "FATAL 57P03 the database system is starting up");
    stage.postern.wait_for_record(|record| record["event"] == "connection.refused" && record["reason"] == "backend_refused");
}

#[test]
fn a_backend_that_dies_between_messages_is_reported() {
    let stage = Stage::with(|mut stream| {
        admit(&mut stream);
        read_message(&mut stream);
        stream.write_all(&row_description()).unwrap();
    });
    let mut wire = stage.log_in().unwrap();
    wire.query("select 1");
    assert!(wire.read_message().unwrap().is('T'));
    let fields = wire.read_message().unwrap().fields();
    assert_eq!(fields.to_string(), "FATAL 08006 server closed the connection unexpectedly");
    assert_eq!(wire.read_to_end(), (vec![], End::Closed));
    stage.postern.wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "backend_lost");
}

#[test]
fn a_backend_that_dies_within_a_row_ends_the_session_without_a_word() {
    let stage = Stage::with(|mut stream| {
        admit(&mut stream);
        read_message(&mut stream);
        stream.write_all(&[row_description(), half_a_row()].concat()).unwrap();
    });
    let mut wire = stage.log_in().unwrap();
    wire.query("select 1");
    assert!(wire.read_message().unwrap().is('T'));
    let (rest, _end) = wire.read_to_end();
    assert!(rest.len() <= 50, "something was added to half a row: {:?}", String::from_utf8_lossy(&rest));
    assert!(rest.iter().skip(11).all(|byte| *byte == b'x'), "{rest:?}");
    stage.postern.wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "backend_lost");
}

#[test]
fn a_backend_that_resets_within_a_row_ends_the_session_without_a_word() {
    let stage = Stage::by_tcp(|mut stream| {
        admit(&mut stream);
        read_message(&mut stream);
        stream.write_all(&[row_description(), half_a_row()].concat()).unwrap();
        // The client says that it has read so far: a reset takes along what its peer has not read yet.
        read_message(&mut stream);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut wire = stage.log_in().unwrap();
    wire.query("select 1");
    assert!(wire.read_message().unwrap().is('T'));
    assert_eq!(wire.read_exactly(half_a_row().len()).unwrap(), half_a_row());
    wire.send_message('H', b"");
    assert_eq!(wire.read_to_end(), (vec![], End::Fin), "half a row is all there is, and no close_notify makes it look complete");
    stage.postern.wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "backend_lost");
}

#[test]
fn a_backend_that_talks_nonsense_after_a_row_ends_the_session_without_a_word() {
    // As a length, what stands behind the first byte is 1.4 GB: the client reads on until the backend closes.
    let nonsense = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let stage = Stage::with(|mut stream| {
        admit(&mut stream);
        read_message(&mut stream);
        stream.write_all(&[row_description(), row(), nonsense.to_vec()].concat()).unwrap();
    });
    let mut wire = stage.log_in().unwrap();
    wire.query("select 1");
    assert!(wire.read_message().unwrap().is('T') && wire.read_message().unwrap().is('D'));
    assert_eq!(wire.read_to_end(), (nonsense.to_vec(), End::Fin));
    stage.postern.wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "backend_lost");
}

#[test]
fn a_length_that_cannot_be_ends_the_session_behind_the_last_whole_message() {
    let stage = Stage::with(|mut stream| {
        if read_startup(&mut stream).len() == 12 {
            return; // a CancelRequest: the statement was still running
        }
        stream.write_all(&greeting()).unwrap();
        read_message(&mut stream);
        stream.write_all(&[row_description(), row(), b"D\xff\xff\xff\xff".to_vec()].concat()).unwrap();
        drop(stream.read(&mut [0; 1]));
    });
    let mut wire = stage.log_in().unwrap();
    wire.query("select 1");
    assert!(wire.read_message().unwrap().is('T') && wire.read_message().unwrap().is('D'));
    assert_eq!(wire.read_to_end(), (vec![], End::Fin), "nothing says that the result is complete");
    stage.postern.wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "protocol");
}

/// libpq decrypts one record, as far as it has room for at least 8 KiB, and then its user waits at the socket, which knows nothing of
/// what OpenSSL has left of that record: behind a longer one, psycopg and pg_basebackup would wait for ever.
#[test]
fn a_client_that_waits_at_its_socket_is_never_left_with_half_a_record() {
    let dir = private_dir();
    let waits = dir.path().join("waits");
    let client_waits = waits.clone();
    let stage = Stage::with(move |mut stream| {
        admit(&mut stream);
        read_message(&mut stream);
        let end = [message('C', b"SELECT 220\0"), message('Z', b"I")].concat();
        let rows = [row_description(), row().repeat(219)].concat();
        let last = vec![b'x'; 24 * 1024 - rows.len() - end.len() - 11];
        let last = message('D', &[&[0, 1, 0, 0][..], &(last.len() as u16).to_be_bytes(), &last].concat());
        let answer = [rows, last, end].concat();
        let (beginning, rest) = answer.split_at(8 * 1024);
        stream.write_all(beginning).unwrap();
        wait_until("the client waits in the midst of a row", || client_waits.exists());
        stream.write_all(rest).unwrap();
        drop(stream.read(&mut [0; 1]));
    });
    let script = "
import pathlib, select
with psycopg.connect(conninfo, autocommit=True) as connection:
    libpq = connection.pgconn
    libpq.send_query(b'select')
    while libpq.is_busy():
        if not select.select([libpq.socket], [], [], 20)[0]:
            sys.exit('the rest of the answer never came')
        libpq.consume_input()
        pathlib.Path(waits).touch()
    print(libpq.get_result().ntuples, libpq.get_result())
";
    let conninfo = conninfo(stage.postern.address(), "alice", &stage.alice, dir.path());
    // The wheel's libpq, and Debian's.
    for implementation in ["binary", "python"] {
        let script = format!("waits = '{}'{script}", waits.display());
        assert_eq!(succeeded(psycopg_by(implementation, &conninfo, &script)), "220 None\n");
        fs::remove_file(&waits).unwrap();
    }
}

#[test]
fn the_backends_own_last_word_is_the_last() {
    let world = World::new();
    let mut wire = world.log_in();
    let pid = wire.rows("select pg_backend_pid()")[0][0].clone().unwrap();
    world.postgres.sql(&format!("select pg_terminate_backend({pid})"));
    let last = wire.read_message().unwrap().fields();
    assert_eq!(last.to_string(), "FATAL 57P01 terminating connection due to administrator command");
    assert_eq!(wire.read_to_end(), (vec![], End::Closed));
}

#[test]
fn a_database_that_goes_down_and_comes_back_serves_at_once() {
    let mut world = World::new();
    let mut wire = world.log_in();
    world.postgres.stop();
    // An immediate shutdown warns its clients, or is gone before it can.
    assert!(wire.until_ready().is_err());
    assert!(Wire::log_in(world.address(), &world.alice, "alice").is_err());
    world.postgres.start();
    let begun = Instant::now();
    world.log_in();
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
}

#[test]
fn a_second_cancel_of_a_session_is_dropped_while_the_first_is_under_way() {
    let stage = Stage::with(|mut stream| {
        let packet = read_startup(&mut stream);
        // A CancelRequest has a code, a process id and a key; it is left without an answer.
        if packet.len() > 12 {
            stream.write_all(&greeting()).unwrap();
        }
        std::mem::forget(stream);
    });
    let _session = stage.log_in().unwrap();
    let _cancels = [(); 2].map(|()| {
        let mut wire = Wire::connect(stage.postern.address());
        wire.send_clear(&cancel_request(7, &[0, 0, 0, 9]));
        wire
    });
    stage.postern.wait_for_record(|record| record["event"] == "cancel" && record["result"] == "rate_limited");
}

#[test]
fn a_statement_that_a_cancel_has_overtaken_is_cancelled_again() {
    let (said, cancels) = std::sync::mpsc::channel();
    let stage = Stage::set(|dir| {
        let listener = UnixListener::bind(dir.join(".s.PGSQL.5432")).unwrap();
        Some(thread::spawn(move || {
            let mut session = listener.accept().unwrap().0;
            admit(&mut session);
            read_message(&mut session);
            // Others than cancels are the watch over the backend's life.
            let mut cancels = listener.incoming().map_while(Result::ok).map(|mut stream| read_startup(&mut stream));
            let mut cancels = cancels.by_ref().filter(|packet| packet.len() == 12);
            // The statement begins behind the first cancel, and is at work until the third.
            cancels.by_ref().take(3).for_each(|cancel| said.send(cancel).unwrap());
            assert_eq!(session.read(&mut [0; 1]).unwrap(), 0, "nothing more is asked");
            drop(session);
            cancels.for_each(|cancel| said.send(cancel).unwrap());
        }))
    });
    let mut wire = stage.log_in().unwrap();
    wire.query("select pg_sleep(600)");
    wire.reset();
    for _ in 0..3 {
        assert_eq!(cancels.recv_timeout(Duration::from_secs(20)).unwrap(), cancel_request(7, &[0, 0, 0, 9])[4..]);
    }
    assert!(cancels.recv_timeout(Duration::from_secs(1)).is_err(), "a backend that has ended is left alone");
}

/// The backend keeps what it has to say to itself until a Sync or a Flush, so that nothing tells what it is at.
#[test]
fn a_statement_that_no_sync_follows_is_cancelled_with_its_session() {
    let world = World::new();
    let mut wire = world.log_in();
    let mut asked = message('P', b"\0select pg_sleep(600)\0\0\0");
    asked.extend(message('B', b"\0\0\0\0\0\0\0\0"));
    asked.extend(message('E', b"\0\0\0\0\0"));
    wire.send(&asked);
    world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'PgSleep'");
    wire.reset();
    world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
}

#[test]
fn a_client_that_resets_while_nobody_reads_it_is_lost_and_its_statement_cancelled() {
    let world = World::new();
    let mut wire = world.log_in();
    wire.query("select pg_sleep(600)");
    world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'PgSleep'");
    // More than Postern and the backend's socket take.
    wire.query(&format!("select '{}'", "x".repeat(1_000_000)));
    let sent = Instant::now();
    wait_until("the watch, which looks every five seconds, has seen the connection that it is to miss", || sent.elapsed().as_secs() > 5);
    wire.reset();
    world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
    world.postern().wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "client_lost");
}

#[test]
fn a_login_that_was_given_up_keeps_its_place_until_its_backend_has_ended() {
    let world = World::configured(|config| {
        config.with("hba: [{ database: all, user: all, address: all, method: cert }]\nlimits: { max_connections_per_role: 1 }")
    });
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    wire.send(&startup(&[("user", "alice"), ("database", "postgres"), ("options", "-c post_auth_delay=5")]));
    wait_until("its backend sleeps", || world.postgres.log().contains("connection authorized: user=alice"));
    wire.reset();
    world.postern().wait_for_record(|record| record["event"] == "connection.refused" && record["reason"] == "client_closed");
    let refused = Wire::log_in(world.address(), &world.alice, "alice").err().unwrap().to_string();
    assert!(refused.contains("53300"), "{refused}");
    wait_until("its place is free", || Wire::log_in(world.address(), &world.alice, "alice").is_ok());
}

#[test]
fn a_statement_that_catches_every_cancel_keeps_its_place_and_is_told_of() {
    let world = World::configured(|config| {
        config.with("hba: [{ database: all, user: all, address: all, method: cert }]\nlimits: { max_connections_per_role: 1 }")
    });
    let mut stubborn = world.log_in();
    stubborn.query("do $$ begin loop begin perform pg_sleep(600); exception when query_canceled then null; end; end loop; end $$");
    world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'PgSleep'");
    stubborn.reset();
    wait_until("the log tells of it", || world.postern().log().contains("the backend goes on with a statement whose session is over"));
    let refused = Wire::log_in(world.address(), &world.alice, "alice").err().unwrap().to_string();
    assert!(refused.contains("53300"), "{refused}");
    world.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'");
    wait_until("its place is free", || Wire::log_in(world.address(), &world.alice, "alice").is_ok());
}

fn admit(stream: &mut (impl Read + Write)) {
    read_startup(stream);
    stream.write_all(&greeting()).unwrap();
}

fn greeting() -> Vec<u8> {
    [message('R', &[0; 4]), message('K', &[0, 0, 0, 7, 0, 0, 0, 9]), message('Z', b"I")].concat()
}

fn row_description() -> Vec<u8> {
    message('T', &[&[0, 1][..], b"x\0", &[0; 18]].concat())
}

fn row() -> Vec<u8> {
    message('D', &[&[0, 1, 0, 0, 0, 100][..], &[b'x'; 100]].concat())
}

fn half_a_row() -> Vec<u8> {
    row()[..50].to_vec()
}

fn read_startup(stream: &mut impl Read) -> Vec<u8> {
    read_body(stream)
}

fn read_message(stream: &mut impl Read) -> Vec<u8> {
    stream.read_exact(&mut [0]).unwrap();
    read_body(stream)
}

fn read_body(stream: &mut impl Read) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body).unwrap();
    body
}
