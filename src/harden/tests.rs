//! What is refused inside. Each look is taken by a process of its own, this test program once more, since there is no way out.

use std::env;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{execv, getppid};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::*;

/// Names the folder of the look, in the process that takes it.
const INSIDE: &str = "POSTERN_TEST_INSIDE";

/// A folder with `read/`, `written/`, `sockets/` and `other/`; a port that may be connected to, and one that may not.
struct Place {
    folder: PathBuf,
    inside: TcpListener,
    outside: TcpListener,
    _abstract: UnixListener,
}

impl Place {
    fn new(folder: &Path) -> Self {
        for name in ["read", "written", "sockets", "other"] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("file"), name).unwrap();
        }
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self {
            folder: folder.to_owned(),
            inside: listen(),
            outside: listen(),
            _abstract: UnixListener::bind_addr(&hidden(folder)).unwrap(),
        }
    }

    /// Has `test` take the look in a process of its own.
    fn look(&self, test: &str) {
        let ports = [&self.inside, &self.outside].map(|listener| listener.local_addr().unwrap().port().to_string());
        let module = module_path!().split_once("::").unwrap().1;
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{test}"), "--nocapture", "--test-threads=1"])
            .env(INSIDE, &self.folder)
            .env("POSTERN_TEST_PORTS", ports.join(" "))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// An abstract socket of a process outside.
fn hidden(folder: &Path) -> SocketAddr {
    SocketAddr::from_abstract_name(folder.as_os_str().as_encoded_bytes()).unwrap()
}

/// The folder, if this process is the one that takes the look; else the look is taken by another.
fn inside(test: &str) -> Option<PathBuf> {
    let folder = env::var_os(INSIDE).map(PathBuf::from);
    if folder.is_none() {
        let folder = tempfile::tempdir().unwrap();
        Place::new(folder.path()).look(test);
    }
    folder
}

fn ports() -> [u16; 2] {
    let ports = env::var("POSTERN_TEST_PORTS").unwrap();
    let (inside, outside) = ports.split_once(' ').unwrap();
    [inside, outside].map(|port| port.parse().unwrap())
}

fn resources(folder: &Path) -> Resources {
    Resources {
        read: vec![Named::new("tls.ssl_key_file", folder.join("read/file"))],
        appended: vec![Named::new("audit.file", folder.join("written/file"))],
        sockets: vec![Named::new("admin.socket", folder.join("sockets/admin.sock"))],
        connected: vec![Named::new("backend.port", ports()[0])],
        abstract_sockets: false,
    }
}

/// Fences this process in, as this kernel can. The test program has a thread beside that of the test, which nothing is asked of.
fn fenced(folder: &Path) -> Report {
    let settings = HardenSettings { mode: Mode::BestEffort, user: None };
    confine(&settings, &resources(folder)).unwrap().seal_among(Ok(1)).unwrap()
}

/// Whether a measure is in force. A kernel that cannot enforce it proves nothing about it, and says so.
fn holds(report: &Report, measure: Measure) -> bool {
    is_in_force(&report.outcomes, measure)
}

fn is_in_force(outcomes: &[Outcome], measure: Measure) -> bool {
    let outcome = outcomes.iter().find(|outcome| outcome.measure == measure).unwrap();
    outcome.missing.iter().for_each(|why| eprintln!("not in force here, {}: {why}", measure.label()));
    outcome.missing.is_none()
}

fn denied<T>(outcome: io::Result<T>) -> bool {
    outcome.err().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn forbidden<T>(outcome: nix::Result<T>) -> bool {
    outcome.err() == Some(nix::errno::Errno::EPERM)
}

#[test]
fn files_outside_of_the_named_folders_are_out_of_reach() {
    let Some(folder) = inside("files_outside_of_the_named_folders_are_out_of_reach") else { return };
    let report = fenced(&folder);
    if !holds(&report, Measure::Files) {
        return;
    }
    assert!(denied(fs::read("/etc/shadow")));
    assert!(denied(fs::read("/root/.bashrc")) || !Path::new("/root/.bashrc").exists());
    assert!(denied(fs::read(folder.join("other/file"))));
    assert!(denied(fs::write(folder.join("other/new"), "")));
    assert!(denied(fs::remove_file(folder.join("read/file"))));
    assert!(denied(OpenOptions::new().append(true).open(folder.join("read/file"))));
    assert!(denied(fs::read_dir(folder.join("other"))));
    assert!(fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| status.contains("NoNewPrivs:\t1")));
}

#[test]
fn what_is_read_can_be_rotated_and_what_is_written_made_anew() {
    let Some(folder) = inside("what_is_read_can_be_rotated_and_what_is_written_made_anew") else { return };
    fenced(&folder);
    assert_eq!(fs::read_to_string(folder.join("read/file")).unwrap(), "read");
    let append = |name: &str| OpenOptions::new().append(true).create(true).open(folder.join("written").join(name));
    append("file").unwrap().write_all(b" more").unwrap();
    append("file.after-logrotate").unwrap().write_all(b"first").unwrap();
    assert_eq!(fs::read_to_string(folder.join("written/file")).unwrap(), "written more");
    assert!(denied(fs::File::create(folder.join("written/file"))), "what was written is never cut short");
}

#[test]
fn the_trail_is_neither_removed_nor_renamed_nor_replaced() {
    let Some(folder) = inside("the_trail_is_neither_removed_nor_renamed_nor_replaced") else { return };
    let confined = confine(&HardenSettings { mode: Mode::BestEffort, user: None }, &resources(&folder)).unwrap();
    if !is_in_force(&confined.outcomes, Measure::Files) {
        return;
    }
    // The fence alone, before system calls are taken away: what a renaming call would be let to do.
    let trail = folder.join("written/file");
    let refused = |outcome: io::Result<()>| {
        outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::CrossesDevices))
    };
    assert!(refused(fs::remove_file(&trail)));
    assert!(refused(fs::rename(&trail, folder.join("written/away"))));
    assert!(refused(fs::rename(&trail, folder.join("sockets/away"))));
    assert!(refused(fs::rename(folder.join("sockets/file"), &trail)));
    assert!(denied(UnixListener::bind(folder.join("written/sock"))));
    assert!(denied(fs::write(folder.join("sockets/new"), "")), "no file is made where sockets are");
    drop(OpenOptions::new().append(true).create(true).open(folder.join("written/next")).unwrap());
}

