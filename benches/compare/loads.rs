//! The loads. Each is run in rounds, and in each round every front has its turn, so that what disturbs the machine disturbs all.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Session;
use crate::fronts::{Front, Running, Target};
use crate::postgres::{Postgres, run};
use crate::results::{Better, Measure, Results, Section};
use crate::stage::{Keys, Stage};
use crate::usage;
use crate::wire::{Load, message};

/// How much is measured.
pub struct Plan {
    pub rounds: usize,
    /// How long one front has its turn.
    pub turn: Duration,
    /// pgbench's clients.
    pub clients: Vec<usize>,
    /// Bytes of one bulk transfer.
    pub bytes: usize,
    /// Idle sessions, in rising numbers; the last are told to download, and leave.
    pub idle: Vec<usize>,
    /// Idle sessions of Postern's alone, in rising numbers.
    pub scale: Vec<usize>,
    /// How long after they have left the memory is looked at.
    pub patience: Duration,
}

/// Everything that a load needs.
pub struct Bench<'a> {
    pub stage: &'a Stage,
    pub plan: &'a Plan,
    pub postgres: &'a Postgres,
    pub fake: Target,
}

/// What a piece of work took.
struct Spent {
    cpu: f64,
    wall: f64,
}

/// Round trips of one session.
struct RoundTrips {
    /// How long each took, in microseconds, the shortest first.
    times: Vec<f64>,
    /// The CPU seconds of 100k.
    cpu: f64,
}

/// After a load, what belongs to it still ends: sessions' records, exits of server processes.
const SETTLE: Duration = Duration::from_millis(50);

fn lower(section: Section, name: impl Into<String>, unit: &'static str) -> Measure {
    Measure { section, name: name.into(), unit, better: Better::Lower }
}

fn higher(section: Section, name: impl Into<String>, unit: &'static str) -> Measure {
    Measure { section, name: name.into(), unit, better: Better::Higher }
}

fn spent<T>(front: &Running, work: impl FnOnce() -> T) -> (T, Spent) {
    let (cpu, begun) = (usage::cpu_seconds(front.pid), Instant::now());
    let outcome = work();
    let wall = begun.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    (outcome, Spent { cpu: usage::cpu_seconds(front.pid) - cpu, wall })
}

impl RoundTrips {
    /// Adds the quantiles, and gives the CPU seconds of 100k.
    fn show(&self, backend: &str, front: Front, results: &mut Results) -> f64 {
        for (percent, unit) in [(50, "p50 us"), (99, "p99 us")] {
            results.add(&lower(Section::RoundTrips, backend, unit), front, self.times[self.times.len() * percent / 100]);
        }
        self.cpu
    }
}

