//! Sessions that live while what they were admitted by changes.

use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::harness::clients::run_with_input;
use crate::harness::pki::Profile;
use crate::harness::wire::{End, message, ssl_request, startup};

fn with_crl() -> Site {
    Site::with(|config| config.with_crl().with("reload: { poll: 0 }"))
}

/// The session's last words, and its end.
#[track_caller]
fn last_words(wire: &mut Wire) -> String {
    let words = wire.read_message().unwrap().fields().to_string();
    assert_eq!(wire.read_to_end(), (vec![], End::Closed));
    words
}

#[track_caller]
fn ended(site: &Site, reason: &str) -> Value {
    site.world.postern().wait_for_record(|record| record["event"] == "session.end" && record["reason"] == reason)
}

/// A serial number of bob's.
const BOB: u64 = 0x0b0b;

const REVOKED: &str = "FATAL 57P01 terminating connection because the client certificate has been revoked";

#[test]
fn of_many_busy_sessions_the_one_that_is_revoked_ends_and_its_transaction_with_it() {
    let site = Site::with(|config| config.with_crl().with("reload: { poll: 0 }"));
    site.world.postgres.sql("create table public.t (i int); grant all on public.t to alice, bob;");
    let bob = site.world.pki.named_with_serial("bob", BOB);
    let mut bobs = Wire::log_in(site.world.address(), &bob, "bob").unwrap();
    let alices = 50;
    let mut others: Vec<Wire> = (0..alices).map(|_| site.world.log_in()).collect();
    bobs.rows("begin");
    bobs.rows("insert into t values (1)");
    bobs.query("select pg_sleep(600)");
    others.iter_mut().for_each(|wire| wire.query("select count(*) from generate_series(1, 200000)"));
    let began = Instant::now();
    site.write("client-ca.crl", site.world.pki.crl_pem_with(&[BOB]));
    let said = site.reload();
    assert!(said.contains("applied: tls.ssl_crl_file") && said.contains("sessions told to end: 1"), "{said}");
    let refused = Wire::log_in(site.world.address(), &bob, "bob").err().unwrap();
    assert!(refused.to_string().contains("CertificateRevoked"), "{refused}");
    assert_eq!(last_words(&mut bobs), REVOKED);
    assert!(began.elapsed() < Duration::from_secs(5));
    let record = ended(&site, "revoked");
    assert!(record["detail"].to_string().contains("a CRL lists it"), "{record}");
    assert_eq!(site.world.postgres.sql("select count(*) from t").trim(), "0", "its transaction is rolled back");
    for wire in &mut others {
        wire.until_ready().unwrap();
        assert_eq!(wire.rows("select 1"), [[Some("1".to_owned())]]);
    }
    assert_eq!(site.reload_number(1)["ended"], 1);
}

