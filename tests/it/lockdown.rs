//! `postern lockdown`: what it prints is put into real clusters, and then nobody gets in but by Postern.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nix::unistd::Uid;

use crate::harness::clients::{Clients, failed, succeeded};
use crate::harness::daemon::{Config, postern};
use crate::harness::postgres::Installation;
use crate::harness::wire::{Refusal, Wire};
use crate::harness::{OPEN_TO_ALL, World, wait_until};

/// A PostgreSQL that trusts everybody on this machine, and Postern before it.
struct Stage {
    world: World,
    config: Config,
}

impl Stage {
    fn before(installation: &Installation, backend: &str) -> Self {
        let mut config = None;
        let world = World::configured_before(installation, |settings| {
            let passfile = settings.dir().join("passfile");
            fs::write(&passfile, "*:*:*:alice:secret\n*:*:*:postern_lookup:secret\n").unwrap();
            fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
            config.insert(settings.backend_key(backend).with(OPEN_TO_ALL)).clone()
        });
        world.postgres.sql(
            "create role postern_lookup login password 'secret'; alter role alice password 'secret' replication;
             create role \"all\" login; create role chief superuser login",
        );
        Self { world, config: config.unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        postern(&[&["lockdown", "-c", self.config.write().to_str().unwrap()], arguments].concat())
    }

    fn printed(&self, arguments: &[&str]) -> String {
        succeeded(self.run(arguments))
    }

    /// Puts the printed files in the place of PostgreSQL's own, and waits until they are in force.
    fn lock_down(&self, arguments: &[&str]) {
        let printed = |file: &str| self.printed(&[&["--file", file], arguments].concat());
        let postgres = &self.world.postgres;
        let (hba, ident, sql) = (printed("pg_hba.conf"), printed("pg_ident.conf"), printed("sql"));
        fs::write(postgres.data().join("pg_hba.conf"), hba).unwrap();
        fs::write(postgres.data().join("pg_ident.conf"), ident).unwrap();
        let faults = postgres.sql("select string_agg(error, '; ') from pg_hba_file_rules where error is not null");
        assert_eq!(faults, "", "PostgreSQL understands every line");
        postgres.sql(&sql);
        wait_until("the new lines are in force", || !self.psql(None, "nobody-such").contains("does not exist"));
    }

    /// What psql says on the Unix socket as a role, run as an OS user; empty where it logged in.
    fn psql(&self, uid: Option<u32>, role: &str) -> String {
        let postgres = &self.world.postgres;
        let conninfo = format!("host={} port={} user={role} dbname=postgres", postgres.dir.path().display(), postgres.port);
        let mut psql = Clients::debian().command("psql");
        psql.args([&conninfo, "-w", "-c", ""]);
        if let Some(uid) = uid {
            psql.uid(uid).gid(uid);
        }
        String::from_utf8(psql.output().unwrap().stderr).unwrap()
    }

    #[track_caller]
    fn enters(&self, role: &str) {
        self.log_in(role).unwrap_or_else(|refusal| panic!("{role}: {refusal}"));
    }

    /// The role is kept out by PostgreSQL, with a certificate and a rule that would let it in.
    #[track_caller]
    fn keeps_out(&self, role: &str) {
        let Err(refusal) = self.log_in(role) else { panic!("{role} was let in") };
        assert!(
            matches!(&refusal, Refusal::Error(fields) if fields.sqlstate == "28000" || fields.sqlstate == "57P03"),
            "{role}: {refusal}"
        );
    }

    fn log_in(&self, role: &str) -> Result<Wire, Refusal> {
        let credentials = if role == "alice" { self.world.alice.clone() } else { self.world.pki.named(role) };
        Wire::log_in(self.world.address(), &credentials, role)
    }

    /// Nobody else on this machine is any role, and who Postern runs as is no superuser.
    #[track_caller]
    fn is_the_one_way_in(&self) {
        for role in ["postgres", "chief"] {
            assert!(self.psql(None, role).contains("authentication failed") || self.psql(None, role).contains("no password"), "{role}");
        }
        if Uid::effective().is_root() {
            for role in ["alice", "bob", "postern_lookup", "postgres", "chief"] {
                let said = self.psql(Some(NOBODY), role);
                assert!(said.contains("authentication failed") || said.contains("no password"), "nobody as {role}: {said}");
            }
        }
    }
}

/// The OS user nobody.
const NOBODY: u32 = 65534;

#[test]
fn peer_with_a_line_for_each_role_lets_postern_in_as_these_roles_and_nobody_as_any() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "identity: none");
        stage.lock_down(&["--role", "alice", "--role", "all"]);
        stage.enters("alice");
        stage.enters("all");
        for role in ["bob", "postgres", "chief"] {
            stage.keeps_out(role);
        }
        stage.is_the_one_way_in();
    }
}

