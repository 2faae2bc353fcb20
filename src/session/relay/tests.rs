use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::session::live::{Leave, Newcomer};
use crate::session::registry::{Registration, Sessions};

/// A relay between two in-memory streams, as a task; the test holds the far ends.
struct World {
    client: DuplexStream,
    backend: DuplexStream,
    relay: JoinHandle<(Finish, Traffic)>,
    registration: Registration,
}

fn world(buffer: usize) -> World {
    let sessions = Arc::new(Sessions::default());
    let registration = sessions.register(Newcomer::alice()).unwrap();
    let (client, near_client) = duplex(buffer);
    let (backend, near_backend) = duplex(buffer);
    let mut relay = Relay::new(near_client, near_backend, Arc::clone(registration.session()), Vec::new(), b"");
    let relay = tokio::spawn(async move {
        let finish = (&mut relay).await;
        (finish, relay.traffic())
    });
    World { client, backend, relay, registration }
}

async fn read(stream: &mut DuplexStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(Duration::from_secs(5), stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

async fn finish(relay: JoinHandle<(Finish, Traffic)>) -> (Finish, Traffic) {
    timeout(Duration::from_secs(10), relay).await.unwrap().unwrap()
}

const QUERY: &[u8] = b"Q\0\0\0\x05\0";
const READY: &[u8] = b"Z\0\0\0\x05I";
const TERMINATE: &[u8] = b"X\0\0\0\x04";

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let mut world = world(1024);
    world.client.write_all(QUERY).await.unwrap();
    assert_eq!(read(&mut world.backend, 6).await, QUERY);
    world.backend.write_all(READY).await.unwrap();
    assert_eq!(read(&mut world.client, 6).await, READY);
    world.client.write_all(TERMINATE).await.unwrap();
    read(&mut world.backend, 5).await;
    drop(world.backend);
    let (finish, traffic) = finish(world.relay).await;
    assert_eq!(finish, Finish { reason: EndReason::Client, parting: Parting::Orderly, release: Release::Closed });
    assert_eq!((traffic.bytes_in, traffic.bytes_out), (11, 6));
}

#[tokio::test]
async fn a_client_that_closed_its_side_still_gets_the_answer() {
    let mut world = world(1024);
    world.client.write_all(QUERY).await.unwrap();
    world.client.shutdown().await.unwrap();
    let mut asked = Vec::new();
    world.backend.read_to_end(&mut asked).await.unwrap();
    assert_eq!(asked, QUERY);
    world.backend.write_all(READY).await.unwrap();
    drop(world.backend);
    let (finish, _) = finish(world.relay).await;
    assert_eq!((finish.reason, finish.release), (EndReason::Client, Release::Closed));
    assert_eq!(read(&mut world.client, 6).await, READY);
}

#[tokio::test]
async fn a_slow_reader_holds_the_backend_back_and_loses_nothing() {
    let mut world = world(256);
    let row = [b"D\0\0\x03\xe8".as_slice(), &[7; 996]].concat();
    let rows = row.repeat(300);
    let sent = rows.clone();
    let mut backend = world.backend;
    let writer = tokio::spawn(async move {
        backend.write_all(&sent).await.unwrap();
        backend
    });
    assert_eq!(read(&mut world.client, rows.len()).await, rows);
    drop(writer.await.unwrap());
    let (finish, traffic) = finish(world.relay).await;
    assert_eq!(finish.reason, EndReason::BackendLost);
    assert_eq!(usize::try_from(traffic.bytes_out).unwrap(), rows.len());
}

#[tokio::test]
async fn a_backend_that_dies_inside_a_message_leaves_the_client_without_a_word() {
    let mut world = world(1024);
    world.client.write_all(QUERY).await.unwrap();
    world.backend.write_all(b"D\0\0\0\x10half").await.unwrap();
    drop(world.backend);
    let (finish, _) = finish(world.relay).await;
    assert_eq!(finish, Finish { reason: EndReason::BackendLost, parting: Parting::Mute, release: Release::Closed });
}

#[tokio::test]
async fn a_backend_that_dies_at_a_boundary_is_told_and_one_that_said_why_is_not_doubled() {
    let quiet = world(1024);
    drop(quiet.backend);
    assert_eq!(finish(quiet.relay).await.0, Finish { reason: EndReason::BackendLost, parting: Parting::Orderly, release: Release::Closed });
    let mut telling = world(1024);
    telling.backend.write_all(b"E\0\0\0\x0cSFATAL\0\0").await.unwrap();
    drop(telling.backend);
    assert_eq!(finish(telling.relay).await.0.reason, EndReason::Backend);
}

#[tokio::test]
async fn what_came_before_an_impossible_length_is_answered_and_nothing_behind_it_is_forwarded() {
    let mut world = world(1024);
    world.client.write_all(&[QUERY, b"Q\0\0\0\x03evil"].concat()).await.unwrap();
    let mut asked = Vec::new();
    world.backend.read_to_end(&mut asked).await.unwrap();
    assert_eq!(asked, QUERY);
    world.backend.write_all(READY).await.unwrap();
    drop(world.backend);
    assert_eq!(finish(world.relay).await.0.reason, EndReason::Protocol);
    assert_eq!(read(&mut world.client, 6).await, READY);
}

#[tokio::test]
async fn what_the_backend_completed_before_an_impossible_length_reaches_the_client_and_nothing_behind_it_does() {
    let garbage = b"D\xff\xff\xff\xffgarbage";
    for cut in 0..garbage.len() {
        let mut world = world(1024);
        world.client.write_all(QUERY).await.unwrap();
        assert_eq!(read(&mut world.backend, 6).await, QUERY);
        let (first, rest) = garbage.split_at(cut);
        world.backend.write_all(&[b"C\0\0\0\x08tag\0", first].concat()).await.unwrap();
        assert_eq!(read(&mut world.client, 9).await, b"C\0\0\0\x08tag\0");
        drop(world.backend.write_all(rest).await);
        let (finish, _) = finish(world.relay).await;
        assert_eq!((finish.reason, finish.parting), (EndReason::Protocol, Parting::Mute), "cut at {cut}");
        let mut heard = Vec::new();
        world.client.read_to_end(&mut heard).await.unwrap();
        assert!(heard.len() < 5, "{heard:?}");
    }
}

#[tokio::test]
async fn an_order_to_end_waits_for_the_end_of_a_message() {
    let mut world = world(1024);
    world.client.write_all(QUERY).await.unwrap();
    world.backend.write_all(b"D\0\0\0\x08ab").await.unwrap();
    assert_eq!(read(&mut world.client, 7).await, b"D\0\0\0\x08ab");
    world.registration.session().end(EndReason::Drain);
    world.client.write_all(QUERY).await.unwrap();
    world.backend.write_all(b"cdD\0\0\0\x08mo").await.unwrap();
    let (finish, _) = finish(world.relay).await;
    assert_eq!(finish, Finish { reason: EndReason::Drain, parting: Parting::Orderly, release: Release::AtWork });
    let mut rest = Vec::new();
    world.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"cd");
    let mut asked = Vec::new();
    world.backend.read_to_end(&mut asked).await.unwrap();
    assert_eq!(asked, QUERY, "what came after the order is never forwarded");
}

