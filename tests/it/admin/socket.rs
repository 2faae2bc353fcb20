//! The admin socket and the verbs of the command line that use it.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use serde_json::{Value, json};

use super::Office;
use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, Daemon, postern};
use crate::harness::pki::Profile;
use crate::harness::wire::{End, TlsOptions, Wire, startup};
use crate::harness::{World, wait_until};

#[test]
fn sessions_are_listed_with_what_an_operator_looks_for() {
    let office = Office::new();
    let mut wire = Wire::connect_tls(office.world.address(), &TlsOptions::with(Some(office.world.alice.clone()))).unwrap();
    wire.send(&startup(&[("user", "alice"), ("database", "postgres"), ("application_name", "night\u{1b}[2J job")]));
    wire.until_ready().unwrap();
    let port = wire.local_port();
    let state = |expected: &str| wait_until(expected, || office.sessions()[0]["state"] == expected);
    state("idle");
    wire.query("begin");
    wire.until_ready().unwrap();
    state("idle in transaction");
    wire.query("select pg_sleep(60)");
    state("active");

    let sessions = office.sessions();
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((&session["role"], &session["database"]), (&json!("alice"), &json!("postgres")));
    assert_eq!((&session["application_name"], &session["client"]), (&json!("night\u{1b}[2J job"), &json!(format!("127.0.0.1:{port}"))));
    assert_eq!(session["cert"]["cn"], "alice");
    let record = office.world.postern().wait_for_record(|record| record["event"] == "session.start");
    assert_eq!(session["id"], record["session"]);
    for field in ["serial", "sha256", "not_after"] {
        assert_eq!(session["cert"][field], record["cert"][field], "{field}");
    }
    assert_eq!(session["backend_pid"], record["backend"]["pid"]);
    assert!(session["bytes_in"].as_u64() > Some(0) && session["bytes_out"].as_u64() > Some(0), "{session}");

    let table = succeeded(office.postern(&["sessions"]));
    assert!(table.starts_with("ID ") && table.contains("alice") && table.ends_with("1 session\n"), "{table}");
    assert!(!table.contains('\u{1b}') && table.contains(r"night\u{1b}[2J job"), "{table:?}");
}

#[test]
fn a_killed_session_hears_so_and_the_trail_knows_who_did_it() {
    let office = Office::new();
    let address = office.world.address();
    let bob = office.world.pki.named("bob");
    let second = office.world.pki.client(Profile::Good);
    let mut alices = [office.world.log_in(), office.world.log_in(), Wire::log_in(address, &second, "alice").unwrap()];
    let mut bobs = Wire::log_in(address, &bob, "bob").unwrap();
    let killed = |wire: &mut Wire| {
        let last = wire.read_message().unwrap().fields();
        assert_eq!(last.to_string(), "FATAL 57P01 terminating connection due to administrator command");
        assert_eq!(wire.read_to_end(), (vec![], End::Closed));
    };

    let by_port = |port: u16| office.sessions().into_iter().find(|session| session["client"] == format!("127.0.0.1:{port}")).unwrap();
    let first = by_port(alices[0].local_port());
    let id = first["id"].as_str().unwrap().to_owned();
    assert_eq!(succeeded(office.postern(&["kill", &id])), format!("{id}: told to end\n"));
    killed(&mut alices[0]);
    let end = office.world.postern().wait_for_record(|record| record["event"] == "session.end");
    assert_eq!((&end["session"], &end["reason"]), (&json!(id), &json!("killed")));
    wait_until("it is gone", || office.sessions().len() == 3);
    let again = office.postern(&["kill", &id]);
    assert_eq!((again.status.code(), String::from_utf8(again.stdout).unwrap()), (Some(1), format!("no session {id}\n")));

    let third = by_port(alices[2].local_port());
    let colons =
        |hex: &str| hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect::<Vec<_>>().join(":");
    let fingerprint = colons(third["cert"]["sha256"].as_str().unwrap());
    let reply: Value = serde_json::from_str(&succeeded(office.postern(&["kill", "--cert", &fingerprint, "--json"]))).unwrap();
    assert_eq!(reply, json!({ "v": 1, "killed": [third["id"]] }));
    killed(&mut alices[2]);

    succeeded(office.postern(&["kill", "--role", "alice"]));
    killed(&mut alices[1]);
    assert_eq!(bobs.rows("select session_user"), [[Some("bob".to_owned())]]);

    let uid = Uid::current().as_raw();
    let recorded = |by: &str, result: &str| {
        let record = office.world.postern().wait_for_record(|record| {
            record["event"] == "admin" && record["verb"] == "kill" && record["selector"]["by"] == by && record["result"] == result
        });
        assert_eq!(record["peer"]["uid"], uid, "{record}");
        record
    };
    assert_eq!(recorded("id", "done")["targets"], 1);
    assert_eq!(recorded("id", "no_match")["selector"]["value"], id.as_str());
    assert_eq!(recorded("role", "done")["selector"]["value"], "alice");
    assert_eq!(recorded("cert", "done")["targets"], 1);
    office.world.postern().wait_for_record(|record| record["event"] == "admin" && record["verb"] == "sessions");
}

