//! A daemon without a descriptor to spare: it does not spin, operators see it, and it serves again as soon as there is room.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::World;
use crate::harness::http::get;
use crate::harness::postgres::free_port;
use crate::harness::wait_until;
use crate::harness::wire::Wire;

/// Few enough to run out of, enough to start.
const DESCRIPTORS: usize = 64;

/// A daemon that may have so many descriptors, and its admin endpoint.
fn starving(limits: &str) -> (World, SocketAddr) {
    let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let world = World::configured(|config| {
        config.descriptors(DESCRIPTORS).with(&format!("admin: {{ listen: \"{endpoint}\" }}\nlimits: {{ {limits} }}"))
    });
    (world, endpoint)
}

fn accept_errors(endpoint: SocketAddr) -> f64 {
    let text = get(endpoint, "/metrics").body;
    text.lines().find_map(|line| line.strip_prefix("postern_accept_errors_total ")?.parse().ok()).unwrap()
}

fn descriptors(world: &World) -> usize {
    fs::read_dir(format!("/proc/{}/fd", world.postern().pid())).unwrap().count()
}

#[test]
fn without_descriptors_those_who_wait_longest_make_room_for_a_login() {
    let (world, endpoint) = starving("authentication_timeout: 120s");
    assert!(world.postern().log().contains(&format!("{DESCRIPTORS} open descriptors are allowed")), "the start says what it got");
    let mut silent: Vec<TcpStream> = (0..4 * DESCRIPTORS).map(|_| TcpStream::connect(world.address()).unwrap()).collect();
    wait_until("there is no descriptor left", || accept_errors(endpoint) > 0.0);
    // Its backend needs a descriptor as well: a login that finds none is told so, and the next may find one.
    wait_until("alice is let in", || Wire::log_in(world.address(), &world.alice, "alice").is_ok());
    silent[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(silent[0].read(&mut [0]).unwrap_or(0), 0, "the oldest has gone");
}

#[test]
fn without_descriptors_and_with_nobody_to_shed_the_daemon_rests_and_comes_back() {
    let (world, endpoint) = starving("authentication_timeout: 120s");
    let mut sessions: Vec<Wire> = Vec::new();
    while let Ok(session) = Wire::log_in(world.address(), &world.alice, "alice") {
        sessions.push(session);
    }
    assert!(sessions.len() > 5, "{} sessions", sessions.len());
    // What is left is taken by those who say nothing; every further one is turned away.
    let crowd: Vec<TcpStream> = (0..DESCRIPTORS).map(|_| TcpStream::connect(world.address()).unwrap()).collect();
    wait_until("there is no descriptor left", || accept_errors(endpoint) > 0.0 && descriptors(&world) >= DESCRIPTORS - 2);

    let spent = || crate::soak::cpu_of(world.postern().pid());
    let (before, begun) = (spent(), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(get(endpoint, "/livez").status, 200, "operators see a daemon that has run out");
        std::thread::sleep(Duration::from_millis(250));
    }
    let share = (spent() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.5, "it spins: {:.0} % of a processor", share * 100.0);
    eprintln!("starved: {:.1} % of a processor", share * 100.0);
    assert_eq!(sessions[0].rows("select 1")[0][0].as_deref(), Some("1"), "those who are in notice nothing");

    drop((crowd, sessions.split_off(2)));
    let released = Instant::now();
    wait_until("alice is let in again", || Wire::log_in(world.address(), &world.alice, "alice").is_ok());
    eprintln!("starved: a login {:?} after there was room", released.elapsed());
    assert!(world.postern().log().contains("could not accept new connection"));
}
