//! Every file is replaced again and again, by HUP, while clients work and come and go: none of them notices.

use std::fs;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Size;
use super::stand::{Ending, resident_kib};
use crate::harness::clients::succeeded;
use crate::harness::pki::{Credentials, Pki, Profile};
use crate::harness::wait_until;
use crate::harness::wire::Wire;
use crate::reload::Site;

/// From one HUP to the next: 300 in 30 seconds.
const PACE: Duration = Duration::from_millis(100);

/// pgbench as alice for so many seconds, with these options.
fn bench(site: &Site, seconds: usize, options: &[&str]) -> Output {
    let script = site.path("load.sql");
    fs::write(&script, "select sum(n) from generate_series(1, 100) n;\n").unwrap();
    let (seconds, conninfo) = (seconds.to_string(), site.world.conninfo());
    let always = ["-n", "-c", "4", "-T", &seconds, "-f", script.to_str().unwrap(), conninfo.as_str()];
    site.world.clients.run("pgbench", [options, &always].concat())
}

/// How many queries were answered; every one that was asked.
#[track_caller]
fn answered(output: Output) -> usize {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let figures = succeeded(output);
    assert!(figures.contains("number of failed transactions: 0 ") && !said.contains("aborted"), "{figures}\n{said}");
    let count = figures.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: ")).unwrap();
    count.parse().unwrap()
}

/// Logs in with certificates that every generation of the files takes: from the first root, another root, and through an intermediate.
fn visit(site: &Site, over: &AtomicBool) -> usize {
    let good = [Profile::Good, Profile::ByRsaRoot, Profile::ViaIntermediate].map(|profile| site.world.pki.client(profile));
    let mut logins = 0;
    while !over.load(Ordering::SeqCst) {
        let who = &good[logins % good.len()];
        let mut wire =
            Wire::log_in(site.world.address(), who, "alice").unwrap_or_else(|refusal| panic!("a good one was refused: {refusal}"));
        assert_eq!(wire.rows("select session_user"), [[Some("alice".to_owned())]]);
        wire.send_message('X', b"");
        wire.read_to_end();
        logins += 1;
    }
    logins
}

/// Puts a new server certificate, a new bundle of CAs or new CRLs in place, in turn; what the server shows then, if it was that.
fn rotate(site: &Site, other: &Pki, turn: usize) -> Option<Credentials> {
    match turn % 3 {
        0 => return Some(site.replace_server()),
        1 => {
            let further = if turn.is_multiple_of(2) { other.main_ca_pem() } else { String::new() };
            site.write("client-ca.crt", site.world.pki.client_ca_pem() + &further);
        }
        _ => site.write("client-ca.crl", site.world.pki.crl_pem_with(&[turn as u64 + 1_000_000])),
    }
    None
}

fn turn_over(size: Size) {
    let hups = size.of(15, 300);
    let seconds = hups / 10 + 2;
    let site =
        Site::with(|config| config.with_crl().with("reload: { poll: 0 }\nlog: { level: warn }\nlimits: { max_failures_per_address: 0 }"));
    let other = Pki::new();
    let (over, logins, memory) = (AtomicBool::new(false), AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let mut shown = Vec::new();
    let (held, connecting) = thread::scope(|scope| {
        let ending = Ending(&over);
        let held = scope.spawn(|| answered(bench(&site, seconds, &[])));
        let connecting = scope.spawn(|| answered(bench(&site, seconds, &["-C"])));
        scope.spawn(|| logins.fetch_add(visit(&site, &over), Ordering::SeqCst));
        wait_until("the load is on", || {
            site.world.postgres.sql("select count(*) > 4 from pg_stat_activity where usename = 'alice'").trim() == "t"
        });
        let begun = Instant::now();
        for turn in 0..hups {
            if let Some(server) = rotate(&site, &other, turn) {
                shown = server.chain[0].clone();
            }
            site.hup();
            memory.lock().unwrap().push(resident_kib(site.world.postern().pid()));
            thread::sleep((PACE * (turn as u32 + 1)).saturating_sub(begun.elapsed()));
        }
        eprintln!("soak: {hups} HUPs in {:.1} s", begun.elapsed().as_secs_f64());
        wait_until("the last certificate is shown", || site.shown() == shown);
        drop(ending);
        (held.join().unwrap(), connecting.join().unwrap())
    });
    let reloads = site.reloads();
    let faults: Vec<_> = reloads.iter().filter(|reload| reload["result"] != "applied").collect();
    assert!(faults.is_empty() && reloads.iter().all(|reload| reload["ended"] == 0), "{faults:?}");
    let logins = logins.load(Ordering::SeqCst);
    eprintln!(
        "soak: {} reloads applied; failed: 0 of {held} queries of sessions that stay, 0 of {connecting} of sessions of one query, 0 of {logins} logins",
        reloads.len()
    );
    assert!(reloads.len() > hups / 4 && held > 0 && connecting > 0 && logins > 0);
    let memory = memory.into_inner().unwrap();
    let (third, last) = (memory[hups / 3], memory[hups - 1]);
    eprintln!("soak: memory in KiB at the first HUP, after a third of them, and at the last: {}, {third}, {last}", memory[0]);
    size.judge("memory kept by the last two thirds of the reloads", last - third, 2048.0, "KiB");
}

#[test]
fn files_are_replaced_under_load_and_nobody_notices() {
    turn_over(Size::Small);
}

#[test]
#[ignore = "half a minute: make soak"]
fn soak_rotation_under_load() {
    turn_over(Size::Full);
}
