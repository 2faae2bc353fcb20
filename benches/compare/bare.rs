//! What nothing undercuts by much: a relay of blocking rustls, a thread and two buffers for each connection. It has no rules, no
//! limits, no record, no deadline and no idea of the protocol behind the SSLRequest.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

const BUFFER: usize = 64 * 1024;
const STACK: usize = 64 * 1024;

/// Serves for ever; `folder` has the files of TLS, as Postern's has them.
pub fn serve(address: SocketAddr, folder: &Path, backend: &Path) {
    let config = Arc::new(config(folder));
    for client in TcpListener::bind(address).unwrap().incoming() {
        let (client, backend, config) = (client.unwrap(), backend.to_owned(), Arc::clone(&config));
        let relay = move || relay(client, &UnixStream::connect(backend)?, config);
        thread::Builder::new().stack_size(STACK).spawn(relay).unwrap();
    }
}

fn config(folder: &Path) -> ServerConfig {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let certificates = |name: &str| CertificateDer::pem_slice_iter(&read(name)).map(Result::unwrap).collect::<Vec<_>>();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("client-ca.crt"));
    let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
    let mut config = builder.with_single_cert(certificates("server.crt"), key).unwrap();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

fn relay(mut client: TcpStream, mut backend: &UnixStream, config: Arc<ServerConfig>) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.read_exact(&mut [0; 8])?;
    client.write_all(b"S")?;
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    client.set_nonblocking(true)?;
    backend.set_nonblocking(true)?;
    let (mut up, mut down) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let mut ready = [PollFd::new(client.as_fd(), PollFlags::POLLIN), PollFd::new(backend.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::NONE)?;
        let [from_client, from_backend] = ready.map(|fd| fd.any().unwrap_or(false));
        if from_client {
            if tls.read_tls(&mut client)? == 0 {
                return Ok(());
            }
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let count = tls.reader().read(&mut up)?;
                write_all(&mut backend, &up[..count])?;
                left -= count;
            }
        }
        if from_backend {
            let count = backend.read(&mut down)?;
            if count == 0 {
                tls.send_close_notify();
            }
            tls.writer().write_all(&down[..count])?;
            if count == 0 {
                return send(&mut tls, &mut client);
            }
        }
        send(&mut tls, &mut client)?;
    }
}

fn send(tls: &mut ServerConnection, client: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(client) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_to_write(client)?,
            outcome => drop(outcome?),
        }
    }
    Ok(())
}

fn write_all(backend: &mut &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match backend.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_to_write(backend)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_to_write(socket: &impl AsFd) -> io::Result<()> {
    poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
    Ok(())
}
