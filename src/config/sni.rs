//! `tls.sni`: further server certificates, each for the hosts that clients name.

use std::collections::HashSet;
use std::path::Path;

use super::diagnostic::Faults;
use super::raw::{Node, Value};
use super::reader::{Read, Section, Wrong};
use super::values::{path, text};
use crate::tls::{HostPattern, SniSettings};

/// The items of the list, each with a place of its own among all hosts.
pub(super) fn sni(tls: &Section<'_>, folder: &Path, faults: &mut Faults) -> Option<Vec<SniSettings>> {
    let Some(node) = tls.find("sni") else { return Some(Vec::new()) };
    let Value::List(items) = &node.value else {
        tls.fault("sni", Wrong::new("a list", "write - { hosts: db.example, ssl_cert_file: FILE, ssl_key_file: FILE }"), faults);
        return None;
    };
    let mut taken = HashSet::new();
    let items: Vec<Option<SniSettings>> =
        items.iter().enumerate().map(|(number, item)| item_of(number, item, folder, &mut taken, faults)).collect();
    items.into_iter().collect()
}

fn item_of(number: usize, node: &Node, folder: &Path, taken: &mut HashSet<HostPattern>, faults: &mut Faults) -> Option<SniSettings> {
    let section = Section::of(node, format!("tls.sni[{number}]"), faults);
    let hosts = section.one_or_more("hosts", host, faults);
    let ssl_cert_file = section.required("ssl_cert_file", path(folder), faults);
    let ssl_key_file = section.required("ssl_key_file", path(folder), faults);
    let hosts = hosts?;
    if let Some(again) = hosts.iter().find(|host| !taken.insert((*host).clone())) {
        let wrong = Wrong::new("each host once", "remove it here or where it stands before").which(format!("which has {again} again"));
        section.fault("hosts", wrong, faults);
        return None;
    }
    Some(SniSettings { hosts, ssl_cert_file: ssl_cert_file?, ssl_key_file: ssl_key_file? })
}

fn host(node: &Node) -> Read<HostPattern> {
    let wrong = || Wrong::new("the name of a host, or *.DOMAIN for all hosts right below it", "write it as clients do, as db.example");
    let written = text(node, wrong)?;
    if written.parse::<std::net::IpAddr>().is_ok() {
        return Err(Wrong::new("the name of a host", "remove it: clients name no addresses in TLS").which("which is an address"));
    }
    HostPattern::parse(written).ok_or_else(wrong)
}
