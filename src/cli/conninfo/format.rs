//! The four ways in which programs are told where a database is, each with its own rules of quoting.

use std::fmt;

use clap::ValueEnum;

/// How a connection is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// `postgresql://...`, which libpq and most drivers read
    #[default]
    Uri,
    /// A stanza of pg_service.conf
    Service,
    /// `keyword=value ...`, for psql and whatever is made with libpq
    Keywords,
    /// A JDBC URL, for pgjdbc
    Jdbc,
}

/// All that a client must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Connection {
    pub(in crate::cli) host: String,
    pub(in crate::cli) port: u16,
    pub(in crate::cli) user: String,
    pub(in crate::cli) database: String,
    pub(in crate::cli) sslrootcert: String,
    pub(in crate::cli) sslcert: String,
    pub(in crate::cli) sslkey: String,
}

/// A value that a format has no way to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Unwritable {
    /// Blanks at the end, line breaks or more than a line's length, in pg_service.conf. Names the keyword.
    Service(&'static str),
    /// What the system trusts, which pgjdbc does not know.
    JdbcSystem,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(keyword) => write!(f, "the {keyword} holds what pg_service.conf cannot express; use --format uri or keywords"),
            Self::JdbcSystem => write!(
                f,
                "pgjdbc knows no sslrootcert=system; name the system's file of CAs, with --sslrootcert /etc/ssl/certs/ca-certificates.crt on \
                 Debian"
            ),
        }
    }
}

impl Connection {
    /// Writes it down.
    pub(in crate::cli) fn render(&self, format: Format) -> Result<String, Unwritable> {
        match format {
            Format::Uri => Ok(self.uri()),
            Format::Keywords => Ok(self.keywords()),
            Format::Service => self.service(),
            Format::Jdbc => self.jdbc(),
        }
    }

    /// libpq's keywords and their values, in the order in which people write them.
    fn pairs(&self) -> [(&'static str, String); 8] {
        [
            ("host", self.host.clone()),
            ("port", self.port.to_string()),
            ("user", self.user.clone()),
            ("dbname", self.database.clone()),
            ("sslmode", SSLMODE.to_owned()),
            ("sslrootcert", self.sslrootcert.clone()),
            ("sslcert", self.sslcert.clone()),
            ("sslkey", self.sslkey.clone()),
        ]
    }

    /// `keyword=value ...` (fe-connect.c, conninfo_parse).
    pub(in crate::cli) fn keywords(&self) -> String {
        let words: Vec<_> = self.pairs().iter().map(|(keyword, value)| format!("{keyword}={}", quoted(value))).collect();
        words.join(" ")
    }

    /// `psql "keyword=value ..."`, as a shell reads it.
    pub(in crate::cli) fn psql(&self) -> String {
        let words = self.keywords();
        if words.contains(['"', '$', '`', '\\', '!']) {
            format!("psql '{}'", words.replace('\'', r"'\''"))
        } else {
            format!("psql \"{words}\"")
        }
    }

    /// `postgresql://user@host:port/dbname?...` (fe-connect.c, conninfo_uri_parse_options).
    fn uri(&self) -> String {
        format!("postgresql://{}@{}?{}", encoded(&self.user), self.authority(), self.tls_query(&self.sslkey))
    }

    /// `jdbc:postgresql://host:port/dbname?...`. The key is read as PKCS#8 in DER.
    fn jdbc(&self) -> Result<String, Unwritable> {
        if self.sslrootcert == SYSTEM {
            return Err(Unwritable::JdbcSystem);
        }
        let query = self.tls_query(&self.jdbc_key());
        Ok(format!("jdbc:postgresql://{}?user={}&{query}", self.authority(), encoded(&self.user)))
    }

    /// Where pgjdbc's form of the key is to be.
    pub(in crate::cli) fn jdbc_key(&self) -> String {
        match self.sslkey.rsplit_once('.') {
            Some((stem, "key" | "pem")) => format!("{stem}.pk8"),
            Some((_, "pk8" | "p12" | "pfx")) => self.sslkey.clone(),
            _ => format!("{}.pk8", self.sslkey),
        }
    }

    fn authority(&self) -> String {
        // Only an IPv6 address has a colon, and only in brackets is it told from a port.
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { encoded(&self.host) };
        format!("{host}:{}/{}", self.port, encoded(&self.database))
    }

    fn tls_query(&self, key: &str) -> String {
        format!("sslmode={SSLMODE}&sslrootcert={}&sslcert={}&sslkey={}", path(&self.sslrootcert), path(&self.sslcert), path(key))
    }

    /// A stanza of pg_service.conf (fe-connect.c, parseServiceFile): a line is a value, without quotes, and loses the blanks
    /// at its end.
    fn service(&self) -> Result<String, Unwritable> {
        let mut stanza = format!("[{}]\n", self.service_name());
        for (keyword, value) in self.pairs() {
            if value.ends_with(|end: char| end.is_ascii_whitespace()) || value.contains(['\n', '\r']) || value.len() > MAX_SERVICE_VALUE {
                return Err(Unwritable::Service(keyword));
            }
            stanza.push_str(&format!("{keyword}={value}\n"));
        }
        stanza.pop();
        Ok(stanza)
    }

    /// What `service=` calls the stanza.
    pub(in crate::cli) fn service_name(&self) -> String {
        let plain = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
        self.user.chars().map(|character| if plain(character) { character } else { '_' }).collect()
    }
}

/// A value of a keyword: as it is where that is the same, else in single quotes.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| !byte.is_ascii_whitespace() && byte != 0x0b && byte != b'\'' && byte != b'\\';
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Percent-encoded (RFC 3986 section 2): everything but unreserved characters. `+` too, which Java takes for a blank.
fn encoded(text: &str) -> String {
    encoded_but(text, b"-._~")
}

/// The same for a path in a query, where `/` stands for itself.
fn path(text: &str) -> String {
    encoded_but(text, b"-._~/")
}

fn encoded_but(text: &str, plain: &[u8]) -> String {
    text.bytes().fold(String::new(), |out, byte| {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out + char::from(byte).encode_utf8(&mut [0; 4])
        } else {
            format!("{out}%{byte:02X}")
        }
    })
}

