//! Passwords for a backend that asks for one, in libpq's password file: `hostname:port:database:username:password`
//! (<https://www.postgresql.org/docs/current/libpq-pgpass.html>, src/interfaces/libpq/fe-connect.c, passwordFromFile).

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::os;

/// Mode bits that libpq does not suffer on a password file: all of group's and others'.
const OTHERS: u32 = 0o077;
/// A larger file is not a password file, and is not read to its end.
const LARGEST_FILE: u64 = 1 << 20;

/// A secret that shows itself to nobody and is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// The secret bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The lines of a password file, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passfile(Vec<Line>);

/// One line: what it is for, and the password.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    host: Field,
    port: Field,
    database: Field,
    user: Field,
    password: Password,
}

/// A column that decides whether a line matches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// `*`.
    Any,
    /// These bytes, escapes resolved.
    Is(Box<[u8]>),
}

/// A line that is not five fields, or has an empty password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassfileFault {
    /// Its number, from 1.
    pub line: usize,
    /// What was found, expected, and what to do; never the line's content.
    pub what: &'static str,
}

/// What a password is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `backend.host` as configured; a socket's directory is also found under `localhost`, as libpq finds its default one.
    pub host: &'a str,
    /// `backend.port`.
    pub port: u16,
    /// The database; `replication` for physical replication, as libpq's tools name it.
    pub database: &'a [u8],
    /// The role.
    pub user: &'a [u8],
}

impl Passfile {
    /// Reads a password file. As libpq, which ignores one that others may read; here it is a fault, and nothing is ignored.
    ///
    /// # Errors
    /// What was found, expected, and what to do, for each fault; the file's name is for the caller to put before it.
    pub fn load(file: &Path) -> Result<Self, Vec<String>> {
        let fault = |what: String| vec![what];
        let unreadable = |error| fault(format!("found no file that can be read ({error}), expected a password file; create it, mode 0600"));
        let opened = os::open_at_once(file).map_err(unreadable)?;
        let metadata = opened.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(fault("found no plain file, expected a password file; create it, mode 0600".into()));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 {
            let shown = file.display();
            return Err(fault(format!("found mode {mode:04o}, expected one that gives nothing to group and others; chmod 0600 {shown}")));
        }
        // As long as the file, so that no piece of it stays behind in memory that was outgrown.
        let length = usize::try_from(metadata.len().min(LARGEST_FILE)).unwrap_or_default();
        let mut text = Zeroizing::new(Vec::with_capacity(length.saturating_add(1)));
        opened.take(LARGEST_FILE.saturating_add(1)).read_to_end(&mut text).map_err(unreadable)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > LARGEST_FILE {
            return Err(fault("found more than 1 MiB, expected a password file; name the right file".into()));
        }
        Self::parse(&text).map_err(|faults| {
            let line = |PassfileFault { line, what }: &PassfileFault| format!("line {line}: {what}");
            faults.iter().map(line).collect()
        })
    }

    /// Reads the lines; empty ones and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// Every line at fault.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<PassfileFault>> {
        let mut lines = Vec::new();
        let mut faults = Vec::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            match parse_line(line) {
                Ok(line) => lines.push(line),
                Err(what) => faults.push(PassfileFault { line: number.saturating_add(1), what }),
            }
        }
        if faults.is_empty() { Ok(Self(lines)) } else { Err(faults) }
    }

    /// The password of the first line that matches.
    pub fn find(&self, wanted: Wanted<'_>) -> Option<&Password> {
        let port = wanted.port.to_string();
        let on_socket = wanted.host.starts_with('/');
        let matching = |line: &&Line| {
            (line.host.matches(wanted.host.as_bytes()) || on_socket && line.host.matches(b"localhost"))
                && line.port.matches(port.as_bytes())
                && line.database.matches(wanted.database)
                && line.user.matches(wanted.user)
        };
        self.0.iter().find(matching).map(|line| &line.password)
    }
}

impl Field {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Is(bytes) => **bytes == *value,
        }
    }
}

fn parse_line(line: &[u8]) -> Result<Line, &'static str> {
    const FIELDS: &str = "found fewer than five fields, expected hostname:port:database:username:password; write * for \"any\"";
    let mut rest = line;
    let mut field = || {
        let (field, behind) = take_field(rest).ok_or(FIELDS)?;
        rest = behind;
        Ok::<_, &'static str>(field)
    };
    let (host, port, database, user) = (field()?, field()?, field()?, field()?);
    let password = Zeroizing::new(unescape(rest));
    if password.is_empty() {
        return Err("found an empty password, expected one; an empty password would never be accepted");
    }
    Ok(Line { host, port, database, user, password: Password(password) })
}

/// A column up to its colon, and what is behind the colon.
fn take_field(bytes: &[u8]) -> Option<(Field, &[u8])> {
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let found = *byte == b':' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        found
    })?;
    let (raw, behind) = bytes.split_at_checked(end)?;
    let field = if raw == b"*" { Field::Any } else { Field::Is(unescape(raw).into()) };
    Some((field, behind.get(1..)?))
}

/// A backslash stands for the byte behind it; one at the end stands for itself.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        plain.push(if *byte == b'\\' { *rest.next().unwrap_or(byte) } else { *byte });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(file: &'a Passfile, host: &str, database: &str, user: &str) -> Option<&'a [u8]> {
        let wanted = Wanted { host, port: 5432, database: database.as_bytes(), user: user.as_bytes() };
        file.find(wanted).map(Password::as_bytes)
    }

    #[test]
    fn the_first_line_that_matches_gives_the_password() {
        let file = Passfile::parse(b"# who\n\n127.0.0.1:5432:app:alice:one\r\n*:*:*:alice:two\n").unwrap();
        assert_eq!(find(&file, "127.0.0.1", "app", "alice"), Some(&b"one"[..]));
        assert_eq!(find(&file, "127.0.0.1", "other", "alice"), Some(&b"two"[..]));
        assert_eq!(find(&file, "127.0.0.1", "app", "bob"), None);
    }

    #[test]
    fn a_backslash_takes_the_meaning_from_colon_star_and_itself() {
        let file = Passfile::parse(br"\:\:1:5432:a\\b:\*:se\:cr:et\\").unwrap();
        assert_eq!(find(&file, "::1", r"a\b", "*"), Some(&br"se:cr:et\"[..]));
        assert_eq!(find(&file, "::1", r"a\b", "alice"), None);
    }

    #[test]
    fn a_socket_is_found_under_its_directory_and_under_localhost() {
        for host in ["/run/pg", "localhost", "*"] {
            let file = Passfile::parse(format!("{host}:5432:*:*:x").as_bytes()).unwrap();
            assert_eq!(find(&file, "/run/pg", "a", "b"), Some(&b"x"[..]), "{host}");
        }
    }

    #[test]
    fn every_line_at_fault_is_named_and_none_is_shown() {
        let faults = Passfile::parse(b"a:b:c:d:e\nsecret\n*:*:*:*:\n").unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 3]);
        assert!(faults.iter().all(|fault| !fault.what.contains("secret")));
    }

    #[test]
    fn what_is_no_plain_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for path in [pipe.as_path(), dir.path()] {
            let faults = Passfile::load(path).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains("found no plain file")), "{faults:?}");
        }
    }

    #[test]
    fn a_password_shows_itself_to_nobody() {
        let file = Passfile::parse(b"*:*:*:*:secret").unwrap();
        assert!(!format!("{file:?}").contains("secret"));
    }
}
