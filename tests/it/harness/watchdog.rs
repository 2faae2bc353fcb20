//! Ends a run in which a test hangs, and says which: libtest would wait for it for ever, and who reads the output never know for whom.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take. What takes longer is ignored by default, and where that is run nobody watches.
const PATIENCE: Duration = Duration::from_secs(600);

/// A test is looked after for as long as it holds one of these.
pub struct Watched(usize);

/// Who began when, by the numbers of what they hold.
static WATCHED: Mutex<BTreeMap<usize, (String, Instant)>> = Mutex::new(BTreeMap::new());

impl Watched {
    pub fn new() -> Self {
        static WATCHING: Once = Once::new();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        WATCHING.call_once(|| drop(thread::spawn(look_on)));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let may_take_long = std::env::args().any(|argument| argument == "--ignored" || argument == "--include-ignored");
        // libtest gives its threads the tests' names.
        if let Some(test) = thread::current().name().filter(|_| !may_take_long) {
            watched().insert(number, (test.to_owned(), Instant::now()));
        }
        Self(number)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        watched().remove(&self.0);
    }
}

fn watched() -> MutexGuard<'static, BTreeMap<usize, (String, Instant)>> {
    WATCHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn look_on() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let late: Vec<String> = watched().values().filter(|(_, since)| since.elapsed() > PATIENCE).map(|(test, _)| test.clone()).collect();
        if !late.is_empty() {
            // Past the capture of what tests print, which would be lost.
            let _ = writeln!(stderr(), "the run is ended: after {} s these still wait: {}", PATIENCE.as_secs(), late.join(", "));
            std::process::exit(101);
        }
    }
}
