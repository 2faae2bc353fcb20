//! Clients whose host is gone while data is on its way to them, and those whose connection is gone while nobody reads it.
//!
//! Keepalive finds a silent peer, but not while data is outstanding, and the kernel alone then takes a quarter of an hour.
//! TCP_USER_TIMEOUT would also end a reader that has merely stopped: its window is zero, its kernel answers every probe, and it is to
//! live as long as it would with PostgreSQL. So the kernel's own table is asked which connections send again and again and hear nothing.
//! A reset is noticed by who reads; of a client that has sent more than the backend takes nothing is read, and the table has it no more.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::registry::Sessions;
use crate::error::EndReason;
use crate::os::{self, Connections};

/// How often the kernel is asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a peer may acknowledge nothing. With the look before and after, it is gone within 45 seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection: our end, and the client's.
type Ends = (SocketAddr, SocketAddr);

/// Ends sessions whose clients acknowledge nothing, for as long as it is polled.
pub async fn watch_for_lost_clients(sessions: Arc<Sessions>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unheard: HashMap<Ends, Instant> = HashMap::new();
    loop {
        let now = looks.tick().await;
        if sessions.is_empty() {
            unheard.clear();
            continue;
        }
        // Whoever comes while the table is read is not missed in it.
        let looked_for = sessions.list();
        let Connections { open, unheard: silent } = match spawn_blocking(os::connections).await {
            Ok(Ok(connections)) => connections,
            // A kernel without the table leaves the work to its own timers.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return,
            // No descriptor or thread is left at this moment: nothing is known, and what was known stands.
            Ok(Err(_)) | Err(_) => continue,
        };
        looked_for.iter().filter(|session| session.is_missing(&open)).for_each(|session| session.end(EndReason::ClientLost));
        unheard = silent.into_iter().map(|ends| (ends, unheard.get(&ends).copied().unwrap_or(now))).collect();
        let given_up = |since: &Instant| now.saturating_duration_since(*since) >= PATIENCE;
        let lost: HashSet<Ends> = unheard.iter().filter(|(_, since)| given_up(since)).map(|(ends, _)| *ends).collect();
        if !lost.is_empty() {
            sessions.end_connections(&lost, EndReason::ClientLost);
        }
    }
}