#[test]
fn what_is_on_the_trail_is_not_written_over() {
    let Some(folder) = inside("what_is_on_the_trail_is_not_written_over") else { return };
    let trail = folder.join("written/file");
    let mut open = OpenOptions::new().append(true).open(&trail).unwrap();
    if !holds(&fenced(&folder), Measure::SystemCalls) {
        return;
    }
    assert!(denied(OpenOptions::new().write(true).open(&trail)), "without O_APPEND");
    assert!(denied(OpenOptions::new().read(true).write(true).open(&trail)));
    assert!(denied(OpenOptions::new().read(true).append(true).open(&trail)), "nor to be mapped");
    assert!(denied(OpenOptions::new().append(true).custom_flags(nix::libc::O_TRUNC).open(&trail)));
    assert!(denied(OpenOptions::new().write(true).custom_flags(nix::libc::O_TMPFILE).open(folder.join("written"))));
    assert!(forbidden(fcntl(&open, FcntlArg::F_SETFL(OFlag::empty()))), "O_APPEND is not taken away");
    assert!(denied(open.set_len(0)));
    assert!(denied(open.write_at(b"forged", 0)));
    assert!(fcntl(&open, FcntlArg::F_GETFL).is_ok_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_APPEND)));
    open.write_all(b" more").unwrap();
    assert_eq!(fs::read_to_string(&trail).unwrap(), "written more");
}

#[test]
fn a_socket_takes_its_name_from_another_and_leaves_with_it() {
    let Some(folder) = inside("a_socket_takes_its_name_from_another_and_leaves_with_it") else { return };
    drop(confine(&HardenSettings { mode: Mode::BestEffort, user: None }, &resources(&folder)).unwrap());
    let [beside, name] = ["admin.sock.7", "admin.sock"].map(|name| folder.join("sockets").join(name));
    let _predecessor = UnixListener::bind(&name).unwrap();
    let _successor = UnixListener::bind(&beside).unwrap();
    fs::rename(&beside, &name).unwrap();
    fs::remove_file(&name).unwrap();
}

#[test]
fn no_other_program_namespace_or_process_can_be_had() {
    let Some(folder) = inside("no_other_program_namespace_or_process_can_be_had") else { return };
    if !holds(&fenced(&folder), Measure::SystemCalls) {
        return;
    }
    let program = CString::new("/bin/true").unwrap();
    assert!(forbidden(execv(&program, &[&program])));
    assert!(denied(Command::new("/bin/true").status()));
    assert!(forbidden(ptrace::traceme()));
    assert!(forbidden(ptrace::attach(getppid())));
    assert!(forbidden(unshare(CloneFlags::CLONE_NEWUSER)));
    assert!(forbidden(nix::sys::signal::kill(getppid(), None)));
    assert!(forbidden(setrlimit(Resource::RLIMIT_CORE, 1, 1)));
    assert!(denied(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))));
}

#[test]
fn threads_can_be_made_and_are_confined_as_well() {
    let Some(folder) = inside("threads_can_be_made_and_are_confined_as_well") else { return };
    let report = fenced(&folder);
    let refused = thread::spawn(move || [denied(fs::read("/etc/shadow")), forbidden(ptrace::traceme())]).join().unwrap();
    assert!(!holds(&report, Measure::Files) || refused[0]);
    assert!(!holds(&report, Measure::SystemCalls) || refused[1]);
}

#[test]
fn the_backends_port_alone_is_connected_to_and_none_is_listened_on() {
    let Some(folder) = inside("the_backends_port_alone_is_connected_to_and_none_is_listened_on") else { return };
    let report = fenced(&folder);
    let [inside, outside] = ports();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, inside)).is_ok());
    if holds(&report, Measure::TcpPorts) {
        assert!(denied(TcpStream::connect((Ipv4Addr::LOCALHOST, outside))));
        assert!(denied(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))));
    }
    if holds(&report, Measure::OtherProcesses) {
        assert!(denied(UnixStream::connect_addr(&hidden(&folder))));
    }
}