/// In the place of a file of CAs: what the system trusts (libpq 16 and newer).
pub(in crate::cli) const SYSTEM: &str = "system";
/// The one mode in which a client knows whom it talks to.
const SSLMODE: &str = "verify-full";
/// libpq reads lines of at most 1023 bytes; before 13 they were 255.
const MAX_SERVICE_VALUE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Connection {
        Connection {
            host: "db.example".into(),
            port: 5432,
            user: "alice".into(),
            database: "app".into(),
            sslrootcert: "/etc/pki/server-ca.crt".into(),
            sslcert: "/etc/pki/alice.crt".into(),
            sslkey: "/etc/pki/alice.key".into(),
        }
    }

    fn awkward() -> Connection {
        Connection {
            host: "::1".into(),
            user: r"o'neil\ops &c+".into(),
            database: "a/b?c%".into(),
            sslcert: "/my certs/a=b&c#d.crt".into(),
            ..plain()
        }
    }

    #[test]
    fn plain_values_are_written_plainly() {
        let files = "sslrootcert=/etc/pki/server-ca.crt&sslcert=/etc/pki/alice.crt&sslkey=/etc/pki/alice";
        assert_eq!(plain().render(Format::Uri).unwrap(), format!("postgresql://alice@db.example:5432/app?sslmode=verify-full&{files}.key"));
        assert_eq!(
            plain().render(Format::Jdbc).unwrap(),
            format!("jdbc:postgresql://db.example:5432/app?user=alice&sslmode=verify-full&{files}.pk8")
        );
        let words = "host=db.example port=5432 user=alice dbname=app sslmode=verify-full sslrootcert=/etc/pki/server-ca.crt \
                     sslcert=/etc/pki/alice.crt sslkey=/etc/pki/alice.key";
        assert_eq!(plain().render(Format::Keywords).unwrap(), words);
        assert_eq!(plain().render(Format::Service).unwrap(), format!("[alice]\n{}", words.replace(' ', "\n")));
        assert_eq!(plain().psql(), format!("psql \"{words}\""));
    }

    #[test]
    fn keywords_are_quoted_as_libpq_reads_them() {
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted(r"o'neil\x"), r"'o\'neil\\x'");
        assert_eq!(quoted("a=b"), "a=b");
        assert_eq!(quoted("björn"), "björn");
    }

    #[test]
    fn a_uri_holds_no_character_that_ends_a_part_of_it() {
        let uri = awkward().render(Format::Uri).unwrap();
        let expected = "postgresql://o%27neil%5Cops%20%26c%2B@[::1]:5432/a%2Fb%3Fc%25?sslmode=verify-full\
                        &sslrootcert=/etc/pki/server-ca.crt&sslcert=/my%20certs/a%3Db%26c%23d.crt&sslkey=/etc/pki/alice.key";
        assert_eq!(uri, expected);
        assert_eq!(encoded("ä"), "%C3%A4");
    }

    #[test]
    fn a_shell_reads_the_psql_line_as_it_was_meant() {
        let connection = Connection { user: "a$HOME".into(), ..plain() };
        assert!(connection.psql().starts_with("psql 'host=db.example port=5432 user=a$HOME "), "{}", connection.psql());
        let connection = Connection { user: r"o'neil\".into(), ..plain() };
        assert!(connection.psql().contains(r"user='\''o\'\''neil\\'\'' dbname"), "{}", connection.psql());
    }

    #[test]
    fn what_a_service_file_cannot_hold_is_refused() {
        let connection = Connection { sslcert: "/a/b ".into(), ..plain() };
        assert!(connection.render(Format::Service).unwrap_err().to_string().starts_with("the sslcert holds"));
        assert_eq!(awkward().service_name(), "o_neil_ops__c_");
        assert!(awkward().render(Format::Service).unwrap().contains("\nuser=o'neil\\ops &c+\n"));
    }

    #[test]
    fn pgjdbc_is_not_sent_to_a_file_called_system() {
        let connection = Connection { sslrootcert: SYSTEM.into(), ..plain() };
        assert_eq!(connection.render(Format::Jdbc), Err(Unwritable::JdbcSystem));
        assert!(connection.render(Format::Uri).unwrap().contains("&sslrootcert=system&"));
    }

    #[test]
    fn pgjdbcs_key_stands_beside_the_other() {
        let key = |sslkey: &str| Connection { sslkey: sslkey.into(), ..plain() }.jdbc_key();
        assert_eq!(key("/a/b.key"), "/a/b.pk8");
        assert_eq!(key("/a.d/b"), "/a.d/b.pk8");
        assert_eq!(key("/a/b.p12"), "/a/b.p12");
    }
}
