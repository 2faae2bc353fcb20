//! Whole handshakes in memory, with rustls as the client or with bytes that no library would send.

mod files;
mod handshakes;
mod hostile;
mod pair;
mod sni;
mod stream;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::identity::testing::*;

/// A server certificate, a client CA, and their files.
struct World {
    folder: TempDir,
    ca: Maker,
    settings: TlsSettings,
}

impl World {
    fn new() -> Self {
        let server = Maker::new("localhost");
        let certificate = Draft::leaf("localhost").with(&[0x55, 0x1d, 17], false, &sequence(&[element(0x82, b"localhost")]));
        Self::with_server(certificate.sign(&server.key, &Maker::new("server-ca")), &server.key)
    }

    fn with_server(certificate: Vec<u8>, key: &KeyPair) -> Self {
        let (folder, ca) = (TempDir::new().expect("a folder"), Maker::new("client-ca"));
        let file = |name: &str| folder.path().join(name);
        let settings = TlsSettings {
            ssl_cert_file: file("server.crt"),
            ssl_key_file: file("server.key"),
            sni: Vec::new(),
            ssl_ca_file: file("ca.crt"),
            ssl_crl_file: None,
            x509_v1: X509V1::Accept,
            denylist_file: None,
        };
        let world = Self { folder, ca, settings };
        world.write("server.crt", &pem("CERTIFICATE", &certificate));
        world.write("server.key", &key.serialize_pem());
        world.write("ca.crt", &pem("CERTIFICATE", &world.ca.root()));
        world
    }

    /// Writes a file that only we may read, as keys must be.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        file
    }

    fn acceptor(&self) -> Acceptor {
        Acceptor::load(&self.settings).expect("files that load")
    }

    /// A client whose certificate the CA made.
    fn client(&self, draft: &Draft) -> Client {
        let key = key();
        Client::with(vec![draft.sign(&key, &self.ca)], &key)
    }
}

/// A client's configuration, to be changed before use.
struct Client(ClientConfig);

impl Client {
    fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(server::provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
    }

    fn without_certificate() -> Self {
        Self(Self::builder().with_no_client_auth()).alpn(&[b"postgresql"])
    }

    /// A client with this chain and this key, whether they fit or not.
    fn with(chain: Vec<Vec<u8>>, key: &KeyPair) -> Self {
        let der = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).expect("a signer");
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, signer));
        Self(Self::builder().with_client_cert_resolver(Arc::new(resolver))).alpn(&[b"postgresql"])
    }

    fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        self
    }

    fn connection(&self) -> ClientConnection {
        let name = ServerName::try_from("db.example").expect("a name");
        ClientConnection::new(Arc::new(self.0.clone()), name).expect("a connection")
    }

    /// Connects over `stream`, reads until the server has had its say, and gives what came or how it failed.
    async fn read_from(self, stream: DuplexStream) -> Result<Vec<u8>, String> {
        let connector = TlsConnector::from(Arc::new(self.0));
        let name = ServerName::try_from("db.example").expect("a name");
        let mut stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.map_err(|error| error.to_string())?;
        Ok(read)
    }
}

/// What a handshake came to at the server, without the stream.
type Served = Result<(Option<ClientIdentity>, TlsFacts), TlsFailure>;

/// One handshake: at the server, and at the client, to which a server that is content says `hello`.
async fn handshake(acceptor: &Acceptor, client: Client) -> (Served, Result<Vec<u8>, String>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serve = async {
        match acceptor.accept(near, Negotiation::Requested).await {
            Ok(Established { mut stream, peer, facts }) => {
                stream.write_all(b"hello").await.expect("a write");
                stream.shutdown().await.expect("a close_notify");
                Ok((peer, facts))
            }
            Err((cause, mut stream)) => {
                stream.shutdown().await.expect("the stream is usable");
                Err(cause)
            }
        }
    };
    within(async { tokio::join!(serve, client.read_from(far)) }).await
}

/// The output of `future`, which must not hang or spin.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("an end")
}

/// Takes every server: what is tested is the server's view of the client.
struct AnyServer;

impl fmt::Debug for AnyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyServer")
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
