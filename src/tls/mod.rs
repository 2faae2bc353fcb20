//! TLS towards clients: TLS 1.3 only, a client certificate asked for, every login a full handshake.
//!
//! The one place that knows rustls and webpki. It verifies a certificate, and from what it verified it makes the only
//! `ClientIdentity` there is; it does not decide what that identity may do, nor does it judge a client that has none.

mod crls;
mod examine;
mod expiry;
mod failure;
mod hosts;
mod leftover;
mod material;
mod path;
mod records;
mod refusal;
mod regression;
mod remembered;
mod revocation;
mod scratch;
mod server;
mod signature;
mod stream;
mod trust;
mod verifier;
mod warnings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, DistinguishedName, NamedGroup};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::TlsFailure;
use crate::identity::ClientIdentity;
use crate::notice::Notice;
use crate::os::unix_now;

use crls::{Crls, ReadCrls};
pub use examine::{faults_at_login, is_signed_by, unusable_key};
pub use expiry::{Expiries, Lifespan};
pub use hosts::HostPattern;
pub use material::MaterialFault;
use material::Source;
pub use refusal::{Alert, Refusal};
use server::{ALPN, NamedHost, ServerCertificate, ServerSide, Shown};
pub use stream::TlsStream;
use trust::{Authority, ClientTrust};
use verifier::{HandshakeVerifier, Outcome};

/// The part of the configuration that is called `tls`, with absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate chain, its own certificate first.
    pub ssl_cert_file: PathBuf,
    /// The private key of the first of them.
    pub ssl_key_file: PathBuf,
    /// Further certificates of the server's, for clients that name one of their hosts.
    pub sni: Vec<SniSettings>,
    /// Who may issue client certificates.
    pub ssl_ca_file: PathBuf,
    /// CRLs; where there are any, every CA of a path needs one.
    pub ssl_crl_file: Option<PathBuf>,
    /// What to do with client certificates without extensions.
    pub x509_v1: X509V1,
    /// Client certificates that are refused whatever the CRLs say.
    pub denylist_file: Option<PathBuf>,
}

/// One item of `tls.sni`: a certificate for some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniSettings {
    /// The hosts, at least one; no other item has any of them.
    pub hosts: Vec<HostPattern>,
    /// The certificate chain.
    pub ssl_cert_file: PathBuf,
    /// The private key of its first certificate.
    pub ssl_key_file: PathBuf,
}

/// What to do with X.509 v1 client certificates, which `openssl x509 -req` of OpenSSL 3.0 makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X509V1 {
    /// Judge them as OpenSSL does.
    Accept,
    /// Refuse them all.
    Refuse,
}

/// How a client came to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Negotiation {
    /// By SSLRequest.
    Requested,
    /// By a ClientHello as its first bytes (PostgreSQL 17, `sslnegotiation=direct`).
    Direct,
}

/// Accepts TLS connections by one set of files. Immutable, and cheap to clone: a reload makes another one.
#[derive(Clone)]
pub struct Acceptor(Arc<Inner>);

struct Inner {
    server: ServerSide,
    /// The server's own certificates; the first is shown to whoever names no host of the others.
    servers: Vec<Shown>,
    trust: Arc<ClientTrust>,
    /// The CRLs of `trust` with what their file held.
    crls: Option<Crls>,
    hints: Arc<[DistinguishedName]>,
    warnings: Vec<Notice>,
    lifespans: Vec<Lifespan>,
}

/// A completed handshake.
pub struct Established<S> {
    /// The connection. A read at its end gives UnexpectedEof if the peer's close_notify is missing.
    pub stream: TlsStream<S>,
    /// Who the client proved to be; `None` if it sent no certificate.
    pub peer: Option<ClientIdentity>,
    /// What was negotiated.
    pub facts: TlsFacts,
}

/// What was negotiated, for audit and log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The cipher suite by its name in RFC 8446, as OpenSSL shows it.
    pub cipher: &'static str,
    /// The key exchange's group by its name in the IANA registry.
    pub group: &'static str,
    /// The host that the client named, a valid DNS name.
    pub sni: Option<String>,
    /// How the client came to TLS.
    pub negotiation: Negotiation,
    /// Whether the ALPN protocol `postgresql` was selected. Direct TLS without it is for the caller to judge.
    pub alpn: bool,
}

impl Negotiation {
    /// The word in audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Direct => "direct",
        }
    }
}