#[test]
fn a_stale_or_missing_crl_and_an_unrelated_reload_end_nobody() {
    let site = with_crl();
    let mut session = site.world.log_in();
    site.hup();
    assert_eq!(site.reload_number(1)["ended"], 0);
    // Without CRLs, and with one that nobody could log in by, which is not even taken.
    let yaml = site.config.yaml().replace("  ssl_crl_file: client-ca.crl\n", "");
    site.write("postern.yaml", &yaml);
    site.reload();
    assert_eq!(session.rows("select 1"), [[Some("1".to_owned())]]);
    site.write("client-ca.crl", site.world.pki.expired_crl_pem());
    site.write("postern.yaml", site.config.yaml());
    let said = String::from_utf8(site.postern(&["reload"]).stdout).unwrap();
    assert!(said.contains("it has no CRL of"), "{said}");
    assert_eq!(session.rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn a_ca_that_is_removed_takes_its_sessions_with_it() {
    let site = Site::new();
    let rsa = site.world.pki.client(Profile::ByRsaRoot);
    let mut removed = Wire::log_in(site.world.address(), &rsa, "alice").unwrap();
    let mut stays = site.world.log_in();
    site.write("client-ca.crt", site.world.pki.main_ca_pem());
    site.reload();
    assert_eq!(last_words(&mut removed), "FATAL 57P01 terminating connection because the client certificate is no longer trusted");
    assert!(ended(&site, "revoked")["detail"].to_string().contains("trust anchor"));
    assert_eq!(stays.rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn a_rule_that_no_longer_admits_ends_what_it_admitted() {
    let site = Site::new();
    let bob = site.world.pki.named_with_serial("bob", BOB);
    let mut bobs = Wire::log_in(site.world.address(), &bob, "bob").unwrap();
    let mut alices = site.world.log_in();
    let yaml = site.config.clone().with("hba:\n- { database: all, user: alice, address: all, method: cert }").yaml();
    site.write("postern.yaml", &yaml);
    site.reload();
    assert_eq!(last_words(&mut bobs), "FATAL 57P01 terminating connection because it is no longer admitted by the access rules");
    assert!(ended(&site, "policy")["detail"].to_string().contains("no rule"), "{}", ended(&site, "policy"));
    assert_eq!(alices.rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn keep_leaves_live_sessions_and_refuses_new_ones() {
    let site = Site::with(|config| config.with_crl().with("reload: { poll: 0 }\nsessions: { on_revocation: keep }"));
    let bob = site.world.pki.named_with_serial("bob", BOB);
    let mut bobs = Wire::log_in(site.world.address(), &bob, "bob").unwrap();
    site.write("client-ca.crl", site.world.pki.crl_pem_with(&[BOB]));
    assert_eq!(site.reload(), "applied: tls.ssl_crl_file\n");
    assert!(Wire::log_in(site.world.address(), &bob, "bob").is_err());
    assert_eq!(bobs.rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn a_session_ends_with_its_certificate() {
    let site = Site::new();
    let short = site.world.pki.named_for("alice", 4);
    let mut session = Wire::log_in(site.world.address(), &short, "alice").unwrap();
    session.query("select pg_sleep(600)");
    assert_eq!(last_words(&mut session), "FATAL 57P01 terminating connection because the client certificate has expired");
    assert!(ended(&site, "expired")["detail"].to_string().contains("was valid until"));
    site.world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
}

#[test]
fn a_session_that_is_kept_outlives_its_certificate() {
    let site = Site::with(|config| config.with("sessions: { on_expiry: keep }"));
    let short = site.world.pki.named_for("alice", 2);
    let mut session = Wire::log_in(site.world.address(), &short, "alice").unwrap();
    wait_until("it has expired", || Wire::log_in(site.world.address(), &short, "alice").is_err());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(session.rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn psql_shows_that_the_certificate_is_about_to_expire_and_a_walsender_hears_nothing() {
    let site = Site::new();
    let short = site.world.pki.named_for("alice", 3 * 86_400 + 3600);
    let psql = |extra: &str| {
        let conninfo = format!("{} {extra}", site.world.conninfo_of("alice", &short));
        let output = site.world.clients.psql(&conninfo, "select 1");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = psql("");
    assert!(said.contains("NOTICE:  your client certificate expires in 3 days\nDETAIL:  It is valid until 20"), "{said}");
    assert!(!psql("replication=database").contains("expires"));
    let never = site.config.clone().with("sessions: { expiry_notice: 0 }").yaml();
    site.write("postern.yaml", &never);
    site.reload();
    assert!(!psql("").contains("expires"));
}

#[test]
fn a_denied_certificate_ends_and_is_refused_with_the_reason_on_record() {
    let site = Site::with(|config| {
        std::fs::write(config.dir().join("denied.txt"), "").unwrap();
        config.with("reload: { poll: 0 }\ndenylist_file: denied.txt")
    });
    let bob = site.world.pki.named_with_serial("bob", BOB);
    let mut bobs = Wire::log_in(site.world.address(), &bob, "bob").unwrap();
    let mut alices = site.world.log_in();
    site.write("denied.txt", "# lost\nserial 0b0b laptop lost\n");
    let output = site.postern(&["reload"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("denied.txt: line 2: found a serial number without its issuer"), "{said}");
    site.write("denied.txt", "serial 0b0b \"CN=client-ca\" laptop lost, ticket 4711\n");
    let said = site.reload();
    assert!(said.contains("applied: denylist_file") && said.contains("sessions told to end: 1"), "{said}");
    assert_eq!(last_words(&mut bobs), REVOKED);
    assert!(ended(&site, "revoked")["detail"].to_string().contains("laptop lost, ticket 4711"));
    let refused = Wire::log_in(site.world.address(), &bob, "bob").err().unwrap();
    assert!(refused.to_string().contains("CertificateRevoked"), "{refused}");
    let record = site.world.postern().wait_for_record(|record| record["reason"] == "cert_denylisted");
    assert!(record["detail"].to_string().contains("laptop lost, ticket 4711"), "{record}");
    assert_eq!(alices.rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn whoever_had_connected_before_gets_nothing_done_with_a_certificate_that_is_revoked_by_then() {
    let site = with_crl();
    site.world.postgres.sql("create table public.t (i int); grant all on public.t to bob");
    let bob = site.world.pki.named_with_serial("bob", BOB);
    let mut early = Wire::connect(site.world.address());
    early.send(&ssl_request());
    assert_eq!(early.read_exactly(1).unwrap(), b"S");
    site.write("client-ca.crl", site.world.pki.crl_pem_with(&[BOB]));
    site.reload();
    // What he wants is sent along with who he is: nothing is waited for.
    let statement = message('Q', b"insert into t values (1)\0");
    let _ = early.start_tls(&TlsOptions::with(Some(bob)));
    early.send(&[startup(&[("user", "bob"), ("database", "postgres")]), statement].concat());
    early.read_to_end();
    let refused = |record: &Value| record["reason"] == "cert_revoked" || record["reason"] == "revoked";
    site.world.postern().wait_for_record(refused);
    site.world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'bob'");
    assert_eq!(site.world.postgres.sql("select count(*) from t"), "0");
}

#[test]
fn there_is_no_session_that_a_revoked_client_could_resume() {
    let site = with_crl();
    let (dir, kept) = (site.world.dir(), site.world.dir().join("session.pem"));
    let files = site.world.alice.write(dir, "resumer");
    let address = site.world.address().to_string();
    let connect = || {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-tls1_3", "-ign_eof", "-starttls", "postgres", "-connect", &address, "-sess_out"]).arg(&kept);
        openssl.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key);
        // Its answer is read to the end, and whatever else a server sends first.
        let refused = startup(&[("user", "alice"), ("database", "nowhere")]);
        String::from_utf8_lossy(&run_with_input(&mut openssl, &refused).stdout).into_owned()
    };
    for _ in 0..2 {
        let said = connect();
        assert!(said.contains("New, TLSv1.3") && said.contains("database \"nowhere\" does not exist"), "{said}");
        assert!(!said.contains("New Session Ticket arrived"), "{said}");
        assert!(!kept.exists(), "openssl keeps what could be resumed");
    }
}
