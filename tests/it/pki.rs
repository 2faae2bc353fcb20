//! `postern pki` and `postern conninfo` as their users meet them: files, exit codes, and psql, which must get in by what they print.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::harness::clients::{Clients, failed, succeeded};
use crate::harness::daemon::{Config, Daemon, postern};
use crate::harness::pki::Pki;
use crate::harness::postgres::{Installation, Postgres, private_dir};

#[test]
fn psql_gets_in_by_every_form_that_conninfo_prints() {
    let town = Town::new();
    let clients = Clients::debian();
    let who = "select current_user";
    for format in ["uri", "keywords"] {
        let conninfo = town.conninfo("alice", format);
        assert_eq!(succeeded(clients.psql(&conninfo, who)), "alice\n", "{conninfo}");
    }
    let service = town.dir().join("pg_service.conf");
    fs::write(&service, town.conninfo("alice", "service")).unwrap();
    let psql = clients.command("psql").env("PGSERVICEFILE", &service).args(["service=alice", "-AtXc", who]).output().unwrap();
    assert_eq!(succeeded(psql), "alice\n");
    let jdbc = town.conninfo("alice", "jdbc");
    assert!(
        jdbc.starts_with(&format!("jdbc:postgresql://localhost:{}/postgres?user=alice&sslmode=verify-full&", town.postern.port)),
        "{jdbc}"
    );
}

