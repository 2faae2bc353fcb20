//! The sandbox around the running daemon: what every thread of it has given up, and that all it is there for still works.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::unistd::Uid;
use serde_json::Value;

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, Daemon, postern, postern_path};
use crate::harness::postgres::private_dir;
use crate::harness::wire::{TlsOptions, Wire, cancel_request, startup_of_version};
use crate::harness::{World, signal, wait_until};

const NOBODY: &str = "65534";

/// A field of the status of every thread of a process, each value once.
fn of_every_thread(pid: u32, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let value = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")).map(str::to_owned))?;
        Some(line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    };
    let mut values: Vec<String> = tasks.filter_map(value).collect();
    assert!(values.len() > 2, "the daemon has threads");
    values.sort();
    values.dedup();
    values
}

/// What `daemon.start` says is in force.
fn in_force(start: &Value) -> Vec<&str> {
    start["hardening"]["in_force"].as_array().unwrap().iter().map(|measure| measure.as_str().unwrap()).collect()
}

fn is_root(test: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("{test} skipped: only root can become another user");
    }
    root
}

/// The world, and its daemon's configuration with everything that it names given to `nobody`.
fn world_of_nobody() -> (World, Config) {
    let mut kept = None;
    let world = World::configured(|config| {
        let folder = config.dir().to_owned();
        fs::create_dir(folder.join("log")).unwrap();
        fs::create_dir(folder.join("run")).unwrap();
        succeeded(Command::new("chown").args(["-R", NOBODY]).arg(&folder).output().unwrap());
        let config = config.audit_file(&folder.join("log/audit.jsonl")).with("admin: { socket: run/admin.sock }\nuser: nobody");
        kept.insert(config).clone()
    });
    (world, kept.unwrap())
}

