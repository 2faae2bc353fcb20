//! Reload: the configuration and every file that it names are read again and checked together. What comes of it takes the place of all
//! that was in force, at once, or changes nothing.
//!
//! An operator who asks, by HUP or `postern reload`, is answered by what stands in the files now. What is noticed by looking at them may
//! still be in the making: it is taken when two looks, a second apart, find the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::systemd;
use crate::admin::{ReloadCalls, ReloadOutcome};
use crate::config::{BootSettings, Document, live_resources};
use crate::harden::{Named, Outside, Report, Resources};
use crate::observe::{Event, Observers, ReloadReport, ReloadResult, ReloadTrigger};
use crate::os::unix_now;
use crate::session::Sessions;
use crate::snapshot::{Attempt, Look, Ready, Snapshots};

/// How long a set must stay as it is before it is taken by itself.
const SETTLING: Duration = Duration::from_secs(1);
/// How long files that do not fit each other are taken for a set that is just being replaced.
const PATIENCE: Duration = Duration::from_secs(10);

/// All that a reload needs to know of the one before it.
pub(super) struct Reloader {
    pub(super) config: PathBuf,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) observers: Observers,
    /// What the process gave up, and with it what it can still reach.
    pub(super) report: Report,
    /// What was bound and opened at the start.
    pub(super) boot: BootSettings,
    /// What was written in the file at the start.
    pub(super) booted: Document,
    /// What was written in the file that is in force.
    pub(super) document: Document,
    /// What the files that are in force were like.
    pub(super) applied: Look,
    /// What the files of the last attempt were like, whatever came of it: the same files are not judged twice.
    pub(super) tried: Look,
    pub(super) poll: Option<Duration>,
    pub(super) next: Next,
    /// The service manager was told that a reload has begun, and not yet what came of it.
    pub(super) announced: bool,
}

/// What is waited for beside an operator.
pub(super) enum Next {
    /// Nothing has changed when last looked at.
    Change,
    /// What has changed must be found the same once more.
    Settled(Look),
    /// Files that did not fit each other must fit, until then.
    Fit(ReloadTrigger, Instant),
}

/// Who must be told what came of a reload.
type Caller = Option<oneshot::Sender<ReloadOutcome>>;

impl Reloader {
    /// Reloads whenever it is time to, for as long as it is polled. `hangup` is notified at HUP.
    pub(super) async fn run(mut self, hangup: Arc<Notify>, mut calls: ReloadCalls) {
        loop {
            let at = self.next_look();
            tokio::select! {
                biased;
                // All are cancel-safe: what is not taken now is taken at the next turn.
                caller = calls.next() => self.reload(ReloadTrigger::Admin, None, &calls, Some(caller)).await,
                () = hangup.notified() => {
                    systemd::reload_begins().await;
                    self.announced = true;
                    self.reload(ReloadTrigger::Signal, deadline(PATIENCE), &calls, None).await;
                }
                () = sleep_until_some(at) => self.look(&calls).await,
            }
        }
    }

    fn next_look(&self) -> Option<Instant> {
        match self.next {
            Next::Change => self.poll.and_then(deadline),
            Next::Settled(_) | Next::Fit(..) => deadline(SETTLING),
        }
    }

    /// Looks at the files, and reloads if they have changed and stay as they are.
    async fn look(&mut self, calls: &ReloadCalls) {
        if let Next::Fit(trigger, until) = self.next {
            return self.reload(trigger, Some(until), calls, None).await;
        }
        let tried = self.tried.clone();
        let Ok(seen) = spawn_blocking(move || tried.again()).await else { return };
        match std::mem::replace(&mut self.next, Next::Change) {
            _ if seen == self.tried => self.tried = seen,
            Next::Settled(before) if before == seen => self.reload(ReloadTrigger::Poll, deadline(PATIENCE), calls, None).await,
            Next::Settled(_) | Next::Change | Next::Fit(..) => self.next = Next::Settled(seen),
        }
    }

