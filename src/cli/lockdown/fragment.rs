//! What stands in PostgreSQL's own files when nobody comes to it but by Postern. Only text: nothing is asked and nothing is written.
//!
//! A pg_hba.conf whose last `local` line is for `all` and asks for a map's consent leaves nobody else a way: the first line that
//! matches decides, and nothing falls through.

use crate::types::RoleName;

/// What is locked down, and for whom it stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lockdown {
    pub(super) way: Way,
    pub(super) port: u16,
    pub(super) method: Method,
    /// Who comes through Postern.
    pub(super) clients: Clients,
    /// `backend.lookup_role`.
    pub(super) lookup_role: Option<RoleName>,
    /// Whether a rule admits physical replication.
    pub(super) replication: bool,
    /// The `database` and `user` columns of the rules that pass a password on, as pg_hba.conf has them.
    pub(super) passed_on: Vec<(String, String)>,
}

/// How Postern reaches PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A Unix socket in this directory.
    Socket(String),
    /// A loopback address.
    Loopback(std::net::IpAddr),
}

/// How PostgreSQL knows Postern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// By the OS user that it runs as.
    Peer {
        /// Its name, as PostgreSQL's machine or container knows it.
        os_user: String,
    },
    /// By the passwords of `backend.passfile`.
    Scram,
}

/// The roles that may come through Postern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clients {
    /// These, a line for each: every version of PostgreSQL understands it.
    Roles(Vec<RoleName>),
    /// The members of this role, from PostgreSQL 16 on; and who they are, where that is known.
    Group(RoleName, Vec<RoleName>),
}

/// The map of pg_ident.conf.
const MAP: &str = "postern";

impl Lockdown {
    /// A name that would be more than a name in its line, if there is one. Of the clients' roles such are left out instead: somebody else made
    /// them.
    pub(super) fn unwritable(&self) -> Option<String> {
        let os_user = match &self.method {
            Method::Peer { os_user } => Some(os_user.clone()),
            Method::Scram => None,
        };
        let group = match &self.clients {
            Clients::Group(group, _) => Some(group),
            Clients::Roles(_) => None,
        };
        if let Some(os_user) = os_user.as_ref().filter(|name| name.starts_with('/')) {
            return Some(os_user.clone());
        }
        let roles = group.into_iter().chain(&self.lookup_role).map(|role| String::from_utf8_lossy(role.as_bytes()).into_owned());
        let columns = self.passed_on.iter().flat_map(|(databases, users)| [databases.clone(), users.clone()]);
        os_user.into_iter().chain(roles).chain(columns).find(|text| !is_one_line(text.as_bytes()))
    }

    /// The lines of postgresql.conf.
    pub(super) fn postgresql_conf(&self) -> String {
        let mut text = match &self.way {
            Way::Socket(directory) => format!(
                "# No TCP: the Unix socket is the only way in, and only for this machine.\nlisten_addresses = ''\nunix_socket_directories = {}\n",
                setting(directory)
            ),
            Way::Loopback(address) => {
                format!("# This machine only; a Unix socket would need no password.\nlisten_addresses = '{address}'\n")
            }
        };
        text.push_str(&format!("port = {}\n", self.port));
        if self.method == Method::Scram || !self.passed_on.is_empty() {
            text.push_str("password_encryption = 'scram-sha-256'\n");
        }
        text
    }

    /// The whole of pg_hba.conf.
    pub(super) fn pg_hba_conf(&self) -> Vec<u8> {
        let mut text = String::from(
            "# In place of all other lines. The first that matches decides, and nothing falls through: no host line, no trust.\n\
             # TYPE  DATABASE  USER  METHOD\n\
             # Administrators, as the OS user postgres on PostgreSQL's own machine.\n\
             local  all  postgres  peer\n",
        );
        let (kind, address) = match &self.way {
            Way::Socket(_) => ("local", String::new()),
            Way::Loopback(address) => ("host", format!("  {address}/{}", if address.is_ipv4() { 32 } else { 128 })),
        };
        if !self.passed_on.is_empty() {
            text.push_str("# Rules that ask for a password beside the certificate: PostgreSQL asks for it through Postern.\n");
        }
        for (databases, users) in &self.passed_on {
            text.push_str(&format!("{kind}  {databases}  {users}{address}  scram-sha-256\n"));
        }
        let method = match &self.method {
            Method::Peer { .. } => format!("peer map={MAP}"),
            Method::Scram => "scram-sha-256".to_owned(),
        };
        text.push_str("# Postern.\n");
        text.push_str(&format!("{kind}  all  all{address}  {method}\n"));
        if self.replication {
            text.push_str(&format!("{kind}  replication  all{address}  {method}\n"));
        }
        text.into_bytes()
    }

    /// The map of pg_ident.conf.
    pub(super) fn pg_ident_conf(&self) -> Vec<u8> {
        let Method::Peer { os_user } = &self.method else {
            return b"# Nothing: with scram-sha-256 there is no map. Each role needs a line in backend.passfile.\n".to_vec();
        };
        let mut text = b"# Whom the OS user that Postern runs as may be: never a superuser, never all.\n".to_vec();
        if matches!(self.clients, Clients::Group(..)) {
            text.extend_from_slice(b"# +ROLE needs PostgreSQL 16 or newer: to an older one it is nobody.\n");
        }
        text.extend_from_slice(b"# MAP  SYSTEM-USER  PG-USER\n");
        let mut line = |user: &[u8]| {
            text.extend_from_slice(&[MAP.as_bytes(), b"  ", &token(os_user.as_bytes()), b"  ", user, b"\n"].concat());
        };
        match &self.clients {
            Clients::Roles(roles) => roles.iter().filter(|role| has_a_line(role)).for_each(|role| line(&token(role.as_bytes()))),
            Clients::Group(group, _) => line(&[b"+", &token(group.as_bytes())[..]].concat()),
        }
        let listed = matches!(&self.clients, Clients::Roles(roles) if self.lookup_role.as_ref().is_some_and(|role| roles.contains(role)));
        if let Some(role) = self.lookup_role.as_ref().filter(|_| !listed) {
            line(&token(role.as_bytes()));
        }
        if matches!(&self.clients, Clients::Roles(roles) if !roles.iter().all(has_a_line)) {
            text.extend_from_slice(
                b"# Left out: a role whose name begins with a slash, which PostgreSQL 16 and newer read as a regular expression, or has the\n\
                  # end of a line in it.\n",
            );
        }
        text
    }