#[test]
fn the_lookup_role_gives_the_list_and_is_on_it() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "lookup_role: postern_lookup");
        let map = stage.printed(&["--file", "pg_ident.conf"]);
        for role in ["alice", "bob", "walreceiver", "postern_lookup", "\"all\""] {
            assert!(map.lines().any(|line| line.ends_with(&format!("  {role}"))), "{role} is missing in\n{map}");
        }
        stage.lock_down(&[]);
        stage.enters("alice");
        stage.enters("bob");
        stage.enters("postern_lookup");
        for role in ["postgres", "chief"] {
            stage.keeps_out(role);
        }
        stage.is_the_one_way_in();
    }
}

#[test]
fn from_16_on_a_group_lets_its_members_in_and_no_superuser_for_being_one() {
    let stage = Stage::before(&Installation::eighteen(), "lookup_role: postern_lookup");
    stage.lock_down(&["--group", "postern_clients"]);
    stage.enters("alice");
    stage.enters("postern_lookup");
    for role in ["postgres", "chief"] {
        stage.keeps_out(role);
    }
    stage.is_the_one_way_in();
}

#[test]
fn physical_replication_has_its_line() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "identity: none");
        stage.lock_down(&["--role", "alice"]);
        let conninfo = format!("{} replication=true", stage.world.conninfo());
        assert!(!succeeded(stage.world.clients.psql(&conninfo, "IDENTIFY_SYSTEM")).is_empty());
    }
}

#[test]
fn by_scram_postern_comes_with_its_passwords_and_nobody_without() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "passfile: passfile, lookup_role: postern_lookup");
        stage.lock_down(&["--method", "scram-sha-256"]);
        stage.enters("alice");
        stage.enters("postern_lookup");
        stage.keeps_out("bob");
        stage.is_the_one_way_in();
    }
}

#[test]
fn the_lines_of_postgresql_conf_end_every_tcp_listener() {
    for installation in Installation::both() {
        let stage = Stage::before(&installation, "identity: none");
        let file = stage.world.postgres.data().join("postgresql.conf");
        fs::write(&file, stage.printed(&["--role", "alice", "--file", "postgresql.conf"])).unwrap();
        fs::remove_file(stage.world.postgres.data().join("postgresql.auto.conf")).unwrap();
        let value = |name: &str| {
            let mut postgres = Command::new(installation.bin.join("postgres"));
            postgres.args(["-C", name, "-D"]).arg(stage.world.postgres.data());
            if Uid::effective().is_root() {
                let owner = fs::metadata(stage.world.postgres.data()).unwrap();
                postgres.uid(std::os::unix::fs::MetadataExt::uid(&owner)).gid(std::os::unix::fs::MetadataExt::gid(&owner));
            }
            succeeded(postgres.output().unwrap()).trim_end().to_owned()
        };
        assert_eq!(value("listen_addresses"), "");
        assert_eq!(value("unix_socket_directories"), stage.world.postgres.dir.path().to_str().unwrap());
        assert_eq!(value("port"), stage.world.postgres.port.to_string());
    }
}

#[test]
fn without_a_list_of_roles_it_says_how_to_give_one() {
    let stage = Stage::before(&Installation::debian(), "identity: none");
    let said = failed(stage.run(&[]));
    assert!(said.contains("name the roles"), "{said}");
}

#[test]
fn a_group_is_refused_for_a_version_that_does_not_know_groups_in_maps() {
    let group = ["--group", "postern_clients"];
    let stage = Stage::before(&Installation::debian(), "lookup_role: postern_lookup");
    let said = failed(stage.run(&group));
    assert!(said.contains("found PostgreSQL 15, expected 16 or newer for --group") && said.contains("--role"), "{said}");
    // Who cannot be asked is told what is needed, and such a line lets nobody in.
    let stage = Stage::before(&Installation::debian(), "identity: none");
    let printed = stage.printed(&["--file", "pg_ident.conf", "--group", "postern_clients"]);
    assert!(printed.contains("needs PostgreSQL 16 or newer"), "{printed}");
    stage.lock_down(&group);
    stage.keeps_out("alice");
    stage.is_the_one_way_in();
}
