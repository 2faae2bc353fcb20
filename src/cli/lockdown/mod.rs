//! `postern lockdown`: the lines of PostgreSQL's own files that leave Postern as the one way in. It writes no file and changes nothing.

mod fragment;

use std::io::Write;

use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime::Builder;
use tokio::time::timeout;

use fragment::{Clients, Lockdown, Method, Way, token};

use super::acting::as_postern;
use super::{ConfigFile, Exit};
use crate::backend::{BackendSettings, BackendTarget, Client, Passfile};
use crate::config;
use crate::error::BackendFailure;
use crate::os;
use crate::policy::{self, DatabasePattern, Pattern, Policy, Rule, UserPattern};
use crate::types::RoleName;

/// What to print, and for whom PostgreSQL stays open.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// A role that comes through Postern; once for each [default: the login roles that are no superusers, asked as backend.lookup_role]
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// A role whose members come through Postern, in place of a line for each of them: PostgreSQL 16 and newer
    #[arg(long, value_name = "ROLE", conflicts_with = "role")]
    group: Option<String>,
    /// The OS user that Postern runs as, as PostgreSQL's machine or container knows it [default: whoever runs this]
    #[arg(long, value_name = "NAME")]
    os_user: Option<String>,
    /// How PostgreSQL knows Postern [default: peer on a Unix socket, scram-sha-256 on loopback]
    #[arg(long, value_name = "METHOD")]
    method: Option<KnownBy>,
    /// Print the lines of this file alone
    #[arg(long, value_name = "FILE")]
    file: Option<File>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KnownBy {
    #[value(name = "peer")]
    Peer,
    #[value(name = "scram-sha-256")]
    Scram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum File {
    #[value(name = "postgresql.conf")]
    Postgresql,
    #[value(name = "pg_hba.conf")]
    Hba,
    #[value(name = "pg_ident.conf")]
    Ident,
    #[value(name = "sql")]
    Sql,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let path = arguments.config.clone().path();
    let settings = match config::load(&path) {
        Ok(loaded) => loaded.settings,
        Err(faults) => {
            eprintln!("{faults}");
            return Exit::Config;
        }
    };
    let text = match lockdown(&arguments, &settings.live.backend, &settings.live.policy) {
        Ok(lockdown) => print(&lockdown, arguments.file),
        Err(why) => {
            eprintln!("postern: {why}");
            return Exit::Failed;
        }
    };
    match std::io::stdout().write_all(&text) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

fn print(lockdown: &Lockdown, file: Option<File>) -> Vec<u8> {
    let text = |file| match file {
        File::Postgresql => lockdown.postgresql_conf().into_bytes(),
        File::Hba => lockdown.pg_hba_conf(),
        File::Ident => lockdown.pg_ident_conf(),
        File::Sql => lockdown.sql(),
    };
    if let Some(file) = file {
        return text(file);
    }
    let all = [("postgresql.conf", File::Postgresql), ("pg_hba.conf", File::Hba), ("pg_ident.conf", File::Ident), ("SQL", File::Sql)];
    let sections: Vec<Vec<u8>> = all.map(|(name, file)| [format!("### {name}\n").as_bytes(), &text(file)].concat()).to_vec();
    sections.join(&b'\n')
}

fn lockdown(arguments: &Arguments, backend: &BackendSettings, policy: &Policy) -> Result<Lockdown, String> {
    let way = match &backend.target {
        BackendTarget::Unix(_) => Way::Socket(backend.host.clone()),
        BackendTarget::Loopback(address) => Way::Loopback(address.ip()),
    };
    let method = match (arguments.method, &way) {
        (Some(KnownBy::Peer), Way::Loopback(_)) => {
            return Err("found --method peer and a TCP address as backend.host, expected a Unix socket; use scram-sha-256, or the socket's directory".into());
        }
        (Some(KnownBy::Scram), _) | (None, Way::Loopback(_)) => Method::Scram,
        (Some(KnownBy::Peer) | None, Way::Socket(_)) => Method::Peer { os_user: os_user(arguments)? },
    };
    let lockdown = Lockdown {
        way,
        port: backend.port,
        clients: clients(arguments, backend, &method)?,
        method,
        lookup_role: backend.lookup.as_ref().map(|lookup| lookup.role.clone()),
        replication: policy.rules().iter().any(|rule| rule.admits() && rule.databases.contains(&DatabasePattern::Replication)),
        passed_on: policy.rules().iter().filter(|rule| rule.method == policy::Method::ScramWithCertificate).map(columns).collect(),
    };
    match lockdown.unwritable() {
        Some(name) => Err(format!("found {name:?}, expected a name that can stand in a line of PostgreSQL's files; use another one")),
        None => Ok(lockdown),
    }
}

fn os_user(arguments: &Arguments) -> Result<String, String> {
    match &arguments.os_user {
        Some(name) => Ok(name.clone()),
        None => os::user_name(os::effective_uid())
            .ok()
            .flatten()
            .ok_or_else(|| "found no name for the OS user of this process, expected one; name Postern's with --os-user".to_owned()),
    }
}

fn clients(arguments: &Arguments, backend: &BackendSettings, method: &Method) -> Result<Clients, String> {
    let role = |name: &str| {
        RoleName::exact(name.as_bytes())
            .ok_or_else(|| format!("found \"{name}\", expected a role's name of 1 to 63 bytes; write it as PostgreSQL has it"))
    };
    if !arguments.role.is_empty() {
        return arguments.role.iter().map(|name| role(name)).collect::<Result<_, _>>().map(Clients::Roles);
    }
    let known = match (&backend.lookup, method) {
        (Some(_), _) => {
            let Known { version, roles } = as_postern(arguments.os_user.as_deref(), || ask(backend))?;
            if arguments.group.is_some() && version.is_some_and(|version| version < KNOWS_GROUPS) {
                return Err(knows_no_groups(version.unwrap_or_default()));
            }
            roles
        }
        (None, Method::Peer { .. }) if arguments.group.is_none() => {
            return Err(
                "found neither --role, --group nor backend.lookup_role, expected to learn who comes through Postern; name the roles".into(),
            );
        }
        (None, Method::Peer { .. } | Method::Scram) => Vec::new(),
    };
    Ok(match &arguments.group {
        Some(group) => Clients::Group(role(group)?, known),
        None => Clients::Roles(known),
    })
}

/// PostgreSQL 16: the first that reads `+ROLE` in pg_ident.conf.
const KNOWS_GROUPS: u32 = 160_000;

fn knows_no_groups(version: u32) -> String {
    let version = version / 10_000;
    format!(
        "found PostgreSQL {version}, expected 16 or newer for --group: in an older pg_ident.conf +ROLE is nobody; name the roles with --role"
    )
}

/// What PostgreSQL says.
struct Known {
    /// `server_version_num`.
    version: Option<u32>,
    /// The login roles that are no superusers.
    roles: Vec<RoleName>,
}

fn ask(backend: &BackendSettings) -> Result<Known, String> {
    let passfile = backend.passfile.as_deref().map(Passfile::load).transpose().map_err(|faults| faults.join("\n"))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let known = runtime.block_on(async {
        let asked = timeout(backend.connect_timeout, known(backend, passfile.as_ref()));
        asked.await.unwrap_or(Err(BackendFailure::Silent))
    });
    known.map_err(|failure| format!("as backend.lookup_role, {failure}; or name the roles with --role"))
}

async fn known(backend: &BackendSettings, passfile: Option<&Passfile>) -> Result<Known, BackendFailure> {
    let Some(lookup) = &backend.lookup else { return Ok(Known { version: None, roles: Vec::new() }) };
    let mut client = Client::log_in(backend, passfile, &lookup.role, "postgres", PATIENCE).await?;
    let (version, roles) = (client.query(VERSION, &[]).await?, client.query(LOGIN_ROLES, &[]).await?);
    client.close().await;
    let version = version.into_iter().flatten().flatten().next();
    Ok(Known {
        version: version.and_then(|number| str::from_utf8(&number).ok()?.parse().ok()),
        roles: roles.into_iter().flatten().flatten().filter_map(|name| RoleName::exact(&name)).collect(),
    })
}

const VERSION: &str = "SELECT pg_catalog.current_setting('server_version_num')";

const LOGIN_ROLES: &str = "SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper \
    ORDER BY pg_catalog.namesend(r.rolname)";

/// How long PostgreSQL may take for the statement.
const PATIENCE: Duration = Duration::from_secs(5);

/// The columns of a rule, as pg_hba.conf has them.
fn columns(rule: &Rule) -> (String, String) {
    let list = |words: Vec<Vec<u8>>| String::from_utf8_lossy(&words.join(&b',')).into_owned();
    (list(rule.databases.iter().map(database).collect()), list(rule.users.iter().map(user).collect()))
}

fn database(pattern: &DatabasePattern) -> Vec<u8> {
    match pattern {
        DatabasePattern::All => b"all".to_vec(),
        DatabasePattern::SameUser => b"sameuser".to_vec(),
        DatabasePattern::SameRole => b"samerole".to_vec(),
        DatabasePattern::Replication => b"replication".to_vec(),
        DatabasePattern::Name(name) => token(name.as_bytes()),
        DatabasePattern::Matching(pattern) => regex(pattern),
    }
}

fn user(pattern: &UserPattern) -> Vec<u8> {
    match pattern {
        UserPattern::All => b"all".to_vec(),
        UserPattern::Group(role) => [b"+", &token(role.as_bytes())[..]].concat(),
        UserPattern::Name(name) => token(name.as_bytes()),
        UserPattern::Matching(pattern) => regex(pattern),
    }
}

/// A regular expression, in quotes: PostgreSQL 16 and newer read it there too.
fn regex(pattern: &Pattern) -> Vec<u8> {
    token(&[b"/", pattern.source()].concat())
}
