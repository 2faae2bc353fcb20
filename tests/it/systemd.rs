//! The files of `config/systemd`, judged by the programs that will read them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User};

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, Daemon, postern_path};
use crate::harness::pki::{Pki, Profile};
use crate::harness::postgres::{Installation, Postgres, free_port};
use crate::harness::wire::Wire;
use crate::harness::{signal, wait_until};

#[test]
fn systemd_finds_the_service_little_exposed() {
    let unit = file("postern.service");
    let judged = succeeded(run("systemd-analyze", &["security", "--offline=true", "--no-pager", "--threshold=15", text(&unit)]));
    assert!(judged.contains("Overall exposure level for postern.service"), "{judged}");
}

#[test]
fn systemd_reads_the_unit_without_a_complaint() {
    let dir = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(file("postern.service")).unwrap();
    // This machine has neither the program's usual place nor its user.
    let unit =
        unit.replace("/usr/local/bin/postern", postern_path()).replace("User=postern", "User=root").replace("Group=postern", "Group=root");
    let copy = dir.path().join("postern.service");
    fs::write(&copy, unit).unwrap();
    let socket = dir.path().join("postern.socket");
    fs::copy(file("postern.socket"), &socket).unwrap();
    let verified = run("systemd-analyze", &["verify", text(&copy), text(&socket)]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("postern.service:") && !said.contains("postern.socket:"), "{said}");
}

#[test]
fn systemd_passes_the_socket_that_clients_connect_to() {
    let postgres = Postgres::isolated(&Installation::debian());
    postgres.sql("create role alice login");
    let pki = Pki::new();
    let config = Config::new(&pki, postgres.dir.path(), postgres.port);
    let address = config.address();
    let path = config.write();
    let written = fs::read_to_string(&path).unwrap();
    fs::write(&path, written.replace(&format!("[\"{address}\"]"), "systemd:postern")).unwrap();
    let unused = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let activate = |name: &str| {
        let mut activate = Command::new("setpriv");
        activate.args(["--pdeathsig=KILL", "systemd-socket-activate", &format!("--fdname={name}:unused"), "-l", &address.to_string()]);
        activate.args(["-l", &unused.to_string()]);
        activate.args([postern_path(), "serve", "-c", text(&path)]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let activate = activate.spawn().unwrap();
        wait_until("systemd listens", || TcpStream::connect(address).is_ok());
        activate
    };
    let daemon = activate("postern");
    // The first connection starts the daemon, and the next wait for it in the queue.
    let mut session = Wire::log_in(address, &pki.client(Profile::Good), "alice").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(session.rows("select 1").len(), 1);
    drop(session);
    assert!(TcpStream::connect(unused).is_err(), "nobody waits where nobody is served");
    signal("INT", daemon.id());
    let ended = daemon.wait_with_output().unwrap();
    assert!(ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("listen: systemd passed a socket unused that no entry names, and it was closed"), "{said}");

    let refused = activate("door").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains(
            "postern.yaml:1:1 listen: systemd:postern: systemd passed the sockets door, unused; expected FileDescriptorName=postern"
        ),
        "{said}"
    );
}

#[test]
fn logrotate_starts_a_new_file_and_the_chain_goes_on() {
    let postgres = Postgres::isolated(&Installation::debian());
    postgres.sql("create role alice login");
    let pki = Pki::new();
    let logs = tempfile::tempdir().unwrap();
    let trail = logs.path().join("audit.jsonl");
    let config = Config::new(&pki, postgres.dir.path(), postgres.port).audit_file(&trail);
    let postern = Daemon::start(&config);
    let log_in =
        || drop(Wire::log_in(postern.address(), &pki.client(Profile::Good), "alice").unwrap_or_else(|refusal| panic!("{refusal}")));
    let ends = |path: &Path| fs::read_to_string(path).unwrap_or_default().lines().filter(|line| line.contains("\"session.end\"")).count();
    log_in();
    wait_until("the first session is on record", || ends(&trail) == 1);

    let settings = fs::read_to_string(file("postern.logrotate")).unwrap();
    let told = "systemctl kill --kill-whom=main --signal=USR1 postern.service";
    assert!(settings.contains(told));
    let settings = settings.replace(told, &format!("kill -USR1 {}", postern.pid()));
    // The machine of the test has no such user.
    let own = [User::from_uid(Uid::effective()).unwrap().unwrap().name, Group::from_gid(Gid::effective()).unwrap().unwrap().name];
    assert!(settings.contains("su postern postern\n"));
    let settings = settings.replace("su postern postern", &format!("su {}", own.join(" ")));
    // Which it refuses without `su`, where the group of the folder is not root's.
    fs::set_permissions(logs.path(), fs::Permissions::from_mode(0o770)).unwrap();
    chown(logs.path(), None, Some(Gid::effective().as_raw().max(1))).unwrap();
    let settings = settings.replace("/var/log/postern", text(logs.path())).replace("    dateext\n", "");
    let own = logs.path().join("logrotate.conf");
    fs::write(&own, settings).unwrap();
    let state = logs.path().join("state");
    succeeded(run("logrotate", &["--force", "--state", text(&state), text(&own)]));
    let old = logs.path().join("audit.jsonl.1");
    wait_until("there is a new file", || trail.exists());
    log_in();
    wait_until("the second session is on record", || ends(&trail) == 1);

    let whole = [fs::read_to_string(&old).unwrap(), fs::read_to_string(&trail).unwrap()].concat();
    let records: Vec<serde_json::Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<_> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..records.len() as u64).collect::<Vec<_>>());
    for (line, next) in whole.lines().zip(records.iter().skip(1)) {
        assert_eq!(next["prev"].as_str().unwrap(), sha256(line));
    }
}

#[test]
fn systemd_is_told_that_it_serves_that_it_lives_and_that_it_leaves() {
    let postgres = Postgres::isolated(&Installation::debian());
    postgres.sql("create role alice login");
    let pki = Pki::new();
    let config = Config::new(&pki, postgres.dir.path(), postgres.port);
    let port = config.address().port();
    let socket = config.dir().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut daemon = Command::new("setpriv")
        .args(["--pdeathsig=KILL", postern_path(), "serve", "-c"])
        .arg(config.write())
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = |wanted: &str| {
        let mut datagram = [0; 4096];
        loop {
            let length = systemd.recv(&mut datagram).unwrap_or_else(|error| panic!("{wanted} was never said: {error}"));
            if String::from_utf8_lossy(&datagram[..length]).lines().any(|line| line == wanted) {
                break;
            }
        }
    };
    wait_for("READY=1");
    // It is true: whoever is told so can connect.
    let mut session =
        Wire::log_in(([127, 0, 0, 1], port).into(), &pki.client(Profile::Good), "alice").unwrap_or_else(|why| panic!("{why}"));
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    session.rows("begin");
    signal("HUP", daemon.id());
    wait_for("RELOADING=1");
    wait_for("READY=1");
    signal("TERM", daemon.id());
    wait_for("STOPPING=1");
    session.rows("commit");
    assert!(daemon.wait().unwrap().success());
}

fn sha256(line: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd").join(name)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap_or_else(|error| {
        panic!("{program} cannot be run ({error}): run `make test`, which installs it");
    })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
