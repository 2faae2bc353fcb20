//! `postern doctor`: `check`, and a look at the world: is there another way to PostgreSQL, and is all as it should be around Postern?
//!
//! What can be tried is tried, what can be read is read, and what could not be looked at is said to be unknown. Nothing is changed.

mod clock;
mod files;
mod finding;
mod isolation;
mod passing;
mod probe;
mod said;

use std::path::Path;

use clap::Args;
use serde_json::json;

use finding::{Finding, State};

use super::acting::as_postern;
use super::load::load;
use super::{ConfigFile, Exit};
use crate::config;
use crate::notice::Notice;
use crate::observe::harmless_json;

/// The advice of `postern lockdown` in one place.
const LOCKDOWN: &str = "`postern lockdown` prints what belongs there";

/// What to look at, and as whom Postern runs.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The OS user that Postern runs as, by which PostgreSQL must not take it for a superuser [default: whoever runs this, unless root]
    #[arg(long, value_name = "NAME")]
    os_user: Option<String>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let path = arguments.config.clone().path();
    let findings = match examine(&path, arguments.os_user.as_deref()) {
        Ok(findings) => findings,
        Err(faults) => {
            println!("{faults}");
            return Exit::Config;
        }
    };
    let faults = findings.iter().filter(|finding| finding.state == State::Fault).count();
    let unknown = findings.iter().filter(|finding| finding.state == State::Unknown).count();
    if arguments.json {
        let findings: Vec<_> = findings.iter().map(Finding::json).collect();
        println!("{}", harmless_json(&json!({ "faults": faults, "unknown": unknown, "findings": findings }).to_string()));
    } else {
        findings.iter().for_each(|finding| println!("{}", finding.line().replace(char::is_control, " ")));
        println!("{faults} at fault, {unknown} could not be looked at, {} in all", findings.len());
    }
    if faults == 0 { Exit::Done } else { Exit::Failed }
}

/// Everything, in the order in which it is looked at.
///
/// # Errors
/// The faults of a configuration that cannot be served: there is nothing to look at then.
fn examine(path: &Path, os_user: Option<&str>) -> Result<Vec<Finding>, String> {
    let (ready, settings) = as_postern(os_user, || {
        let (_, ready) = load(path)?;
        let settings = config::load(path).map_err(|faults| faults.to_string())?.settings;
        Ok::<_, String>((ready, settings))
    })?;
    let mut findings: Vec<Finding> = ready.notices().iter().map(noted).collect();
    if findings.iter().all(|finding| finding.state == State::Good) {
        findings.push(Finding::good("configuration", "no faults, and nothing to warn of"));
    }
    findings.extend(files::examine(path, &settings, &ready.snapshot));
    findings.extend(isolation::examine(&settings, ready.snapshot.terms(), os_user));
    Ok(findings)
}

/// What `check` tells besides faults. A stock pg_hba.conf has lines that are not for Postern: that they are there is as it should be.
fn noted(notice: &Notice) -> Finding {
    match notice.change() {
        Some(change) => Finding::fault("configuration", notice.found(), change),
        None => Finding::good("configuration", notice.found()),
    }
}
