//! By which names the endpoint may be called.
//!
//! A web page can have its own name resolve to an address of this machine and then read what it serves (DNS rebinding): its requests
//! carry that name. So a Host must be one that no page can own: an address, localhost, or a name that the operator gave.

use std::net::IpAddr;

use hyper::header::HOST;
use hyper::{HeaderMap, Uri};

/// What is wrong with the host of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongHost {
    /// None, or more than one.
    NotOne,
    /// A name that is not ours.
    Foreign,
}

/// Looks at the Host of a request, and at the authority of its target if it has one. `names` are in lower case.
pub(super) fn check(target: &Uri, headers: &HeaderMap, names: &[String]) -> Result<(), WrongHost> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(WrongHost::NotOne) };
    let host = host.to_str().map_err(|_| WrongHost::Foreign)?;
    let ours = |host: &str| is_ours(host, names);
    let target_is_ours = target.authority().is_none_or(|authority| ours(authority.as_str()));
    if ours(host) && target_is_ours { Ok(()) } else { Err(WrongHost::Foreign) }
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let name = without_port(host);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() || address.len() < name.len())
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// What stands before the port. What is no port leaves the whole, which then is nobody's name.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn checked(target: &str, hosts: &[&str]) -> Result<(), WrongHost> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        check(&target.parse().unwrap(), &headers, &["metrics.example".to_owned()])
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9187",
            "10.1.2.3:1",
            "[::1]",
            "[::1]:9187",
            "localhost",
            "LocalHost:9187",
            "metrics.example",
            "METRICS.example:80",
        ] {
            assert_eq!(checked("/metrics", &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn every_other_name_is_foreign() {
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost.",
            "evil.example:9187",
            "127.0.0.1:x",
            "127.0.0.1:",
            "user@127.0.0.1",
            "127.0.0.1,evil.example",
            "::1",
            "[127.0.0.1.evil]",
            "0x7f000001",
            "metrics.example.evil",
            "m\u{e9}trics.example",
        ] {
            assert_eq!(checked("/metrics", &[host]), Err(WrongHost::Foreign), "{host}");
        }
    }

    #[test]
    fn a_request_has_one_host_and_its_target_none_that_is_foreign() {
        assert_eq!(checked("/", &[]), Err(WrongHost::NotOne));
        assert_eq!(checked("/", &["localhost", "localhost"]), Err(WrongHost::NotOne));
        assert_eq!(checked("http://evil.example/metrics", &["localhost"]), Err(WrongHost::Foreign));
        assert_eq!(checked("http://localhost/metrics", &["localhost"]), Ok(()));
    }
}
