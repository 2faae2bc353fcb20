//! The stream after the handshake, over a line that the test holds in its hand.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::pair::{Line, Pair, records_of};
use super::*;
use crate::tls::scratch::{CHUNK, SCRATCH_SIZE};

/// The lengths of records, which their headers say.
fn lengths_of(mut records: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        records = &rest[length..];
    }
    lengths
}

fn bytes_of(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

#[test]
fn a_record_is_read_wherever_it_is_cut_and_leaves_no_buffer() {
    let mut pair = Pair::new();
    for cut in 1..8 + 22 {
        let record = pair.records(b"select 1");
        pair.line.push(&record[..cut]);
        assert!(pair.read(100).is_pending());
        assert!((cut..=2 * cut.max(8)).contains(&pair.stream.buffered()));
        pair.line.push(&record[cut..]);
        assert_eq!(pair.read_now(100), b"select 1");
        assert_eq!(pair.stream.buffered(), 0);
    }
}

#[test]
fn a_long_record_that_comes_byte_by_byte_is_read() {
    let mut pair = Pair::new();
    let plaintext = bytes_of(16 * 1024);
    for byte in pair.records(&plaintext) {
        assert!(pair.read(100_000).is_pending());
        pair.line.push(&[byte]);
    }
    assert_eq!(pair.read_now(100_000), plaintext);
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn a_record_and_a_half_are_read_as_one_then_as_the_other() {
    let mut pair = Pair::new();
    let (first, second) = (pair.records(b"first"), pair.records(b"second"));
    let (half, rest) = second.split_at(10);
    pair.line.push(&[&first, half].concat());
    assert_eq!(pair.read_now(100), b"first");
    assert!(pair.read(100).is_pending());
    pair.line.push(rest);
    assert_eq!(pair.read_now(100), b"second");
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn records_that_come_together_are_read_together() {
    let mut pair = Pair::new();
    let said = [pair.records(b"one "), pair.records(b"two "), pair.records(b"three")].concat();
    pair.line.push(&said);
    assert_eq!(pair.read_now(100), b"one two three");
    assert!(pair.read(100).is_pending());
}

#[test]
fn a_reader_of_one_byte_gets_all_and_leaves_no_buffer() {
    let mut pair = Pair::new();
    let said = [pair.records(b"one "), pair.records(b"two")].concat();
    pair.line.push(&said);
    let read: Vec<u8> = (0..7).flat_map(|_| pair.read_now(1)).collect();
    assert_eq!(read, b"one two");
    assert!(pair.read(1).is_pending());
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn a_chunk_is_read_at_once() {
    let mut pair = Pair::new();
    let plaintext = bytes_of(2 * CHUNK);
    let said = pair.records(&plaintext);
    pair.line.push(&said);
    let first = pair.read_now(CHUNK);
    assert_eq!((first.len(), pair.stream.buffered()), (CHUNK, 0));
    assert_eq!([first, pair.read_now(CHUNK)].concat(), plaintext);
}

#[test]
fn what_comes_with_the_finished_is_the_first_read() {
    let mut pair = Pair::speaking(b"startup");
    assert_eq!(pair.read_now(4), b"star");
    assert_eq!(pair.read_now(100), b"tup");
    assert!(pair.read(100).is_pending());
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn a_chunk_is_one_write_of_whole_records() {
    let mut pair = Pair::new();
    let plaintext = bytes_of(CHUNK + 5);
    pair.line.ends().writes = 0;
    assert!(matches!(pair.write(&plaintext), Poll::Ready(Ok(CHUNK))));
    assert_eq!(pair.line.ends().writes, 1);
    assert_eq!(lengths_of(&pair.line.ends().outbound), [8192 + 17; 8], "none is longer than libpq has room for");
    assert!(matches!(pair.write(&plaintext[CHUNK..]), Poll::Ready(Ok(5))));
    assert_eq!(pair.hear(), Ok(plaintext));
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn a_client_that_does_not_read_costs_a_chunk_and_no_more() {
    let mut pair = Pair::new();
    let plaintext = bytes_of(CHUNK);
    pair.line.ends().room = 0;
    assert!(matches!(pair.write(&plaintext), Poll::Ready(Ok(CHUNK))));
    assert!(pair.write(&plaintext).is_pending() && pair.flush().is_pending());
    assert!((CHUNK..=SCRATCH_SIZE).contains(&pair.stream.buffered()));
    pair.line.ends().room = usize::MAX;
    assert!(pair.flush().is_ready());
    assert_eq!(pair.hear(), Ok(plaintext));
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn a_socket_that_takes_a_byte_at_a_time_takes_all() {
    let mut pair = Pair::new();
    let plaintext = bytes_of(20_000);
    pair.line.ends().room = 1;
    assert!(matches!(pair.write(&plaintext), Poll::Ready(Ok(20_000))));
    while pair.flush().is_pending() {
        pair.line.ends().room = 1;
    }
    assert_eq!(pair.hear(), Ok(plaintext));
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn nothing_is_read_behind_a_close_notify_and_our_side_stays_open() {
    let mut pair = Pair::new();
    let mut said = pair.records(b"last words");
    pair.client.send_close_notify();
    said.extend(records_of(&mut pair.client));
    said.extend(b"\x17\x03\x03\0\x04what");
    pair.line.push(&said);
    pair.line.push(b"ever");
    assert_eq!(pair.read_now(100), b"last words");
    assert_eq!(pair.read_now(100), b"");
    assert_eq!(pair.read_now(100), b"");
    assert!(matches!(pair.write(b"answer"), Poll::Ready(Ok(6))));
    assert_eq!(pair.hear(), Ok(b"answer".to_vec()));
}

#[test]
fn an_end_without_close_notify_is_told_from_one_with_it() {
    let mut pair = Pair::new();
    let record = pair.records(b"select 1");
    pair.line.push(&record);
    let record = pair.records(b"half");
    pair.line.push(&record[..10]);
    pair.line.ends().ended = true;
    assert_eq!(pair.read_now(100), b"select 1");
    for _ in 0..2 {
        assert!(matches!(pair.read(100), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof));
    }
    assert!(matches!(pair.write(b"answer"), Poll::Ready(Ok(6))));
    assert_eq!(pair.hear(), Ok(b"answer".to_vec()));
}

#[test]
fn a_record_that_was_changed_ends_the_connection_by_its_alert() {
    let mut pair = Pair::new();
    let (good, mut bad) = (pair.records(b"good"), pair.records(b"bad"));
    bad[6] ^= 1;
    pair.line.push(&[good, bad].concat());
    assert_eq!(pair.read_now(100), b"good");
    for _ in 0..2 {
        assert!(matches!(pair.read(100), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData));
    }
    assert!(matches!(pair.write(b"answer"), Poll::Ready(Err(_))));
    assert_eq!(pair.hear(), Err(Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
    assert!(pair.shut_down().is_ready() && pair.line.ends().closed);
    assert_eq!(pair.line.ends().outbound, b"", "nothing comes behind the alert");
}

#[test]
fn what_is_no_record_ends_the_connection_by_its_alert() {
    for garbage in [&b"Q\0\0\0\x0dselect 1\0"[..], b"\x17\x03\x03\xff\xff", b"\x16\x03\x03\0\x05\x18\0\0\x01\x01", &[0; 64]] {
        let mut pair = Pair::new();
        pair.line.push(garbage);
        assert!(matches!(pair.read(100), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData));
        assert!(matches!(pair.hear(), Err(Error::AlertReceived(_))), "{garbage:?}");
    }
}

#[test]
fn an_alert_that_finds_no_room_goes_out_when_there_is() {
    let mut pair = Pair::new();
    pair.line.ends().room = 0;
    pair.line.push(&[0; 64]);
    assert!(matches!(pair.read(100), Poll::Ready(Err(_))));
    assert!(pair.shut_down().is_pending());
    pair.line.ends().room = usize::MAX;
    assert!(pair.shut_down().is_ready());
    assert!(matches!(pair.hear(), Err(Error::AlertReceived(_))));
}

#[test]
fn our_end_is_a_close_notify_and_fin_behind_all_that_was_written() {
    let mut pair = Pair::new();
    pair.line.ends().room = 3;
    assert!(matches!(pair.write(b"answer"), Poll::Ready(Ok(6))));
    assert!(pair.shut_down().is_pending() && !pair.line.ends().closed);
    pair.line.ends().room = usize::MAX;
    assert!(pair.shut_down().is_ready() && pair.line.ends().closed);
    assert!(matches!(pair.write(b"more"), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    assert_eq!(pair.hear(), Ok(b"answer".to_vec()));
    assert!(pair.client.process_new_packets().expect("records").peer_has_closed());
    let record = pair.records(b"still here");
    pair.line.push(&record);
    assert_eq!(pair.read_now(100), b"still here");
}

#[test]
fn a_key_update_is_answered_in_front_of_the_next_record() {
    let mut pair = Pair::new();
    pair.client.refresh_traffic_keys().expect("a KeyUpdate");
    let update = records_of(&mut pair.client);
    pair.line.push(&update);
    assert!(pair.read(100).is_pending());
    let record = pair.records(b"by the new key");
    pair.line.push(&record);
    assert_eq!(pair.read_now(100), b"by the new key");
    assert!(matches!(pair.write(b"answer"), Poll::Ready(Ok(6))));
    assert_eq!(pair.line.ends().outbound.len(), (22 + 5) + (22 + 6));
    assert_eq!(pair.hear(), Ok(b"answer".to_vec()));
    assert_eq!(pair.stream.buffered(), 0);
}

#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let mut pair = Pair::new();
    for _ in 0..100 {
        pair.client.refresh_traffic_keys().expect("a KeyUpdate");
        let update = records_of(&mut pair.client);
        pair.line.push(&update);
    }
    let mut turns = 0;
    let error = loop {
        match pair.read(100) {
            Poll::Pending => turns += 1,
            Poll::Ready(end) => break end.expect_err("no plaintext came"),
        }
        assert!(turns < 10);
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(turns > 0, "it was somebody else's turn in between");
}

#[test]
fn key_updates_with_a_byte_between_them_leave_others_their_turn() {
    let mut pair = Pair::new();
    for _ in 0..40 {
        for _ in 0..30 {
            pair.client.refresh_traffic_keys().expect("a KeyUpdate");
        }
        let mut piece = records_of(&mut pair.client);
        piece.extend(pair.records(b"x"));
        pair.line.push(&piece);
    }
    let (mut turns, mut bytes) = (0, 0);
    while bytes < 40 {
        match pair.read(100) {
            Poll::Pending => turns += 1,
            Poll::Ready(read) => bytes += read.expect("plaintext").len(),
        }
        assert!(turns < 10);
    }
    // 40 times 30 of 27 bytes, and what the handshake took: two times 16 KiB.
    assert!((1..=2).contains(&turns), "{turns}");
}

#[test]
fn a_client_hello_that_is_too_long_is_refused_before_it_is_held() {
    let world = World::new();
    let line = Line::new();
    let acceptor = world.acceptor();
    let mut accept = pin!(acceptor.accept(line.clone(), Negotiation::Requested));
    // A ClientHello of 65 535 bytes, in records of 4 KiB, each the whole of a read.
    let mut hello = vec![1, 0, 0xff, 0xff];
    hello.resize(60_000, 0);
    let mut pieces = 0;
    for part in hello.chunks(4096) {
        line.push(&[&[22, 3, 1], &u16::try_from(part.len()).expect("a length").to_be_bytes()[..], part].concat());
        pieces += 1;
        if let Poll::Ready(outcome) = accept.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            assert!(outcome.is_err());
            break;
        }
    }
    assert!((4..=6).contains(&pieces), "{pieces}");
}

#[tokio::test]
async fn large_amounts_go_both_ways_at_once_through_a_line_of_any_width() {
    let acceptor_world = World::new();
    for width in [7, 100, 1777, 5000, 16_384, 100_000] {
        let amount = if width < 100 { 100_000 } else { 1_500_000 };
        let (near, far) = tokio::io::duplex(width);
        let acceptor = acceptor_world.acceptor();
        let connector = TlsConnector::from(Arc::new(acceptor_world.client(&Draft::leaf("alice")).0));
        let name = ServerName::try_from("db.example").expect("a name");
        let (served, connected) =
            within(async { tokio::join!(acceptor.accept(near, Negotiation::Requested), connector.connect(name, far)) }).await;
        let (near, far) = (served.map_err(|(cause, _)| cause).expect("a handshake").stream, connected.expect("a handshake"));
        let ((near_read, near_write), (far_read, far_write)) = (tokio::io::split(near), tokio::io::split(far));
        let expected = bytes_of(amount);
        let (down, up, (), ()) = within(async {
            tokio::join!(collect(far_read), collect(near_read), speak(near_write, &expected), speak(far_write, &expected))
        })
        .await;
        assert!(down == expected && up == expected, "a line of {width} bytes");
    }
}

/// Writes in pieces of all sizes.
async fn speak(mut sink: impl AsyncWrite + Unpin, bytes: &[u8]) {
    let (mut rest, mut size) = (bytes, 1);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        sink.write_all(now).await.expect("a write");
        rest = later;
        size = size * 7 % 90_001 + 1;
    }
    sink.shutdown().await.expect("an end");
}

/// Reads in pieces of all sizes, to the close_notify.
async fn collect(mut source: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut read, mut size) = (Vec::new(), 1);
    loop {
        let mut piece = vec![0; size];
        match source.read(&mut piece).await.expect("a good end") {
            0 => return read,
            count => read.extend_from_slice(&piece[..count]),
        }
        size = size * 5 % 70_001 + 1;
    }
}
