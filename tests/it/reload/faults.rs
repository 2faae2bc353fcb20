//! What can be wrong with a set of files: each is said once, in log, audit and metrics, and what was in force stays.

use super::*;

/// A fault: how it is made, and what is said of it.
type Fault = (&'static str, fn(&Site), &'static str);

const FAULTS: &[Fault] = &[
    ("truncated certificate", |site| truncate(site, "server.crt"), "server.crt: it is not whole PEM"),
    ("truncated key", |site| truncate(site, "server.key"), "server.key: it is not whole PEM"),
    ("truncated CAs", |site| truncate(site, "client-ca.crt"), "client-ca.crt: "),
    ("truncated CRLs", |site| truncate(site, "client-ca.crl"), "client-ca.crl: "),
    ("empty certificate", |site| site.write("server.crt", ""), "server.crt: it is empty"),
    ("empty CAs", |site| site.write("client-ca.crt", ""), "client-ca.crt: it is empty"),
    ("empty CRLs", |site| site.write("client-ca.crl", ""), "client-ca.crl: it is empty"),
    ("garbage", |site| site.write("client-ca.crl", [0xff; 4096]), "client-ca.crl: no PEM block was found"),
    ("swapped", swap, "are two file names mixed up?"),
    ("missing", |site| fs::remove_file(site.path("client-ca.crt")).unwrap(), "client-ca.crt: there is no such file"),
    ("a folder", |site| folder(site, "client-ca.crl"), "client-ca.crl: it is not a regular file"),
    ("wrong mode", |site| mode(site, "server.key", 0o644), "server.key: its mode is 0644"),
    ("mismatched key", mismatch, "server.key: the key does not belong to the first certificate"),
    ("expired server certificate", expire, "would refuse it"),
    ("CA removed", |site| site.write("client-ca.crt", site.world.pki.intermediate_pem()), "it has no self-signed certificate"),
    ("CRL of another CA", |site| site.write("client-ca.crl", site.world.pki.crl_of_another_ca_pem()), "it has no CRL of"),
    ("CRL signed wrong", |site| site.write("client-ca.crl", site.world.pki.forged_crl_pem()), "it has no CRL of"),
    ("a CRL that has expired", |site| site.write("client-ca.crl", site.world.pki.expired_crl_pem()), "it has no CRL of"),
    ("YAML error", |site| site.write("postern.yaml", site.config.yaml() + "limits: [\n"), "postern.yaml:"),
    ("unknown key", |site| site.write("postern.yaml", site.config.yaml() + "limit: 1\n"), "did you mean limits?"),
];

#[test]
fn whatever_is_wrong_is_said_and_what_was_in_force_stays() {
    let site = Site::with(|config| config.with_crl().with("reload: { poll: 0 }"));
    let names = ["server.crt", "server.key", "client-ca.crt", "client-ca.crl", "postern.yaml"];
    let good: Vec<Vec<u8>> = names.iter().map(|name| site.read(name)).collect();
    let shown = site.shown();
    let mut session = site.world.log_in();
    let socket = site.path("admin.sock").display().to_string();
    for (number, (fault, make, said)) in FAULTS.iter().enumerate() {
        make(&site);
        let output = site.postern(&["reload", "--socket", &socket]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{fault}: {printed}");
        assert!(printed.starts_with("rejected: what was in force stays\n") && printed.contains(said), "{fault}: {printed}");
        let record = site.reload_number(2 * number + 1);
        assert!(record["result"] == "rejected" && record["faults"].to_string().contains(said), "{fault}: {record}");
        wait_until("the log says so", || site.world.postern().log().contains(said));
        assert_eq!(site.shown(), shown, "{fault}");
        site.world.log_in();
        assert_eq!(session.rows("select 1"), [[Some("1".to_owned())]], "{fault}");
        let status = succeeded(site.postern(&["status", "--socket", &socket]));
        assert!(status.contains("rejected at") && status.contains(said), "{fault}: {status}");
        for (name, content) in names.iter().zip(&good) {
            if site.path(name).is_dir() {
                fs::remove_dir(site.path(name)).unwrap();
            }
            site.write(name, content);
        }
        assert_eq!(site.reload(), "applied: nothing has changed\n", "{fault}");
    }
    assert!(!site.status().contains("rejected"));
}

/// Cut in the middle of a line of Base64, as by a copy that was not finished.
fn truncate(site: &Site, name: &str) {
    let whole = site.read(name);
    site.write(name, &whole[..whole.len() / 2 + 7]);
}

fn swap(site: &Site) {
    let (one, other) = (site.read("client-ca.crt"), site.read("client-ca.crl"));
    site.write("client-ca.crt", other);
    site.write("client-ca.crl", one);
}

fn folder(site: &Site, name: &str) {
    fs::remove_file(site.path(name)).unwrap();
    fs::create_dir(site.path(name)).unwrap();
}

fn mode(site: &Site, name: &str, mode: u32) {
    fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn mismatch(site: &Site) {
    let dir = tempfile::tempdir().unwrap();
    site.write("server.key", fs::read(site.world.pki.server().write(dir.path(), "other").key).unwrap());
}

fn expire(site: &Site) {
    site.write_server(&site.world.pki.expired_server());
}
