//! Rule files out of chance, and who comes to them: PostgreSQL and Postern take or refuse the same files, and decide alike by those they take.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::rule_files::{Files, Servers, anonymous, ask, files, physical};
use super::*;
use crate::harness::daemon::postern;

#[test]
fn debians_postgresql_and_postern_decide_alike_by_files_out_of_chance() {
    compare_chances(&Installation::debian());
}

#[test]
fn postgresql_18_and_postern_decide_alike_by_files_out_of_chance() {
    compare_chances(&Installation::eighteen());
}

/// Files that both take, and are then asked by; those that both refuse are compared besides.
const TAKEN: usize = 8;
const MOST_FILES: usize = 80;
const VISITORS: usize = 14;

/// Other files, and more of them: `POSTERN_IT_CHANCE=100` draws until a hundred are taken, each run anew.
fn chances() -> (TestRunner, usize, usize) {
    match std::env::var("POSTERN_IT_CHANCE").ok().and_then(|taken| taken.parse().ok()) {
        Some(taken) => (TestRunner::default(), taken, usize::MAX),
        None => (TestRunner::deterministic(), TAKEN, MOST_FILES),
    }
}

fn compare_chances(installation: &Installation) {
    let servers = Servers::new(installation);
    let (mut runner, wanted, most) = chances();
    let (mut taken, mut refused) = (0, 0);
    let mut faults = String::new();
    for _ in 0..most {
        if taken == wanted {
            break;
        }
        let files = chance(installation.major).new_tree(&mut runner).unwrap().current();
        let wrong = servers.load(&files);
        let config = servers.config(&files);
        let check = postern(&["check", "-c", config.write().to_str().unwrap()]);
        if wrong.is_empty() != check.status.success() {
            let said = [check.stdout, check.stderr].concat();
            let (status, said) = (check.status, String::from_utf8_lossy(&said));
            write!(faults, "\n{}\n{}\nPostgreSQL: {wrong}\nPostern: {status}: {said}", files.hba, files.ident).unwrap();
        } else if wrong.is_empty() {
            taken += 1;
            let different = differences(&servers, &config, &files);
            if !different.is_empty() {
                write!(faults, "\n{}\n{}{different}", files.hba, files.ident).unwrap();
            }
        } else {
            refused += 1;
        }
    }
    assert!(faults.is_empty(), "beside PostgreSQL {}:{faults}", installation.major);
    assert!(taken == wanted && refused > 0, "{taken} files were taken, {refused} refused");
}

/// What the two answer differently.
fn differences(servers: &Servers, config: &Config, files: &Files) -> String {
    let daemon = Daemon::start(config);
    let mut different = String::new();
    for row in &files.rows {
        let (expected, found) = servers.answers(&daemon, row);
        if expected != found && !is_refused_unasked(files, row, &expected, &found) {
            write!(different, "\n  {}\n    PostgreSQL: {expected}\n    Postern:    {found}", row.name).unwrap();
        }
    }
    different
}

/// Nobody is asked about who has no certificate: a rule that hangs on memberships refuses such a client, where PostgreSQL, which knows that
/// it is not for this role, may have come to another that does.
fn is_refused_unasked(files: &Files, row: &Row, expected: &str, found: &str) -> bool {
    let hangs_on_memberships = files.hba.contains("+staff") || files.hba.contains("samerole");
    matches!(row.client, Client::Without)
        && hangs_on_memberships
        && expected.contains("FATAL 28000")
        && found == "after StartupMessage: FATAL 28000 connection requires a valid client certificate"
}

fn chance(major: u32) -> impl Strategy<Value = Files> {
    let rules = prop::collection::vec(rule(major), 1..7);
    let lines = prop::collection::vec(map_line(major), 0..7);
    (rules, lines, prop::collection::vec(visitor(), VISITORS)).prop_map(|(rules, lines, rows)| {
        // What never matches lets a file without any `cert` line pass here as well.
        let hba = rules.concat() + "hostssl never never all cert\n";
        files(&hba, &lines.concat(), rows)
    })
}

fn visitor() -> impl Strategy<Value = Row> {
    let certificate = select(vec!["alice", "bob", "svc_a", "alice@example.com", "all"]);
    let user = select(vec!["alice", "bob", "svc_a", "all", "x_a_y"]);
    let database = select(vec!["app", "postgres", "alice", "staff", "rejected", "all"]);
    (certificate, user, database, 0..8).prop_map(|(certificate, user, database, kind)| match kind {
        0 => physical(certificate, user),
        1 => anonymous(user, database),
        _ => ask(certificate, user, database),
    })
}

