//! The logins, each by psql as a user would run it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::certificates::Certificates;
use super::cluster::clean;
use super::error::DemoError;
use super::story::{Credentials, DATABASE, Expected, Login};
use crate::cli::conninfo::{Connection, absolute};
use crate::pki::{ClientName, Folder, Purpose};

/// How psql comes to Postern.
pub(super) struct Psql<'a> {
    pub(super) program: PathBuf,
    pub(super) certificates: &'a Certificates,
    pub(super) port: u16,
}

/// What came of a login.
pub(super) struct Outcome {
    pub(super) login: &'static Login,
    /// Whether psql was content.
    succeeded: bool,
    /// What its user reads, on one line.
    pub(super) answer: String,
}

impl Psql<'_> {
    /// Logs in, asks, and reads the answer.
    pub(super) fn run(&self, login: &'static Login) -> Result<Outcome, DemoError> {
        let mut psql = Command::new(&self.program);
        // psql reads nobody's settings, and of a keyword that stands twice libpq takes the last.
        psql.args(["-X", "-A", "-t", "-F", " ", "-c", login.sql, "-d"]);
        psql.arg(format!("{} hostaddr=127.0.0.1 {}", self.connection(login)?.keywords(), login.more));
        let output = clean(&mut psql).stdin(Stdio::null()).output().map_err(|error| DemoError::io("run psql", error))?;
        Ok(Outcome::of(login, &output))
    }

    fn connection(&self, login: &Login) -> Result<Connection, DemoError> {
        let (certificate, key) = match login.credentials {
            Credentials::Own(client) => pair(&self.certificates.folder, client)?,
            Credentials::Strangers(client) => pair(&self.certificates.strangers, client)?,
            // libpq looks into the home folder where it is told nothing; where it is told of nothing that is there, it shows nothing.
            Credentials::None => (PathBuf::from("/nonexistent/client.crt"), PathBuf::from("/nonexistent/client.key")),
        };
        let path = |path: PathBuf| absolute(&path).map_err(DemoError::Text);
        Ok(Connection {
            host: "localhost".to_owned(),
            port: self.port,
            user: login.user.to_owned(),
            database: DATABASE.to_owned(),
            sslrootcert: path(self.certificates.folder.authority_certificate(Purpose::Server))?,
            sslcert: path(certificate)?,
            sslkey: path(key)?,
        })
    }
}

fn pair(folder: &Folder, client: &str) -> Result<(PathBuf, PathBuf), DemoError> {
    let name = ClientName::parse(client).map_err(|error| DemoError::Text(error.to_string()))?;
    Ok((folder.client_certificate(&name), folder.client_key(&name)))
}

impl Outcome {
    fn of(login: &'static Login, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let succeeded = output.status.success();
        let answer = if succeeded { rows(&text(&output.stdout)) } else { message(&text(&output.stderr)) };
        Self { login, succeeded, answer }
    }

    /// Whether what came of it is what must.
    pub(super) fn is_as_expected(&self) -> bool {
        match self.login.expected {
            Expected::Answer(answer) => self.succeeded && self.answer == answer,
            Expected::Denied(message) => !self.succeeded && self.answer.starts_with("ERROR:") && self.answer.contains(message),
            Expected::KeptOut(message) => !self.succeeded && !self.answer.starts_with("ERROR:") && self.answer.contains(message),
        }
    }
}

/// Rows on one line.
fn rows(printed: &str) -> String {
    printed.lines().collect::<Vec<_>>().join(", ")
}

/// The first line of a complaint, without psql's words about where it was trying to connect.
fn message(printed: &str) -> String {
    let first = printed.lines().next().unwrap_or("");
    first.split_once(" failed: ").map_or(first, |(_, message)| message).to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;
    use crate::cli::demo::story::LOGINS;

    fn outcome(login: &'static Login, status: i32, stdout: &str, stderr: &str) -> Outcome {
        Outcome::of(login, &Output { status: ExitStatus::from_raw(status << 8), stdout: stdout.into(), stderr: stderr.into() })
    }

    #[test]
    fn an_answer_must_be_the_whole_answer() {
        let login = &LOGINS[0];
        assert!(outcome(login, 0, "web-1 alice\nweb-2 alice\n", "").is_as_expected());
        assert!(!outcome(login, 0, "web-1 alice\nweb-2 alice\ndb-1 bob\n", "").is_as_expected());
        assert!(!outcome(login, 1, "web-1 alice\nweb-2 alice\n", "").is_as_expected());
    }

    #[test]
    fn who_is_kept_out_must_not_have_been_let_in() {
        let login = LOGINS.iter().find(|login| login.who == "no certificate").unwrap();
        let said = "psql: error: connection to server at \"localhost\" (127.0.0.1), port 1 failed: FATAL:  connection requires a valid client \
                    certificate\nmore\n";
        let refused = outcome(login, 2, "", said);
        assert_eq!(refused.answer, "FATAL:  connection requires a valid client certificate");
        assert!(refused.is_as_expected());
        assert!(!outcome(login, 0, "alice\n", "").is_as_expected());
        assert!(!outcome(login, 1, "", "ERROR:  connection requires a valid client certificate").is_as_expected());
    }
}
