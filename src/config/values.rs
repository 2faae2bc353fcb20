//! Single values of the file: text to the domain's types, each with what its author should have written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{nearest, one_of};
use super::raw::{Node, Value};
use super::reader::{Read, Wrong};
use super::settings::ListenAddress;
use crate::os::{self, Account};

/// `null`, or what `read` takes.
pub(super) fn nullable<T>(read: impl Fn(&Node) -> Read<T>) -> impl Fn(&Node) -> Read<Option<T>> {
    move |node| if node.value == Value::Null { Ok(None) } else { read(node).map(Some) }
}

/// The text of a value; anything else is wrong in the way that `wrong` says.
pub(super) fn text(node: &Node, wrong: impl FnOnce() -> Wrong) -> Read<&str> {
    match &node.value {
        Value::Text(text) => Ok(text),
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::List(_) | Value::Map(_) => Err(wrong()),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Node) -> Read<T> {
    move |node| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let wrong = |advice: &str| Wrong::new(one_of(&names), advice);
        let written = text(node, || wrong("write one of these words"))?;
        words.iter().find(|(word, _)| *word == written).map(|(_, value)| *value).ok_or_else(|| {
            match nearest(written, names.iter().copied()) {
                Some(name) => wrong(&format!("did you mean {name}?")),
                None => wrong("write one of these words"),
            }
        })
    }
}

/// The path of a file that exists or will: relative ones start at `folder`.
pub(super) fn path(folder: &Path) -> impl Fn(&Node) -> Read<PathBuf> {
    move |node| {
        let wrong = || Wrong::new("the path of a file", "write it absolute, or relative to the folder of this file");
        match text(node, wrong)? {
            "" => Err(wrong()),
            path if path.contains('\0') => Err(wrong().which("which holds a NUL")),
            path => Ok(folder.join(path)),
        }
    }
}

/// A TCP port, or the number of a Unix socket.
pub(super) fn port(node: &Node) -> Read<u16> {
    match &node.value {
        Value::Number { whole: Some(port @ 1..=65535), .. } => u16::try_from(*port).map_err(|_| port_wrong("")),
        Value::Text(text) if text.parse::<u16>().is_ok() => Err(port_wrong("write it without quotes")),
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            Err(port_wrong("write PostgreSQL's port, as 5432"))
        }
    }
}

fn port_wrong(advice: &str) -> Wrong {
    Wrong::new("a port from 1 to 65535", advice)
}

/// A duration above 0 and up to `most`.
pub(super) fn duration(most: Duration) -> impl Fn(&Node) -> Read<Duration> {
    move |node| {
        let wrong = |advice: &str| Wrong::new(format!("a duration above 0 and up to {}s", most.as_secs()), advice);
        if let Value::Number { text, whole } = &node.value {
            return Err(match whole {
                Some(1..) => wrong(&format!("write the unit, as {text}s")),
                Some(0) | None => wrong("write a number and ms, s, m, h or d, as 10s"),
            });
        }
        let units = || wrong("write a number and ms, s, m, h or d, as 10s");
        let duration = parse_duration(text(node, units)?).ok_or_else(units)?;
        if duration.is_zero() {
            return Err(wrong("write a longer one, as 10s"));
        }
        if duration > most { Err(wrong("write a shorter one, as 10s")) } else { Ok(duration) }
    }
}

/// `250ms 10s 5m 8h 7d`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds: u64 = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// A duration, or 0 for none.
pub(super) fn duration_or_never(most: Duration) -> impl Fn(&Node) -> Read<Option<Duration>> {
    move |node| match &node.value {
        Value::Number { whole: Some(0), .. } => Ok(None),
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            duration(most)(node).map(Some)
        }
    }
}

/// A duration that may be 0, as `0` or `0s`.
pub(super) fn pause(most: Duration) -> impl Fn(&Node) -> Read<Duration> {
    move |node| match &node.value {
        Value::Text(text) if parse_duration(text) == Some(Duration::ZERO) => Ok(Duration::ZERO),
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            duration_or_never(most)(node).map(Option::unwrap_or_default)
        }
    }
}

/// A count of at least 1.
pub(super) fn count(node: &Node) -> Read<usize> {
    whole(node).filter(|count| *count > 0).ok_or_else(|| count_wrong("1", "write a number, as 1000"))
}

/// A count, or 0 for no limit.
pub(super) fn count_or_none(node: &Node) -> Read<Option<usize>> {
    let count = whole(node).ok_or_else(|| count_wrong("0", "write a number, or 0 for no limit"))?;
    Ok(Some(count).filter(|count| *count > 0))
}

