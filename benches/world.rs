//! What the benches of whole connections stand on: certificates, the daemon's settings for them, and a client's.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench uses a part of it, and ends where its setup fails"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use postern::config::{Settings, load};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
    SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// A folder with the daemon's files, which is its backend's directory too, and alice's certificate.
pub struct World {
    pub folder: TempDir,
    pub settings: Settings,
    authority: CertifiedIssuer<'static, KeyPair>,
    alice: (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>),
}

impl World {
    /// All keys are of this kind.
    pub fn new(kind: &'static SignatureAlgorithm) -> Self {
        let key = || KeyPair::generate_for(kind).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, key()).unwrap();
        let issue = |name: &str| {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = key();
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let (server, server_key) = issue("localhost");
        let (alice, alice_key) = issue("alice");

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("server.crt"), server.pem()).unwrap();
        fs::write(path("server.key"), server_key.serialize_pem()).unwrap();
        fs::set_permissions(path("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path("client-ca.crt"), authority.pem()).unwrap();
        fs::write(path("alice.crt"), alice.pem()).unwrap();
        fs::write(path("alice.key"), alice_key.serialize_pem()).unwrap();
        fs::set_permissions(path("alice.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let yaml = format!(
            "listen: 127.0.0.1:5432\ntls: {{ ssl_cert_file: server.crt, ssl_key_file: server.key, ssl_ca_file: client-ca.crt }}\n\
             backend: {{ host: {} }}\naudit: {{ file: audit.jsonl }}\nlog: {{ level: error }}\n",
            folder.path().display()
        );
        fs::write(path("postern.yaml"), yaml).unwrap();
        let settings = load(&path("postern.yaml")).unwrap_or_else(|faults| panic!("{faults}")).settings;
        let alice = (alice.der().clone(), PrivatePkcs8KeyDer::from(alice_key.serialize_der()));
        Self { settings, alice, authority, folder }
    }

    /// A list that the CA signs, in PEM.
    pub fn revoke(&self, list: CertificateRevocationListParams) -> String {
        list.signed_by(&self.authority).unwrap().pem().unwrap()
    }

    /// Alice's side of TLS; it offers this group alone and resumes nothing.
    pub fn client(&self, group: &'static dyn SupportedKxGroup) -> Arc<ClientConfig> {
        self.client_offering(&[group])
    }

    /// The same with several groups, of which the first is guessed.
    pub fn client_offering(&self, groups: &[&'static dyn SupportedKxGroup]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = groups.to_vec();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let (certificate, key) = &self.alice;
        let key = PrivateKeyDer::Pkcs8(key.clone_key());
        let mut config = builder.with_root_certificates(roots).with_client_auth_cert(vec![certificate.clone()], key).unwrap();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

/// What this thread has used of a processor, in user and system.
pub fn cpu_time() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
}
