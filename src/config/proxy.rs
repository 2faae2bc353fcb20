//! `proxy_protocol`: the load balancers whose word about their clients' addresses counts.

use std::net::IpAddr;

use ipnet::IpNet;

use super::diagnostic::Faults;
use super::raw::{Node, Value};
use super::reader::{Read, Section, Wrong};
use super::values::text;

/// The networks of `proxy_protocol.trusted`.
pub(super) fn trusted(root: &Section<'_>, faults: &mut Faults) -> Option<Vec<IpNet>> {
    let section = root.section("proxy_protocol", faults);
    match section.find("trusted") {
        None => Some(Vec::new()),
        Some(Node { value: Value::List(items), .. }) if items.is_empty() => Some(Vec::new()),
        Some(_) => section.one_or_more("trusted", network, faults),
    }
}

/// A CIDR block. As in rules, bits behind the mask are ignored.
fn network(node: &Node) -> Read<IpNet> {
    let wrong = |advice: &str| Wrong::new("a CIDR block", advice);
    let example = "write 10.0.0.0/8 or \"fd00::/8\"";
    let written = text(node, || wrong(example))?;
    if let Ok(address) = written.parse::<IpAddr>() {
        let bits = if address.is_ipv6() { 128 } else { 32 };
        return Err(wrong(&format!("write {address}/{bits} for this address alone")).which("which has no mask"));
    }
    let network: IpNet = written.parse().map_err(|_| wrong(example))?;
    match network.addr() {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(wrong("write the IPv4 block").which("which no balancer matches: its IPv4 address is judged as such"))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(network.trunc()),
    }
}
