//! The program as a shell sees it: words, exit codes, signals.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use tempfile::TempDir;

use crate::harness::World;
use crate::harness::clients::{failed, succeeded};
use crate::harness::daemon::{Config, postern};
use crate::harness::pki::{Pki, Profile};
use crate::harness::postgres::private_dir;
use crate::harness::wire::End;

#[test]
fn version_names_the_program_and_its_version() {
    assert_eq!(succeeded(postern(&["--version"])), format!("postern {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_that_does_not_exist_is_a_usage_error() {
    let output = postern(&["sevre"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(failed(output).contains("serve"), "near misses are named");
}

#[test]
fn check_finds_nothing_wrong_with_the_smallest_configuration() {
    let bench = Bench::new();
    let output = bench.check("");
    assert_eq!(output.status.code(), Some(0), "{}", everything(&output));
}

#[test]
fn check_prints_every_fault_with_its_place() {
    let bench = Bench::new();
    let output = bench.check("limits: { max_conections: 5, authentication_timeout: 10 }\nnonsense: 1\nharden: sometimes\n");
    assert_eq!(output.status.code(), Some(78), "{}", everything(&output));
    let text = everything(&output);
    let file = bench.file().display().to_string();
    for fault in ["max_conections", "authentication_timeout", "nonsense", "harden"] {
        let line = text.lines().find(|line| line.contains(fault)).unwrap_or_else(|| panic!("{fault} is not named in\n{text}"));
        let place = line.split(&format!("{file}:")).nth(1).unwrap_or_else(|| panic!("no place in {line}"));
        let begins_with_a_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        assert!(place.split(':').take(2).all(begins_with_a_number), "no line and column in {line}");
    }
    assert!(text.contains("max_connections"), "the near miss is not named in\n{text}");
}

#[test]
fn each_fault_of_a_configuration_ends_check_and_serve_with_78() {
    let bench = Bench::new();
    for (fault, yaml) in [
        ("a key twice", "audit: { file: stdout }\naudit: { file: stdout }\n"),
        ("a wrong type", "limits: [1, 2]\n"),
        ("a bare duration", "limits: { authentication_timeout: 5 }\n"),
        ("a rule without a method", "hba:\n  - { database: all, user: all, address: all }\n"),
        ("an unknown method", "hba:\n  - { database: all, user: all, address: all, method: trust }\n"),
        ("a broken address", "hba:\n  - { database: all, user: all, address: 10.0.0.0/33, method: cert }\n"),
    ] {
        bench.is_a_fault(fault, yaml);
    }
}

#[test]
fn a_backend_that_is_not_on_this_machine_is_a_fault() {
    let bench = Bench::new();
    for host in ["10.0.0.1", "db.example", "0.0.0.0", "::", "192.168.1.1"] {
        let yaml = bench.config().backend(&format!("{{ host: \"{host}\" }}")).yaml();
        fs::write(bench.file(), yaml).unwrap();
        let output = postern(&["check", "-c", bench.file().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78), "{host}: {}", everything(&output));
    }
}

#[test]
fn files_that_do_not_serve_are_faults() {
    for (fault, spoil) in [
        ("no certificate", (|dir| fs::remove_file(dir.join("server.crt")).unwrap()) as fn(PathBuf)),
        ("an empty CA file", |dir| fs::write(dir.join("client-ca.crt"), "").unwrap()),
        ("a key that is not the certificate's", |dir| {
            Pki::new().named("other").write(&dir, "other");
            fs::copy(dir.join("other.key"), dir.join("server.key")).unwrap();
        }),
        ("a key that everyone can read", |dir| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(dir.join("server.key"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("half a certificate", |dir| {
            let text = fs::read(dir.join("server.crt")).unwrap();
            fs::write(dir.join("server.crt"), &text[..text.len() / 2]).unwrap();
        }),
        ("a leaf as the only CA", |dir| {
            let leaf = Pki::new().client(Profile::Good).certificate_pem();
            fs::write(dir.join("client-ca.crt"), leaf).unwrap();
        }),
    ] {
        let bench = Bench::new();
        spoil(bench.config().dir().to_owned());
        bench.is_a_fault(fault, "");
    }
}

#[test]
fn check_changes_nothing() {
    let bench = Bench::new();
    let audit = bench.dir.path().join("audit.jsonl");
    let output = bench.check(&format!("audit: {{ file: {} }}\n", audit.display()));
    assert_eq!(output.status.code(), Some(0), "{}", everything(&output));
    assert!(!audit.exists(), "check made the audit file");
}

#[test]
fn check_tells_where_serve_could_not_write() {
    let bench = Bench::new();
    let absent = bench.dir.path().join("absent");
    let output = bench.check(&format!("audit: {{ file: {0}/a.jsonl }}\nadmin: {{ socket: {0}/admin.sock }}\n", absent.display()));
    assert_eq!(output.status.code(), Some(0), "{}", everything(&output));
    let found = format!("cannot write to {}: No such file or directory", absent.display());
    for key in ["audit.file", "admin.socket"] {
        let told = |line: &str| line.contains(&format!("notice: {key}: ")) && line.contains(&found);
        assert!(everything(&output).lines().any(told), "{key}: {}", everything(&output));
    }
}

#[test]
fn term_with_nobody_there_ends_with_0() {
    let mut world = World::new();
    assert_eq!(world.postern_mut().end("TERM").code(), Some(0));
}

#[test]
fn sessions_that_the_daemon_ends_are_told_57p01() {
    for signal in ["TERM", "INT"] {
        let mut world = World::new();
        let mut sessions = [world.log_in(), world.log_in()];
        assert_eq!(world.postern_mut().end(signal).code(), Some(0));
        for wire in &mut sessions {
            let last = wire.read_message().unwrap().fields();
            assert_eq!(last.to_string(), "FATAL 57P01 terminating connection due to administrator command");
            assert_eq!(wire.read_to_end(), (vec![], End::Closed));
        }
        world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
    }
}

#[test]
fn a_port_that_is_taken_is_reported_and_fails() {
    let world = World::new();
    let taken = Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port);
    let file = taken.write();
    let listen = world.address();
    let yaml = fs::read_to_string(&file).unwrap();
    let (_, rest) = yaml.split_once('\n').unwrap();
    fs::write(&file, format!("listen: {listen}\n{rest}")).unwrap();
    let output = postern(&["serve", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", everything(&output));
    assert!(everything(&output).contains(&listen.to_string()), "the address is not named: {}", everything(&output));
}

/// Files for `check`, and nothing running.
struct Bench {
    dir: TempDir,
    config: Config,
}

impl Bench {
    fn new() -> Self {
        let dir = private_dir();
        Self { config: Config::new(&Pki::new(), dir.path(), 5432), dir }
    }

    fn config(&self) -> Config {
        self.config.clone()
    }

    fn file(&self) -> PathBuf {
        self.config.dir().join("postern.yaml")
    }

    fn check(&self, yaml: &str) -> Output {
        self.config().with(yaml).write();
        postern(&["check", "-c", self.file().to_str().unwrap()])
    }

    #[track_caller]
    fn is_a_fault(&self, fault: &str, yaml: &str) {
        let output = self.check(yaml);
        assert_eq!(output.status.code(), Some(78), "check, {fault}: {}", everything(&output));
        let output = postern(&["serve", "-c", self.file().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78), "serve, {fault}: {}", everything(&output));
    }
}

fn everything(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