fn records(audit: &Path) -> Vec<Value> {
    fs::read_to_string(audit).unwrap_or_default().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Runs `serve` where the kernel answers one system call as an older one does, until it ends or `ends` is in its log.
fn serve_on_an_older_kernel(config: &Config, more: &str) -> Output {
    let path = config.clone().with(more).write();
    Command::new("timeout")
        .args(["--signal=INT", "--kill-after=60", "5", "strace", "-f", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset"])
        .args(["-e", "inject=landlock_create_ruleset:error=ENOSYS", postern_path(), "serve", "-c"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn no_thread_of_the_daemon_has_a_privilege_or_an_unfiltered_system_call() {
    let world = World::new();
    let _session = world.log_in();
    let pid = world.postern().pid();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(of_every_thread(pid, set), ["0000000000000000"], "{set}");
    }
    if Uid::effective().is_root() {
        assert_eq!(of_every_thread(pid, "CapBnd"), ["0000000000000000"]);
    }
    assert_eq!(of_every_thread(pid, "NoNewPrivs"), ["1"]);
    assert_eq!(of_every_thread(pid, "Seccomp"), ["2"], "a filter");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_ascii_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0, "what is not dumpable belongs to root");
}

#[test]
fn what_is_in_force_is_told_by_trail_log_and_status() {
    let mut kept = None;
    let world = World::configured(|config| kept.insert(config.with("admin: { socket: admin.sock }")).clone());
    let start = world.postern().wait_for_record(|record| record["event"] == "daemon.start");
    let measures = in_force(&start).join(", ");
    for measure in ["capabilities", "no_new_privileges", "not_dumpable", "no_core_file", "system_calls"] {
        assert!(measures.contains(measure), "{measures}");
    }
    assert!(world.postern().log().contains(&format!("in force: {measures}")));
    let config = start["config"].as_str().unwrap();
    let status = succeeded(postern(&["status", "-c", config]));
    assert!(status.contains(&format!("best_effort: in force: {measures}")), "{status}");
    let json: Value = serde_json::from_str(&succeeded(postern(&["status", "--json", "-c", config]))).unwrap();
    assert_eq!(json["status"]["hardening"], start["hardening"]);
}

#[test]
fn a_daemon_that_is_not_to_be_hardened_says_so() {
    let world = World::configured(|config| config.with("harden: none"));
    let start = world.postern().wait_for_record(|record| record["event"] == "daemon.start");
    assert_eq!((start["hardening"]["mode"].as_str(), in_force(&start)), (Some("none"), vec![]));
    assert_eq!(of_every_thread(world.postern().pid(), "Seccomp"), ["0"]);
    drop(world.log_in());
}

#[test]
fn a_kernel_without_landlock_is_reported_and_is_not_enough_where_all_is_required() {
    let world = World::configured(|config| config);
    let config = Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port);
    let refused = serve_on_an_older_kernel(&config, "harden: required");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("harden: required, but not all of it can be had here: files: this kernel has no Landlock"), "{said}");
    let reported = serve_on_an_older_kernel(&config, "harden: best_effort");
    let start: Value = serde_json::from_slice(reported.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let missing: Vec<_> = start["hardening"]["not_in_force"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let measures: Vec<_> = missing.iter().map(|text| text.split(':').next().unwrap()).collect();
    assert_eq!(measures, ["files", "tcp_ports", "other_processes"], "{missing:?}");
    assert!(String::from_utf8_lossy(&reported.stderr).contains("not in force: files: this kernel has no Landlock"));
}

#[test]
fn a_reload_that_names_a_folder_out_of_reach_needs_a_restart_and_changes_nothing() {
    let mut kept = None;
    let world = World::configured(|config| kept.insert(config.with("admin: { socket: admin.sock }")).clone());
    let config = kept.unwrap();
    let elsewhere = private_dir();
    let ca = elsewhere.path().join("client-ca.crt");
    fs::write(&ca, world.pki.client_ca_pem()).unwrap();
    let path = config.dir().join("postern.yaml");
    let written = fs::read_to_string(&path).unwrap();
    fs::write(&path, written.replace("client-ca.crt", ca.to_str().unwrap())).unwrap();
    let refused = postern(&["reload", "-c", path.to_str().unwrap()]);
    let said = [refused.stdout, refused.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{} is out of this process's reach", elsewhere.path().display())), "{said}");
    assert!(said.contains("needs a restart"), "{said}");
    drop(world.log_in());
    fs::copy(&ca, config.dir().join("new-ca.crt")).unwrap();
    fs::write(&path, written.replace("client-ca.crt", "new-ca.crt")).unwrap();
    succeeded(postern(&["reload", "-c", path.to_str().unwrap()]));
}

#[test]
fn a_socket_beside_the_trail_is_told_and_is_a_fault_where_all_is_required() {
    let mut kept = None;
    let world = World::configured(|config| {
        let audit = config.dir().join("audit.jsonl");
        kept.insert(config.audit_file(&audit).with("admin: { socket: admin.sock }")).clone()
    });
    let config = kept.unwrap();
    let path = config.dir().join("postern.yaml");
    let told = format!("admin.socket: found in {}, and -c, audit.file, ", config.dir().canonicalize().unwrap().display());
    assert!(world.postern().log().contains(&told), "{}", world.postern().log());
    assert!(succeeded(postern(&["check", "-c", path.to_str().unwrap()])).contains(&format!("notice: {told}")));
    fs::write(&path, fs::read_to_string(&path).unwrap() + "\nharden: required\n").unwrap();
    for command in ["check", "serve"] {
        let refused = postern(&[command, "-c", path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&[refused.stdout, refused.stderr].concat()).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{command}: {said}");
        assert!(said.contains(&format!("{}: {told}", path.display())), "{command}: {said}");
    }
}

#[test]
fn as_another_user_everything_still_works() {
    if !is_root("as_another_user_everything_still_works") {
        return;
    }
    let (world, config) = world_of_nobody();
    let pid = world.postern().pid();
    for field in ["Uid", "Gid"] {
        assert_eq!(of_every_thread(pid, field), [[NOBODY; 4].join(" ")]);
    }
    assert_eq!(of_every_thread(pid, "Groups"), [NOBODY]);
    let audit = config.dir().join("log/audit.jsonl");
    let found = fs::metadata(&audit).unwrap();
    assert_eq!((found.uid(), found.permissions().mode() & 0o777), (65534, 0o600));

    // A cancel, which is a connection of its own to the backend.
    let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(Some(world.alice.clone()))).unwrap();
    wire.send(&startup_of_version(3, 0, &[("user", "alice"), ("database", "postgres")]));
    let key = wire.until_ready().unwrap().into_iter().find(|message| message.is('K')).unwrap().body;
    wire.query("select pg_sleep(600)");
    world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'PgSleep'");
    let mut cancel = Wire::connect(world.address());
    cancel.send_clear(&cancel_request(u32::from_be_bytes(key[..4].try_into().unwrap()), &key[4..]));
    assert!(wire.until_ready().unwrap_err().to_string().contains("57014"), "the statement is cancelled");

    // logrotate, and what operators ask.
    fs::rename(&audit, audit.with_extension("1")).unwrap();
    signal("USR1", pid);
    wait_until("the trail goes on in a new file", || audit.exists());
    drop(world.log_in());
    wait_until("the session is on the new file", || records(&audit).iter().any(|record| record["event"] == "session.start"));
    let status = succeeded(postern(&["status", "-c", config.dir().join("postern.yaml").to_str().unwrap()]));
    assert!(status.contains("nobody (uid 65534)"), "{status}");
}

#[test]
fn a_daemon_of_another_user_that_was_killed_is_started_again() {
    if !is_root("a_daemon_of_another_user_that_was_killed_is_started_again") {
        return;
    }
    let (mut world, config) = world_of_nobody();
    world.postern_mut().end("KILL");
    assert!(config.dir().join("run/admin.sock").exists(), "nobody took it away");
    let _successor = Daemon::start(&config);
    let socket = config.dir().join("run/admin.sock");
    assert_eq!(fs::symlink_metadata(&socket).unwrap().uid(), 65534);
    succeeded(postern(&["status", "-c", config.dir().join("postern.yaml").to_str().unwrap()]));
}

#[test]
fn a_key_that_only_root_can_read_is_a_fault_that_says_what_to_do() {
    if !is_root("a_key_that_only_root_can_read_is_a_fault_that_says_what_to_do") {
        return;
    }
    let world = World::configured(|config| config);
    let config = Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port).with("user: nobody");
    let path = config.write();
    let key = config.dir().join("server.key");
    for command in ["check", "serve"] {
        let output = postern(&[command, "-c", path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(if command == "check" { &output.stdout } else { &output.stderr }).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("tls.ssl_key_file"), "{said}");
        assert!(said.contains(&format!("chown nobody {}", key.display())), "{said}");
    }
}

#[test]
fn who_is_not_root_stays_who_he_is_and_says_so() {
    if !is_root("who_is_not_root_stays_who_he_is_and_says_so") {
        return;
    }
    let world = World::configured(|config| config);
    let config = Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port).with("user: nobody");
    succeeded(Command::new("chown").args(["-R", "postgres"]).arg(config.dir()).output().unwrap());
    let path = config.write();
    let program = ["--reuid=postgres", "--regid=postgres", "--clear-groups", "timeout", "--signal=INT", "--kill-after=60", "3"];
    let program = program.into_iter().chain([postern_path(), "serve", "-c"]);
    let output = Command::new("setpriv").args(program).arg(path).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not in force: user: it was started as uid"), "{said}");
    // With the uid alone it is not that user yet.
    let (config, group) = (Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port).with("user: nobody"), "--groups=27");
    succeeded(Command::new("chown").args(["-R", NOBODY]).arg(config.dir()).output().unwrap());
    let path = config.write();
    let program = ["--reuid=nobody", "--regid=nogroup", group, "timeout", "--signal=INT", "3", postern_path(), "serve", "-c"];
    let output = Command::new("setpriv").args(program).arg(path).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not in force: user: it was started as a member of the group 27, and only root can become nobody"), "{said}");
}
