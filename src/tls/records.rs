//! A connection's TLS without its socket: rustls's records, handshake and cryptography over buffers of the caller's.
//!
//! rustls keeps a read buffer of 4 KiB for as long as a `ServerConnection` lives, which is more than all else that an idle session
//! needs of it; an `UnbufferedServerConnection` keeps none.

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error, ServerConfig};

/// The most plaintext that a record of the client's carries.
pub(super) const RECORD_PLAINTEXT: usize = 16 * 1024;
/// The most plaintext that a record of ours carries: as much as a PostgreSQL that encrypts sends at once (src/backend/libpq/pqcomm.c,
/// PQ_SEND_BUFFER_SIZE), and as libpq is sure to have room for (src/interfaces/libpq/fe-misc.c, pqReadData). Of a longer record it
/// leaves a part with OpenSSL, and whoever then waits at the socket for it, as its asynchronous users do, waits for ever.
pub(super) const OUR_RECORD_PLAINTEXT: usize = 8 * 1024;
/// The header in front of a record.
pub(super) const RECORD_HEADER: usize = 5;
/// What a record adds to its plaintext: the header, the content type and the tag.
pub(super) const RECORD_OVERHEAD: usize = RECORD_HEADER + 1 + 16;
/// The longest record, as rustls takes it.
pub(super) const RECORD_SIZE: usize = RECORD_HEADER + RECORD_PLAINTEXT + 2048;
/// Room for what rustls may put in front of a record of ours: KeyUpdates.
pub(super) const CONTROL_SIZE: usize = 1024;

/// rustls's side of a connection. On the heap: what holds a connection is moved from stage to stage.
pub(super) struct Records(Box<UnbufferedServerConnection>);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The handshake needs more of the client's bytes.
    Handshaking,
    /// The handshake is complete, and so are the records so far.
    Open,
    /// The client has said close_notify: nothing behind it counts.
    Closed,
}

impl Records {
    /// A connection that nothing has been read of.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(|connection| Self(Box::new(connection)))
    }

    /// What was negotiated.
    pub(super) fn negotiated(&self) -> &CommonState {
        &self.0
    }

    /// Decrypts what is whole in `incoming`, in place. What has to be sent is appended to `outgoing`. Gives how many bytes are done
    /// with; the next call has to begin with those behind them, as they are then.
    pub(super) fn receive(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
        mut plaintext: impl FnMut(&[u8]),
    ) -> (usize, Result<Reached, Error>) {
        let mut done = 0_usize;
        loop {
            let rest = incoming.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.0.process_tls_records(rest);
            let reached = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut failed = None;
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard = discard.saturating_add(record.discard);
                                plaintext(record.payload);
                            }
                            Err(error) => failed = Some(Err(error)),
                        }
                    }
                    failed
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing).err().map(Err),
                // Whoever calls sends `outgoing` before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(Ok(Reached::Handshaking)),
                Ok(ConnectionState::WriteTraffic(_)) => Some(Ok(Reached::Open)),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Ok(Reached::Closed)),
                Ok(state) => Some(Err(unexpected(&state))),
                Err(error) => Some(Err(error)),
            };
            done = done.saturating_add(discard);
            if let Some(reached) = reached {
                if reached.is_err() {
                    self.encode_alert(outgoing);
                }
                return (done, reached);
            }
        }
    }

    /// Encrypts `plaintext` into `sealed`, and gives the length of that. `partial` is what [`Self::receive`] was not done with.
    pub(super) fn seal(&mut self, partial: &mut [u8], plaintext: &[u8], sealed: &mut [u8]) -> Result<usize, Error> {
        let written = self.write(partial, |traffic| traffic.encrypt(plaintext, sealed))?;
        written.map_err(|error| Error::General(error.to_string()))
    }

    /// Appends a close_notify to `outgoing`. `partial` is what [`Self::receive`] was not done with.
    pub(super) fn close(&mut self, partial: &mut [u8], outgoing: &mut Vec<u8>) -> Result<(), Error> {
        let mut sealed = [0; CONTROL_SIZE];
        let written = self.write(partial, |traffic| traffic.queue_close_notify(&mut sealed))?;
        let length = written.map_err(|error| Error::General(error.to_string()))?;
        outgoing.extend_from_slice(sealed.get(..length).unwrap_or_default());
        Ok(())
    }

    /// rustls lets write where it has nothing else to do, which is so wherever [`Self::receive`] has ended without an error.
    fn write<T>(&mut self, partial: &mut [u8], write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>) -> T) -> Result<T, Error> {
        let UnbufferedStatus { discard, state } = self.0.process_tls_records(partial);
        let state = state?;
        let ConnectionState::WriteTraffic(mut traffic) = state else { return Err(unexpected(&state)) };
        if discard > 0 {
            return Err(Error::General("TLS had something to read where all was read".to_owned()));
        }
        Ok(write(&mut traffic))
    }

    /// After an error, which leaves an alert in the queue. Only the queue is looked at: rustls would look for the rest of a batch of
    /// handshake messages, in a buffer that is gone.
    fn encode_alert(&mut self, outgoing: &mut Vec<u8>) {
        while self.0.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(data)) = self.0.process_tls_records(&mut []).state else { return };
            if encode(data, outgoing).is_err() {
                return;
            }
        }
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    let start = outgoing.len();
    let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) else { return Ok(()) };
    outgoing.resize(start.saturating_add(needed.required_size), 0);
    let encoded = data.encode(outgoing.get_mut(start..).unwrap_or_default());
    encoded.map(drop).map_err(|error| Error::General(error.to_string()))
}

/// A state that cannot be where it was met.
fn unexpected(state: &ConnectionState<'_, '_, ServerConnectionData>) -> Error {
    Error::General(format!("TLS is in a state that it cannot be in: {state:?}"))
}
