//! A database that fails in every way while it is used: nobody takes half a result for a whole one, and all is well once it is back.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::Size;
use super::stand::{Ending, cpu_of};
use crate::harness::clients::Clients;
use crate::harness::daemon::{Config, Daemon};
use crate::harness::pki::{CredentialFiles, Credentials, Pki, Profile};
use crate::harness::postgres::{Installation, Postgres, private_dir};
use crate::harness::wait_until;
use crate::harness::wire::{Refusal, Wire, message};

/// What the way to the database does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Fault {
    None,
    /// Nobody listens.
    Absent,
    /// Takes a connection and closes it.
    Closes,
    /// Takes a connection and says nothing.
    Silent,
    /// Passes everything on, a few bytes at a time.
    Slow,
    /// Answers something that is no PostgreSQL.
    Garbage,
    /// Announces a message of 4 GiB.
    HugeLength,
    /// Has no connection left.
    Full,
    /// Breaks off in the middle of what the database sends, sessions that live included.
    BreaksOff,
    /// The database itself is killed and started again.
    Restart,
}

impl Fault {
    const ALL: [Self; 9] =
        [Self::Absent, Self::Closes, Self::Silent, Self::Slow, Self::Garbage, Self::HugeLength, Self::Full, Self::BreaksOff, Self::Restart];
}

/// Stands between Postern and its database, and does to the connections what it is told.
struct Saboteur {
    dir: tempfile::TempDir,
    fault: Arc<AtomicU8>,
    broken_off: Arc<AtomicUsize>,
}

impl Saboteur {
    fn before(database: PathBuf) -> Self {
        let dir = private_dir();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let (fault, broken_off) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (Arc::clone(&fault), Arc::clone(&broken_off));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (told, counted, database) = (Arc::clone(&told), Arc::clone(&counted), database.clone());
                thread::spawn(move || serve(client, &database, &told, &counted));
            }
        });
        Self { dir, fault, broken_off }
    }

    fn commit(&self, fault: Fault) {
        let (here, away) = (self.dir.path().join(SOCKET), self.dir.path().join("away"));
        match fault {
            Fault::Absent => fs::rename(&here, &away).unwrap(),
            _ if away.exists() => fs::rename(&away, &here).unwrap(),
            _ => {}
        }
        self.fault.store(fault as u8, Ordering::SeqCst);
    }
}

const SOCKET: &str = ".s.PGSQL.5432";

fn is(told: &AtomicU8, fault: Fault) -> bool {
    told.load(Ordering::SeqCst) == fault as u8
}

fn serve(mut client: UnixStream, database: &Path, told: &AtomicU8, broken_off: &AtomicUsize) -> Option<()> {
    let mut say = |bytes: &[u8]| {
        let heard = client.read(&mut [0; 1024]).ok()?;
        (heard > 0).then(|| client.write_all(bytes).ok())?
    };
    match told.load(Ordering::SeqCst) {
        fault if fault == Fault::Closes as u8 => return None,
        fault if fault == Fault::Garbage as u8 => return say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        fault if fault == Fault::HugeLength as u8 => return say(b"R\xff\xff\xff\xff"),
        fault if fault == Fault::Full as u8 => {
            return say(&message('E', b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"));
        }
        fault if fault == Fault::Silent as u8 => {
            while is(told, Fault::Silent) {
                thread::sleep(Duration::from_millis(20));
            }
            return None;
        }
        _ => {}
    }
    let server = UnixStream::connect(database).ok()?;
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| pass(from_client, to_server, None));
        pass(server, client, Some((told, broken_off)));
    });
    Some(())
}