    /// What a superuser has to do besides, as SQL with comments.
    pub(super) fn sql(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let (Clients::Group(group, members), Method::Peer { .. }) = (&self.clients, &self.method) {
            let group = identifier(group);
            text.extend_from_slice(b"-- Whoever may come through Postern is a member of this role.\nCREATE ROLE ");
            text.extend_from_slice(&[&group[..], b" NOLOGIN;\n"].concat());
            let members: Vec<Vec<u8>> = members.iter().map(identifier).collect();
            if members.is_empty() {
                text.extend_from_slice(&[b"-- GRANT ", &group[..], b" TO each of them;\n"].concat());
            } else {
                text.extend_from_slice(&[b"GRANT ", &group[..], b" TO ", &members.join(&b", "[..]), b";\n"].concat());
            }
        }
        text.extend_from_slice(b"SELECT pg_catalog.pg_reload_conf(); -- listen_addresses and unix_socket_directories want a restart\n");
        text
    }
}

/// Whether a line can name the role. PostgreSQL takes what begins with a slash for a regular expression, in quotes too
/// (src/backend/libpq/hba.c, regcomp_auth_token), and such a line would admit others. A name with the end of a line in it would write lines
/// of its own.
fn has_a_line(role: &RoleName) -> bool {
    !role.as_bytes().starts_with(b"/") && is_one_line(role.as_bytes())
}

/// Whether it holds no end of a line.
fn is_one_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0))
}

/// A value of postgresql.conf.
fn setting(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A name as pg_hba.conf and pg_ident.conf read it: in quotes where anything about it is special, which takes the meaning from `all`
/// and `+` too (src/backend/libpq/hba.c, next_token).
pub(super) fn token(name: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.$".contains(byte);
    const KEYWORDS: [&[u8]; 5] = [b"all", b"sameuser", b"samerole", b"samegroup", b"replication"];
    if name.iter().all(plain) && !KEYWORDS.contains(&name) {
        return name.to_vec();
    }
    quoted(name)
}

/// A name as SQL reads it.
fn identifier(name: &RoleName) -> Vec<u8> {
    quoted(name.as_bytes())
}

fn quoted(name: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in name {
        if *byte == b'"' {
            text.push(b'"');
        }
        text.push(*byte);
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> RoleName {
        RoleName::truncated(name.as_bytes()).unwrap()
    }

    fn lockdown(clients: Clients) -> Lockdown {
        Lockdown {
            way: Way::Socket("/run/postgresql".into()),
            port: 5432,
            method: Method::Peer { os_user: "postern".into() },
            clients,
            lookup_role: Some(role("lookup")),
            replication: false,
            passed_on: vec![],
        }
    }

    fn ident(clients: Clients) -> String {
        String::from_utf8(lockdown(clients).pg_ident_conf())
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn each_role_has_its_line_and_the_lookup_role_too() {
        assert_eq!(ident(Clients::Roles(vec![role("alice"), role("lookup")])), "postern  postern  alice\npostern  postern  lookup");
        assert_eq!(ident(Clients::Group(role("staff"), vec![])), "postern  postern  +staff\npostern  postern  lookup");
    }

    #[test]
    fn no_name_means_more_than_itself() {
        assert_eq!(
            ident(Clients::Roles(
                ["all", "+staff", "/.*", "a\npostern  postern  postgres", "a\rb", "a b", "a\"b", "#x"].map(role).to_vec()
            )),
            "postern  postern  \"all\"\npostern  postern  \"+staff\"\npostern  postern  \"a b\"\n\
             postern  postern  \"a\"\"b\"\npostern  postern  \"#x\"\npostern  postern  lookup"
        );
    }

    #[test]
    fn a_name_that_would_write_lines_of_its_own_is_refused() {
        let evil = "a\npostern  postern  postgres";
        assert_eq!(lockdown(Clients::Roles(vec![role(evil)])).unwritable(), None, "it is left out");
        assert_eq!(lockdown(Clients::Group(role(evil), vec![])).unwritable().as_deref(), Some(evil));
        let of = |os_user: &str| Lockdown { method: Method::Peer { os_user: os_user.into() }, ..lockdown(Clients::Roles(vec![])) };
        assert_eq!(of("/.*").unwritable().as_deref(), Some("/.*"));
        assert_eq!(of("postern").unwritable(), None);
    }

    #[test]
    fn there_is_a_line_for_replication_only_where_a_rule_admits_it() {
        let mut lockdown = lockdown(Clients::Roles(vec![]));
        let lines = |lockdown: &Lockdown| String::from_utf8(lockdown.pg_hba_conf()).unwrap();
        assert!(!lines(&lockdown).contains("replication"));
        lockdown.replication = true;
        assert!(lines(&lockdown).contains("local  replication  all  peer map=postern\n"));
    }
}
