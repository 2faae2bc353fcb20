//! What can be wrong with a set of files: each is said once, in log, audit and metrics, and what was in force stays.

use super::*;
use crate::harness::der::{delta_indicator, indirect, oid, pem, sequence, tlv};

/// A fault: how it is made, and what is said of it.
type Fault = (&'static str, fn(&Site), &'static str);

const FAULTS: &[Fault] = &[
    ("truncated certificate", |site| truncate(site, "server.crt"), "server.crt: it is not whole PEM"),
    ("truncated key", |site| truncate(site, "server.key"), "server.key: it is not whole PEM"),
    ("truncated CAs", |site| truncate(site, "client-ca.crt"), "client-ca.crt: it is not whole PEM"),
    ("truncated CRLs", |site| truncate(site, "client-ca.crl"), "client-ca.crl: it is not whole PEM"),
    ("empty certificate", |site| site.write("server.crt", ""), "server.crt: it is empty"),
    ("empty key", |site| site.write("server.key", ""), "server.key: it is empty"),
    ("empty CAs", |site| site.write("client-ca.crt", ""), "client-ca.crt: it is empty"),
    ("empty CRLs", |site| site.write("client-ca.crl", ""), "client-ca.crl: it is empty"),
    ("garbage as certificate", |site| site.write("server.crt", [0xff; 4096]), "server.crt: no PEM block was found"),
    ("garbage as key", |site| site.write("server.key", [0xff; 4096]), "server.key: no PEM block was found"),
    ("garbage as CAs", |site| site.write("client-ca.crt", [0; 4096]), "client-ca.crt: no PEM block was found"),
    ("garbage as CRLs", |site| site.write("client-ca.crl", [0xff; 4096]), "client-ca.crl: no PEM block was found"),
    ("garbage as deny list", |site| site.write("denied.txt", [0xff; 4096]), "denied.txt: it is not UTF-8"),
    ("CAs and CRLs swapped", |site| swap(site, "client-ca.crt", "client-ca.crl"), "are two file names mixed up?"),
    ("certificate and key swapped", |site| swap(site, "server.crt", "server.key"), "are two file names mixed up?"),
    ("unreadable certificate", |site| mode(site, "server.crt", 0), "server.crt: it may not be read by "),
    ("unreadable key", |site| mode(site, "server.key", 0), "server.key: it may not be read by "),
    ("unreadable CAs", |site| mode(site, "client-ca.crt", 0), "client-ca.crt: it may not be read by "),
    ("unreadable CRLs", |site| mode(site, "client-ca.crl", 0), "client-ca.crl: it may not be read by "),
    ("unreadable deny list", |site| mode(site, "denied.txt", 0), "denied.txt: it may not be read by "),
    ("unreadable configuration", |site| mode(site, "postern.yaml", 0), "postern.yaml: found no file that can be read"),
    ("missing certificate", |site| remove(site, "server.crt"), "server.crt: there is no such file"),
    ("missing key", |site| remove(site, "server.key"), "server.key: there is no such file"),
    ("missing CAs", |site| remove(site, "client-ca.crt"), "client-ca.crt: there is no such file"),
    ("missing CRLs", |site| remove(site, "client-ca.crl"), "client-ca.crl: there is no such file"),
    ("missing deny list", |site| remove(site, "denied.txt"), "denied.txt: there is no such file"),
    ("a folder", |site| folder(site, "client-ca.crl"), "client-ca.crl: it is not a regular file"),
    ("a pipe as configuration", |site| pipe(site, "postern.yaml"), "postern.yaml:1:1: found an empty file"),
    ("wrong mode", |site| mode(site, "server.key", 0o644), "server.key: its mode is 0644"),
    ("mismatched key", mismatch, "server.key: the key does not belong to the first certificate"),
    ("expired server certificate", expire, "would refuse it"),
    ("CA removed", |site| site.write("client-ca.crt", site.world.pki.intermediate_pem()), "it has no self-signed certificate"),
    ("CRL of another CA", |site| site.write("client-ca.crl", site.world.pki.crl_of_another_ca_pem()), "it has no CRL of"),
    ("CRL signed wrong", |site| site.write("client-ca.crl", site.world.pki.forged_crl_pem()), "it has no CRL of"),
    ("a CRL that has expired", |site| site.write("client-ca.crl", site.world.pki.expired_crl_pem()), "it has no CRL of"),
    ("a delta CRL", |site| crl(site, &delta_indicator()), "it is a delta CRL, which lists only changes"),
    ("an indirect CRL", |site| crl(site, &indirect()), "it is an indirect CRL, which lists certificates of other issuers"),
    ("YAML error", |site| site.write("postern.yaml", site.config.yaml() + "limits: [\n"), "postern.yaml:"),
    ("unknown key", |site| site.write("postern.yaml", site.config.yaml() + "limit: 1\n"), "did you mean limits?"),
];

