use std::os::unix::fs::PermissionsExt as _;

use rcgen::KeyPair;
use tempfile::TempDir;

use super::*;
use crate::identity::testing::*;

/// A file with this content, and what reading it as each kind comes to.
struct Probe(TempDir, PathBuf);

impl Probe {
    fn of(content: impl AsRef<[u8]>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("file.pem");
        std::fs::write(&file, content).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        Self(folder, file)
    }

    fn source(&self) -> Source<'_> {
        Source { file: &self.1, setting: "tls.ssl_key_file" }
    }

    fn certificates(&self) -> Result<usize, String> {
        self.source().certificates().map(|read| read.len()).map_err(|faults| faults.iter().map(|fault| fault.what.clone() + "|").collect())
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        self.source().private_key().map_err(|fault| fault.what)
    }

    fn crls(&self) -> Result<usize, String> {
        self.source()
            .crl_file()
            .and_then(|bytes| self.source().crls(&bytes))
            .map(|crls| crls.len())
            .map_err(|faults| faults.iter().map(|fault| fault.what.clone() + "|").collect())
    }
}

#[test]
fn a_file_that_is_missing_or_empty_or_a_folder_says_so() {
    let probe = Probe::of("");
    assert!(probe.certificates().is_err_and(|what| what.contains("it is empty")));
    let folder = Source { file: probe.0.path(), setting: "tls.ssl_ca_file" };
    assert!(folder.crl_file().is_err_and(|faults| faults[0].what.contains("not a regular file")));
    let missing = probe.0.path().join("missing");
    let fault = Source { file: &missing, setting: "tls.ssl_ca_file" }.private_key().expect_err("no file");
    assert!(fault.to_string().starts_with("tls.ssl_ca_file: /") && fault.what.contains("no such file"), "{fault}");
}

#[test]
fn a_deny_list_that_is_missing_says_how_to_make_it() {
    let folder = TempDir::new().expect("a folder");
    let missing = folder.path().join("denied.txt");
    let source = Source { file: &missing, setting: "denylist_file" };
    let faults = source.denylist().expect_err("no file");
    assert_eq!(faults[0].what, format!("there is no such file; make it, it may be empty: touch {}", missing.display()));
    std::fs::write(&missing, "").expect("the file");
    assert!(source.denylist().is_ok());
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = TempDir::new().expect("a folder");
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let fault = Source { file: &pipe, setting: "tls.ssl_key_file" }.private_key().expect_err("a pipe");
    assert!(fault.what.contains("not a regular file"));
}

#[test]
fn certificates_come_in_the_order_of_the_file() {
    let ca = Maker::new("ca");
    let root = pem("CERTIFICATE", &ca.root());
    let leaf = pem("CERTIFICATE", &Draft::leaf("alice").sign(&key(), &ca));
    assert_eq!(Probe::of(format!("a comment\n{leaf}{root}")).certificates(), Ok(2));
    let broken = pem("CERTIFICATE", b"junk");
    let what = Probe::of(format!("{leaf}{broken}{root}{broken}")).certificates().expect_err("two faults");
    assert!(what.contains("number 2 cannot be used") && what.contains("number 4 cannot be used"), "{what}");
}

#[test]
fn a_file_of_another_kind_is_called_by_its_name() {
    let key = KeyPair::generate().expect("a key").serialize_pem();
    assert!(Probe::of(&key).certificates().is_err_and(|what| what.contains("a block \"PRIVATE KEY\" was found")));
    assert!(Probe::of(Maker::new("ca").root()).certificates().is_err_and(|what| what.contains("seems to be DER")));
    let root = pem("CERTIFICATE", &Maker::new("ca").root());
    assert!(Probe::of(&root).key().is_err_and(|what| what.contains("a block \"CERTIFICATE\" was found")));
    assert!(Probe::of(&root).crls().is_err_and(|what| what.contains("\"-----BEGIN X509 CRL-----\" was expected")));
    assert!(Probe::of("hello").key().is_err_and(|what| what.contains("no PEM block was found")));
    let trusted = Probe::of(pem("TRUSTED CERTIFICATE", b"x") + &root);
    assert!(trusted.certificates().is_err_and(|what| what.contains("TRUSTED CERTIFICATE")));
    assert!(
        Probe::of(&root[..root.len() - 40])
            .certificates()
            .is_err_and(|what| what.contains("not whole PEM: the line \"-----END CERTIFICATE-----\" is missing"))
    );
}

#[test]
fn keys_are_read_in_every_plain_format_and_never_with_a_passphrase() {
    let pkcs8 = KeyPair::generate().expect("a key");
    assert!(matches!(Probe::of(pkcs8.serialize_pem()).key(), Ok(PrivateKeyDer::Pkcs8(_))));
    let sec1 = pem("EC PRIVATE KEY", &inside_pkcs8(pkcs8.serialized_der()));
    let parameters = pem("EC PARAMETERS", &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    assert!(matches!(Probe::of(parameters + &sec1).key(), Ok(PrivateKeyDer::Sec1(_))));
    assert!(matches!(Probe::of(pem("RSA PRIVATE KEY", &[0x30, 0])).key(), Ok(PrivateKeyDer::Pkcs1(_))));
    assert!(Probe::of(pem("ENCRYPTED PRIVATE KEY", &[0x30, 0])).key().is_err_and(|what| what.contains("passphrase")));
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert!(Probe::of(old).key().is_err_and(|what| what.contains("passphrase")));
}

#[test]
fn a_key_file_must_be_as_private_as_postgresql_wants_it() {
    for (mode, owner, us, good) in [
        (0o100600, 70, 70, true),
        (0o100400, 70, 70, true),
        (0o100640, 70, 70, false),
        (0o100604, 70, 70, false),
        (0o100640, 0, 70, true),
        (0o100640, 0, 0, true),
        (0o100660, 0, 70, false),
        (0o100650, 0, 70, false),
        (0o100644, 0, 70, false),
        (0o100600, 71, 70, false),
    ] {
        assert_eq!(forbidden_mode(Path::new("server.key"), mode, owner, us).is_none(), good, "{mode:o} of {owner} for {us}");
    }
    let probe = Probe::of(KeyPair::generate().expect("a key").serialize_pem());
    std::fs::set_permissions(&probe.1, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    // Where the tests run as root the file is root's.
    let advice = |mode: &str| format!("chmod {mode} {}", probe.1.display());
    assert!(
        probe
            .key()
            .is_err_and(|what| what.contains("its mode is 0644") && (what.ends_with(&advice("0600")) || what.ends_with(&advice("0640"))))
    );
}

#[test]
fn a_file_that_is_no_key_is_not_judged_by_a_keys_mode() {
    let probe = Probe::of(pem("CERTIFICATE", &Maker::new("ca").root()));
    std::fs::set_permissions(&probe.1, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    assert!(probe.key().is_err_and(|what| what.contains("a block \"CERTIFICATE\" was found") && !what.contains("mode")));
}

#[test]
fn every_crl_of_the_file_is_read_or_named() {
    let ca = Maker::new("ca");
    let good = pem("X509 CRL", &CrlDraft::of(&[&[5]]).sign(&ca));
    assert_eq!(Probe::of(good.repeat(2)).crls(), Ok(2));
    let delta = pem("X509 CRL", &CrlDraft::of(&[]).with(&[0x55, 0x1d, 27], true, &[2, 1, 1]).sign(&ca));
    let what = Probe::of(good + &delta).crls().expect_err("a delta CRL");
    assert!(what.contains("CRL number 2 cannot be used: it is a delta CRL"), "{what}");
}