impl Acceptor {
    /// Reads all files, or says everything that is wrong with them. Reads the clock for the warnings, and blocks.
    pub fn load(settings: &TlsSettings) -> Result<Self, Vec<MaterialFault>> {
        Self::read(settings, None)
    }

    /// The same, to take this one's place. CRLs that have not changed are shared with it, not read again; and what is sure to serve
    /// worse than what is there is a fault.
    pub fn successor(&self, settings: &TlsSettings) -> Result<Self, Vec<MaterialFault>> {
        let next = Self::read(settings, Some(self))?;
        let faults = regression::of(&self.0, &next.0, settings, unix_now());
        if faults.is_empty() { Ok(next) } else { Err(faults) }
    }

    fn read(settings: &TlsSettings, before: Option<&Self>) -> Result<Self, Vec<MaterialFault>> {
        let provider = Arc::new(server::provider());
        let authorities = source(&settings.ssl_ca_file, "tls.ssl_ca_file");
        let lists = settings.ssl_crl_file.as_deref().map(|file| source(file, "tls.ssl_crl_file"));

        let mut faults = Vec::new();
        let servers = ServerCertificate::load_all(settings, &provider).map_err(|found| faults.extend(found)).ok();
        let known = before.and_then(|before| before.0.crls.as_ref());
        let crls = lists.map(|lists| ReadCrls::of(lists, known)).transpose().map_err(|found| faults.extend(found)).ok();
        let algorithms = provider.signature_verification_algorithms;
        // A broken CRL file must not hide what is wrong with the CA file, so that one is judged without it.
        let complete = crls.is_some();
        let trust = load_trust(authorities, crls.flatten(), settings.x509_v1, algorithms).map_err(|found| faults.extend(found)).ok();
        let denylist = settings.denylist_file.as_deref().map(|file| source(file, "denylist_file").denylist()).transpose();
        let denylist = denylist.map_err(|found| faults.extend(found)).ok();
        let (Some(servers), Some((trust, crls)), true, Some(denylist)) = (servers, trust, complete, denylist) else { return Err(faults) };
        let trust = trust.denying(denylist.unwrap_or_default());

        let chain = source(&settings.ssl_cert_file, "tls.ssl_cert_file");
        let Some((first, further)) = servers.split_first() else { return Err(vec![chain.fault("it was not read")]) };
        let side =
            ServerSide::new(first, further, provider).map_err(|error| vec![chain.fault(format!("TLS 1.3 cannot be served: {error}"))])?;
        let servers: Vec<Shown> = servers.into_iter().map(|server| server.shown).collect();
        let now = unix_now();
        Ok(Self(Arc::new(Inner {
            server: side,
            crls,
            hints: trust.hints().into(),
            warnings: warnings::of(&servers, &trust, now),
            lifespans: expiry::of(&servers, &trust, now),
            servers,
            trust: Arc::new(trust),
        })))
    }

    /// Does the handshake with the client at the other end of `stream`. Where it fails, `stream` comes back with the alert
    /// written: the caller half-closes and drains it, so that the alert is not lost to a reset. No time limit of its own; not
    /// cancel-safe, a dropped handshake drops `stream`.
    pub async fn accept<S>(&self, stream: S, negotiation: Negotiation) -> Result<Established<S>, (TlsFailure, S)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let outcome = Outcome::default();
        let verifier = HandshakeVerifier::new(Arc::clone(&self.0.trust), Arc::clone(&self.0.hints), outcome.clone());
        let host = NamedHost::default();
        let config = Arc::new(self.0.server.config(verifier, host.clone()));
        match TlsStream::accept(stream, config).await {
            Ok(stream) => established(stream, outcome.take(), host.get(), negotiation),
            Err((error, stream)) => {
                let cause = match outcome.take() {
                    Some(Err(cause)) => cause,
                    Some(Ok(_)) | None => failure::of_handshake(&error),
                };
                Err((cause, stream))
            }
        }
    }

    /// Judges a certificate as a handshake at `now`, in seconds since 1970, would; `sent` are the DER certificates that the
    /// client would send beside it.
    ///
    /// # Errors
    /// Why it would be refused, and by which alert.
    pub fn verify(&self, leaf: &[u8], sent: &[Vec<u8>], now: i64) -> Result<ClientIdentity, Refusal> {
        let sent: Vec<_> = sent.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        self.0.trust.verify(leaf, &sent, now).map(ClientIdentity::from)
    }

    /// Whether what a live session's login was based on still holds by these files at `now`: `Untrusted` if its trust anchor
    /// is gone, `Revoked` if a CRL lists a certificate of its path. A CRL that is missing or stale says nothing here, and
    /// dates are not looked at.
    pub fn still_holds(&self, identity: &ClientIdentity, now: i64) -> Result<(), TlsFailure> {
        self.0.trust.still_holds(identity.links(), now)?;
        self.0.trust.denied(&identity.traits()).map_or(Ok(()), |why| Err(TlsFailure::Denylisted(why)))
    }

    /// What the operator should know about the files, a sentence each, as of the time they were loaded.
    pub fn warnings(&self) -> &[Notice] {
        &self.0.warnings
    }

    /// The certificates that the server shows: the hosts, and when it ceases to be valid. The first has no hosts: whoever names none of
    /// the others' sees it.
    pub fn servers(&self) -> impl Iterator<Item = (&[HostPattern], i64)> {
        self.0.servers.iter().map(|shown| (&*shown.hosts, shown.leaf.not_after()))
    }

    /// From when to when each certificate and CRL of the files is valid.
    pub fn lifespans(&self) -> &[Lifespan] {
        &self.0.lifespans
    }

    /// When the files cease to be valid.
    pub fn expiries(&self) -> Expiries {
        Expiries::of(self.lifespans())
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("expiries", &self.expiries()).finish_non_exhaustive()
    }
}