#[test]
fn whatever_is_wrong_is_said_and_what_was_in_force_stays() {
    let site = Site::with(|config| {
        fs::write(config.dir().join("denied.txt"), "").unwrap();
        config.with_crl().obeying_modes().with("reload: { poll: 0 }\ndenylist_file: denied.txt")
    });
    let names = ["server.crt", "server.key", "client-ca.crt", "client-ca.crl", "denied.txt", "postern.yaml"];
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

fn swap(site: &Site, this: &str, that: &str) {
    let (one, other) = (site.read(this), site.read(that));
    site.write(this, other);
    site.write(that, one);
}

fn remove(site: &Site, name: &str) {
    fs::remove_file(site.path(name)).unwrap();
}

fn crl(site: &Site, extension: &[u8]) {
    site.write("client-ca.crl", site.world.pki.extended_crl_pem(extension));
}

fn folder(site: &Site, name: &str) {
    fs::remove_file(site.path(name)).unwrap();
    fs::create_dir(site.path(name)).unwrap();
}

/// One that nobody writes to: who waits for it waits for ever.
fn pipe(site: &Site, name: &str) {
    remove(site, name);
    nix::unistd::mkfifo(&site.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
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

/// DER that would exhaust a reader that believes it, each as a CRL of its own.
fn hostile_crls(site: &Site) -> Vec<Vec<u8>> {
    let good = site.world.pki.crl_pem();
    let whole = pem_content(&good);
    let nested = (0..20_000).fold(Vec::new(), |inside, _| sequence(&[&inside]));
    let huge = |octets: &[u8]| [&[0x30, 0x80 | octets.len() as u8][..], octets, &[0; 64]].concat();
    let algorithm = sequence(&[&oid("1.2.840.10045.4.3.2")]);
    let frame = |body: Vec<u8>| sequence(&[&body, &algorithm, &tlv(0x03, &[&[0; 70]])]);
    vec![
        whole[..whole.len() / 2].to_vec(),
        [whole.as_slice(), b"more"].concat(),
        huge(&[0xff; 4]),
        huge(&[0xff; 8]),
        huge(&[0xff; 126]),
        vec![0x30, 0x80, 0x00, 0x00],
        frame(nested.clone()),
        frame(sequence(&[&tlv(0x02, &[&[1]]), &algorithm, &nested])),
        nested,
        vec![0x30; 1 << 20],
        vec![],
    ]
}

/// The octets of the first PEM block.
fn pem_content(text: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateRevocationListDer;
    use rustls::pki_types::pem::PemObject;
    CertificateRevocationListDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}

#[test]
fn no_file_of_crls_ends_the_daemon_or_what_was_in_force() {
    let site = Site::with(|config| config.with_crl().with("reload: { poll: 0 }"));
    let ders = hostile_crls(&site).into_iter().map(|der| pem("X509 CRL", &der).into_bytes());
    let texts = [
        format!("-----BEGIN X509 CRL-----\n{}", "A".repeat(8 << 20)),
        format!("-----BEGIN {}", "X".repeat(8 << 20)),
        "-----BEGIN X509 CRL-----\n".repeat(100_000),
        format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", "=".repeat(100_000)),
        "-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n".repeat(10_000),
        format!("-----BEGIN X509 CRL-----\r{}\0\r-----END X509 CRL-----\r", "\u{feff}"),
    ];
    for content in ders.chain(texts.map(String::into_bytes)) {
        let start = String::from_utf8_lossy(&content[..content.len().min(120)]).into_owned();
        site.write("client-ca.crl", &content);
        let output = site.postern(&["reload"]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{start}: {printed}");
        assert!(printed.contains("client-ca.crl: ") && !printed.contains("broke the parser"), "{start}: {printed}");
        assert!(printed.len() < 64 << 10, "{start}: {} bytes", printed.len());
        site.world.log_in();
    }
}
