//! `postern status`, `sessions`, `kill`, `reload` and `drain`: a question to the running daemon through its admin socket.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::table::{Align, table};
use super::{ConfigFile, Exit};
use crate::admin::{Body, DrainLine, ReloadOutcome, Reply, Request, Selector, SessionLine, Status, lines};
use crate::config;
use crate::observe::{Word, harmless_json};
use crate::os;

/// How long the daemon may take to answer; it may have to read a list of a million entries first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to ask the running daemon.
#[derive(Debug, Args)]
pub(super) struct Asking {
    #[command(flatten)]
    config: ConfigFile,
    /// The daemon's admin socket [default: admin.socket of the configuration file]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Which sessions to end, and how to ask.
#[derive(Debug, Args)]
pub(super) struct Killing {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    asking: Asking,
}

/// How to ask it to leave.
#[derive(Debug, Args)]
pub(super) struct Draining {
    /// Wait until the daemon has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Which sessions to end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The session of this ID, as `postern sessions` and the audit trail show it
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Every session of this role
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Every session of the certificate with this SHA-256 fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    cert: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
enum AskError {
    /// The socket cannot be reached.
    Socket(PathBuf, io::Error),
    /// Somebody else answers there, and may say anything: the socket, and whose process it is.
    Foreign(PathBuf, u32),
    /// What came is no reply.
    Reply(serde_json::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path, error) => {
                write!(f, "{}: {error}", path.display())?;
                let advice = ADVICE.iter().find(|(kind, _)| *kind == error.kind());
                advice.map_or(Ok(()), |(_, advice)| write!(f, "; {advice}"))
            }
            Self::Foreign(path, uid) => write!(
                f,
                "{}: a process of uid {uid} listens there, expected one of root, of this user, of the configuration's `user` or of the \
                 folder's owner; nothing was asked; find out whose socket it is, and give Postern a folder that only it may write to",
                path.display()
            ),
            Self::Reply(error) => write!(f, "the daemon's reply cannot be understood ({error}); is it of another version?"),
        }
    }
}

/// What to do about a socket that cannot be asked.
const ADVICE: [(io::ErrorKind, &str); 4] = [
    (io::ErrorKind::NotFound, "is the daemon running with this configuration?"),
    (io::ErrorKind::ConnectionRefused, "is the daemon running with this configuration?"),
    (io::ErrorKind::PermissionDenied, "ask as root or as the user that Postern runs as"),
    (io::ErrorKind::WouldBlock, "the daemon does not answer in time"),
];

/// `postern status`.
pub(super) fn status(asking: Asking) -> Exit {
    run(&Request::Status, asking)
}

/// `postern sessions`.
pub(super) fn sessions(asking: Asking) -> Exit {
    run(&Request::Sessions, asking)
}

/// `postern reload`.
pub(super) fn reload(asking: Asking) -> Exit {
    run(&Request::Reload, asking)
}

/// `postern drain`.
pub(super) fn drain(draining: Draining) -> Exit {
    run(&Request::Drain { wait: draining.wait }, draining.asking)
}

/// `postern kill`.
pub(super) fn kill(killing: Killing) -> Exit {
    let Killing { target: Target { id, role, cert }, asking } = killing;
    match id.map(Selector::Id).or(role.map(Selector::Role)).or(cert.map(Selector::Cert)) {
        Some(selector) => run(&Request::Kill(selector), asking),
        // Clap sees to it that there is one.
        None => Exit::Failed,
    }
}

/// Asks and prints the answer.
fn run(request: &Request, asking: Asking) -> Exit {
    let Asking { config, socket, json } = asking;
    let path = config.path();
    let socket = match socket.map_or_else(|| configured(&path), Ok) {
        Ok(socket) => socket,
        Err(fault) => {
            eprintln!("{fault}");
            return Exit::Config;
        }
    };
    let outcome = connect(&socket, &path).and_then(|stream| ask(stream, &socket, request)).and_then(|(reply, connection)| {
        let exit = print(request, &reply, json);
        if matches!((request, exit), (Request::Drain { wait: true }, Exit::Done)) {
            until_it_has_ended(connection).map_err(|error| AskError::Socket(socket, error))?;
        }
        Ok(exit)
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("postern: {error}");
        Exit::Failed
    })
}

/// The socket that the configuration names. What else is wrong with the file is the daemon's to say.
fn configured(path: &Path) -> Result<PathBuf, String> {
    let socket = config::admin_socket(path).map_err(|faults| faults.to_string())?;
    socket.ok_or_else(|| {
        format!("{}: admin.socket: found null, expected the path of the daemon's admin socket; set it and restart", path.display())
    })
}

/// Reaches whoever listens there, if it is one who may be the daemon: in a folder that others may write to, as a sticky one, the name is
/// whose socket came first. The user whom the service manager starts it as is in no file of ours, but owns its folder.
fn connect(socket: &Path, config: &Path) -> Result<UnixStream, AskError> {
    let fault = |error| AskError::Socket(socket.to_owned(), error);
    let stream = os::connect_at_once(socket).map_err(fault)?;
    let peer = os::Peer::of(&stream).map_err(fault)?;
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = fs::metadata(folder).map_err(fault)?.uid();
    let is_ours = [os::ROOT, os::effective_uid(), owner].contains(&peer.uid);
    if is_ours || config::daemons_user(config).is_some_and(|user| user.uid == peer.uid) {
        Ok(stream)
    } else {
        Err(AskError::Foreign(socket.to_owned(), peer.uid))
    }
}