/// The DER of the certificates in a PEM file, in its order, for `explain`. `setting` is what names the file in a fault.
pub fn read_certificates(file: &Path, setting: &str) -> Result<Vec<Vec<u8>>, Vec<MaterialFault>> {
    let read = source(file, setting).certificates()?;
    Ok(read.into_iter().map(|read| read.der.as_ref().to_vec()).collect())
}

fn source<'a>(file: &'a Path, setting: &'a str) -> Source<'a> {
    Source { file, setting }
}

fn load_trust(
    source: Source<'_>,
    crls: Option<ReadCrls>,
    x509_v1: X509V1,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
) -> Result<(ClientTrust, Option<Crls>), Vec<MaterialFault>> {
    let read = source.certificates()?;
    let crls = crls.map(|crls| crls.verified_by(&read, algorithms));
    let authorities = read.into_iter().map(|read| Authority { certificate: read.certificate, der: read.der }).collect();
    let lists = crls.as_ref().map(|crls| Arc::clone(&crls.lists));
    let trust = ClientTrust::new(authorities, lists, x509_v1, algorithms)
        .map_err(|found| found.into_iter().map(|what| source.fault(what)).collect::<Vec<_>>())?;
    if trust.anchors().next().is_none() {
        let what = "it has no self-signed certificate, and only those end a path; add the root CA, as OpenSSL needs it too";
        return Err(vec![source.fault(what)]);
    }
    Ok((trust, crls))
}

/// Makes an `Established` of a finished handshake. A certificate that rustls took and nobody here verified, or the other
/// way round, cannot be; if it were, there would be no session.
fn established<S>(
    stream: TlsStream<S>,
    outcome: Option<Result<crate::identity::VerifiedChain, TlsFailure>>,
    sni: Option<String>,
    negotiation: Negotiation,
) -> Result<Established<S>, (TlsFailure, S)> {
    let peer = match (stream.negotiated().peer_certificates(), outcome) {
        (None, None) => None,
        (Some(_), Some(Ok(chain))) => Some(ClientIdentity::from(chain)),
        (None, Some(_)) | (Some(_), None | Some(Err(_))) => {
            let cause = TlsFailure::Other("the handshake and the verification of its certificate disagree".to_owned());
            return Err((cause, stream.into_transport()));
        }
    };
    let facts = TlsFacts::of(stream.negotiated(), sni, negotiation);
    Ok(Established { stream, peer, facts })
}

impl TlsFacts {
    fn of(connection: &CommonState, sni: Option<String>, negotiation: Negotiation) -> Self {
        Self {
            cipher: connection.negotiated_cipher_suite().map_or("unknown", |suite| cipher_name(suite.suite())),
            group: connection.negotiated_key_exchange_group().map_or("unknown", |group| group_name(group.name())),
            sni,
            negotiation,
            alpn: connection.alpn_protocol() == Some(ALPN),
        }
    }
}

// Both enums are non-exhaustive, and server.rs offers nothing else than these.
#[allow(clippy::wildcard_enum_match_arm)]
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        _ => "unknown",
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // as above
fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests;