#[test]
fn a_session_that_runs_a_statement_is_killed_with_it() {
    let office = Office::new();
    let mut wire = office.world.log_in();
    wire.query("select pg_sleep(600)");
    office.world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and state = 'active'");
    succeeded(office.postern(&["kill", "--role", "alice"]));
    assert_eq!(wire.read_message().unwrap().fields().sqlstate, "57P01");
    office.world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
}

#[test]
fn the_socket_refuses_what_is_no_request() {
    let office = Office::new();
    for (line, code) in [
        ("{\"v\":1,\"verb\":\"shutdown\"}\n", "unknown_verb"),
        ("{\"v\":1,\"verb\":\"status\",\"role\":\"a\"}\n", "malformed"),
        ("{\"v\":9,\"verb\":\"status\"}\n", "malformed"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "malformed"),
        (&format!("{{\"v\":1,\"verb\":\"kill\",\"role\":\"{}\"}}\n", "x".repeat(5000)), "too_long"),
    ] {
        let reply = office.ask(line);
        assert_eq!((&reply["v"], &reply["error"]["code"]), (&json!(1), &json!(code)), "{line}: {reply}");
    }
    office
        .world
        .postern()
        .wait_for_record(|record| record["event"] == "admin" && record["result"] == "malformed" && record["verb"].is_null());
    // Whoever is slow is dropped after five seconds, and keeps nobody out meanwhile.
    let mut slow = UnixStream::connect(office.socket()).unwrap();
    slow.write_all(b"{\"v\":1,").unwrap();
    let began = Instant::now();
    assert!(office.ask("{\"v\":1,\"verb\":\"status\"}\n")["status"].is_object());
    let mut reply = String::new();
    slow.read_to_string(&mut reply).unwrap();
    assert!((Duration::from_millis(4900)..Duration::from_secs(7)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(reply.contains("too_long"), "{reply}");
}

#[test]
fn those_who_wait_for_the_end_keep_nobody_from_asking_and_are_not_without_number() {
    let mut office = Office::new();
    let mut open = office.world.log_in();
    open.rows("begin");
    let wait = || {
        let mut stream = UnixStream::connect(office.socket()).unwrap();
        stream.write_all(b"{\"v\":1,\"verb\":\"drain\",\"wait\":true}\n").unwrap();
        let mut reply = [0; 256];
        let length = stream.read(&mut reply).unwrap();
        (String::from_utf8_lossy(&reply[..length]).into_owned(), stream)
    };
    let mut waiting: Vec<_> = (0..16).map(|_| wait()).collect();
    assert!(waiting.iter().all(|(reply, _)| reply.contains("\"drain\"")), "{waiting:?}");
    let (reply, _) = wait();
    assert!(reply.contains("\"busy\"") && reply.contains("16 processes"), "{reply}");
    assert!(office.ask("{\"v\":1,\"verb\":\"status\"}\n")["status"].is_object());

    waiting.truncate(2);
    wait_until("there is room again", || wait().0.contains("\"drain\""));
    waiting[1].1.shutdown(Shutdown::Write).unwrap();
    open.query("commit");
    open.until_ready().unwrap();
    assert!(office.world.postern_mut().ended().success());
    for (_, stream) in &mut waiting {
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "they are told by its end");
    }
}

#[test]
fn the_socket_is_its_owners_and_leaves_with_the_daemon() {
    let mut office = Office::new();
    let found = fs::symlink_metadata(office.socket()).unwrap();
    assert_eq!((found.file_type().is_socket(), found.mode() & 0o777), (true, 0o600));
    office.world.postern_mut().end("TERM");
    assert!(!office.socket().exists());
    let output = office.postern(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is the daemon running"), "{output:?}");
}

#[test]
fn a_socket_that_a_killed_daemon_left_behind_is_replaced_and_a_living_ones_is_not() {
    let mut office = Office::new();
    let second = office.postern(&["serve"]);
    assert_eq!(second.status.code(), Some(1), "two daemons with one configuration: {second:?}");
    assert!(office.socket().exists());
    office.world.postern_mut().end("KILL");
    assert!(office.socket().exists());
    let successor = Daemon::start(&office.config);
    office.wait_until_ready();
    let reply: Value = serde_json::from_str(&succeeded(office.postern(&["status", "--json"]))).unwrap();
    assert_eq!(reply["status"]["pid"], successor.pid());
}

#[test]
fn another_user_is_refused_even_where_the_mode_would_let_him_in() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let office = Office::new();
    let mut path = office.socket();
    let ask = |path: &PathBuf| {
        let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die \"$!\\n\"; \
                      print $s qq({\"v\":1,\"verb\":\"kill\",\"role\":\"alice\"}\\n); print <$s>;";
        let nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "/usr/bin/perl", "-e", script];
        Command::new("setpriv").args(nobody).arg(path).current_dir("/").output().unwrap()
    };
    let _session = office.world.log_in();
    let refused = ask(&path);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");

    // A careless chmod of the socket and of every folder above it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    while path.pop() && path.starts_with("/tmp") && path.components().count() > 2 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let refused = succeeded(ask(&office.socket()));
    assert!(refused.contains(r#""code":"forbidden""#), "{refused}");
    let record = office.world.postern().wait_for_record(|record| record["event"] == "admin" && record["result"] == "forbidden");
    assert_ne!(record["peer"]["uid"], 0);
    assert_eq!(office.sessions().len(), 1);
}

#[test]
fn another_users_socket_is_not_asked_unless_the_configuration_or_its_folder_makes_it_the_daemons() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let socket = dir.path().join("admin.sock");
    let script = "use IO::Socket::UNIX; my $l = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 5) or die \"$!\\n\"; \
                  while (my $s = $l->accept) { my $asked = <$s>; \
                  print $s qq({\"v\":1,\"killed\":[\"01JD6Y\"]}\\n) if defined $asked; close $s }";
    let nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL", "/usr/bin/perl", "-e", script];
    let mut impostor = Command::new("setpriv").args(nobody).arg(&socket).current_dir("/").spawn().unwrap();
    wait_until("the other user listens", || UnixStream::connect(&socket).is_ok());
    let (named, unnamed) = (dir.path().join("named.yaml"), dir.path().join("unnamed.yaml"));
    fs::write(&named, "user: nobody\n").unwrap();
    fs::write(&unnamed, "user: null\n").unwrap();
    let kill = |config: &Path| postern(&["kill", "01JD6Y", "--socket", socket.to_str().unwrap(), "-c", config.to_str().unwrap()]);
    let refused = kill(&unnamed);
    let by_configuration = kill(&named);
    std::os::unix::fs::chown(dir.path(), Some(fs::metadata(&socket).unwrap().uid()), None).unwrap();
    let by_folder = kill(&unnamed);
    impostor.kill().unwrap();
    impostor.wait().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stdout.is_empty() && String::from_utf8_lossy(&refused.stderr).contains("nothing was asked"), "{refused:?}");
    assert!(succeeded(by_configuration).contains("told to end"));
    assert!(succeeded(by_folder).contains("told to end"));
}

#[test]
fn a_daemon_without_an_admin_socket_says_where_to_set_one() {
    let world = World::configured(|config| config);
    let config = Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port);
    let output = postern(&["sessions", "-c", config.write().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("admin.socket: found null"), "{output:?}");
    let usage = postern(&["kill"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    let both = postern(&["kill", "01JD6Y", "--role", "alice"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}