#[test]
fn a_role_with_a_difficult_name_gets_in_too() {
    let town = Town::new();
    let name = r"Jörg O'Neil\ops/7 100%";
    town.postgres.sql(&format!("create role \"{name}\" login"));
    succeeded(pki(&["client", town.path(), "--cn", name]));
    for format in ["uri", "keywords"] {
        let conninfo = town.conninfo(name, format);
        assert_eq!(succeeded(Clients::debian().psql(&conninfo, "select current_user")).trim_end(), name, "{conninfo}");
    }
    let made: Vec<_> = fs::read_dir(town.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(made.iter().any(|file| file == "Jörg%20O%27Neil%5Cops%2F7%20100%25.crt"), "{made:?}");
}

#[test]
fn a_servers_certificate_lets_nobody_in() {
    let town = Town::new();
    // Of a keyword that stands twice libpq takes the last. The server's certificate is of the other CA, whose word about clients
    // counts for nothing.
    let conninfo = format!("{} sslcert={1}/server.crt sslkey={1}/server.key", town.conninfo("alice", "keywords"), town.path());
    let said = failed(Clients::debian().psql(&conninfo, "select 1"));
    assert!(said.contains("alert unsupported certificate") || said.contains("alert unknown ca"), "{said}");
}

#[test]
fn openssl_finds_nothing_wrong_with_what_is_made() {
    let dir = made();
    for (ca, leaf, purpose) in [("server-ca", "server", "sslserver"), ("client-ca", "alice", "sslclient")] {
        let verify = |more: &[&str]| {
            let (ca, leaf) = (dir.path().join(format!("{ca}.crt")), dir.path().join(format!("{leaf}.crt")));
            openssl(&[&["verify", "-x509_strict", "-purpose", purpose, "-CAfile", text(&ca)], more, &[text(&leaf)]].concat())
        };
        succeeded(verify(&[]));
        if leaf == "server" {
            succeeded(verify(&["-verify_hostname", "localhost"]));
            succeeded(verify(&["-verify_ip", "::1"]));
            failed(verify(&["-verify_hostname", "elsewhere"]));
        }
    }
    // Each certificate is of its own CA and of no other, and for its own purpose.
    let at = |file: &str| dir.path().join(file);
    failed(openssl(&["verify", "-CAfile", text(&at("server-ca.crt")), text(&at("alice.crt"))]));
    failed(openssl(&["verify", "-purpose", "sslclient", "-CAfile", text(&at("server-ca.crt")), text(&at("server.crt"))]));
    failed(openssl(&["verify", "-purpose", "sslserver", "-CAfile", text(&at("client-ca.crt")), text(&at("alice.crt"))]));
}

#[test]
fn nothing_is_ever_overwritten() {
    let dir = made();
    let before = contents(dir.path());
    let path = text(dir.path());
    for arguments in [&["init", path][..], &["server", path, "--host", "other"], &["client", path, "--cn", "alice"]] {
        let output = pki(arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = failed(output);
        assert!(said.contains("nothing is ever overwritten") || said.contains("With --renew another one is issued beside it"), "{said}");
    }
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn keys_are_for_their_owner_alone_whatever_the_umask() {
    let dir = private_dir();
    let path = dir.path().join("pki");
    let script = r#"umask 000; "$1" pki init "$2" && "$1" pki client "$2" --cn alice; umask 077; "$1" pki client "$2" --cn bob"#;
    let shell = Command::new("sh").args(["-c", script, "sh", crate::harness::daemon::postern_path()]).arg(&path).output().unwrap();
    succeeded(shell);
    let mode = |file: &str| fs::metadata(path.join(file)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(""), 0o700);
    for key in ["server-ca.key", "client-ca.key", "alice.key", "bob.key"] {
        assert_eq!(mode(key), 0o600, "{key}");
    }
    for certificate in ["server-ca.crt", "client-ca.crt", "alice.crt", "bob.crt"] {
        assert_eq!(mode(certificate), 0o644, "{certificate}");
    }
}

#[test]
fn names_that_can_never_log_in_are_usage_errors() {
    let dir = made();
    let path = text(dir.path());
    for name in ["", "a\nb", &"a".repeat(64)] {
        assert_eq!(pki(&["client", path, "--cn", name]).status.code(), Some(2), "{name:?}");
    }
    for host in ["", "db:5432", "https://db", "a b"] {
        assert_eq!(pki(&["server", path, "--host", host]).status.code(), Some(2), "{host:?}");
    }
    assert_eq!(pki(&["server", path]).status.code(), Some(2));
}

#[test]
fn what_pki_client_prints_last_is_a_line_for_the_shell() {
    let dir = made();
    let printed = succeeded(pki(&["client", text(dir.path()), "--cn", "o'neil"]));
    let line = printed.lines().last().unwrap();
    let echoed = succeeded(Command::new("sh").args(["-c", &line.replacen("psql", "printf %s", 1)]).output().unwrap());
    let path = text(dir.path());
    let expected = format!(
        "host=localhost port=5432 user='o\\'neil' dbname=postgres sslmode=verify-full sslrootcert={path}/server-ca.crt \
         sslcert={path}/o%27neil.crt sslkey={path}/o%27neil.key"
    );
    assert_eq!(echoed, expected);
}

#[test]
fn show_says_what_a_login_would_say() {
    let dir = made();
    let show = |file: &str| succeeded(pki(&["show", text(&dir.path().join(file))]));
    assert!(show("alice.crt").contains("  as a client  logs in as \"alice\""));
    assert!(show("server.crt").contains("  as a server  sslmode=verify-full takes it for localhost, 127.0.0.1, ::1\n"));
    assert!(show("server.crt").contains("has an extended key usage without clientAuth"));
    assert!(show("client-ca.crt").contains("  as a CA      it may issue client certificates"));
    let key = fs::read_to_string(dir.path().join("alice.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!show("alice.key").contains(secret), "the key itself is not shown");
}

#[test]
fn show_names_what_cannot_be_verified_here() {
    let dir = private_dir();
    let at = |file: &str| dir.path().join(file);
    let kinds = [
        (vec!["-algorithm", "ED448"], "key          Ed448\n"),
        (vec!["-algorithm", "RSA-PSS"], "key          RSA-PSS\n"),
        (vec!["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"], "key          ECDSA brainpoolP256r1\n"),
        (vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], "key          RSA 1024 bits\n"),
    ];
    for (kind, named) in kinds {
        succeeded(openssl(&[&["genpkey", "-out", text(&at("key"))], kind.as_slice()].concat()));
        succeeded(openssl(&["req", "-new", "-x509", "-key", text(&at("key")), "-subj", "/CN=ca", "-out", text(&at("crt"))]));
        let shown = succeeded(pki(&["show", text(&at("crt"))]));
        assert!(shown.contains(named), "{shown}");
        assert!(
            shown.contains("its signature cannot be verified here") && shown.contains("Postern can verify nothing that it issues"),
            "{shown}"
        );
    }
}

#[test]
fn show_follows_the_chain_of_the_usual_recipe_and_names_v1() {
    let dir = private_dir();
    let script = r#"cd "$1" && openssl req -sha256 -new -x509 -days 365 -nodes -subj /CN=client-ca -out ca.crt -keyout ca.key &&
        openssl req -sha256 -new -nodes -subj /CN=alice -out a.csr -keyout a.key &&
        openssl x509 -req -sha256 -days 365 -in a.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out a.crt && cat a.crt ca.crt > both.pem"#;
    succeeded(Command::new("sh").args(["-c", script, "sh"]).arg(dir.path()).output().unwrap());
    let shown = succeeded(pki(&["show", text(&dir.path().join("both.pem"))]));
    assert!(shown.contains("  chain        certificate 2 issued it, and the signature fits\n"), "{shown}");
    assert!(shown.contains("  as a client  logs in as \"alice\""), "{shown}");
    // OpenSSL 3.0 makes v1 of this recipe, later ones v3.
    let v1 = succeeded(openssl(&["x509", "-in", text(&dir.path().join("a.crt")), "-noout", "-text"])).contains("Version: 1 ");
    assert_eq!(shown.contains("  version      v1: "), v1, "{shown}");
}

#[test]
fn what_cannot_be_shown_is_a_failure_with_a_hint() {
    for file in ["/dev/null", "/nonexistent", "/"] {
        let output = pki(&["show", file]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(failed(output).starts_with(&format!("postern: {file}: ")));
    }
}

#[test]
fn conninfo_of_a_broken_configuration_is_exit_78() {
    let dir = private_dir();
    let file = dir.path().join("postern.yaml");
    fs::write(&file, "nonsense: 1\n").unwrap();
    assert_eq!(postern(&["conninfo", "-c", text(&file), "--user", "alice"]).status.code(), Some(78));
}

#[test]
fn the_key_for_java_is_made_by_the_command_that_is_printed() {
    let town = Town::new();
    let output = postern(&["conninfo", "-c", text(&town.file), "--user", "alice", "--format", "jdbc"]);
    let advice = String::from_utf8(output.stderr).unwrap();
    let command = advice.lines().find_map(|line| line.strip_prefix("# (").map(|rest| format!("({rest}"))).unwrap();
    succeeded(Command::new("sh").args(["-c", &command]).output().unwrap());
    let made = town.dir().join("alice.pk8");
    succeeded(openssl(&["pkey", "-inform", "DER", "-in", text(&made), "-noout", "-check"]));
    assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A daemon by certificates of `postern pki`, made in the folder of its configuration.
struct Town {
    postern: Daemon,
    postgres: Postgres,
    config: Config,
    file: PathBuf,
}

impl Town {
    fn new() -> Self {
        let postgres = Postgres::isolated(&Installation::debian());
        postgres.sql("create role alice login");
        let config = empty(Config::new(&Pki::new(), postgres.dir.path(), postgres.port));
        make_in(config.dir());
        let postern = Daemon::start(&config);
        let file = config.dir().join("postern.yaml");
        Self { postern, postgres, config, file }
    }

    fn dir(&self) -> &Path {
        self.config.dir()
    }

    fn path(&self) -> &str {
        text(self.dir())
    }

    fn conninfo(&self, user: &str, format: &str) -> String {
        let printed = postern(&["conninfo", "-c", text(&self.file), "--user", user, "--format", format]);
        succeeded(printed).trim_end_matches('\n').to_owned() + if format == "service" { "\n" } else { "" }
    }
}

/// A configuration whose files are still to be made.
pub fn empty(config: Config) -> Config {
    for file in ["client-ca.crt", "client-ca.crl", "server.crt", "server.key"] {
        fs::remove_file(config.dir().join(file)).unwrap();
    }
    config
}

fn made() -> TempDir {
    let dir = private_dir();
    make_in(dir.path());
    dir
}

fn make_in(dir: &Path) {
    let path = text(dir);
    succeeded(pki(&["init", path]));
    succeeded(pki(&["server", path, "--host", "localhost", "--host", "127.0.0.1", "--host", "::1"]));
    succeeded(pki(&["client", path, "--cn", "alice"]));
}

pub fn pki(arguments: &[&str]) -> Output {
    postern(&[&["pki"], arguments].concat())
}

pub fn openssl(arguments: &[&str]) -> Output {
    Command::new("openssl").args(arguments).output().unwrap()
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut contents: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    contents.sort();
    contents
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
