//! PostgreSQL's frontend/backend protocol as bytes: decoders that take slices, encoders that make them, scanners that know where a
//! message ends. No sockets, no clock, nothing but bytes.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

mod backend;
mod cancel;
mod frontend;
mod params;
mod proxy;
mod query;
mod scan;
mod settings;
mod sqlstate;
mod startup;

pub use backend::{
    Authentication, BackendMessage, BackendScanner, ErrorFields, ErrorResponse, FrameError, TransactionStatus, authentication_sasl,
    notice_response, sasl_initial_response, sasl_response,
};
pub use cancel::{CancelKey, CancelRequest};
pub use frontend::FrontendScanner;
pub use params::StartupParameters;
pub use proxy::{ProxyError, ProxyHeader, ProxyProgress};
pub use query::{QueryMessage, query, terminate};
pub use scan::{InvalidLength, MessageScanner, Piece};
pub use sqlstate::SqlState;
pub use startup::{
    MAX_STARTUP_PACKET_LENGTH, ProtocolVersion, ReplicationParameter, StartupError, StartupMessage, StartupPacket, body_length,
    startup_packet,
};
