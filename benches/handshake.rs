//! What a full mutual handshake costs the server: the processor's time in the acceptor alone, its client's left out.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench panics when it cannot measure"
)]

mod measure;
mod world;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use measure::median;
use postern::tls::{Acceptor, Negotiation};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;
use world::{World, cpu_time};

const HANDSHAKES: usize = 500;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (kind, algorithm) in [("ECDSA P-256", &PKCS_ECDSA_P256_SHA256), ("RSA 2048", &PKCS_RSA_SHA256)] {
        let world = World::new(algorithm);
        let acceptor = Acceptor::load(&world.settings.live.tls).unwrap_or_else(|faults| panic!("{}", faults[0]));
        for group in [X25519, X25519MLKEM768, SECP256R1] {
            let client = world.client(group);
            let mut samples: Vec<f64> = (0..HANDSHAKES).map(|_| runtime.block_on(handshake(&acceptor, &client)).as_secs_f64()).collect();
            println!("{kind:<12} {:<16} {:>6.0} us", format!("{:?}", group.name()), median(&mut samples) * 1e6);
        }
    }
}

/// The server's part of one handshake, until its client could send a StartupMessage.
async fn handshake(acceptor: &Acceptor, client: &Arc<ClientConfig>) -> Duration {
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::clone(client));
    let connect = async {
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), far).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream
    };
    let accept = async {
        let mut established = acceptor.accept(near, Negotiation::Direct).await.map_err(|(failure, _)| failure).unwrap();
        assert!(established.peer.is_some() && established.stream.read_u8().await.unwrap() == b'x');
        established
    };
    let ((used, _server), _client) = tokio::join!(timed(accept), connect);
    used
}

/// The processor's time that a future takes in all its polls.
async fn timed<F: Future>(future: F) -> (Duration, F::Output) {
    let mut future = pin!(future);
    let mut used = Duration::ZERO;
    std::future::poll_fn(|context| {
        let begun = cpu_time();
        let polled = future.as_mut().poll(context);
        used += cpu_time() - begun;
        match polled {
            Poll::Ready(output) => Poll::Ready((used, output)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
