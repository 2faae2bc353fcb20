//! rustls' question "is this client certificate good?", answered by `ClientTrust`, once per connection.
//!
//! rustls can only be told an alert; the precise cause, and the chain that was verified, travel to `accept` in a slot that
//! belongs to this one connection. So the certificate is read once, and no other connection can leave an identity here.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme};

use crate::error::TlsFailure;
use crate::identity::VerifiedChain;

use super::trust::ClientTrust;

/// What the verification of one connection's certificate came to; empty if the client sent none.
#[derive(Clone, Default)]
pub(super) struct Outcome(Arc<Mutex<Option<Result<VerifiedChain, TlsFailure>>>>);

/// The verifier of one connection.
pub(super) struct HandshakeVerifier {
    trust: Arc<ClientTrust>,
    hints: Arc<[DistinguishedName]>,
    outcome: Outcome,
}

impl Outcome {
    /// Takes the outcome out. Nothing is left behind.
    pub(super) fn take(&self) -> Option<Result<VerifiedChain, TlsFailure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Leaves an outcome. A second one would mean that rustls asked about a second certificate; it becomes a failure.
    fn put(&self, outcome: Result<VerifiedChain, TlsFailure>) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(match &*slot {
            None => outcome,
            Some(_) => Err(TlsFailure::Other("a second certificate in one handshake".to_owned())),
        });
    }

    /// The DER of the verified leaf's SubjectPublicKeyInfo.
    fn leaf_key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(chain)) => Some(SubjectPublicKeyInfoDer::from(chain.leaf().public_key().to_vec())),
            _ => None,
        }
    }
}

impl HandshakeVerifier {
    /// A verifier that asks `trust`, shows clients the names in `hints`, and leaves what came of it in `outcome`.
    pub(super) fn new(trust: Arc<ClientTrust>, hints: Arc<[DistinguishedName]>, outcome: Outcome) -> Self {
        Self { trust, hints, outcome }
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        self.trust.algorithms()
    }
}

impl ClientCertVerifier for HandshakeVerifier {
    /// A client without a certificate completes the handshake, and is refused after its StartupMessage, as by PostgreSQL.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match self.trust.verify(end_entity, intermediates, now) {
            Ok(chain) => {
                self.outcome.put(Ok(chain));
                Ok(ClientCertVerified::assertion())
            }
            Err(refusal) => {
                self.outcome.put(Err(refusal.cause.clone()));
                Err(refusal.into())
            }
        }
    }

    /// Never asked: TLS 1.2 is not served.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    /// That the client holds the key of the certificate that was verified: v1 and v3 alike, by the bare key.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = self.outcome.leaf_key().ok_or_else(|| Error::General("no verified certificate".to_owned()))?;
        verify_tls13_signature_with_raw_key(message, &key, dss, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

impl fmt::Debug for HandshakeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeVerifier").finish_non_exhaustive()
    }
}
