//! By itself: files that have changed, and stay as they are, are taken.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

fn polling() -> Site {
    Site::with(|config| config.with("reload: { poll: 250ms }"))
}

#[test]
fn files_that_have_changed_are_taken_by_themselves() {
    let site = polling();
    let renewed = site.replace_server();
    let record = site.reload_number(1);
    assert_eq!((&record["trigger"], &record["result"]), (&json!("poll"), &json!("applied")));
    assert_eq!(site.shown(), renewed.chain[0]);
}

#[test]
fn a_symlink_that_is_swapped_is_a_change_of_what_is_behind_it() {
    let site = polling();
    let mount = site.path("mount");
    fs::create_dir(&mount).unwrap();
    let publish = |version: &str| {
        let folder = mount.join(version);
        fs::create_dir(&folder).unwrap();
        let server = site.world.pki.server();
        server.write(&folder, "tls");
        symlink(version, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        server
    };
    publish("..one");
    symlink("..data/tls.crt", mount.join("tls.crt")).unwrap();
    symlink("..data/tls.key", mount.join("tls.key")).unwrap();
    let yaml = site.config.yaml().replace("server.crt", "mount/tls.crt").replace("server.key", "mount/tls.key");
    site.write("postern.yaml", &yaml);
    site.reload_number(1);
    let second = publish("..two");
    assert_eq!(site.reload_number(2)["changed"], json!(["tls.ssl_cert_file", "tls.ssl_key_file"]));
    assert_eq!(site.shown(), second.chain[0]);
}

#[test]
fn a_bad_set_is_said_once_and_a_mended_one_is_taken() {
    let site = polling();
    let good = site.read("client-ca.crt");
    site.write("client-ca.crt", "junk");
    assert_eq!(site.reload_number(1)["result"], "rejected");
    // Two more looks at least, each of which would say it again.
    let renewed = site.read("server.crt");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(site.reloads().len(), 1);
    assert_eq!(site.read("server.crt"), renewed);
    site.write("client-ca.crt", good);
    assert_eq!(site.reload_number(2)["result"], "applied");
}

#[test]
fn a_key_that_comes_after_its_certificate_is_waited_for() {
    let site = polling();
    let renewed = site.world.pki.server();
    let dir = tempfile::tempdir().unwrap();
    let files = renewed.write(dir.path(), "server");
    site.write("server.crt", fs::read(files.certificate).unwrap());
    // By HUP it is read at once, and does not fit yet.
    site.hup();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(site.reloads(), Vec::<Value>::new());
    site.write("server.key", fs::read(files.key).unwrap());
    assert_eq!(site.reload_number(1)["result"], "applied");
    assert_eq!(site.shown(), renewed.chain[0]);
}

#[test]
fn a_key_that_never_fits_is_a_failure_after_ten_seconds() {
    let site = polling();
    let dir = tempfile::tempdir().unwrap();
    site.write("server.key", fs::read(site.world.pki.server().write(dir.path(), "other").key).unwrap());
    let record = site.reload_number(1);
    assert!(record["result"] == "rejected" && record["faults"].to_string().contains("does not belong"), "{record}");
    site.world.log_in();
}
