//! The server's side of the handshake: its certificate and key, and a configuration that serves TLS 1.3 and nothing older.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};

use crate::identity::Certificate;

use super::material::{MaterialFault, Source};
use super::verifier::HandshakeVerifier;

/// The ALPN protocol of PostgreSQL (src/include/libpq/pqcomm.h, PG_ALPN_PROTOCOL).
pub(super) const ALPN: &[u8] = b"postgresql";

/// The certificate that the server shows, and the key that it proves it with.
pub(super) struct ServerCertificate {
    /// The server's own certificate, the first of its file.
    pub(super) leaf: Certificate,
    resolver: Arc<dyn ResolvesServerCert>,
}

/// What all connections' configurations have in common.
pub(super) struct ServerSide {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    resolver: Arc<dyn ResolvesServerCert>,
}

impl ServerCertificate {
    /// Reads the chain and its key. The key is compared with the certificate by hand: rustls' own comparison reads the
    /// certificate with webpki, which takes no v1.
    pub(super) fn load(chain: Source<'_>, key: Source<'_>, provider: &CryptoProvider) -> Result<Self, Vec<MaterialFault>> {
        let mut faults = Vec::new();
        let certificates = chain.certificates().map_err(|found| faults.extend(found)).ok();
        let signer = signing_key(key, provider).map_err(|fault| faults.push(fault)).ok();
        let (Some(certificates), Some(signer)) = (certificates, signer) else { return Err(faults) };
        let Some(leaf) = certificates.first().map(|first| first.certificate.clone()) else { return Err(faults) };
        if signer.public_key().is_none_or(|public_key| public_key.as_ref() != leaf.public_key()) {
            let of = chain.file.display();
            return Err(vec![
                key.pair_fault(format!("the key does not belong to the first certificate of {of}; give the pair that was made together")),
            ]);
        }
        let ders = certificates.into_iter().map(|certificate| certificate.der).collect();
        let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(ders, signer)));
        Ok(Self { leaf, resolver })
    }
}

impl ServerSide {
    /// A configuration for `certificate`; an error only if the provider lacked what TLS 1.3 needs.
    pub(super) fn new(certificate: &ServerCertificate, provider: Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        Ok(Self { builder, resolver: Arc::clone(&certificate.resolver) })
    }

    /// The configuration of one connection. rustls keeps the verifier where only the builder can put it, so each connection
    /// has a configuration of its own; all that is large in it is shared.
    pub(super) fn config(&self, verifier: HandshakeVerifier) -> ServerConfig {
        let builder = self.builder.clone().with_client_cert_verifier(Arc::new(verifier));
        let mut config = builder.with_cert_resolver(Arc::clone(&self.resolver));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // No resumption of any kind: each login proves its certificate anew, as with PostgreSQL (be_tls_init), and a revoked
        // certificate or an old CA cannot come back by a ticket (CVE-2022-21654, CVE-2025-68121).
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config
    }
}

/// aws-lc with the suites and groups that are served, in the order of preference.
pub(super) fn provider() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite, kx_group};
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

fn signing_key(source: Source<'_>, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, MaterialFault> {
    let key = source.private_key()?;
    provider.key_provider.load_private_key(key).map_err(|error| {
        source.fault(format!(
            "the private key cannot be used: {error}; RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519 was expected"
        ))
    })
}
