//! The server's side of the handshake: its certificate and key, and a configuration that serves TLS 1.3 and nothing older.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};

use crate::identity::Certificate;

use super::TlsSettings;
use super::hosts::{HostPattern, above, carried, missing};
use super::material::{MaterialFault, Source};
use super::records::{OUR_RECORD_PLAINTEXT, RECORD_HEADER};
use super::refusal::shortened;
use super::verifier::HandshakeVerifier;

/// The ALPN protocol of PostgreSQL (src/include/libpq/pqcomm.h, PG_ALPN_PROTOCOL).
pub(super) const ALPN: &[u8] = b"postgresql";

/// A certificate that the server shows, and the key that it proves it with.
pub(super) struct ServerCertificate {
    pub(super) shown: Shown,
    key: Arc<CertifiedKey>,
}

/// What is known of a certificate that the server shows.
pub(super) struct Shown {
    /// The setting that names its file.
    pub(super) setting: String,
    /// Its file.
    pub(super) file: PathBuf,
    /// The hosts that it is shown for; none for the one that is shown to everybody else.
    pub(super) hosts: Vec<HostPattern>,
    /// The server's own certificate, the first of its file.
    pub(super) leaf: Certificate,
}

/// Chooses a certificate by the host that a client names: that of the host, else that of a wildcard, else the first.
#[derive(Debug)]
struct ByHost {
    hosts: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By what stands behind a host's first label.
    domains: HashMap<Box<str>, Arc<CertifiedKey>>,
    otherwise: Arc<CertifiedKey>,
}

/// The host that the client of one connection names; empty until its ClientHello has come, and if it names none.
#[derive(Clone, Debug, Default)]
pub(super) struct NamedHost(Arc<OnceLock<String>>);

/// Chooses a certificate as another does, and notes the host: a connection without buffers does not tell it.
#[derive(Debug)]
struct Noting {
    resolver: Arc<dyn ResolvesServerCert>,
    host: NamedHost,
}

/// What all connections' configurations have in common.
pub(super) struct ServerSide {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    resolver: Arc<dyn ResolvesServerCert>,
}

impl ServerCertificate {
    /// Reads `tls.ssl_cert_file`, which comes first, and those of `tls.sni`, or says everything that is wrong with them.
    pub(super) fn load_all(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Vec<Self>, Vec<MaterialFault>> {
        let (mut loaded, mut faults) = (Vec::new(), Vec::new());
        let main = ("tls".to_owned(), &settings.ssl_cert_file, &settings.ssl_key_file, &[][..]);
        let further = settings.sni.iter().enumerate();
        let further = further.map(|(number, sni)| (format!("tls.sni[{number}]"), &sni.ssl_cert_file, &sni.ssl_key_file, &*sni.hosts));
        for (section, chain, key, hosts) in std::iter::once(main).chain(further) {
            let setting = |key: &str| format!("{section}.{key}");
            let chain = Source { file: chain, setting: &setting("ssl_cert_file") };
            let key = Source { file: key, setting: &setting("ssl_key_file") };
            match Self::load(chain, key, provider).and_then(|server| server.for_hosts(hosts, &setting("hosts"))) {
                Ok(server) => loaded.push(server),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(loaded) } else { Err(faults) }
    }

    /// Reads the chain and its key. The key is compared with the certificate by hand: rustls' own comparison reads the
    /// certificate with webpki, which takes no v1.
    fn load(chain: Source<'_>, key: Source<'_>, provider: &CryptoProvider) -> Result<Self, Vec<MaterialFault>> {
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
        let shown = Shown { setting: chain.setting.to_owned(), file: chain.file.to_owned(), hosts: Vec::new(), leaf };
        Ok(Self { shown, key: Arc::new(CertifiedKey::new(ders, signer)) })
    }

    /// The same, to be shown to clients that name one of `hosts`, each of which it must be for; `setting` is where they are written.
    fn for_hosts(mut self, hosts: &[HostPattern], setting: &str) -> Result<Self, Vec<MaterialFault>> {
        let carried = carried(&self.shown.leaf);
        let source = Source { file: &self.shown.file, setting };
        let fault = |host| {
            let names = if carried.is_empty() { "no host".to_owned() } else { shortened(&carried.join(", ")) };
            source
                .fault(format!("its certificate is for {names}, and not for {host}; have it issued for that host too, or remove the host"))
        };
        let faults: Vec<_> = missing(hosts, &carried).into_iter().map(fault).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        self.shown.hosts = hosts.to_vec();
        Ok(self)
    }
}

impl ByHost {
    fn new(first: &ServerCertificate, further: &[ServerCertificate]) -> Self {
        let mut by_host = Self { hosts: HashMap::new(), domains: HashMap::new(), otherwise: Arc::clone(&first.key) };
        for (pattern, server) in further.iter().flat_map(|server| server.shown.hosts.iter().map(move |pattern| (pattern, server))) {
            match (pattern.exact(), pattern.domain()) {
                (Some(host), _) => by_host.hosts.insert(host.into(), Arc::clone(&server.key)),
                (None, Some(domain)) => by_host.domains.insert(domain.into(), Arc::clone(&server.key)),
                (None, None) => None,
            };
        }
        by_host
    }

    fn of(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        let host = host.to_ascii_lowercase();
        self.hosts.get(host.as_str()).or_else(|| self.domains.get(above(&host)?))
    }
}

impl ResolvesServerCert for ByHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|host| self.of(host));
        Some(Arc::clone(named.unwrap_or(&self.otherwise)))
    }
}

impl NamedHost {
    /// The host, a valid DNS name.
    pub(super) fn get(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(host) = hello.server_name() {
            // A second ClientHello names the same host: rustls sees to it.
            self.host.0.get_or_init(|| host.to_owned());
        }
        self.resolver.resolve(hello)
    }
}

impl ServerSide {
    /// A configuration for the certificate `first`, and those that are `further` ones; an error only if the provider lacked what TLS 1.3
    /// needs.
    pub(super) fn new(
        first: &ServerCertificate,
        further: &[ServerCertificate],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        let resolver: Arc<dyn ResolvesServerCert> = match further {
            [] => Arc::new(SingleCertAndKey::from(Arc::clone(&first.key))),
            further => Arc::new(ByHost::new(first, further)),
        };
        Ok(Self { builder, resolver })
    }

    /// The configuration of one connection. rustls keeps the verifier where only the builder can put it, so each connection
    /// has a configuration of its own; all that is large in it is shared. The host that the client names is left in `host`.
    pub(super) fn config(&self, verifier: HandshakeVerifier, host: NamedHost) -> ServerConfig {
        let builder = self.builder.clone().with_client_cert_verifier(Arc::new(verifier));
        let mut config = builder.with_cert_resolver(Arc::new(Noting { resolver: Arc::clone(&self.resolver), host }));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // No resumption of any kind: each login proves its certificate anew, as with PostgreSQL (be_tls_init), and a revoked
        // certificate or an old CA cannot come back by a ticket (CVE-2022-21654, CVE-2025-68121).
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.max_early_data_size = 0;
        // rustls counts the header in.
        config.max_fragment_size = Some(RECORD_HEADER + OUR_RECORD_PLAINTEXT);
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
