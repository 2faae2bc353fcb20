//! Sessions that come and go without end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Size;
use super::stand::Stand;
use crate::harness::wait_until;

const WORKERS: usize = 8;
/// Looks at the daemon, after equal shares of the logins.
const LOOKS: usize = 10;

fn churn(size: Size) {
    let share = size.of(40, 10_000);
    let stand = Stand::new("");
    stand.visit().unwrap();
    let descriptors = stand.descriptors();
    let mut memory = Vec::new();
    for _ in 0..LOOKS {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::Relaxed) < share {
                        stand.visit().unwrap_or_else(|refusal| panic!("alice was kept out: {refusal}"));
                    }
                });
            }
        });
        wait_until("as many descriptors are open as before", || stand.descriptors() <= descriptors + 2);
        memory.push(stand.memory());
    }
    eprintln!("soak: {} logins, none refused; descriptors {descriptors}; memory in KiB after each tenth: {memory:?}", LOOKS * share);
    // The first tenth is the allocator's and the tables' own.
    let grown = memory[LOOKS - 1] - memory[1];
    size.judge("memory kept by 1000 logins", grown * 1000.0 / ((LOOKS - 2) * share) as f64, 5.0, "KiB");
    wait_until("no session is left", || stand.metric("postern_sessions_active") == 0.0);
}

#[test]
fn sessions_that_come_and_go_leave_no_descriptor() {
    churn(Size::Small);
}

#[test]
#[ignore = "minutes: make soak"]
fn soak_churn() {
    churn(Size::Full);
}
