//! The same pg_hba.conf and pg_ident.conf in PostgreSQL and in Postern: decision, SQLSTATE and text are the same.

use std::fs;
use std::path::Path;

use super::*;

#[test]
fn debians_postgresql_and_postern_read_the_same_files_alike() {
    compare_files(&Installation::debian());
}

#[test]
fn postgresql_18_and_postern_read_the_same_files_alike() {
    compare_files(&Installation::eighteen());
}

/// Files, and who comes to a door that they judge.
#[derive(Debug)]
pub(super) struct Files {
    /// The first version of PostgreSQL that reads them.
    pub(super) since: u32,
    pub(super) hba: String,
    pub(super) ident: String,
    /// What they include, by name.
    pub(super) others: Vec<(&'static str, &'static str)>,
    pub(super) rows: Vec<Row>,
}

/// PostgreSQL judging by the files, beside an isolated one for Postern.
pub(super) struct Servers {
    pki: Pki,
    pub(super) native: Postgres,
    isolated: Postgres,
}

impl Servers {
    pub(super) fn new(installation: &Installation) -> Self {
        let pki = Pki::new();
        let native = Postgres::native(installation, &pki, false, "");
        let isolated = Postgres::isolated(installation);
        for server in [&native, &isolated] {
            server.sql(DATABASE);
            server.sql(GROUPS);
        }
        Self { pki, native, isolated }
    }

    /// Lets PostgreSQL read the files: what it finds wrong with them. Of some faults its views say nothing, and only its log that the
    /// file was not loaded.
    pub(super) fn load(&self, files: &Files) -> String {
        files.write(&self.native.data());
        let said = self.native.log().len();
        let before = self.native.sql("select pg_conf_load_time()");
        self.native.sql("select pg_reload_conf()");
        self.native.wait_until(&format!("select pg_conf_load_time() > '{before}'"));
        let faults = "select string_agg(error, '; ') from (select error from pg_hba_file_rules union all select error from pg_ident_file_mappings) f";
        let log = self.native.log();
        let unloaded = log[said..].lines().filter(|line| line.contains("was not reloaded"));
        let unloaded: Vec<&str> = unloaded.collect();
        [self.native.sql(faults).as_str(), &unloaded.join("; ")].concat()
    }

    /// Postern's configuration with the same files.
    pub(super) fn config(&self, files: &Files) -> Config {
        let config = Config::new(&self.pki, self.isolated.dir.path(), self.isolated.port).backend_key("lookup_role: lookup, lookup_ttl: 0");
        files.write(config.dir());
        config.with("hba_file: pg_hba.conf\nident_file: pg_ident.conf")
    }

    /// Compares what both answer to each of the rows.
    fn ask(&self, postern: &Daemon, rows: &[Row], faults: &mut String) {
        for row in rows {
            let (expected, found) = self.answers(postern, row);
            row.judge(self.native.installation.major, &expected, &found, faults);
        }
    }

    /// What PostgreSQL answers to a row, and what Postern does.
    pub(super) fn answers(&self, postern: &Daemon, row: &Row) -> (String, String) {
        std::thread::scope(|scope| {
            let expected = scope.spawn(|| row.run(self.native.address(), &self.pki));
            let found = row.run(postern.address(), &self.pki);
            (expected.join().unwrap(), found)
        })
    }
}

