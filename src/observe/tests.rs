use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::samples::{anonymous, cancel, ending, hostile_names, named, opening, refusal, start, trail};
use super::*;
use crate::crypto::Sha256;
use crate::error::Reason;

const PATIENCE: Duration = Duration::from_secs(10);

fn observers(path: &Path, on_failure: OnFailure) -> Observers {
    let audit = AuditSettings { destination: AuditDestination::File(path.to_owned()), on_failure };
    Observers::start(&ObserveSettings { audit, log: LogSettings { level: LogLevel::Error, format: LogFormat::Json } }).unwrap()
}

/// A folder, and the path of a trail in it that is not there yet.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    (dir, path)
}

/// The records of a file, after a look at their chain: numbered from 0, each with the hash of the line before.
fn verified(text: &str) -> Vec<Value> {
    let mut prev = Value::Null;
    let check = |(seq, line): (usize, &str)| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!((&record["seq"], &record["prev"]), (&Value::from(seq), &prev));
        prev = Value::from(Sha256::of(line.as_bytes()).to_string());
        record
    };
    text.lines().enumerate().map(check).collect()
}

fn count(records: &[Value], event: &str) -> u64 {
    records.iter().filter(|record| record["event"] == event).map(|record| record["count"].as_u64().unwrap_or(1)).sum()
}

#[tokio::test]
async fn the_chain_of_a_whole_day_verifies() {
    let (_dir, path) = place();
    let observers = observers(&path, OnFailure::Refuse);
    observers.emit(&start(&[]));
    for name in hostile_names() {
        observers.record_session_start(&opening(named(&name))).await.unwrap();
        observers.emit(&Event::ConnectionRefused(&refusal(named(&name), Reason::HbaNoMatch)));
        observers.emit(&Event::SessionEnded(&ending()));
    }
    assert!(observers.shutdown(PATIENCE));
    let records = verified(&fs::read_to_string(&path).unwrap());
    assert_eq!(records.len(), 1 + 3 * hostile_names().len());
    assert_eq!(records[0]["event"], "daemon.start");
}

#[tokio::test]
async fn a_session_that_was_recorded_is_in_the_file_already() {
    let (_dir, path) = place();
    let observers = observers(&path, OnFailure::Refuse);
    let opening = opening(trail());
    observers.record_session_start(&opening).await.unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains(&opening.trail.session.to_string()));
}

#[tokio::test]
async fn on_a_full_disk_a_session_is_refused_at_once() {
    let observers = observers(Path::new("/dev/full"), OnFailure::Refuse);
    let before = Instant::now();
    let refused = observers.record_session_start(&opening(trail())).await.unwrap_err();
    assert!(refused.to_string().contains("No space left on device"), "{refused}");
    assert!(before.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn on_a_full_disk_sessions_go_on_if_so_configured() {
    let observers = observers(Path::new("/dev/full"), OnFailure::Continue);
    assert_eq!(observers.record_session_start(&opening(trail())).await, Ok(()));
}

/// A trail that takes nothing beyond the 64 KiB of a pipe, until its other end is read.
fn blocked() -> (TempDir, PathBuf, fs::File) {
    let (dir, path) = place();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let end = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    (dir, path, end)
}

fn long(trail: Trail) -> RefusalReport {
    RefusalReport { message: Some([b'a'; 8000].into()), detail: "a".repeat(8000), ..refusal(trail, Reason::Protocol) }
}

#[tokio::test]
async fn a_sink_that_takes_nothing_refuses_after_five_seconds() {
    let (_dir, path, _end) = blocked();
    let observers = observers(&path, OnFailure::Refuse);
    (0..10).for_each(|_| observers.emit(&Event::ConnectionRefused(&long(trail()))));
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    assert_eq!(observers.record_session_start(&opening(trail())).await, Err(AuditUnavailable::TooSlow));
    assert_eq!(before.elapsed().as_secs(), 5);
    assert!(!observers.shutdown(Duration::from_millis(10)));
}

#[tokio::test]
async fn a_sink_that_takes_nothing_delays_one_session_if_sessions_go_on() {
    let (_dir, path, _end) = blocked();
    let observers = observers(&path, OnFailure::Continue);
    (0..10).for_each(|_| observers.emit(&Event::ConnectionRefused(&long(trail()))));
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(observers.record_session_start(&opening(trail())).await, Ok(()));
    }
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[test]
fn a_full_queue_keeps_room_for_sessions_and_counts_what_it_loses() {
    let (_dir, path, end) = blocked();
    let observers = observers(&path, OnFailure::Refuse);
    let (flood, ending) = (long(anonymous()), ending());
    (0..1000).for_each(|_| observers.emit(&Event::ConnectionRefused(&flood)));
    (0..100).for_each(|_| observers.emit(&Event::SessionEnded(&ending)));
    let reader = std::thread::spawn(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(end)).map(Result::unwrap);
        lines.take_while(|line| line != "end").collect::<Vec<_>>().join("\n")
    });
    assert!(observers.shutdown(PATIENCE));
    fs::write(&path, "end\n").unwrap();
    let records = verified(&reader.join().unwrap());
    let lost: u64 = records.iter().filter_map(|record| record["lost"].as_u64()).sum();
    assert!(lost > 100);
    assert_eq!(count(&records, "connection.refused") + lost, 1000);
    assert_eq!(count(&records, "session.end"), 100);
}

