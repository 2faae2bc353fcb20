//! The README's section on rotating and revoking, its commands run as they stand there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::World;
use crate::harness::clients::{Clients, succeeded};
use crate::harness::daemon::{Config, postern_path};
use crate::harness::pki::run_the_usual_recipe;
use crate::harness::wait_until;

/// The shell commands of the section, block by block.
fn blocks() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let section = readme.split("\n### Rotating and revoking\n").nth(1).unwrap().split("\n### ").next().unwrap();
    let blocks: Vec<String> = section.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect();
    assert_eq!(blocks.len(), 7, "{blocks:#?}");
    blocks
}

/// A daemon in whose folder the commands are run.
struct Place {
    world: World,
    config: Config,
}

impl Place {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let mut kept = None;
        let world = World::configured(|config| {
            prepare(config.dir());
            fs::write(config.dir().join("denied.txt"), "").unwrap();
            kept.insert(config.with_crl().with("reload: { poll: 0 }\nadmin: { socket: admin.sock }\ndenylist_file: denied.txt")).clone()
        });
        Self { world, config: kept.unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.config.dir().join(name)
    }

    #[track_caller]
    fn follow(&self, block: &str) -> String {
        run(self.config.dir(), block)
    }

    /// How this role connects by this certificate, to a server that it verifies by this CA.
    fn conninfo(&self, role: &str, stem: &str, root: &str) -> String {
        let (port, root, stem) = (self.world.address().port(), self.at(root), self.at(stem));
        let (root, stem) = (root.display(), stem.display());
        format!(
            "host=localhost port={port} user={role} dbname=postgres sslmode=verify-full sslrootcert={root} sslcert={stem}.crt sslkey={stem}.key"
        )
    }

    fn psql(&self, role: &str, stem: &str, root: &str) -> Result<String, String> {
        let output = Clients::debian().psql(&self.conninfo(role, stem, root), "select session_user");
        if output.status.success() { Ok(succeeded(output)) } else { Err(String::from_utf8(output.stderr).unwrap()) }
    }

    #[track_caller]
    fn enters(&self, role: &str, stem: &str, root: &str) {
        assert_eq!(self.psql(role, stem, root).as_deref(), Ok(format!("{role}\n").as_str()));
    }

    #[track_caller]
    fn is_refused(&self, role: &str, stem: &str, root: &str, words: &str) {
        let said = self.psql(role, stem, root).expect_err("no way in");
        assert!(said.contains(words), "{said}");
    }

    /// A session that stays until it is ended, and what its client read then.
    fn hold(&self, role: &str, stem: &str, root: &str, then: impl FnOnce()) -> String {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Clients::debian().psql(&self.conninfo(role, stem, root), "select pg_sleep(600)"));
            self.world
                .postgres
                .wait_until(&format!("select count(*) = 1 from pg_stat_activity where usename = '{role}' and wait_event = 'PgSleep'"));
            then();
            String::from_utf8(waiting.join().unwrap().stderr).unwrap()
        })
    }
}

/// Runs commands in a folder, as a user would type them; the first that fails ends it.
#[track_caller]
fn run(folder: &Path, commands: &str) -> String {
    let program = Path::new(postern_path()).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    succeeded(Command::new("bash").args(["-ec", commands]).env("PATH", path).current_dir(folder).output().unwrap())
}

#[test]
fn with_postern_pki_the_readme_renews_revokes_and_changes_the_ca() {
    let blocks = blocks();
    let place = Place::new(|folder| {
        run(
            folder,
            "postern pki init pki
             postern pki server pki --host localhost
             postern pki client pki --cn alice
             postern pki client pki --cn bob
             cp pki/server.crt pki/server.key pki/client-ca.crt pki/client-ca.crl .",
        );
    });
    let root = "pki/server-ca.crt";
    place.enters("alice", "pki/alice", root);

    let said = place.follow(&blocks[0]);
    assert!(said.contains("applied: tls.ssl_cert_file, tls.ssl_key_file"), "{said}");
    place.enters("alice", "pki/alice", root);
    place.enters("alice", "pki/alice-2", root);

    let read = place.hold("alice", "pki/alice", root, || {
        let said = place.follow(&blocks[1]);
        assert!(said.contains("applied: tls.ssl_crl_file\nsessions told to end: 1"), "{said}");
    });
    assert!(read.contains("because the client certificate has been revoked"), "{read}");
    for certificate in ["pki/alice", "pki/alice-2"] {
        place.is_refused("alice", certificate, root, "certificate revoked");
    }
    place.enters("bob", "pki/bob", root);

    let read = place.hold("bob", "pki/bob", root, || {
        place.follow(&blocks[2]);
        place.enters("alice", "pki-2/alice", root);
        place.enters("bob", "pki/bob", root);
        let said = place.follow(&blocks[3]);
        assert!(said.contains("sessions told to end: 1"), "{said}");
    });
    assert!(read.contains("terminating connection because"), "{read}");
    place.is_refused("bob", "pki/bob", root, "unknown ca");
    place.enters("alice", "pki-2/alice", root);
}

#[test]
fn with_openssl_the_readme_revokes_and_the_deny_list_needs_no_ca() {
    let blocks = blocks();
    let bob = "openssl req -sha256 -new -nodes -subj /CN=bob -out bob.csr -keyout bob.key
               openssl x509 -req -sha256 -days 365 -in bob.csr -CA client-ca.crt -CAkey client-ca.key -CAcreateserial -out bob.crt";
    let place = Place::new(|folder| {
        run_the_usual_recipe(folder);
        run(folder, bob);
        run(folder, &blocks[4]);
    });
    place.enters("alice", "client", "server-ca.crt");
    let read = place.hold("alice", "client", "server-ca.crt", || {
        let said = place.follow(&blocks[5]);
        assert!(said.contains("applied: tls.ssl_crl_file\nsessions told to end: 1"), "{said}");
    });
    assert!(read.contains("because the client certificate has been revoked"), "{read}");
    place.is_refused("alice", "client", "server-ca.crt", "certificate revoked");

    let read = place.hold("bob", "bob", "server-ca.crt", || {
        place.follow(&blocks[6]);
    });
    assert!(read.contains("because the client certificate has been revoked"), "{read}");
    place.is_refused("bob", "bob", "server-ca.crt", "certificate revoked");
    wait_until("the reason is on record", || {
        place.world.postern().records().iter().any(|record| record["detail"].to_string().contains("left the company"))
    });
}