/// A rate, as `50/s`, or 0 for none.
pub(super) fn rate_or_none(node: &Node) -> Read<Option<u32>> {
    let wrong = || Wrong::new("a rate from 1/s to 100000/s, or 0", "write it as 50/s");
    match &node.value {
        Value::Number { whole: Some(0), .. } => Ok(None),
        Value::Text(text) => {
            let rate =
                text.strip_suffix("/s").and_then(|number| number.trim_end().parse().ok()).filter(|rate| (1..=100_000).contains(rate));
            rate.map(Some).ok_or_else(wrong)
        }
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::List(_) | Value::Map(_) => Err(wrong()),
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Read<bool> {
    match node.value {
        Value::Boolean(value) => Ok(value),
        Value::Null | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            Err(Wrong::new("true or false", "write one of them without quotes"))
        }
    }
}

/// A session's timers end within a year.
pub(super) const LONGEST_SESSION: Duration = Duration::from_secs(366 * 24 * 3600);

/// More connections than any machine holds.
const LARGEST_COUNT: usize = 1_000_000;

fn whole(node: &Node) -> Option<usize> {
    match node.value {
        Value::Number { whole: Some(count), .. } => usize::try_from(count).ok().filter(|count| *count <= LARGEST_COUNT),
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn count_wrong(least: &str, advice: &str) -> Wrong {
    Wrong::new(format!("a count from {least} to {LARGEST_COUNT}"), advice)
}

/// Where clients connect to: an address, or a socket of systemd's by its name.
pub(super) fn listen_address(node: &Node) -> Read<ListenAddress> {
    let name = match &node.value {
        Value::Text(written) => written.strip_prefix("systemd:"),
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::List(_) | Value::Map(_) => None,
    };
    match name {
        None => listen(node).map(ListenAddress::Tcp),
        // What systemd.socket(5) takes for FileDescriptorName=.
        Some(name) if (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') => {
            Ok(ListenAddress::Systemd(name.to_owned()))
        }
        Some(_) => {
            let wrong = Wrong::new("systemd: and the FileDescriptorName of a socket unit", "write systemd:postern");
            Err(wrong.which("whose name is empty, too long or not plain ASCII"))
        }
    }
}

/// An address to listen at. `localhost` is 127.0.0.1; no other name is looked up.
pub(super) fn listen(node: &Node) -> Read<SocketAddr> {
    let wrong = |advice: &str| Wrong::new("HOST:PORT with an IP address or localhost", advice);
    let written = text(node, || wrong("write 0.0.0.0:5432, or \"[::]:5432\" in quotes"))?;
    if written.starts_with("unix:") {
        return Err(Wrong::unbuilt("HOST:PORT with an IP address or localhost"));
    }
    if let Ok(address) = written.parse::<IpAddr>() {
        let advice = if address.is_ipv6() { format!("write \"[{address}]:5432\"") } else { format!("write {address}:5432") };
        return Err(wrong(&advice).which("which has no port"));
    }
    let Some((host, port)) = written.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return Err(wrong("write the port, as 0.0.0.0:5432").which("which has no port"));
    };
    let address = listen_host(host, &wrong)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("write the port as a number, as 5432").which("whose port is no number"));
    }
    if port.is_empty() {
        return Err(wrong("write the port after the colon, as 5432").which("which has no port"));
    }
    match port.parse::<u16>() {
        Ok(port @ 1..) => Ok(SocketAddr::new(address, port)),
        Ok(_) | Err(_) => Err(wrong("write a port from 1 to 65535").which("whose port is out of range")),
    }
}

fn listen_host(host: &str, wrong: &dyn Fn(&str) -> Wrong) -> Read<IpAddr> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr =
            inner.parse().map_err(|_| wrong("write an IPv6 address in the brackets").which("which is no IPv6 address"))?;
        return match address.to_ipv4_mapped() {
            Some(v4) => Err(wrong(&format!("write {v4}")).which("which is an IPv4 address in IPv6 form")),
            None => Ok(IpAddr::V6(address)),
        };
    }
    match host {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        "" => Err(wrong("write 0.0.0.0 for every IPv4 address, \"[::]\" for every IPv6 address").which("which has no host")),
        "*" => Err(wrong("write 0.0.0.0 for every IPv4 address, \"[::]\" for every IPv6 address").which("which names no family")),
        _ if host.parse::<Ipv6Addr>().is_ok() => Err(wrong(&format!("write \"[{host}]\" and the port")).which("which has no brackets")),
        _ => host
            .parse::<Ipv4Addr>()
            .map(IpAddr::V4)
            .map_err(|_| wrong("write the IP address: names are not looked up").which("whose host is a name")),
    }
}

