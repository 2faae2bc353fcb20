//! Where a reload is asked for, and what came of the last one; and where the daemon is asked to leave.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::view::moment;
use crate::observe::{ReloadReport, ReloadResult};

/// The operators' side of it. Clones ask the same daemon.
#[derive(Clone, Debug)]
pub struct ReloadDesk {
    calls: mpsc::Sender<oneshot::Sender<ReloadOutcome>>,
    last: watch::Receiver<Option<ReloadOutcome>>,
}

/// The daemon's side of it.
#[derive(Debug)]
pub struct ReloadCalls {
    calls: mpsc::Receiver<oneshot::Sender<ReloadOutcome>>,
    last: watch::Sender<Option<ReloadOutcome>>,
}

/// Where the daemon is asked to leave.
#[derive(Clone, Debug)]
pub struct LeaveDesk(watch::Sender<Option<Leaving>>);

/// The daemon's side of it.
#[derive(Debug)]
pub struct LeaveCalls(watch::Receiver<Option<Leaving>>);

/// Why it is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// An operator says so.
    Told,
    /// A successor has the listeners, and serves.
    HandedOver {
        /// Its process ID, if the kernel knows one.
        to: Option<i32>,
    },
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// When.
    pub at: String,
    /// Who asked for it: `signal`, `admin` or `poll`.
    pub trigger: String,
    /// `applied` or `rejected`.
    pub result: String,
    /// The keys whose values, or whose files' contents, are others now.
    pub changed: Vec<String>,
    /// The keys that have changed and take a restart.
    pub needs_restart: Vec<String>,
    /// Why it was rejected, one of `FILE:LINE:COLUMN key: what` each.
    pub faults: Vec<String>,
    /// What the operator should know that was not so before.
    pub notices: Vec<String>,
    /// How many live sessions were told to end.
    pub ended: u64,
}

impl ReloadDesk {
    /// Both sides.
    pub fn new() -> (Self, ReloadCalls) {
        let (ask, calls) = mpsc::channel(1);
        let (tell, last) = watch::channel(None);
        (Self { calls: ask, last }, ReloadCalls { calls, last: tell })
    }

    /// Asks for a reload and waits for what comes of it; `None` if the daemon reloads no more, because it is told to stop.
    pub(super) async fn reload(&self) -> Option<ReloadOutcome> {
        let (reply, outcome) = oneshot::channel();
        self.calls.send(reply).await.ok()?;
        outcome.await.ok()
    }

    /// What came of the last one, if there was one.
    pub(super) fn last(&self) -> Option<ReloadOutcome> {
        self.last.borrow().clone()
    }
}

impl ReloadCalls {
    /// The next operator who asks; never ready once nobody can. Cancel-safe.
    pub async fn next(&mut self) -> oneshot::Sender<ReloadOutcome> {
        match self.calls.recv().await {
            Some(call) => call,
            None => std::future::pending().await,
        }
    }

    /// Notes what came of a reload.
    pub fn note(&self, report: &ReloadReport) -> ReloadOutcome {
        let outcome = ReloadOutcome::of(report);
        self.last.send_replace(Some(outcome.clone()));
        outcome
    }
}

impl LeaveDesk {
    /// Both sides.
    pub fn new() -> (Self, LeaveCalls) {
        let (ask, asked) = watch::channel(None);
        (Self(ask), LeaveCalls(asked))
    }

    /// Asks it to let its sessions leave and to end. Asked again, it goes on with that; a successor stays one whatever is asked later.
    pub(super) fn ask(&self, why: Leaving) {
        self.0.send_if_modified(|asked| {
            let stands = matches!(asked, Some(Leaving::HandedOver { .. })) || *asked == Some(why);
            if !stands {
                *asked = Some(why);
            }
            !stands
        });
    }
}

impl LeaveCalls {
    /// Resolves once somebody has asked; never, if nobody can. Cancel-safe.
    pub async fn asked(&mut self) -> Leaving {
        let asked = self.0.wait_for(Option::is_some).await.ok().and_then(|asked| *asked);
        match asked {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Resolves once a successor has the listeners, with its process ID; never, if there is none. Cancel-safe.
    pub async fn handed_over(&mut self) -> Option<i32> {
        let asked = self.0.wait_for(|asked| matches!(asked, Some(Leaving::HandedOver { .. }))).await.ok().and_then(|asked| *asked);
        match asked {
            Some(Leaving::HandedOver { to }) => to,
            Some(Leaving::Told) | None => std::future::pending().await,
        }
    }
}

impl ReloadOutcome {
    fn of(report: &ReloadReport) -> Self {
        Self {
            at: moment(SystemTime::now()).unwrap_or_default(),
            trigger: report.trigger.code().to_owned(),
            result: report.result.code().to_owned(),
            changed: report.changed.clone(),
            needs_restart: report.needs_restart.clone(),
            faults: report.faults.clone(),
            notices: report.notices.clone(),
            ended: report.ended,
        }
    }

    /// Whether it is in force.
    pub fn is_applied(&self) -> bool {
        self.result == ReloadResult::Applied.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_successor_is_not_forgotten_for_an_operator_who_asks_later() {
        let (desk, mut calls) = LeaveDesk::new();
        desk.ask(Leaving::Told);
        assert_eq!(calls.asked().await, Leaving::Told);
        desk.ask(Leaving::HandedOver { to: Some(7) });
        desk.ask(Leaving::Told);
        assert_eq!(calls.handed_over().await, Some(7));
        assert_eq!(calls.asked().await, Leaving::HandedOver { to: Some(7) });
    }
}