impl Files {
    fn write(&self, folder: &Path) {
        for (name, text) in &self.others {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(folder.join("pg_hba.conf"), format!("local all all trust\n{}", self.hba)).unwrap();
        fs::write(folder.join("pg_ident.conf"), &self.ident).unwrap();
    }
}

fn compare_files(installation: &Installation) {
    let servers = Servers::new(installation);
    let mut faults = String::new();
    let mut count = 0;
    for files in all().into_iter().filter(|files| files.since <= installation.major) {
        assert_eq!(servers.load(&files), "", "PostgreSQL {} does not read {}", installation.major, files.hba);
        let postern = Daemon::start(&servers.config(&files));
        servers.ask(&postern, &files.rows, &mut faults);
        count += files.rows.len();
    }
    assert!(count >= 80, "only {count} combinations");
    assert!(faults.is_empty(), "beside PostgreSQL {} these are not as they should be:{faults}", installation.major);
}

/// Roles and databases beside those of the other table: alice is a member of staff, and by it of ops.
const GROUPS: &str = "
    create role ops; create role staff role alice; grant ops to staff; create role lookup login;
    create role \"all\" login; create role \"+staff\" login; create role \"replication\" login; create role svc_a login; create role \"x_a_y\" login;
    create database \"all\"; create database staff; create database ops; create database \"replication\";";

pub(super) fn files(hba: &str, ident: &str, rows: Vec<Row>) -> Files {
    Files { since: 15, hba: hba.to_owned(), ident: ident.to_owned(), others: vec![], rows }
}

impl Files {
    fn since(mut self, major: u32) -> Self {
        self.since = major;
        self
    }

