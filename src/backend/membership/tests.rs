use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::*;
use crate::backend::BackendTarget;

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
const DONE: &[u8] = b"C\0\0\0\x05\0Z\0\0\0\x05I";

/// A backend that a script answers, and who asks it.
struct Stage {
    lookup: Arc<MembershipLookup>,
    /// How many connections came.
    connections: Arc<AtomicUsize>,
    /// Lets one question be answered.
    gate: Arc<Notify>,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// Answers each question, once let, by `answer` and what follows it.
    fn with(ttl: Duration, answer: Vec<u8>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(".s.PGSQL.5432");
        let listener = UnixListener::bind(&socket).unwrap();
        let (connections, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        tokio::spawn(serve(listener, answer, Arc::clone(&connections), Arc::clone(&gate)));
        let backend = BackendSettings {
            target: BackendTarget::Unix(socket),
            host: dir.path().to_str().unwrap().to_owned(),
            lookup: Some(LookupSettings { role: role("postern"), ttl }),
            ..BackendSettings::nowhere()
        };
        Self { lookup: MembershipLookup::new(Arc::new(backend), None).unwrap(), connections, gate, _dir: dir }
    }

    fn asked(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn groups(&self, name: &str) -> Result<usize, String> {
        self.lookup.groups_of(&role(name)).await.map(|groups| groups.len()).map_err(|failure| failure.to_string())
    }
}

async fn serve(listener: UnixListener, answer: Vec<u8>, connections: Arc<AtomicUsize>, gate: Arc<Notify>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let (answer, gate) = (answer.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let length = stream.read_u32().await.unwrap() as usize;
            stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
            stream.write_all(OK).await.unwrap();
            until_sync(&mut stream).await;
            gate.notified().await;
            drop(stream.write_all(&answer).await);
            drop(stream.read_to_end(&mut Vec::new()).await);
        });
    }
}

async fn until_sync(stream: &mut UnixStream) {
    loop {
        let kind = stream.read_u8().await.unwrap();
        let length = stream.read_u32().await.unwrap() as usize;
        stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
        if kind == b'S' {
            return;
        }
    }
}

fn role(name: &str) -> RoleName {
    RoleName::truncated(name.as_bytes()).unwrap()
}

fn row(name: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap();
    [&b"D"[..], &(length + 10).to_be_bytes(), &[0, 1], &length.to_be_bytes(), name.as_bytes()].concat()
}

fn groups(names: &[&str]) -> Vec<u8> {
    [names.iter().flat_map(|name| row(name)).collect(), DONE.to_vec()].concat()
}

#[tokio::test]
async fn who_asks_the_same_waits_for_the_same_answer() {
    let stage = Stage::with(Duration::from_secs(3600), groups(&["alice", "staff"]));
    let (one, other, another) = tokio::join!(stage.groups("alice"), stage.groups("alice"), async {
        stage.gate.notify_one();
        stage.groups("alice").await
    });
    assert_eq!((one, other, another, stage.asked()), (Ok(2), Ok(2), Ok(2), 1));
    assert_eq!((stage.groups("alice").await, stage.asked()), (Ok(2), 1), "and who comes later has it at once");
    stage.gate.notify_one();
    assert_eq!((stage.groups("bob").await, stage.asked()), (Ok(2), 2), "of another role nothing is known");
}

#[tokio::test]
async fn an_answer_is_believed_for_its_time_and_no_longer() {
    let stage = Stage::with(Duration::ZERO, groups(&["alice"]));
    for asked in 1..4 {
        stage.gate.notify_one();
        assert_eq!((stage.groups("alice").await, stage.asked()), (Ok(1), asked));
    }
}

#[tokio::test]
async fn a_failure_is_not_no_and_is_not_kept() {
    let stage = Stage::with(Duration::from_secs(3600), b"E\0\0\0\x16SERROR\0C42501\0Mx\0\0Z\0\0\0\x05I".to_vec());
    for asked in 1..3 {
        stage.gate.notify_one();
        assert_eq!((stage.groups("alice").await, stage.asked()), (Err("the backend refused: 42501 x".into()), asked));
    }
}

#[tokio::test]
async fn one_who_leaves_takes_the_answer_from_nobody() {
    let stage = Stage::with(Duration::from_secs(3600), groups(&["alice"]));
    let lookup = Arc::clone(&stage.lookup);
    let impatient = tokio::spawn(async move { lookup.groups_of(&role("alice")).await.is_ok() });
    while stage.asked() == 0 {
        tokio::task::yield_now().await;
    }
    impatient.abort();
    stage.gate.notify_one();
    assert_eq!((stage.groups("alice").await, stage.asked()), (Ok(1), 1));
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let stage = Stage::with(Duration::from_secs(3600), row(&"a".repeat(60_000)).repeat(8));
    stage.gate.notify_one();
    let failure = stage.groups("alice").await.unwrap_err();
    assert!(failure.contains("too much"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_answer_is_given_up_in_time() {
    let stage = Stage::with(Duration::from_secs(3600), groups(&["alice"]));
    let failure = stage.groups("alice").await.unwrap_err();
    assert!(failure.contains("did not answer"), "{failure}");
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let stage = Stage::with(Duration::from_secs(3600), groups(&[]));
    let now = Instant::now();
    let known = |seconds: u64| Entry::Known { groups: Groups::default(), until: now + Duration::from_secs(seconds) };
    {
        let mut entries = stage.lookup.known.lock().unwrap();
        entries.extend((0..MOST_ROLES as u64).map(|number| (role(&format!("r{number}")), known(100 + number))));
    }
    stage.gate.notify_one();
    assert_eq!(stage.groups("alice").await, Ok(0));
    let entries = stage.lookup.known.lock().unwrap();
    assert_eq!(entries.len(), MOST_ROLES);
    assert!(!entries.contains_key(&role("r0")) && entries.contains_key(&role("r1")), "what expires first has gone");
}
