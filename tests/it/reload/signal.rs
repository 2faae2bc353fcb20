//! By HUP and by `postern reload`: applied at once, and said.

use serde_json::json;

use super::*;

#[test]
fn a_renewed_server_certificate_is_shown_from_the_reload_on_and_live_sessions_go_on() {
    let site = Site::new();
    let mut session = site.world.log_in();
    let before = site.shown();
    let renewed = site.replace_server();
    assert_eq!(site.shown(), before, "nothing changes by itself with poll: 0");
    site.hup();
    let record = site.reload_number(1);
    assert_eq!((&record["trigger"], &record["result"]), (&json!("signal"), &json!("applied")));
    assert_eq!(record["changed"], json!(["tls.ssl_cert_file", "tls.ssl_key_file"]));
    assert_eq!(site.shown(), renewed.chain[0]);
    assert_eq!(session.rows("select session_user"), [[Some("alice".to_owned())]]);
    wait_until("the log says so", || site.world.postern().log().contains("configuration reloaded: trigger=signal"));
}

#[test]
fn postern_reload_says_what_has_changed_and_what_takes_a_restart() {
    let site = Site::new();
    assert_eq!(site.reload(), "applied: nothing has changed\n");
    let yaml = site.config.clone().with("limits: { max_connections: 7 }\nlog: { level: debug }").yaml();
    site.write("postern.yaml", &yaml);
    assert_eq!(
        site.reload(),
        "applied: limits.max_connections\ntakes a restart: log.level; postern serve --handover, or restart the service\n"
    );
    let reply: Value = serde_json::from_str(&succeeded(site.postern(&["reload", "--json"]))).unwrap();
    let outcome = &reply["reload"];
    assert_eq!((&outcome["result"], &outcome["trigger"], &outcome["changed"]), (&json!("applied"), &json!("admin"), &json!([])));
    assert_eq!(outcome["needs_restart"], json!(["log.level"]));
    let status = site.status();
    assert!(status.contains("of at most 7") && status.contains("takes a restart"), "{status}");
    let record = site.world.postern().wait_for_record(|record| record["event"] == "admin" && record["verb"] == "reload");
    assert_eq!(record["result"], "done");
}

#[test]
fn new_rules_and_limits_hold_for_whoever_comes_next() {
    let site = Site::new();
    let yaml = site.config.clone().with("hba:\n- { database: all, user: bob, address: all, method: cert }").yaml();
    site.write("postern.yaml", &yaml);
    site.reload();
    let refusal = Wire::log_in(site.world.address(), &site.world.alice, "alice").err().unwrap().to_string();
    assert!(refusal.contains("no pg_hba.conf entry"), "{refusal}");
    let bob = site.world.pki.named("bob");
    let _session = Wire::log_in(site.world.address(), &bob, "bob").unwrap();
    site.write("postern.yaml", yaml + "limits: { max_connections_per_role: 1 }\n");
    site.reload();
    let refusal = Wire::log_in(site.world.address(), &bob, "bob").err().unwrap().to_string();
    assert!(refusal.contains("too many connections for role"), "the session from before the reload counts: {refusal}");
}

#[test]
fn a_file_that_cannot_be_read_as_yaml_leaves_the_socket_to_be_named() {
    let site = Site::new();
    site.write("postern.yaml", "listen: [\n");
    assert_eq!(site.postern(&["reload"]).status.code(), Some(78));
    let socket = site.path("admin.sock").display().to_string();
    let output = site.postern(&["reload", "--socket", &socket]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("postern.yaml:"), "{said}");
}

#[test]
fn hup_while_the_daemon_drains_is_harmless() {
    let mut site = Site::new();
    let mut session = site.world.log_in();
    session.query("select pg_sleep(1)");
    let pid = site.world.postern().pid();
    signal("TERM", pid);
    wait_until("it drains", || site.world.postern().log().contains("shutting down"));
    signal("HUP", pid);
    let status = site.world.postern_mut().end("HUP");
    assert!(status.success(), "{status:?}");
}
