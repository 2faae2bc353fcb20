//! The first bytes of a load balancer's connection.

use postern::wire::{ProxyHeader, ProxyProgress};

/// A header that is read as it comes in is the one that its bytes are, and nothing behind it is taken; no verdict needs more than 4 KiB.
pub fn proxy(data: &[u8]) {
    let mut taken = 0;
    loop {
        let read = data.get(..taken).expect("no more is taken than there is");
        match ProxyHeader::parse(read) {
            Ok(ProxyProgress::Missing(more)) => {
                assert!(more > 0 && taken + more <= 4096, "{more} bytes more than {taken}");
                if taken == data.len() {
                    return;
                }
                taken = data.len().min(taken + more);
            }
            Ok(ProxyProgress::Whole(header)) => {
                let end = data.get(..taken).expect("it was read");
                assert!(end.starts_with(b"PROXY ") && end.ends_with(b"\r\n") || end.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
                // One byte at a time it is the same, and complete with its last byte only.
                for cut in 1..taken {
                    assert!(matches!(ProxyHeader::parse(data.get(..cut).unwrap_or_default()), Ok(ProxyProgress::Missing(_))));
                }
                if let ProxyHeader::Client(address) = header {
                    let (family, ip, port) = (if address.is_ipv4() { 4 } else { 6 }, address.ip(), address.port());
                    let line = format!("PROXY TCP{family} {ip} {ip} {port} 1\r\n");
                    assert_eq!(ProxyHeader::parse(line.as_bytes()), Ok(ProxyProgress::Whole(header)), "{line:?}");
                }
                return;
            }
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{error:?} is not fit for a log line");
                return;
            }
        }
    }
}
