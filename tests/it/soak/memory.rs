//! What a connection costs before it has logged in, by stage.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use super::Size;
use super::attackers::{Attacker, Shape};
use super::stand::Stand;

/// The daemon's own memory of a connection that stopped there, in KiB.
fn cost_of(shape: Shape, size: Size) -> f64 {
    let count = size.of(400, 2000);
    let stand = Stand::new("limits: { authentication_timeout: 120s, max_handshakes: 5000 }");
    // What the first ones need once stays out of it.
    let strike = |count: usize| -> Vec<Attacker> {
        (0..count).map(|_| Attacker::strike(&stand, shape, Ipv4Addr::LOCALHOST).expect("the door is open")).collect()
    };
    drop(strike(50));
    crate::harness::wait_until("the first have gone", || stand.descriptors() < 50);
    let before = stand.memory();
    let mut held = strike(count);
    crate::harness::wait_until("all are there", || stand.descriptors() > count);
    // What they sent last has been read by then.
    thread::sleep(Duration::from_millis(300));
    assert!(held.iter_mut().all(Attacker::persists), "{shape:?} was not held");
    (stand.memory() - before) / count as f64
}

fn weigh(size: Size) {
    for (shape, goal) in [
        (Shape::Silent, 16.0),
        (Shape::HalfRequest, 16.0),
        (Shape::NoHello, 16.0),
        (Shape::HalfHello, 48.0),
        (Shape::Anonymous, 48.0),
        (Shape::Authenticated, 48.0),
    ] {
        let cost = cost_of(shape, size);
        size.judge(&format!("memory of a connection, {shape:?}"), cost, goal, "KiB");
        assert!(cost <= 2.0 * goal, "{shape:?}: {cost} KiB, twice the goal of {goal}");
    }
}

#[test]
fn a_connection_before_its_login_costs_little_memory() {
    weigh(Size::Small);
}

#[test]
#[ignore = "a minute: make soak"]
fn soak_memory_before_the_login() {
    weigh(Size::Full);
}
