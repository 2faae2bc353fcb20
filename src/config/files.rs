//! The files that a configuration names and that are read with it: a reload is due when one of them changes.

use std::path::{Path, PathBuf};

use super::settings::LiveSettings;

/// A file and the key that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The key's path, as `tls.ssl_cert_file`; the file's own for those that rules and maps are read from.
    pub key: String,
    /// The file.
    pub path: PathBuf,
}

/// The files that `settings` name.
pub(super) fn of(settings: &LiveSettings) -> Vec<NamedFile> {
    let tls = &settings.tls;
    let mut files = vec![
        named("tls.ssl_cert_file", &tls.ssl_cert_file),
        named("tls.ssl_key_file", &tls.ssl_key_file),
        named("tls.ssl_ca_file", &tls.ssl_ca_file),
    ];
    for (number, sni) in tls.sni.iter().enumerate() {
        files.push(named(&format!("tls.sni[{number}].ssl_cert_file"), &sni.ssl_cert_file));
        files.push(named(&format!("tls.sni[{number}].ssl_key_file"), &sni.ssl_key_file));
    }
    files.extend(tls.ssl_crl_file.iter().map(|file| named("tls.ssl_crl_file", file)));
    files.extend(tls.denylist_file.iter().map(|file| named("denylist_file", file)));
    // Some of them are named by others of them: their paths say more than a key.
    files.extend(settings.rule_files.iter().map(|file| named(&file.display().to_string(), file)));
    files.extend(settings.backend.passfile.iter().map(|file| named("backend.passfile", file)));
    files
}

fn named(key: &str, path: &Path) -> NamedFile {
    NamedFile { key: key.to_owned(), path: path.to_owned() }
}