/// One direction, to its end. What the database sends may be held up or broken off.
fn pass(mut from: UnixStream, mut to: UnixStream, watched: Option<(&AtomicU8, &AtomicUsize)>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..count];
        let passed = match watched {
            Some((told, broken_off)) if is(told, Fault::BreaksOff) && count > 64 => {
                broken_off.fetch_add(1, Ordering::SeqCst);
                let _ = to.write_all(&bytes[..count / 2]);
                break;
            }
            Some((told, _)) if is(told, Fault::Slow) => bytes.chunks(512).all(|bytes| {
                thread::sleep(Duration::from_millis(2));
                to.write_all(bytes).is_ok()
            }),
            _ => to.write_all(bytes).is_ok(),
        };
        if !passed {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// What those who used the database saw.
#[derive(Default)]
struct Account {
    whole: AtomicUsize,
    broken: AtomicUsize,
    /// Results that were shown as complete and were not, and words that are not the truth.
    lies: Mutex<Vec<String>>,
}

impl Account {
    /// Whole results, and those that broke off.
    fn so_far(&self) -> (usize, usize) {
        (self.whole.load(Ordering::Relaxed), self.broken.load(Ordering::Relaxed))
    }
}

const ROWS: usize = 300;

/// Logs in and asks, again and again, and holds every answer against what it must be.
fn use_it(scene: &Scene, over: &AtomicBool, account: &Account) {
    while !over.load(Ordering::SeqCst) {
        let mut wire = match scene.log_in() {
            Ok(wire) => wire,
            Err(refusal) => {
                judge_refusal(&refusal, account);
                thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        for _ in 0..5 {
            wire.query(&format!("select n, repeat('x', 200) from generate_series(1, {ROWS}) n"));
            match read_answer(&mut wire) {
                Ok(true) => drop(account.whole.fetch_add(1, Ordering::Relaxed)),
                Ok(false) => account.lies.lock().unwrap().push("an incomplete result was shown as complete".into()),
                Err(_) => {
                    account.broken.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
}

/// Whether the result that was shown as complete is.
fn read_answer(wire: &mut Wire) -> Result<bool, Refusal> {
    let messages = wire.until_ready()?;
    let rows: Vec<_> = messages.iter().filter(|message| message.is('D')).map(|message| message.columns()).collect();
    let sound = rows
        .iter()
        .zip(1..)
        .all(|(row, n): (_, usize)| row[0].as_deref() == Some(&n.to_string()) && row[1].as_ref().is_some_and(|text| text.len() == 200));
    let tag = messages.iter().any(|message| message.is('C') && message.body == format!("SELECT {ROWS}\0").as_bytes());
    Ok(tag && sound && rows.len() == ROWS)
}

/// Before its session a client reads 57P03, or what the database itself said.
fn judge_refusal(refusal: &Refusal, account: &Account) {
    if let Refusal::Error(fields) = refusal
        && !["57P03", "53300", "57P01", "57P02"].contains(&fields.sqlstate.as_str())
    {
        account.lies.lock().unwrap().push(fields.to_string());
    }
}

/// pgbench, over and over: a fault ends one of its runs.
fn bench(scene: &Scene, over: &AtomicBool) {
    let script = scene.dir.path().join("load.sql");
    fs::write(&script, "select sum(n) from generate_series(1, 1000) n;\nselect repeat('y', 20000);\n").unwrap();
    let conninfo = scene.conninfo();
    while !over.load(Ordering::SeqCst) {
        let mut pgbench = scene.clients.command("pgbench");
        let arguments = ["-n", "-c", "4", "-T", "5", "-f", script.to_str().unwrap(), conninfo.as_str()];
        let mut run = pgbench.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while run.try_wait().unwrap().is_none() {
            if over.load(Ordering::SeqCst) {
                run.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Postern and a saboteur before a database, and those who use it.
struct Scene {
    postern: Daemon,
    saboteur: Saboteur,
    alice: Credentials,
    clients: Clients,
    dir: tempfile::TempDir,
}

impl Scene {
    fn before(postgres: &Postgres) -> Self {
        postgres.sql("create role alice login");
        let (pki, dir) = (Pki::new(), private_dir());
        let saboteur = Saboteur::before(postgres.dir.path().join(format!(".s.PGSQL.{}", postgres.port)));
        let config = Config::new(&pki, saboteur.dir.path(), 5432)
            .backend_key("connect_timeout: 2s")
            .with("limits: { authentication_timeout: 4s }\nlog: { level: error }");
        let clients = Clients::for_server(&postgres.installation);
        Self { postern: Daemon::start(&config), saboteur, alice: pki.client(Profile::Good), clients, dir }
    }

    fn log_in(&self) -> Result<Wire, Refusal> {
        Wire::log_in(self.postern.address(), &self.alice, "alice")
    }

    fn conninfo(&self) -> String {
        let CredentialFiles { certificate, key } = self.alice.write(self.dir.path(), "alice");
        let (port, certificate, key) = (self.postern.address().port(), certificate.display(), key.display());
        format!("host=127.0.0.1 port={port} user=alice dbname=postgres sslmode=require sslcert={certificate} sslkey={key}")
    }
}

fn endure(size: Size) {
    let mut postgres = Postgres::isolated(&Installation::debian());
    let scene = Scene::before(&postgres);
    let account = Account::default();
    let mut slowest = Duration::ZERO;
    for fault in Fault::ALL {
        let (whole, broken) = account.so_far();
        let took = suffer(fault, size, &scene, &mut postgres, &account);
        slowest = slowest.max(took);
        let (now_whole, now_broken) = account.so_far();
        let (whole, broken) = (now_whole - whole, now_broken - broken);
        eprintln!("soak: {fault:?}: {whole} whole results, {broken} broke off and said so; a login {took:?} after it was over");
    }
    let lies = account.lies.lock().unwrap();
    assert!(lies.is_empty(), "{} lies, such as {:?}", lies.len(), lies.first());
    assert!(scene.saboteur.broken_off.load(Ordering::SeqCst) > 0, "nothing was broken off");
    size.judge("slowest login once a fault is over", slowest.as_secs_f64() * 1000.0, 300.0, "ms");
    rest_while_the_database_is_away(size, &scene);
}

/// One fault under load; how long after its end a login took.
fn suffer(fault: Fault, size: Size, scene: &Scene, postgres: &mut Postgres, account: &Account) -> Duration {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&over);
        scope.spawn(|| bench(scene, &over));
        for _ in 0..3 {
            scope.spawn(|| use_it(scene, &over, account));
        }
        let (whole, _) = account.so_far();
        wait_until("the load is on", || account.so_far().0 > whole);
        scene.saboteur.commit(fault);
        if fault == Fault::Restart {
            postgres.stop();
        }
        thread::sleep(Duration::from_millis(size.of(700, 20_000) as u64));
        if fault == Fault::Restart {
            postgres.start();
        }
        scene.saboteur.commit(Fault::None);
        let back = Instant::now();
        wait_until("alice is let in again", || scene.log_in().is_ok());
        back.elapsed()
    })
}

/// Nobody asks, nobody answers: there is no storm of tries.
fn rest_while_the_database_is_away(size: Size, scene: &Scene) {
    scene.saboteur.commit(Fault::Absent);
    let (begun, seconds) = (cpu_of(scene.postern.pid()), size.of(1, 10));
    thread::sleep(Duration::from_secs(seconds as u64));
    let spent = (cpu_of(scene.postern.pid()) - begun).as_secs_f64();
    size.judge("processor time while the database is away", spent * 100.0 / seconds as f64, 5.0, "%");
    scene.saboteur.commit(Fault::None);
    assert!(scene.log_in().is_ok());
}

#[test]
fn a_failing_database_is_never_taken_for_a_whole_one() {
    endure(Size::Small);
}

#[test]
#[ignore = "minutes: make soak"]
fn soak_faults_under_load() {
    endure(Size::Full);
}
