//! Sessions that are held and do nothing.

use std::thread;

use super::Size;
use super::stand::Stand;
use crate::harness::wait_until;
use crate::harness::wire::Wire;

fn hold(size: Size) {
    let count = size.of(200, 9000);
    let stand = Stand::new(&format!("limits: {{ max_connections: {count} }}"));
    stand.visit().unwrap();
    let (descriptors, before) = (stand.descriptors(), stand.memory());
    let mut sessions: Vec<Wire> = thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..count / 8).map(|_| stand.log_in().unwrap()).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let held = stand.memory() - before;
    assert_eq!(stand.metric("postern_sessions_active") as usize, count);
    let begun = stand.cpu();
    thread::sleep(std::time::Duration::from_secs(size.of(1, 10) as u64));
    let busy = (stand.cpu() - begun).as_secs_f64() * 100.0 / size.of(1, 10) as f64;
    eprintln!("soak: {count} idle sessions: {:.1} KiB each, {busy:.1} % of a processor together", held / count as f64);
    for session in &mut sessions {
        session.query("select 1");
        session.until_ready().unwrap_or_else(|refusal| panic!("{refusal}"));
    }
    drop(sessions);
    wait_until("all have gone", || stand.descriptors() <= descriptors + 2);
    wait_until("no session is left", || stand.metric("postern_sessions_active") == 0.0);
}

#[test]
fn idle_sessions_are_held_and_still_answer() {
    hold(Size::Small);
}

#[test]
#[ignore = "a minute: make soak"]
fn soak_idle_sessions() {
    hold(Size::Full);
}