/// The OS user that the backend must run as, by name or uid.
pub(super) fn peer(node: &Node) -> Read<u32> {
    let wrong = |advice: &str| Wrong::new("an OS user's name or uid", advice);
    if let Value::Number { whole: Some(uid), .. } = node.value {
        // The highest uid is -1, which system calls take for "no user".
        return u32::try_from(uid).ok().filter(|uid| *uid != u32::MAX).ok_or_else(|| wrong("write a uid from 0 to 4294967294"));
    }
    let name = text(node, || wrong("write the user that PostgreSQL runs as, or null"))?;
    match os::uid_of(name) {
        Ok(Some(uid)) => Ok(uid),
        Ok(None) => {
            Err(wrong("write the user that PostgreSQL runs as, or its uid without quotes").which("who is not known on this machine"))
        }
        Err(error) => Err(wrong("write the uid").which(format!("who cannot be looked up ({error})"))),
    }
}

/// The OS user that Postern becomes, by name or uid: anybody but root.
pub(super) fn account(node: &Node) -> Read<Account> {
    let wrong = |advice: &str| Wrong::new("an OS user's name or uid, other than root's", advice);
    let found = if let Value::Number { whole: Some(uid), .. } = node.value {
        // The highest uid is -1, which system calls take for "no change".
        let uid = u32::try_from(uid).ok().filter(|uid| *uid != u32::MAX).ok_or_else(|| wrong("write a uid from 1 to 4294967294"))?;
        Account::of_uid(uid).map(Some)
    } else {
        Account::of_name(text(node, || wrong("write the user that Postern is to become, or null"))?)
    };
    match found {
        Ok(Some(account)) if account.uid == 0 => {
            Err(wrong("make a user for Postern alone: useradd --system postern").which("which is root"))
        }
        Ok(Some(account)) => Ok(account),
        Ok(None) => {
            Err(wrong("make the user: useradd --system postern; or write a uid without quotes").which("who is not known on this machine"))
        }
        Err(error) => Err(wrong("write the uid").which(format!("who cannot be looked up ({error})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        let cases = [
            ("250ms", Some(Duration::from_millis(250))),
            ("10s", Some(Duration::from_secs(10))),
            ("5m", Some(Duration::from_secs(300))),
            ("8h", Some(Duration::from_secs(28_800))),
            ("7d", Some(Duration::from_secs(604_800))),
            ("s", None),
            ("10", None),
            ("", None),
            ("-1s", None),
            ("1.5s", None),
            ("10 s", None),
            ("10S", None),
            ("18446744073709551615d", None),
            ("18446744073709551616s", None),
            ("é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn a_socket_of_systemds_has_a_name_that_its_unit_can_have() {
        let read = |text: &str| {
            let node = Node { at: super::super::Position::START, value: Value::Text(text.to_owned()) };
            listen_address(&node).ok().map(|address| address.to_string())
        };
        for text in ["systemd:postern", "systemd:a.b-1", "127.0.0.1:5432"] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
        for text in ["systemd:", "systemd:a:b", "systemd:a b", "systemd:\u{e9}", &format!("systemd:{}", "a".repeat(256))] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    fn listen_at(text: &str) -> Option<String> {
        let node = Node { at: super::super::Position::START, value: Value::Text(text.to_owned()) };
        listen(&node).ok().map(|address| address.to_string())
    }

    #[test]
    fn an_address_to_listen_at_is_a_literal_or_localhost() {
        for (text, expected) in
            [("0.0.0.0:5432", "0.0.0.0:5432"), ("[::]:5432", "[::]:5432"), ("[::1]:1", "[::1]:1"), ("localhost:65535", "127.0.0.1:65535")]
        {
            assert_eq!(listen_at(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            ":",
            "5432",
            "::1",
            "::1:5432",
            "[::1]",
            "[::1",
            "[]:1",
            "[1.2.3.4]:1",
            "1.2.3.4:+1",
            "1.2.3.4: 1",
            "1.2.3:1",
            "LOCALHOST:1",
        ] {
            assert_eq!(listen_at(text), None, "{text}");
        }
    }
}