#[tokio::test]
async fn a_sink_that_is_back_says_how_much_is_missing() {
    let (dir, path) = place();
    symlink("/dev/full", &path).unwrap();
    let observers = observers(&path, OnFailure::Continue);
    for _ in 0..3 {
        observers.record_session_start(&opening(trail())).await.unwrap();
    }
    let later = dir.path().join("later");
    symlink(&later, dir.path().join("link")).unwrap();
    fs::rename(dir.path().join("link"), &path).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while fs::read_to_string(&later).map_or(0, |text| text.lines().count()) == 0 {
        assert!(Instant::now() < deadline, "nothing was written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    observers.record_session_start(&opening(trail())).await.unwrap();
    let records = verified(&fs::read_to_string(&later).unwrap());
    assert_eq!((&records[0]["event"], &records[0]["lost"]), (&Value::from("audit.gap"), &Value::from(3)));
    assert_eq!(records[1]["event"], "session.start");
}

#[test]
fn a_flood_without_a_certificate_is_few_lines_and_none_is_uncounted() {
    let (_dir, path) = place();
    let observers = observers(&path, OnFailure::Refuse);
    let (plaintext, wrong_key) = (refusal(anonymous(), Reason::Plaintext), cancel(CancelResult::UnknownKey));
    for _ in 0..1000 {
        observers.emit(&Event::ConnectionRefused(&plaintext));
        observers.emit(&Event::CancelHandled(&wrong_key));
    }
    let proven = refusal(trail(), Reason::HbaNoMatch);
    (0..50).for_each(|_| observers.emit(&Event::ConnectionRefused(&proven)));
    assert!(observers.shutdown(PATIENCE));
    let records = verified(&fs::read_to_string(&path).unwrap());
    assert_eq!((count(&records, "connection.refused"), count(&records, "cancel")), (1050, 1000));
    assert_eq!(records.iter().filter(|record| record["reason"] == "hba_no_match").count(), 50);
    assert!(records.len() < 50 + 22 * 5, "{} lines", records.len());
}

#[test]
fn what_a_dead_writer_left_is_closed_with_a_newline() {
    let (_dir, path) = place();
    fs::write(&path, "{\"v\":1,\"torn").unwrap();
    let observers = observers(&path, OnFailure::Refuse);
    observers.emit(&start(&[]));
    assert!(observers.shutdown(PATIENCE));
    let text = fs::read_to_string(&path).unwrap();
    let (torn, rest) = text.split_once('\n').unwrap();
    assert_eq!((torn, verified(rest).len()), ("{\"v\":1,\"torn", 1));
}

#[test]
fn a_file_that_was_rotated_goes_on_in_the_same_chain() {
    let (dir, path) = place();
    let old = dir.path().join("audit.jsonl.1");
    let observers = observers(&path, OnFailure::Refuse);
    observers.emit(&start(&[]));
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&path).map_or(0, |file| file.len()) == 0 {
        assert!(Instant::now() < deadline, "nothing was written");
        std::thread::yield_now();
    }
    fs::rename(&path, &old).unwrap();
    observers.reopen();
    observers.emit(&Event::SessionEnded(&ending()));
    assert!(observers.shutdown(PATIENCE));
    let both = [&old, &path].map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(both.each_ref().map(|text| text.lines().count()), [1, 1]);
    assert_eq!(verified(&both.concat()).len(), 2);
}

#[test]
fn a_trail_that_cannot_be_opened_says_what_to_do() {
    let audit = AuditSettings { destination: AuditDestination::File("/nowhere/audit".into()), on_failure: OnFailure::Refuse };
    let log = LogSettings { level: LogLevel::Error, format: LogFormat::Auto };
    let fault = Observers::start(&ObserveSettings { audit, log }).err().unwrap().to_string();
    assert!(fault.starts_with("audit.file: /nowhere/audit cannot be opened for appending: No such file"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn with_the_trail_off_a_session_starts_without_waiting() {
    let audit = AuditSettings { destination: AuditDestination::Off, on_failure: OnFailure::Refuse };
    let log = LogSettings { level: LogLevel::Error, format: LogFormat::Text };
    let observers = Observers::start(&ObserveSettings { audit, log }).unwrap();
    assert_eq!(observers.record_session_start(&opening(trail())).await, Ok(()));
    assert!(observers.shutdown(PATIENCE));
}