    /// Reads everything and applies it or not. Files that do not fit each other are no failure before `until`.
    async fn reload(&mut self, trigger: ReloadTrigger, until: Option<Instant>, calls: &ReloadCalls, caller: Caller) {
        let (config, tried, current) = (self.config.clone(), self.tried.clone(), self.snapshots.current());
        let attempt = spawn_blocking(move || Attempt::new(&config, &tried, Some(&current))).await;
        self.next = Next::Change;
        let report = match attempt {
            Ok(Attempt { look, outcome: Ok(ready) }) => match self.beyond_the_fence(live_resources_of(&self.config, &ready)) {
                faults if faults.is_empty() => self.apply(trigger, look, ready),
                faults => {
                    self.tried = look;
                    rejected(trigger, faults)
                }
            },
            Ok(Attempt { outcome: Err(unusable), .. })
                if unusable.between_two_pairs
                    && let Some(until) = until
                    && Instant::now() < until =>
            {
                self.next = Next::Fit(trigger, until);
                return;
            }
            Ok(Attempt { look, outcome: Err(unusable) }) => {
                // A file that cannot be read may be one that the process has put out of its own reach.
                let faults = unusable.faults.to_string();
                let unread = look.files().filter(|file| faults.contains(&file.display().to_string()));
                let read = unread.map(|file| Named::new(file.display().to_string(), file)).collect();
                let beyond = self.beyond_the_fence(Resources { read, ..Resources::default() });
                self.tried = look;
                rejected(trigger, faults.lines().map(str::to_owned).chain(beyond).collect())
            }
            Err(_) => {
                let tried = self.tried.clone();
                // The same files would do it again at every look.
                self.tried = spawn_blocking(move || tried.again()).await.unwrap_or_else(|_| self.tried.clone());
                rejected(trigger, vec!["reading the files panicked, which is a fault of Postern; what was in force stays".to_owned()])
            }
        };
        self.observers.emit(&Event::Reloaded(&report));
        let outcome = calls.note(&report);
        if std::mem::take(&mut self.announced) {
            systemd::reload_ends(outcome.is_applied()).await;
        }
        if let Some(caller) = caller {
            // Whoever has left is not told.
            let _ = caller.send(outcome);
        }
    }

    /// What this process put out of its own reach at its start, as faults: only a new one can have it.
    fn beyond_the_fence(&self, resources: Resources) -> Vec<String> {
        let outside = self.report.outside(&resources);
        let fault = |Outside { setting, what }| {
            format!("{setting}: {what} is out of this process's reach, which was fixed at its start; that needs a restart")
        };
        outside.into_iter().map(fault).collect()
    }

    fn apply(&mut self, trigger: ReloadTrigger, look: Look, ready: Ready) -> ReloadReport {
        let known = self.snapshots.current().notices();
        let new = ready.snapshot.notices().into_iter().filter(|notice| !known.contains(notice));
        let notices = new.map(|notice| notice.to_string()).collect();
        let mut changed = self.document.changes(&ready.document);
        changed.retain(|key| !BootSettings::holds(key));
        for named in &ready.files {
            if look.differs(&self.applied, &named.path) && !changed.contains(&named.key) {
                changed.push(named.key.clone());
            }
        }
        let mut needs_restart = Vec::new();
        if ready.boot != self.boot {
            needs_restart = self.booted.changes(&ready.document);
            needs_restart.retain(|key| BootSettings::holds(key));
        }
        self.poll = ready.poll;
        self.document = ready.document;
        self.applied = look.clone();
        self.tried = look;
        self.snapshots.replace(ready.snapshot);
        let judgement = self.sessions.judge(&self.snapshots.current(), unix_now());
        let ended = judgement.ended();
        judgement.settle(&self.snapshots);
        ReloadReport { trigger, result: ReloadResult::Applied, changed, needs_restart, faults: Vec::new(), notices, ended }
    }
}

fn live_resources_of(config: &Path, ready: &Ready) -> Resources {
    live_resources(config, &ready.files, &ready.snapshot.terms().backend().target)
}

fn rejected(trigger: ReloadTrigger, faults: Vec<String>) -> ReloadReport {
    let nothing = Vec::new;
    ReloadReport {
        trigger,
        result: ReloadResult::Rejected,
        changed: nothing(),
        needs_restart: nothing(),
        faults,
        notices: nothing(),
        ended: 0,
    }
}

fn deadline(patience: Duration) -> Option<Instant> {
    Instant::now().checked_add(patience)
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