/// A line of any kind; of the kinds that do not apply to TLS too each is judged to its end.
fn rule(major: u32) -> impl Strategy<Value = String> {
    let kind = prop_oneof![20 => Just("hostssl"), 2 => Just("local"), 2 => Just("hostnossl"), 1 => Just("hostsl")];
    let databases = tokens(
        vec!["all", "app", "postgres", "sameuser", "samerole", "replication", "\"all\"", "\"sameuser\"", "staff"],
        vec!["/^a", "\"/^(app|rejected)$\"", "/[", "/st.ff"],
        major,
    );
    let users =
        tokens(vec!["all", "alice", "bob", "+staff", "\"+staff\"", "\"all\"", "svc_a"], vec!["/^a", "/^.*b$", "\"/c\"", "/("], major);
    let address = prop_oneof![
        8 => Just("all"),
        8 => select(vec!["127.0.0.1/32", "127.0.0.0/8", "0.0.0.0/0", "10.0.0.0/8", "samehost", "samenet", "127.0.0.1 255.255.255.255", "126.0.0.0 254.0.0.0", "::1/128"]),
        1 => select(vec!["127.0.0.1", "127.0.0.1/33", "127.0.0.1/x", "all,samehost", "::1 255.0.0.0", ""]),
    ];
    let method = prop_oneof![
        10 => select(vec!["cert", "cert map=m", "cert clientname=CN,map=m", "cert map=other", "cert clientcert=verify-full map=m map=n", "trust clientcert=verify-full", "cert clientname=DN", "cert map="]),
        4 => select(vec!["reject", "reject", "reject clientcert=verify-full", "reject clientcert=verify-ca"]),
        1 => select(vec!["cert clientcert=verify-ca", "trust map=m", "cert nothing=x", "cert x", "peer", "certs", "cert,reject", "reject clientname=SN", "trust clientcert=1", "radius", "pam pamservice=x map=m", ""]),
    ];
    let end = select(vec!["\n", " # comment\n", "\\\n\n", "\r\n"]);
    let elsewhere = select(vec![
        "trust",
        "trust",
        "reject",
        "scram-sha-256",
        "ident map=m",
        "cert",
        "peer",
        "trust x=y",
        "trust clientcert=verify-full",
        "trust map=m",
        "radius",
        "md5 ldapserver=x",
        "",
    ]);
    (kind, databases, users, address, method, elsewhere, end).prop_map(|(kind, databases, users, address, method, elsewhere, end)| {
        match kind {
            // It must not shut out the test itself: there is one for everybody before it.
            "local" => format!("{kind} {databases} {users} {elsewhere}{end}"),
            "hostnossl" => format!("{kind} {databases} {users} {address} {elsewhere}{end}"),
            kind => format!("{kind} {databases} {users} {address} {method}{end}"),
        }
    })
}

fn map_line(major: u32) -> impl Strategy<Value = String> {
    let map = select(vec!["m", "m", "n", "\"m\"", "other"]);
    let system_user = prop_oneof![
        10 => select(vec!["alice", "bob", "\"alice\"", "svc_a", "all", "/^(.*)@example\\.com$", "/^svc_(.*)$", "/ali", "/^(.*)$", "\"/^(a|b)\""]),
        1 => select(vec!["/(", "alice,bob", "/a**"]),
    ];
    let mut roles = vec!["alice", "bob", "\\1", "x_\\1_y", "svc_a", "\"all\"", "\"\\1\""];
    if major >= 16 {
        roles = [roles.repeat(2), vec!["all", "+staff", "/^a", "\"+staff\"", "/["]].concat();
    }
    (map, system_user, select(roles), select(vec!["\n", " # comment\n", " more\n"]))
        .prop_map(|(map, system, role, end)| format!("{map} {system} {role}{end}"))
}

/// One or several between commas; expressions only where the version reads them.
fn tokens(plain: Vec<&'static str>, expressions: Vec<&'static str>, major: u32) -> impl Strategy<Value = String> {
    // Most files are to be taken, so most of what stands in them can be.
    let all = if major >= 16 { [plain.repeat(4), expressions].concat() } else { plain };
    prop::collection::vec(select(all), 1..4).prop_map(|tokens| tokens.join(","))
}