    fn and(mut self, name: &'static str, text: &'static str) -> Self {
        self.others.push((name, text));
        self
    }
}

/// The certificate of this name asks to be this role, in this database.
pub(super) fn ask(certificate: &'static str, user: &str, database: &str) -> Row {
    let name = Box::leak(format!("{certificate} as {user} in {database}").into_boxed_str());
    row(name).named(certificate).says(&[("user", user), ("database", database)])
}

/// The same without a certificate.
pub(super) fn anonymous(user: &str, database: &str) -> Row {
    let name = Box::leak(format!("nobody as {user} in {database}").into_boxed_str());
    row(name).without_certificate().says(&[("user", user), ("database", database)])
}

/// The same for physical replication.
pub(super) fn physical(certificate: &'static str, user: &str) -> Row {
    let name = Box::leak(format!("{certificate} as {user}, physical replication").into_boxed_str());
    row(name).named(certificate).says(&[("user", user), ("replication", "true")])
}

/// The same for logical replication.
fn logical(certificate: &'static str, user: &str, database: &str) -> Row {
    let name = Box::leak(format!("{certificate} as {user}, logical replication of {database}").into_boxed_str());
    row(name).named(certificate).says(&[("user", user), ("database", database), ("replication", "database")])
}

fn all() -> Vec<Files> {
    [columns(), maps(), names(), groups(), syntax(), methods()].into_iter().flatten().collect()
}

fn columns() -> Vec<Files> {
    vec![
        files(
            "hostssl \"all\" all 127.0.0.1/32 cert\n\
             hostssl sameuser all 0.0.0.0/0 cert\n\
             hostssl app \"all\" all cert\n\
             hostssl app,rejected bob,\"carol\" 127.0.0.0 255.0.0.0 cert\n\
             hostssl \"replication\" walreceiver all cert\n",
            "",
            vec![
                ask("alice", "alice", "all"),
                ask("alice", "alice", "alice"),
                ask("alice", "alice", "app"),
                ask("bob", "alice", "alice"),
                ask("all", "all", "app"),
                ask("all", "all", "all"),
                ask("bob", "bob", "app"),
                ask("bob", "bob", "rejected"),
                ask("bob", "bob", "postgres"),
                ask("bob", "carol", "app"),
                ask("walreceiver", "walreceiver", "replication"),
                physical("walreceiver", "walreceiver"),
                logical("walreceiver", "walreceiver", "replication"),
                row("no certificate").without_certificate().says(&[("user", "alice"), ("database", "all")]),
                row("no certificate and no rule").without_certificate().says(&[("user", "alice"), ("database", "app")]),
            ],
        ),
        files(
            "hostssl postgres all 10.0.0.0/8 cert\n\
             hostssl app all samehost cert\n\
             hostssl rejected all samenet reject\n\
             hostssl alice alice ::1/128 cert\n\
             hostssl alice alice 128.0.0.1/1 cert\n\
             hostssl alice bob 9.9.9.9/0 cert\n\
             hostssl staff all 127.255.255.254 255.255.255.255 cert\n\
             hostssl staff all 127.255.255.254 255.0.0.0 cert\n",
            "",
            vec![
                ask("alice", "alice", "postgres"),
                ask("alice", "alice", "app"),
                ask("alice", "bob", "app"),
                ask("alice", "alice", "rejected"),
                ask("alice", "alice", "alice"),
                ask("bob", "bob", "alice"),
                ask("bob", "bob", "staff"),
            ],
        ),
        files(
            "host postgres bob all reject\n\
             hostnossl app all all reject\n\
             hostssl app alice all cert\n\
             hostssl all bob all cert\n\
             hostnogssenc all all all reject\n\
             hostssl all all all cert\n",
            "",
            vec![
                ask("bob", "bob", "postgres"),
                ask("bob", "bob", "app"),
                ask("alice", "alice", "app"),
                ask("bob", "alice", "app"),
                ask("alice", "alice", "postgres"),
                row("rejected without a certificate").without_certificate(),
                physical("bob", "bob"),
            ],
        ),
        files(
            "hostssl replication walreceiver all cert map=r\n\
             hostssl replication alice all reject\n\
             hostssl all all all cert\n",
            "r alice walreceiver\nr walreceiver walreceiver\n",
            vec![
                physical("walreceiver", "walreceiver"),
                physical("alice", "walreceiver"),
                physical("bob", "walreceiver"),
                physical("alice", "alice"),
                physical("bob", "bob"),
                logical("alice", "alice", "app"),
                logical("bob", "alice", "app"),
                row("physical replication without a certificate")
                    .without_certificate()
                    .says(&[("user", "walreceiver"), ("replication", "true")]),
            ],
        ),
    ]
}

fn maps() -> Vec<Files> {
    let long = "a".repeat(63);
    vec![
        files(
            "hostssl all all all cert map=m\n",
            "m alice bob\n\
             m /^(.*)@example\\.com$ \\1\n\
             m /^svc_(.)$ x_\\1_y\n\
             m /^ops- alice\n\
             other bob alice\n\
             m \"quoted name\" alice\n\
             m all svc_a\n",
            vec![
                ask("alice", "bob", "app"),
                ask("alice", "alice", "app"),
                ask("alice@example.com", "alice", "app"),
                ask("alice@example.com", "bob", "app"),
                ask("alice@example.org", "alice", "app"),
                ask("mallory@example.com", "mallory", "app"),
                ask("bob", "alice", "app"),
                ask("bob", "bob", "app"),
                ask("svc_a", "x_a_y", "app"),
                ask("svc_a", "svc_a", "app"),
                ask("ops-1", "alice", "app"),
                ask("xops-1", "alice", "app"),
                ask("quoted name", "alice", "app"),
                ask("ALICE", "bob", "app"),
                ask("all", "svc_a", "app"),
                ask("bob", "svc_a", "app"),
                row("a map without a certificate").without_certificate().user("bob"),
            ],
        ),
        files(
            "hostssl all all all cert map=m\n",
            "m /^alice$ \\1\nm alice alice\nm /^bob$ bob\n",
            vec![ask("alice", "alice", "app"), ask("alice", "bob", "app"), ask("bob", "bob", "app")],
        ),
        files(
            "hostssl app all all cert map=absent\nhostssl alice all all cert map=\nhostssl all all all cert map=a map=b\n",
            "a alice alice\nb bob bob\n",
            vec![
                ask("alice", "alice", "app"),
                ask("alice", "alice", "alice"),
                ask("bob", "alice", "alice"),
                ask("alice", "alice", "postgres"),
                ask("bob", "bob", "postgres"),
            ],
        ),
        files(
            &format!("hostssl all {long} all cert map=long\nhostssl all all all cert\n"),
            &format!("long alice {long}\n"),
            vec![ask("alice", &"a".repeat(80), "app"), ask("bob", &"a".repeat(64), "app"), ask("alice", &"a".repeat(62), "app")],
        ),
        files(
            "hostssl all all all cert map=m\n",
            "m alice +staff\nm alice all\nm alice /^bob$\nm bob \"all\"\n",
            vec![ask("bob", "all", "app")],
        ),
        files(
            "hostssl all all all cert map=n\n",
            "n alice +staff\nn bob all\nn svc_a /^svc_\nn all \"all\"\nn /^(.).*@x$ /^x\nn quoted \"+staff\"\nn /^re \"/^re\"\n\
             n /^(s)taffer$ +\\1taff\n",
            vec![
                ask("alice", "alice", "app"),
                ask("alice", "bob", "app"),
                ask("bob", "alice", "app"),
                ask("bob", "svc_a", "app"),
                ask("svc_a", "svc_a", "app"),
                ask("svc_a", "x_a_y", "app"),
                ask("all", "all", "app"),
                ask("all", "alice", "app"),
                ask("quoted", "+staff", "app"),
                ask("quoted", "alice", "app"),
                ask("rep", "replication", "app"),
                ask("staffer", "+staff", "app"),
                ask("staffer", "alice", "app"),
            ],
        )
        .since(16),
    ]
}

fn names() -> Vec<Files> {
    use Profile as P;
    let of =
        |name: &'static str, profile, user: &str, database: &str| row(name).with(profile).says(&[("user", user), ("database", database)]);
    vec![files(
        "hostssl app all all cert clientname=DN map=dn\n\
         hostssl postgres all all cert clientname=DN\n\
         hostssl alice all all cert clientname=CN map=dn\n",
        "dn \"CN=alice,OU=bob,O=Example\" alice\n\
         dn \"/^CN=alice,OU=([^,]+),O=Example$\" \\1\n\
         dn \"/^CN=bob,CN=(.*)$\" svc_a\n\
         dn O=Example svc_a\n",
        vec![
            of("a whole DN", P::CnAndOtherAttributes, "alice", "app"),
            of("a part of a DN", P::CnAndOtherAttributes, "bob", "app"),
            of("no line for the DN", P::CnAndOtherAttributes, "svc_a", "app"),
            of("a DN of a CN alone", P::Good, "alice", "app"),
            of("a DN without a map", P::Good, "alice", "postgres"),
            of("a DN as the role", P::Good, "CN=alice", "postgres"),
            of("two CNs in a DN", P::TwoCns, "svc_a", "app"),
            of("two CNs in a DN, another role", P::TwoCns, "alice", "app"),
            of("a DN without a CN", P::NoCn, "svc_a", "app"),
            of("the DN's map for a CN", P::CnAndOtherAttributes, "alice", "alice"),
            of("no CN for a map", P::NoCn, "alice", "alice"),
            of("no certificate", P::Good, "alice", "app").without_certificate(),
        ],
    )]
}

fn groups() -> Vec<Files> {
    vec![
        files(
            "hostssl postgres +staff all cert\n\
             hostssl samerole all all cert\n\
             hostssl app \"+staff\" all cert\n\
             hostssl rejected +ops all reject\n\
             hostssl rejected all all cert\n\
             hostssl locked +absent all cert\n",
            "",
            vec![
                ask("alice", "alice", "postgres"),
                ask("bob", "alice", "postgres"),
                ask("bob", "bob", "postgres"),
                ask("alice", "alice", "staff"),
                ask("alice", "alice", "ops"),
                ask("alice", "alice", "alice"),
                ask("bob", "bob", "staff"),
                ask("+staff", "+staff", "app"),
                ask("alice", "alice", "app"),
                ask("alice", "alice", "rejected"),
                ask("bob", "bob", "rejected"),
                ask("alice", "alice", "locked"),
                ask("postgres", "postgres", "staff"),
                ask("nobody", "nobody", "postgres"),
                physical("alice", "alice"),
            ],
        ),
        files(
            "hostssl /^ap+$ /^(alice|bob)$ all cert\n\
             hostssl \"/^re\" all all reject\n\
             hostssl /a,ops all all cert\n",
            "",
            vec![
                ask("alice", "alice", "app"),
                ask("svc_a", "svc_a", "app"),
                ask("alice", "alice", "rejected"),
                ask("alice", "alice", "replication"),
                ask("alice", "alice", "staff"),
                ask("alice", "alice", "ops"),
                ask("alice", "alice", "postgres"),
                physical("alice", "alice"),
            ],
        )
        .since(16),
    ]
}

fn syntax() -> Vec<Files> {
    vec![
        files(
            "# a comment, continued \\\nhostssl all all all reject\n\
             hostssl app, alice\tal\"ice\",\"bob\" \\\n all\\\n cert # hostssl\n\
             hostssl @databases @users 127.0.0.1/32 cert\n",
            "",
            vec![
                ask("alice", "alice", "app"),
                ask("bob", "bob", "app"),
                ask("bob", "bob", "alice"),
                ask("bob", "bob", "all"),
                ask("alice", "alice", "all"),
                ask("svc_a", "svc_a", "ops"),
            ],
        )
        .and("databases", "all_of_them \"all\"\n# no\nops,@more\n")
        .and("more", "rejected\n")
        .and("users", "svc_a\nbob\n"),
        files(
            "include sub/first\n\
             include_if_exists absent\n\
             include_dir dir\n\
             hostssl all all all cert\n",
            "include maps\nm bob svc_a\n",
            vec![
                ask("alice", "alice", "rejected"),
                ask("alice", "alice", "app"),
                ask("bob", "svc_a", "ops"),
                ask("alice", "svc_a", "ops"),
                ask("alice", "alice", "staff"),
                ask("bob", "bob", "postgres"),
            ],
        )
        .since(16)
        .and("sub/first", "hostssl rejected all all reject\ninclude second\n")
        .and("sub/second", "hostssl app all all reject\n")
        .and("dir/b.conf", "hostssl ops all all reject\n")
        .and("dir/a.conf", "hostssl ops all all cert map=m\n")
        .and("dir/c.txt", "hostssl all all all reject\n")
        .and("dir/.d.conf", "hostssl all all all reject\n")
        .and("maps", "m alice svc_a\n"),
    ]
}

fn methods() -> Vec<Files> {
    const CERTIFICATE: &str = "a method that asks for no certificate lets nobody in";
    vec![files(
        "hostssl postgres all all trust clientcert=verify-full\n\
         hostssl app all all trust\n\
         hostssl alice all all trust clientcert=verify-ca\n\
         hostssl rejected all all trust clientcert=verify-full clientname=DN\n\
         hostssl locked all all reject clientcert=verify-full\n\
         hostssl ops all all reject clientcert=verify-ca\n\
         hostssl replication all all md5 clientcert=verify-ca\n\
         hostssl all all all cert clientcert=verify-full\n",
        "",
        vec![
            ask("alice", "alice", "postgres"),
            ask("bob", "alice", "postgres"),
            row("trust without a certificate").without_certificate(),
            ask("alice", "alice", "rejected"),
            ask("alice", "CN=alice", "rejected"),
            ask("alice", "alice", "staff"),
            ask("bob", "alice", "staff"),
            ask("alice", "alice", "locked"),
            ask("bob", "alice", "locked"),
            anonymous("alice", "locked"),
            anonymous("alice", "ops"),
            row("md5 with clientcert, without a certificate")
                .without_certificate()
                .says(&[("user", "alice"), ("replication", "true")]),
            ask("bob", "alice", "app").but(
                CERTIFICATE,
                "after StartupMessage: FATAL 28000 pg_hba.conf rejects connection for host \"127.0.0.1\", user \"alice\", database \"app\", SSL encryption",
            ),
            ask("bob", "alice", "alice").but(
                CERTIFICATE,
                "after StartupMessage: FATAL 28000 pg_hba.conf rejects connection for host \"127.0.0.1\", user \"alice\", database \"alice\", SSL encryption",
            ),
        ],
    )]
}
