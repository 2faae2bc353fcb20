//! The one deadline of a login: it is absolute, and nobody who keeps talking outstays it. The clock is the tests' own.

use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::harness::wire::ssl_request;
use crate::panics::Theatre;

/// `limits.authentication_timeout` by default.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often a byte is sent.
const TRICKLE: Duration = Duration::from_millis(100);

/// Sends a byte, and a byte, and finds out when nobody is there any more to take it.
async fn trickle(mut client: impl AsyncWrite + Unpin) {
    loop {
        sleep(TRICKLE).await;
        if client.write_all(b"x").await.is_err() || client.flush().await.is_err() {
            return;
        }
    }
}

#[track_caller]
fn is_gone_in_time(begun: Instant) {
    let took = begun.elapsed();
    assert!((DEADLINE..DEADLINE + 3 * TRICKLE).contains(&took), "gone after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trickled_startup_packet_ends_at_the_deadline() {
    let theatre = Theatre::new();
    let begun = Instant::now();
    let (mut client, _) = theatre.connect();
    client.write_all(&9000_u32.to_be_bytes()).await.unwrap();
    trickle(client).await;
    is_gone_in_time(begun);
    assert_eq!(theatre.record("connection.refused").await["reason"], "timeout");
}

#[tokio::test(start_paused = true)]
async fn a_trickled_client_hello_ends_at_the_deadline() {
    let theatre = Theatre::new();
    let begun = Instant::now();
    let (mut client, _) = theatre.connect();
    client.write_all(&ssl_request()).await.unwrap();
    client.write_all(&[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]).await.unwrap();
    trickle(client).await;
    is_gone_in_time(begun);
    assert_eq!(theatre.record("connection.refused").await["reason"], "timeout");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_buys_no_time_for_a_trickled_startup_packet() {
    let theatre = Theatre::new();
    let begun = Instant::now();
    let (mut client, _) = theatre.connect_tls().await;
    client.write_all(&9000_u32.to_be_bytes()).await.unwrap();
    trickle(client).await;
    is_gone_in_time(begun);
    let record = theatre.record("connection.refused").await;
    assert_eq!((&record["reason"], &record["cert"]["cn"]), (&"timeout".into(), &"alice".into()));
}
