//! Files that have not much left are told of in time, once.

use serde_json::json;

use super::*;

impl Site {
    /// What was said of whom, and of which kind.
    fn expiring(&self, kind: &str, subject: &str) -> Vec<Value> {
        let of = |record: &Value| record["event"] == "certificate.expiring" && record["kind"] == kind && record["subject"] == subject;
        self.world.postern().records().into_iter().filter(of).collect()
    }

    #[track_caller]
    fn told(&self, kind: &str, subject: &str, times: usize) -> Value {
        wait_until("it is said", || self.expiring(kind, subject).len() >= times);
        self.expiring(kind, subject)[times - 1].clone()
    }
}

#[test]
fn each_threshold_is_said_once_whatever_is_reloaded() {
    let site = Site::with(|config| config.with_crl().with("reload: { poll: 0 }"));
    assert!(site.told("client_ca", "CN=expired-root", 1)["left_seconds"].as_i64() < Some(0));
    assert_eq!(site.told("crl", "CN=stale-crl", 1)["sha256"], Value::Null);
    assert_eq!(site.expiring("server", "CN=localhost"), Vec::<Value>::new());

    site.write_server(&site.world.pki.server_for(8));
    site.reload();
    let soon = site.told("server", "CN=localhost", 1);
    assert!(soon["left_seconds"].as_i64() > Some(0) && soon["setting"] == "tls.ssl_cert_file", "{soon}");
    site.hup();
    assert_eq!(site.reload_number(2)["result"], "applied");
    let over = site.told("server", "CN=localhost", 2);
    assert!(over["left_seconds"].as_i64() <= Some(0) && over["not_after"] == soon["not_after"], "{over}");
    wait_until("the log says so", || site.world.postern().log().contains("the server certificate \\\"CN=localhost\\\" has expired"));

    site.write_server(&site.world.pki.server_for(3 * 86_400));
    site.reload();
    let third = site.told("server", "CN=localhost", 3);
    assert_ne!(third["sha256"], soon["sha256"]);
    let seen = [("client_ca", "CN=expired-root"), ("crl", "CN=stale-crl"), ("server", "CN=localhost")];
    assert_eq!(seen.map(|(kind, subject)| json!(site.expiring(kind, subject).len())), [json!(1), json!(1), json!(3)]);
}