#[test]
fn no_connection_is_made_around_the_fence_of_ports() {
    let Some(folder) = inside("no_connection_is_made_around_the_fence_of_ports") else { return };
    let report = fenced(&folder);
    let [inside, outside] = ports();
    let to = |port| SockAddr::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let tcp = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if holds(&report, Measure::SystemCalls) {
        assert!(denied(Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP))), "Landlock does not see MPTCP");
        assert!(denied(tcp().send_to_with_flags(b"x", &to(outside), nix::libc::MSG_FASTOPEN)), "nor a connection that sendto(2) makes");
        assert!(forbidden(setsockopt(&tcp(), sockopt::TcpFastOpenConnect, &true)), "nor one that the first write makes");
    }
    let plain = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    plain.connect(&to(inside)).unwrap();
    plain
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5)).with_retries(3))
        .unwrap();
    plain.set_tcp_nodelay(true).unwrap();
    plain.send(b"x").unwrap();
}

#[test]
fn an_abstract_socket_of_the_service_manager_is_reached_and_that_is_said() {
    let Some(folder) = inside("an_abstract_socket_of_the_service_manager_is_reached_and_that_is_said") else { return };
    let settings = HardenSettings { mode: Mode::BestEffort, user: None };
    let report = confine(&settings, &Resources { abstract_sockets: true, ..resources(&folder) }).unwrap().seal_among(Ok(1)).unwrap();
    assert!(!holds(&report, Measure::OtherProcesses));
    assert!(UnixStream::connect_addr(&hidden(&folder)).is_ok());
}

#[test]
fn no_privilege_is_left() {
    let Some(folder) = inside("no_privilege_is_left") else { return };
    fenced(&folder);
    // That of the thread: who made it, the test program, has its own.
    let mut status = String::new();
    fs::File::open("/proc/thread-self/status").unwrap().read_to_string(&mut status).unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
}

#[test]
fn what_a_reload_names_beyond_the_fence_is_told_by_its_key() {
    let Some(folder) = inside("what_a_reload_names_beyond_the_fence_is_told_by_its_key") else { return };
    let report = fenced(&folder);
    let now = resources(&folder);
    assert_eq!(report.outside(&now), []);
    let mut later = now.clone();
    later.read.push(Named::new("tls.ssl_crl_file", folder.join("read/new.crl")));
    later.read.push(Named::new("backend.passfile", folder.join("other/pgpass")));
    later.sockets.push(Named::new("admin.socket", folder.join("written/admin.sock")));
    later.connected = vec![Named::new("backend.port", ports()[1])];
    let settings: Vec<_> = report.outside(&later).into_iter().map(|outside| outside.setting).collect();
    let mut expected = Vec::new();
    if holds(&report, Measure::Files) {
        expected.extend(["backend.passfile", "admin.socket"]);
    }
    if holds(&report, Measure::TcpPorts) {
        expected.push("backend.port");
    }
    assert_eq!(settings, expected);
}

#[test]
fn a_thread_that_was_there_before_is_told_and_is_too_much_where_all_is_required() {
    let Some(folder) = inside("a_thread_that_was_there_before_is_told_and_is_too_much_where_all_is_required") else { return };
    let confined = |mode| Confined { mode, outcomes: Vec::new(), gaps: Vec::new(), fence: Fence::none() };
    // The test program has a thread of its own.
    let report = confined(Mode::BestEffort).seal().unwrap();
    let why = report.outcomes[0].missing.as_deref().unwrap();
    assert!(why.starts_with("2 threads exist, ") && report.outcomes[0].measure == Measure::SystemCalls, "{why}");
    let unseen = || Err(ErrorKind::NotFound.into());
    assert!(matches!(confined(Mode::Required).seal_among(Ok(3)), Err(HardenError::Missing(_))));
    assert!(matches!(confined(Mode::Required).seal_among(unseen()), Err(HardenError::Missing(_))));
    assert!(fs::read_dir(folder).is_ok(), "the fence is not part of this");
}

#[test]
fn what_is_required_and_missing_is_named_with_what_to_do() {
    let outcomes = vec![
        Outcome { measure: Measure::Capabilities, missing: None },
        Outcome { measure: Measure::Files, missing: Some("this kernel has no Landlock".to_owned()) },
    ];
    let confined = |mode| Confined { mode, outcomes: outcomes.clone(), gaps: Vec::new(), fence: Fence::none() };
    assert!(confined(Mode::BestEffort).checked().is_ok());
    let error = confined(Mode::Required).checked().unwrap_err().to_string();
    assert!(error.starts_with("harden: required, but not all of it can be had here: files: this kernel has no Landlock; "), "{error}");
    assert!(error.ends_with("write harden: best_effort, which goes on without and says so"), "{error}");
}
