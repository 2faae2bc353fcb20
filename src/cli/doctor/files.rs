//! What lies around Postern: who else can write to its files, when they expire, the clock, and the limit on descriptors.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::clock;
use super::finding::Finding;
use crate::config::Settings;
use crate::os;
use crate::snapshot::Snapshot;
use crate::types::utc;

const DAY: i64 = 24 * 3600;

pub(super) fn examine(config: &Path, settings: &Settings, snapshot: &Snapshot) -> Vec<Finding> {
    let files = files(config, settings);
    let mut findings = modes(&files);
    findings.extend(expiries(snapshot, settings.live.tls.ssl_crl_file.is_some()));
    findings.extend(clock::examine(files.iter().map(|(_, file)| file.as_path())));
    findings.push(descriptors(settings));
    findings
}

/// The files that decide who gets in, by the key that names them.
fn files(config: &Path, settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let tls = &settings.live.tls;
    let mut files = vec![
        ("the configuration", config.to_owned()),
        ("tls.ssl_cert_file", tls.ssl_cert_file.clone()),
        ("tls.ssl_key_file", tls.ssl_key_file.clone()),
        ("tls.ssl_ca_file", tls.ssl_ca_file.clone()),
    ];
    for sni in &tls.sni {
        files.extend([("tls.sni", sni.ssl_cert_file.clone()), ("tls.sni", sni.ssl_key_file.clone())]);
    }
    files.extend(tls.ssl_crl_file.clone().map(|file| ("tls.ssl_crl_file", file)));
    files.extend(settings.live.backend.passfile.clone().map(|file| ("backend.passfile", file)));
    files.extend(settings.live.rule_files.iter().map(|file| ("hba_file or ident_file", file.clone())));
    files
}

/// Group and others.
const OTHERS_WRITE: u32 = 0o022;

/// Who can write to one of them decides who gets in.
fn modes(files: &[(&'static str, PathBuf)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut folders: Vec<&Path> = Vec::new();
    for (key, file) in files {
        if let Ok(metadata) = fs::metadata(file)
            && metadata.mode() & OTHERS_WRITE != 0
        {
            let found =
                format!("{key}: {} has mode {:04o}: others than its owner can write to it", file.display(), metadata.mode() & 0o7777);
            findings.push(Finding::fault("files.mode", found, format!("chmod go-w '{}'", file.display())));
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    for folder in folders {
        let Ok(metadata) = fs::metadata(folder) else { continue };
        let mode = metadata.mode();
        if mode & OTHERS_WRITE != 0 && mode & os::STICKY == 0 {
            let found = format!("{} has mode {:04o}: others can put files in the place of Postern's", folder.display(), mode & 0o7777);
            findings.push(Finding::fault("files.mode", found, format!("chmod go-w '{}'", folder.display())));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("files.mode", "nobody but their owners can write to Postern's files"));
    }
    findings
}

/// What will keep everybody out before long.
fn expiries(snapshot: &Snapshot, has_lists: bool) -> Vec<Finding> {
    let expiries = snapshot.tls().expiries();
    let now = os::unix_now();
    let soon = |check, what: &str, at: i64, days: i64, change: &str| {
        let left = at.saturating_sub(now);
        let found = match left {
            ..=0 => format!("{what} has been over since {}", utc(at).unwrap_or_else(|| at.to_string())),
            _ => format!("{what} has {} days and {} hours left", left.div_euclid(DAY), left.rem_euclid(DAY).div_euclid(3600)),
        };
        if left < days.saturating_mul(DAY) { Finding::fault(check, found, change) } else { Finding::good(check, found) }
    };
    let server = soon(
        "tls.ssl_cert_file",
        "the first server certificate to expire",
        expiries.server,
        14,
        "renew it: `postern pki server`, or your CA",
    );
    let ca = soon("tls.ssl_ca_file", "the first CA to expire", expiries.client_ca, 30, "issue a new CA and put it beside the old one");
    let crl = match expiries.crl {
        Some(at) => soon("tls.ssl_crl_file", "the first CRL to expire", at, 1, "make a new one: `postern pki crl`, or your CA's"),
        None if has_lists => Finding::good("tls.ssl_crl_file", "no CRL says when there will be a newer one"),
        None => Finding::good("tls.ssl_crl_file", "there is none: a client is kept out by another CA, or when its certificate expires"),
    };
    vec![server, ca, crl]
}

fn descriptors(settings: &Settings) -> Finding {
    let needed = settings.live.limits.descriptors();
    match os::raise_descriptor_limit() {
        Ok(limit) if limit >= needed => Finding::good("descriptors", format!("{limit} may be open, {needed} are needed at most")),
        Ok(limit) => Finding::fault(
            "descriptors",
            format!("{limit} may be open, limits.max_connections and max_handshakes can need {needed}"),
            format!("set LimitNOFILE={needed} in the service's unit (ulimit -n), or lower them"),
        ),
        Err(error) => Finding::unknown("descriptors", format!("the kernel does not tell the limit: {error}"), "look at `ulimit -n`"),
    }
}