impl Bench<'_> {
    /// Each front its turn, in each round another one first.
    fn rounds(&self, fronts: &mut [Running], mut turn: impl FnMut(&mut Running)) {
        for _ in 0..self.plan.rounds {
            fronts.iter_mut().for_each(&mut turn);
            fronts.rotate_left(1);
        }
    }

    fn before_fake(&self, keys: Keys) -> Vec<Running> {
        Front::proxies().map(|front| front.start(self.stage, &self.fake, keys)).collect()
    }

    fn before_postgres(&self, wanted: impl Fn(Front) -> bool) -> Vec<Running> {
        let fronts: Vec<_> = Front::wanted().filter(|front| wanted(*front)).collect();
        Front::all_before(self.stage, self.postgres, &fronts)
    }

    /// pgbench with libpq, which begins with an SSLRequest.
    pub fn transactions(&self, results: &mut Results) {
        let mut fronts = self.before_postgres(Front::takes_ssl_request);
        let files = self.stage.files(Keys::Ecdsa);
        for front in &fronts {
            self.pgbench(front, files, 1, Duration::from_secs(1));
        }
        for clients in &self.plan.clients {
            let cpu = lower(Section::Transactions, format!("{clients} clients"), "CPU s per 100k");
            let tps = higher(Section::Transactions, format!("{clients} clients"), "tps");
            self.rounds(&mut fronts, |front| {
                let ((count, rate), spent) = spent(front, || self.pgbench(front, files, *clients, self.plan.turn));
                results.add(&cpu, front.front, spent.cpu / count * 1e5);
                results.add(&tps, front.front, rate);
            });
            results.subtract_socket(&cpu);
        }
    }

    /// Transactions and their rate.
    fn pgbench(&self, front: &Running, files: &Path, clients: usize, time: Duration) -> (f64, f64) {
        let mut pgbench = self.postgres.command("pgbench");
        pgbench.args(["-n", "-S", "-M", "prepared", "-c", &clients.to_string(), "-j", &clients.min(2).to_string()]);
        pgbench.args(["-T", &time.as_secs().max(1).to_string(), &front.conninfo(self.postgres, files)]);
        let said = run(&mut pgbench);
        let number = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("pgbench said {said}"));
            line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
        };
        (number("number of transactions actually processed:"), number("tps ="))
    }

    pub fn round_trips(&self, results: &mut Results) {
        let cpu = lower(Section::RoundTrips, "fake backend", "CPU s per 100k");
        let mut fronts = self.before_fake(Keys::Ecdsa);
        self.rounds(&mut fronts, |front| {
            let spent = self.ping_pong(front).show("fake backend", front.front, results);
            results.add(&cpu, front.front, spent);
        });
        drop(fronts);
        let mut fronts = self.before_postgres(|_| true);
        self.rounds(&mut fronts, |front| {
            self.ping_pong(front).show("real PostgreSQL", front.front, results);
        });
    }

    /// One session that asks and waits, and asks again.
    fn ping_pong(&self, front: &Running) -> RoundTrips {
        let mut session = Session::open(&front.way).unwrap();
        (0..100).for_each(|_| session.ask("SELECT 1").unwrap());
        let (mut times, spent) = spent(front, || {
            let (begun, mut times) = (Instant::now(), Vec::new());
            while begun.elapsed() < self.plan.turn {
                let asked = Instant::now();
                session.ask("SELECT 1").unwrap();
                times.push(asked.elapsed().as_secs_f64() * 1e6);
            }
            times
        });
        session.close().unwrap();
        times.sort_by(f64::total_cmp);
        RoundTrips { cpu: spent.cpu / times.len() as f64 * 1e5, times }
    }

    pub fn logins(&self, results: &mut Results) {
        for (keys, name) in [(Keys::Ecdsa, "ECDSA P-256, fake backend"), (Keys::Rsa, "RSA 2048, fake backend")] {
            let mut fronts = self.before_fake(keys);
            self.login_rounds(name, &mut fronts, results);
        }
        let mut fronts = self.before_postgres(Front::takes_ssl_request);
        self.login_rounds("ECDSA P-256, real PostgreSQL", &mut fronts, results);
    }

    fn login_rounds(&self, name: &str, fronts: &mut [Running], results: &mut Results) {
        let (cpu, rate) = (lower(Section::Logins, name, "CPU ms per login"), higher(Section::Logins, name, "logins/s"));
        for front in fronts.iter() {
            log_in(front, Duration::from_millis(200));
        }
        self.rounds(fronts, |front| {
            let (count, spent) = spent(front, || log_in(front, self.plan.turn));
            results.add(&cpu, front.front, spent.cpu / count * 1e3);
            results.add(&rate, front.front, count / spent.wall);
        });
        results.subtract_socket(&cpu);
    }

    pub fn bulk(&self, results: &mut Results) {
        let mut fronts = self.before_fake(Keys::Ecdsa);
        for (name, verb, message, write) in [
            ("down, 8 KiB writes", "down", 8192, 8192),
            ("down, 64 KiB writes", "down", 8192, 65536),
            ("down, 50-byte rows", "down", 50, 8192),
            ("up, 8 KiB writes", "up", 8192, 8192),
            ("up, 64 KiB writes", "up", 8192, 65536),
            ("up, 50-byte rows", "up", 50, 8192),
        ] {
            let load = Load { bytes: self.plan.bytes, message, write };
            let text = load.query(verb);
            self.bulk_rounds(name, &mut fronts, results, |session| match verb {
                "down" => session.ask(&text),
                _ => session.copy_in(&text, load, &[]),
            });
        }
        drop(fronts);
        let mut fronts = self.before_postgres(|_| true);
        let rows = message(b'd', b"1\ta row of some forty characters, or so\n").repeat(180);
        let load = Load { bytes: self.plan.bytes / 4, message: rows.len(), write: rows.len() };
        for (name, query) in [
            ("COPY TO, 8 KB rows", "COPY wide TO STDOUT"),
            ("COPY TO, 40-byte rows", "COPY narrow TO STDOUT"),
            ("COPY FROM, 40-byte rows", "COPY narrow FROM STDIN WHERE false"),
        ] {
            self.bulk_rounds(name, &mut fronts, results, |session| match name {
                "COPY FROM, 40-byte rows" => session.copy_in(query, load, &rows),
                _ => session.ask(query),
            });
        }
    }

    fn bulk_rounds(&self, name: &str, fronts: &mut [Running], results: &mut Results, work: impl Fn(&mut Session) -> io::Result<()>) {
        let (cpu, rate) = (lower(Section::Bulk, name, "CPU s per GB"), higher(Section::Bulk, name, "MB/s"));
        self.rounds(fronts, |front| {
            let mut session = Session::open(&front.way).unwrap();
            let before = session.passed();
            let ((), spent) = spent(front, || work(&mut session).unwrap());
            let gigabytes = (session.passed() - before) as f64 / 1e9;
            session.close().unwrap();
            results.add(&cpu, front.front, spent.cpu / gigabytes);
            results.add(&rate, front.front, gigabytes * 1e3 / spent.wall);
        });
        results.subtract_socket(&cpu);
    }

    /// A fresh front for each look: nothing else has grown it.
    pub fn memory(&self, results: &mut Results) {
        for front in Front::proxies() {
            let running = front.start(self.stage, &self.fake, Keys::Ecdsa);
            self.idle_sessions(&running, results);
        }
        self.native_sessions(results);
    }

    fn idle_sessions(&self, front: &Running, results: &mut Results) {
        let base = usage::memory(front.pid);
        let mut add = |name: String, unit, value| results.add(&lower(Section::Memory, name, unit), front.front, value);
        add("nobody there yet".into(), "RSS MB", base.rss / MB);
        let mut sessions: Vec<Session> = Vec::new();
        let mut peak = base.rss;
        for count in &self.plan.idle {
            open_many(front, count - sessions.len(), &mut sessions);
            thread::sleep(SETTLE);
            let held = usage::memory(front.pid);
            add(format!("{count} idle, cold"), "KB RSS each", (held.rss - base.rss) / *count as f64 / KB);
            add(format!("{count} idle, cold"), "KB PSS each", (held.pss - base.pss) / *count as f64 / KB);
            peak = held.rss.max(peak);
        }
        let load = Load { bytes: 1 << 20, message: 8192, write: 8192 }.query("down");
        for session in &mut sessions {
            session.ask(&load).unwrap();
            session.rest();
        }
        let (count, held) = (sessions.len(), usage::memory(front.pid));
        add(format!("{count} idle, after 1 MB each"), "KB RSS each", (held.rss - base.rss) / count as f64 / KB);
        peak = held.rss.max(peak);
        sessions.into_iter().for_each(|session| session.close().unwrap());
        thread::sleep(self.plan.patience);
        let left = usage::memory(front.pid).rss;
        add(format!("after {count} have left"), "RSS MB", left / MB);
        add(format!("after {count} have left"), "% of the peak", left / peak * 100.0);
    }

    /// Postern with more and more sessions: what each further one takes, and what all cost the one that works beside them.
    pub fn scaling(&self, results: &mut Results) {
        let front = Front::Postern.start(self.stage, &self.fake, Keys::Ecdsa);
        let mut add = |name: String, unit, value| results.add(&lower(Section::Scaling, name, unit), front.front, value);
        let (mut sessions, mut before) = (Vec::new(), usage::memory(front.pid));
        for count in &self.plan.scale {
            let further = count - sessions.len();
            open_many(&front, further, &mut sessions);
            thread::sleep(SETTLE);
            let held = usage::memory(front.pid);
            add(format!("each further idle session, up to {count}"), "KB RSS", (held.rss - before.rss) / further as f64 / KB);
            before = held;
            let ((), spent) = spent(&front, || thread::sleep(self.plan.turn));
            add(format!("all {count} idle sessions"), "% of a core", spent.cpu / spent.wall * 100.0);
            add(format!("round trips beside {count} idle sessions"), "CPU s per 100k", self.ping_pong(&front).cpu);
        }
    }

    /// PostgreSQL has a process for each session, so there are fewer of them here: what TLS adds to each. Resident memory that the
    /// processes share would count in each of them.
    fn native_sessions(&self, results: &mut Results) {
        let count = self.plan.idle.iter().copied().min().unwrap_or(0).min(200);
        let held = |front: &Running| {
            let mut sessions = Vec::new();
            open_many(front, count, &mut sessions);
            thread::sleep(SETTLE);
            usage::memory(front.pid)
        };
        let fronts = self.before_postgres(Front::is_postgres);
        let [socket, native] = &fronts[..] else { return };
        let [socket, native] = [held(socket), held(native)];
        for idle in &self.plan.idle {
            let name = format!("{idle} idle, cold");
            results.add(&lower(Section::Memory, &name, "KB PSS each"), Front::Native, (native.pss - socket.pss) / count as f64 / KB);
        }
    }
}

const KB: f64 = 1024.0;
const MB: f64 = 1024.0 * 1024.0;

/// Logs in and out, four at a time, for as long as `time`; gives the number of logins.
fn log_in(front: &Running, time: Duration) -> f64 {
    let begun = Instant::now();
    let worker = || {
        let mut count = 0.0;
        while begun.elapsed() < time {
            Session::open(&front.way).unwrap().close().unwrap();
            count += 1.0;
        }
        count
    };
    thread::scope(|scope| [(); 4].map(|()| scope.spawn(worker)).map(|thread| thread.join().unwrap()).iter().sum())
}

fn open_many(front: &Running, count: usize, sessions: &mut Vec<Session>) {
    let share = |part: usize| (count + part) / 4;
    let open = |part: usize| (0..share(part)).map(|_| Session::open(&front.way).unwrap()).collect::<Vec<_>>();
    thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|part| scope.spawn(move || open(part)));
        threads.into_iter().for_each(|thread| sessions.extend(thread.join().unwrap()));
    });
    sessions.iter_mut().for_each(Session::rest);
}