#[tokio::test(start_paused = true)]
async fn an_order_to_end_that_finds_no_boundary_closes_without_a_message() {
    let mut world = world(1024);
    world.backend.write_all(b"D\0\0\0\x08ab").await.unwrap();
    read(&mut world.client, 7).await;
    world.registration.session().end(EndReason::Drain);
    let (finish, _) = world.relay.await.unwrap();
    assert_eq!(finish, Finish { reason: EndReason::Drain, parting: Parting::Mute, release: Release::AtWork });
}

#[tokio::test]
async fn a_session_that_was_busy_when_it_was_asked_to_leave_leaves_with_the_answer() {
    let mut world = world(1024);
    world.client.write_all(QUERY).await.unwrap();
    assert_eq!(read(&mut world.backend, 6).await, QUERY);
    world.registration.session().ask_to_leave(Leave::Idle);
    // The relay has seen that, and that it is too early.
    world.backend.write_all(b"C\0\0\0\x08tag\0").await.unwrap();
    assert_eq!(read(&mut world.client, 9).await, b"C\0\0\0\x08tag\0");
    world.backend.write_all(READY).await.unwrap();
    assert_eq!(read(&mut world.client, 6).await, READY);
    let (finish, _) = finish(world.relay).await;
    assert_eq!(finish, Finish { reason: EndReason::Drain, parting: Parting::Orderly, release: Release::Idle });
}

#[tokio::test]
async fn what_an_execute_without_a_sync_began_is_not_taken_for_idle_work() {
    let mut world = world(1024);
    world.backend.write_all(READY).await.unwrap();
    assert_eq!(read(&mut world.client, 6).await, READY);
    world.client.write_all(b"E\0\0\0\x09\0\0\0\0\0").await.unwrap();
    read(&mut world.backend, 10).await;
    world.registration.session().end(EndReason::Revoked);
    assert_eq!(finish(world.relay).await.0.release, Release::Idle, "it is asked to end, and watched until it has");
}

#[tokio::test]
async fn half_a_message_is_no_orderly_end_whatever_the_client_did() {
    for goodbye in [&b"Q\0\0\0\x05\0"[..], b"Q\0\0\0\x05\0X\0\0\0\x04", b"Q\0\0\0\x05\0Q\0\0\0\x03"] {
        let mut world = world(1024);
        world.client.write_all(goodbye).await.unwrap();
        world.client.shutdown().await.unwrap();
        read(&mut world.backend, 6).await;
        world.backend.write_all(b"D\0\0\0\x10half").await.unwrap();
        drop(world.backend);
        let (finish, _) = finish(world.relay).await;
        assert_eq!((finish.reason, finish.parting), (EndReason::BackendLost, Parting::Mute), "{goodbye:?}");
    }
}

/// A client that asks once and is gone: nothing more comes from it, and writing to it fails.
struct Vanished(Option<&'static [u8]>);

impl AsyncRead for Vanished {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.take().map_or(Poll::Pending, |asked| {
            buf.put_slice(asked);
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Vanished {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn vanished(asked: &'static [u8]) -> Finish {
    let sessions = Arc::new(Sessions::default());
    let registration = sessions.register(Newcomer::alice()).unwrap();
    let (mut backend, near) = duplex(1024);
    let relay = Relay::new(Vanished(Some(asked)), near, Arc::clone(registration.session()), Vec::new(), b"");
    let relay = tokio::spawn(relay);
    read(&mut backend, asked.len()).await;
    backend.write_all(b"D\0\0\0\x08rows").await.unwrap();
    backend.shutdown().await.unwrap();
    timeout(Duration::from_secs(5), relay).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_client_that_cannot_be_written_to_is_lost_and_its_statement_cancelled() {
    assert_eq!(vanished(QUERY).await, Finish { reason: EndReason::ClientLost, parting: Parting::Mute, release: Release::AtWork });
}

#[tokio::test]
async fn a_client_that_said_goodbye_before_it_went_has_its_statement_carried_out() {
    let finish = vanished(b"Q\0\0\0\x05\0X\0\0\0\x04").await;
    assert_eq!((finish.reason, finish.release), (EndReason::Client, Release::Closed));
}
