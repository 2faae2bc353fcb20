//! Tells operators while there is still time: each certificate and CRL of the files when it has 30, 7 and 1 days left, and when it has
//! expired. What lives for less than 90 days is told of when a third of its life is left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::crypto::Sha256;
use crate::observe::{Event, ExpiryReport, Observers};
use crate::os::unix_now;
use crate::session::WallClock;
use crate::snapshot::Snapshots;
use crate::tls::Lifespan;

const DAY: i64 = 24 * 60 * 60;
/// How much is left when an operator is told. Where nothing is left it has expired.
const THRESHOLDS: [i64; 4] = [30 * DAY, 7 * DAY, DAY, 0];
/// How late one may be told.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What was said already. A reload does not have it said again.
#[derive(Debug, Default)]
struct Said(HashMap<Sha256, Last>);

/// The last that was said of one certificate or CRL.
#[derive(Debug)]
struct Last {
    threshold: i64,
    ends: i64,
}

/// Looks at the snapshot that is in force again and again, for as long as it is polled.
pub(super) async fn watch_expiry(snapshots: Arc<Snapshots>, observers: Observers) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut clock, mut said) = (WallClock::default(), Said::default());
    loop {
        let at = looks.tick().await;
        let now = clock.believe(unix_now(), at);
        for report in said.due(snapshots.current().tls().lifespans(), now) {
            observers.emit(&Event::Expiring(&report));
        }
    }
}

impl Said {
    /// What is to be said at `now`, in seconds since 1970, and was not said yet.
    fn due(&mut self, lifespans: &[Lifespan], now: i64) -> Vec<ExpiryReport> {
        // Of what expired a week ago and is gone from the files nothing will ever be said: it need not be remembered.
        self.0
            .retain(|identity, last| last.ends > now.saturating_sub(7 * DAY) || lifespans.iter().any(|known| known.identity == *identity));
        lifespans.iter().filter(|lifespan| self.is_due(lifespan, now)).map(|lifespan| report(lifespan, now)).collect()
    }

    fn is_due(&mut self, lifespan: &Lifespan, now: i64) -> bool {
        let Some(threshold) = threshold(lifespan, now) else { return false };
        let this = Last { threshold, ends: lifespan.ends };
        match self.0.entry(lifespan.identity) {
            Entry::Vacant(vacant) => {
                vacant.insert(this);
                true
            }
            Entry::Occupied(mut last) if threshold < last.get().threshold => {
                last.insert(this);
                true
            }
            Entry::Occupied(_) => false,
        }
    }
}

/// The least of its thresholds that has been reached, if any has.
fn threshold(lifespan: &Lifespan, now: i64) -> Option<i64> {
    let third = lifespan.ends.saturating_sub(lifespan.begins) / 3;
    let left = lifespan.ends.saturating_sub(now);
    THRESHOLDS.into_iter().map(|threshold| threshold.min(third)).filter(|threshold| left <= *threshold).min()
}

fn report(lifespan: &Lifespan, now: i64) -> ExpiryReport {
    ExpiryReport {
        kind: lifespan.kind,
        setting: lifespan.setting.clone(),
        subject: lifespan.subject.clone(),
        serial: lifespan.serial.clone(),
        sha256: lifespan.sha256.map(|digest| digest.to_string()),
        not_after: lifespan.ends,
        left: lifespan.ends.saturating_sub(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ExpiryKind;

    /// A certificate that lives for so many days from 1970 on.
    fn lifespan(name: &str, days: i64) -> Lifespan {
        Lifespan {
            kind: ExpiryKind::Server,
            setting: "tls.ssl_cert_file".to_owned(),
            subject: name.to_owned(),
            serial: None,
            sha256: None,
            identity: Sha256::of(name.as_bytes()),
            begins: 0,
            ends: days * DAY,
        }
    }

    /// How many days were left each time something was said, looked at every hour until two days after its end.
    fn said(days: i64) -> Vec<f64> {
        let (mut said, lifespans) = (Said::default(), [lifespan("a", days)]);
        let looks = (0..=(days + 2) * 24).map(|hour| hour * DAY / 24);
        looks.flat_map(|now| said.due(&lifespans, now)).map(|report| report.left as f64 / DAY as f64).collect()
    }

    #[test]
    fn each_threshold_is_said_once() {
        assert_eq!(said(365), [30.0, 7.0, 1.0, 0.0]);
        assert_eq!(said(90), [30.0, 7.0, 1.0, 0.0]);
    }

    #[test]
    fn what_lives_shortly_is_said_when_a_third_is_left() {
        assert_eq!(said(45), [15.0, 7.0, 1.0, 0.0]);
        assert_eq!(said(6), [2.0, 1.0, 0.0]);
        assert_eq!(said(1), [8.0 / 24.0, 0.0]);
    }

    #[test]
    fn of_several_that_have_passed_the_last_is_said() {
        let mut said = Said::default();
        assert_eq!(said.due(&[lifespan("a", 90)], 88 * DAY).len(), 1);
        assert_eq!(said.due(&[lifespan("a", 90)], 88 * DAY + 1), []);
        assert_eq!(said.due(&[lifespan("a", 90)], 89 * DAY).len(), 1);
        assert_eq!(said.due(&[lifespan("a", 90)], 120 * DAY)[0].left, -30 * DAY);
        assert_eq!(said.due(&[lifespan("a", 90)], 121 * DAY), []);
    }

    #[test]
    fn a_reload_does_not_have_it_said_again_and_a_new_one_is_told_apart() {
        let mut said = Said::default();
        let (old, new) = (lifespan("old", 90), lifespan("new", 90));
        assert_eq!(said.due(std::slice::from_ref(&old), 61 * DAY).len(), 1);
        assert_eq!(said.due(&[], 62 * DAY), []);
        assert_eq!(said.due(&[old, new], 63 * DAY)[0].subject, "new");
    }

    #[test]
    fn what_is_over_is_forgotten_once_it_is_gone_from_the_files() {
        let mut said = Said::default();
        said.due(&[lifespan("a", 90)], 90 * DAY);
        said.due(&[lifespan("a", 90)], 200 * DAY);
        assert_eq!(said.0.len(), 1);
        said.due(&[], 200 * DAY);
        assert!(said.0.is_empty());
    }
}