/// The reply, and the connection that it came by.
fn ask(mut stream: UnixStream, socket: &Path, request: &Request) -> Result<(Reply, BufReader<UnixStream>), AskError> {
    let exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(request.line().as_bytes())?;
        let mut stream = BufReader::new(stream);
        let mut reply = Vec::new();
        stream.read_until(b'\n', &mut reply).map(|_| (reply, stream))
    };
    let (reply, stream) = exchange().map_err(|error| AskError::Socket(socket.to_owned(), error))?;
    serde_json::from_slice(&reply).map(|reply| (reply, stream)).map_err(AskError::Reply)
}

/// The daemon keeps the connection for as long as its process lives.
fn until_it_has_ended(mut connection: BufReader<UnixStream>) -> io::Result<()> {
    connection.get_ref().set_read_timeout(None)?;
    io::copy(&mut connection, &mut io::sink()).map(drop)
}

fn print(request: &Request, reply: &Reply, json: bool) -> Exit {
    let exit = match &reply.body {
        Body::Status(_) | Body::Sessions(_) | Body::Drain(_) => Exit::Done,
        Body::Reload(outcome) if outcome.is_applied() => Exit::Done,
        Body::Reload(_) => Exit::Failed,
        Body::Killed(ids) if ids.is_empty() => Exit::Failed,
        Body::Killed(_) => Exit::Done,
        Body::Handover(_) | Body::Error(_) => Exit::Failed,
    };
    let text = match &reply.body {
        _ if json => harmless_json(&serde_json::to_string(reply).unwrap_or_default()),
        Body::Status(status) => status_table(status),
        Body::Sessions(sessions) => session_table(sessions),
        Body::Killed(ids) => killed(request, ids),
        Body::Reload(outcome) => reloaded(outcome),
        Body::Drain(DrainLine { sessions: 0 }) => "draining: no session is left".to_owned(),
        Body::Drain(DrainLine { sessions: 1 }) => "draining: 1 session leaves when it has finished".to_owned(),
        Body::Drain(DrainLine { sessions }) => format!("draining: {sessions} sessions leave, each when it has finished"),
        // Only `serve` asks for it.
        Body::Handover(addresses) => addresses.join("\n"),
        Body::Error(fault) => {
            eprintln!("postern: {}", Word(fault.message.as_bytes()));
            return exit;
        }
    };
    // Whoever closes the pipe has read enough.
    let _ = writeln!(io::stdout(), "{text}");
    exit
}

fn status_table(status: &Status) -> String {
    let rows = lines(status).into_iter().map(|(name, value)| vec![name, printable(&value)]).collect();
    format!("Postern is {}\n{}", if status.ready { "ready" } else { "not ready" }, table(&[], rows))
}

fn session_table(sessions: &[SessionLine]) -> String {
    let header = [
        ("ID", Align::Left),
        ("ROLE", Align::Left),
        ("DATABASE", Align::Left),
        ("APPLICATION", Align::Left),
        ("CLIENT", Align::Left),
        ("SINCE", Align::Left),
        ("STATE", Align::Left),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("CERTIFICATE", Align::Left),
        ("SERIAL", Align::Left),
        ("VALID UNTIL", Align::Left),
    ];
    let rows = sessions.iter().map(|session| {
        vec![
            session.id.clone(),
            word(&session.role),
            word(&session.database),
            session.application_name.as_deref().map(word).unwrap_or_default(),
            session.client.clone(),
            session.since.clone(),
            session.state.clone(),
            session.bytes_in.to_string(),
            session.bytes_out.to_string(),
            session.cert.cn.as_deref().map(word).unwrap_or_default(),
            session.cert.serial.clone(),
            session.cert.not_after.clone().unwrap_or_default(),
        ]
    });
    let count = match sessions {
        [_] => "1 session".to_owned(),
        sessions => format!("{} sessions", sessions.len()),
    };
    format!("{}\n{count}", table(&header, rows.collect()))
}

fn killed(request: &Request, ids: &[String]) -> String {
    match (ids, request) {
        ([], Request::Kill(Selector::Id(id))) => format!("no session {}", word(id)),
        ([], Request::Kill(Selector::Role(role))) => format!("no session of role {}", word(role)),
        ([], Request::Kill(Selector::Cert(_))) => "no session of this certificate".to_owned(),
        ([], Request::Status | Request::Sessions | Request::Reload | Request::Drain { .. } | Request::Handover) => "no session".to_owned(),
        (ids, _) => ids.iter().map(|id| format!("{}: told to end", word(id))).collect::<Vec<_>>().join("\n"),
    }
}

/// What was applied, or why nothing was; a line for each.
fn reloaded(outcome: &ReloadOutcome) -> String {
    let mut lines = vec![match (outcome.is_applied(), outcome.changed.is_empty()) {
        (true, true) => "applied: nothing has changed".to_owned(),
        (true, false) => format!("applied: {}", outcome.changed.join(", ")),
        (false, _) => "rejected: what was in force stays".to_owned(),
    }];
    lines.extend(outcome.faults.iter().cloned());
    if !outcome.needs_restart.is_empty() {
        lines.push(format!("takes a restart: {}; postern serve --handover, or restart the service", outcome.needs_restart.join(", ")));
    }
    if outcome.ended > 0 {
        lines.push(format!("sessions told to end: {}", outcome.ended));
    }
    lines.extend(outcome.notices.iter().map(|notice| format!("notice: {notice}")));
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

fn word(text: &str) -> String {
    Word(text.as_bytes()).to_string()
}

/// A value of our own, spaces and all; what could act on a terminal is escaped.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}
