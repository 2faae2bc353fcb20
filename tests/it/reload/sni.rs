//! Certificates by the host that a client names: shown to libpq, and replaced like the others.

use serde_json::json;

use super::*;
use crate::harness::pki::CredentialFiles;

/// What psql says that trusts `server` alone and comes to `host`.
fn psql(site: &Site, host: &str, server: &Credentials) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let CredentialFiles { certificate: root, .. } = server.write(dir.path(), "root");
    let alice = site.world.conninfo().replace("host=127.0.0.1", &format!("host={host} hostaddr=127.0.0.1"));
    let conninfo = alice.replace("sslmode=require", &format!("sslmode=verify-full sslrootcert={}", root.display()));
    let output = site.world.clients.psql(&conninfo, "select 1");
    if output.status.success() { Ok(succeeded(output)) } else { Err(String::from_utf8(output.stderr).unwrap()) }
}

#[test]
fn libpq_verifies_the_certificate_of_the_host_it_names_and_a_renewed_one_from_the_reload_on() {
    let site = Site::new();
    let main = site.replace_server();
    let write = |server: &Credentials, stem: &str| {
        let dir = tempfile::tempdir().unwrap();
        let files = server.write(dir.path(), stem);
        site.write(&format!("{stem}.crt"), fs::read(files.certificate).unwrap());
        site.write(&format!("{stem}.key"), fs::read(files.key).unwrap());
    };
    let (first, wild) = (site.world.pki.server_of(&["db.example"]), site.world.pki.server_of(&["*.db.example"]));
    write(&first, "first");
    write(&wild, "wild");
    let item = |hosts: &str, stem: &str| format!("    - {{ hosts: {hosts}, ssl_cert_file: {stem}.crt, ssl_key_file: {stem}.key }}\n");
    let sni = format!("tls:\n  sni:\n{}{}", item("db.example", "first"), item("\"*.db.example\"", "wild"));
    site.write("postern.yaml", site.config.yaml().replacen("tls:\n", &sni, 1));
    assert_eq!(
        site.reload(),
        "applied: tls.sni, tls.ssl_cert_file, tls.ssl_key_file, tls.sni[0].ssl_cert_file, tls.sni[0].ssl_key_file, tls.sni[1].ssl_cert_file, tls.sni[1].ssl_key_file\n"
    );
    for (host, server) in [("db.example", &first), ("a.db.example", &wild), ("localhost", &main)] {
        psql(&site, host, server).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    let error = psql(&site, "a.b.db.example", &wild).unwrap_err();
    assert!(error.contains("certificate verify failed"), "{error}");
    let status = site.status();
    assert!(status.contains("certificate for db.example") && status.contains("certificate for *.db.example"), "{status}");

    let renewed = site.world.pki.server_of(&["db.example"]);
    write(&renewed, "first");
    site.hup();
    assert_eq!(site.reload_number(2)["changed"], json!(["tls.sni[0].ssl_cert_file", "tls.sni[0].ssl_key_file"]));
    assert!(psql(&site, "db.example", &first).is_err());
    psql(&site, "db.example", &renewed).unwrap();

    // A certificate for another host takes nobody's place.
    write(&site.world.pki.server_of(&["other.example"]), "first");
    let said = String::from_utf8(site.postern(&["reload"]).stdout).unwrap();
    assert!(said.contains("tls.sni[0].hosts: ") && said.contains("is for other.example, and not for db.example"), "{said}");
    psql(&site, "db.example", &renewed).unwrap();
}
