//! Client certificates by profile, the authorities that issue them, and the files a server needs to judge them.
//!
//! One CA file holds every trust anchor, so that most profiles can be tried against one running server. Keys are made
//! by rcgen (aws-lc), certificates by [`super::der`]; only what aws-lc refuses to make comes from the `openssl` command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{KeyPair, PublicKeyData, SigningKey as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::der::*;
use super::watchdog::Watched;

/// The client certificates. Unless its name says otherwise, one is valid, for `alice`, and issued by the main root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Good,
    Rsa,
    P384,
    Ed25519,
    ByRsaRoot,
    ByP384Root,
    /// Smaller than aws-lc takes; OpenSSL's security level 2 refuses it as well.
    Rsa1024,

    V1,
    V1Rsa,
    V1ByRsaRoot,
    V1Expired,
    V1OtherCaSameName,
    V1Revoked,
    V1ByIntermediate,
    V1TwoCns,

    OtherCaSameName,
    SelfSigned,
    Expired,
    NotYetValid,
    Revoked,

    NoCn,
    EmptyCn,
    TwoCns,
    CnAndOtherAttributes,
    Utf8Cn,
    InvalidUtf8Cn,
    Cn63,
    Cn64,
    Cn80,
    NulInCn,
    NulInOrganization,
    EscInCn,
    NewlineInCn,
    NewlineInOrganization,
    UpperCaseCn,
    TrailingSpaceCn,
    QuotedCn,
    BmpCn,
    T61Cn,
    PrintableCn,
    Ia5Cn,
    BobByDnsName,

    EkuServerOnly,
    EkuServerAndClient,
    NoEku,
    NoDigitalSignature,
    KeyAgreementOnly,
    NoKeyUsage,
    CaAsClient,
    LeafAsIssuer,

    ViaIntermediate,
    /// The intermediate is not sent, but stands in the CA file.
    ViaIntermediateInFile,
    /// The intermediate is sent, although it also stands in the CA file.
    ViaIntermediateInFileSent,
    /// The intermediate is neither sent nor in the CA file.
    ViaIntermediateMissing,
    /// The intermediate stands in the CA file, its root does not.
    ViaOrphanIntermediate,
    PathLengthExceeded,
    ViaV1Intermediate,
    ViaRevokedIntermediate,
    ViaRevokedIntermediateInFile,
    ViaIntermediateWithoutCrl,
    ViaExpiredIntermediate,

    ByExpiredRoot,
    ByFutureRoot,
    ByV1Root,
    V1ByV1Root,
    ByRootWithoutCrlSign,
    ByRootWithoutCertSign,
    ByRootWithStaleCrl,
    ByRootWithoutCrl,
    ByRootWithV1Crl,
    RevokedByV1Crl,
}

/// A certificate chain, leaf first, and the leaf's key.
#[derive(Clone)]
pub struct Credentials {
    pub chain: Vec<Vec<u8>>,
    key: Arc<Key>,
}

/// Where a client finds its certificate and key.
#[derive(Clone)]
pub struct CredentialFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Every authority of the tests, trusted or not.
pub struct Pki {
    _watched: Watched,
    root: Authority,
    rsa_root: Authority,
    p384_root: Authority,
    impostor: Authority,
    expired_root: Authority,
    future_root: Authority,
    v1_root: Authority,
    no_crl_sign: Authority,
    no_cert_sign: Authority,
    stale_crl: Authority,
    no_crl: Authority,
    v1_crl: Authority,
    intermediate: Authority,
    intermediate_in_file: Authority,
    orphan: Authority,
    narrow: Authority,
    too_deep: Authority,
    v1_intermediate: Authority,
    revoked: Authority,
    revoked_in_file: Authority,
    intermediate_without_crl: Authority,
    expired_intermediate: Authority,
}

impl Pki {
    pub fn new() -> Self {
        let root = AuthoritySpec::named("client-ca").issue(None);
        let orphan_root = AuthoritySpec::named("orphan-root").issue(None);
        let below = |spec: AuthoritySpec| spec.issue(Some(&root));
        let narrow = below(AuthoritySpec { path_length: Some(0), ..AuthoritySpec::named("narrow") });
        Self {
            _watched: Watched::new(),
            rsa_root: AuthoritySpec { kind: KeyKind::Rsa, ..AuthoritySpec::named("rsa-root") }.issue(None),
            p384_root: AuthoritySpec { kind: KeyKind::P384, ..AuthoritySpec::named("p384-root") }.issue(None),
            impostor: AuthoritySpec::named("client-ca").issue(None),
            expired_root: AuthoritySpec { days: (-30, -1), ..AuthoritySpec::named("expired-root") }.issue(None),
            future_root: AuthoritySpec { days: (1, 30), ..AuthoritySpec::named("future-root") }.issue(None),
            v1_root: AuthoritySpec { version: 1, ..AuthoritySpec::named("v1-root") }.issue(None),
            no_crl_sign: AuthoritySpec { key_usage: KEY_CERT_SIGN, ..AuthoritySpec::named("no-crl-sign") }.issue(None),
            no_cert_sign: AuthoritySpec { key_usage: CRL_SIGN, ..AuthoritySpec::named("no-cert-sign") }.issue(None),
            stale_crl: AuthoritySpec::named("stale-crl").issue(None),
            no_crl: AuthoritySpec::named("no-crl").issue(None),
            v1_crl: AuthoritySpec::named("v1-crl").issue(None),
            intermediate: below(AuthoritySpec::named("intermediate")),
            intermediate_in_file: below(AuthoritySpec::named("intermediate-in-file")),
            orphan: AuthoritySpec::named("orphan").issue(Some(&orphan_root)),
            too_deep: AuthoritySpec::named("too-deep").issue(Some(&narrow)),
            v1_intermediate: below(AuthoritySpec { version: 1, ..AuthoritySpec::named("v1-intermediate") }),
            revoked: below(AuthoritySpec { serial: Some(REVOKED_INTERMEDIATE), ..AuthoritySpec::named("revoked") }),
            revoked_in_file: below(AuthoritySpec { serial: Some(REVOKED_INTERMEDIATE_IN_FILE), ..AuthoritySpec::named("revoked-in-file") }),
            intermediate_without_crl: below(AuthoritySpec::named("intermediate-without-crl")),
            expired_intermediate: below(AuthoritySpec { days: (-30, -1), ..AuthoritySpec::named("expired-between") }),
            narrow,
            root,
        }
    }

    /// A server certificate for localhost and 127.0.0.1, signed by itself: clients of these tests do not check it.
    pub fn server(&self) -> Credentials {
        Self::server_in_force((-1, 30), None)
    }

    /// One that is a month old, and valid for this many seconds more.
    pub fn server_for(&self, seconds: i64) -> Credentials {
        Self::server_in_force((-30, 0), Some(seconds))
    }

    pub fn expired_server(&self) -> Credentials {
        Self::server_in_force((-30, -1), None)
    }

    /// The same, for these hosts.
    pub fn server_of(&self, hosts: &'static [&'static str]) -> Credentials {
        Self::server_for_hosts(hosts, (-1, 30), None)
    }

    fn server_in_force(days: (i64, i64), seconds: Option<i64>) -> Credentials {
        Self::server_for_hosts(&["localhost"], days, seconds)
    }

    fn server_for_hosts(hosts: &'static [&'static str], days: (i64, i64), seconds: Option<i64>) -> Credentials {
        let key = Key::generate(KeyKind::P256);
        let subject = name(&[common_name(hosts[0])]);
        let spec = CertificateSpec {
            version: 3,
            serial: next_serial(),
            issuer: &subject,
            subject: &subject,
            days,
            seconds,
            public_key: &key.public_key(),
            extensions: &[Extension::DnsNames(hosts), Extension::ExtendedKeyUsage(&[SERVER_AUTH])],
        };
        Credentials { chain: vec![certificate(&spec, &key)], key: Arc::new(key) }
    }

    /// What a server trusts: every root but the impostor and the orphan's, and the intermediates that belong in the file.
    pub fn client_ca_pem(&self) -> String {
        [
            &self.root,
            &self.rsa_root,
            &self.p384_root,
            &self.expired_root,
            &self.future_root,
            &self.v1_root,
            &self.no_crl_sign,
            &self.no_cert_sign,
            &self.stale_crl,
            &self.no_crl,
            &self.v1_crl,
            &self.intermediate_in_file,
            &self.orphan,
            &self.revoked_in_file,
        ]
        .map(|authority| pem("CERTIFICATE", &authority.certificate))
        .concat()
    }

    /// One CRL for each authority that has one; [`Profile::ByRootWithStaleCrl`]'s is out of date.
    pub fn crl_pem(&self) -> String {
        self.crl_pem_with(&[])
    }

    /// The same, with these serial numbers of the main CA's as well.
    pub fn crl_pem_with(&self, serials: &[u64]) -> String {
        let main = [&[REVOKED_LEAF, REVOKED_V1_LEAF, REVOKED_INTERMEDIATE, REVOKED_INTERMEDIATE_IN_FILE], serials].concat();
        [
            self.root.revoke(2, (-1, 30), &main),
            self.rsa_root.revoke(2, (-1, 30), &[]),
            self.p384_root.revoke(2, (-1, 30), &[]),
            self.v1_root.revoke(2, (-1, 30), &[]),
            self.no_crl_sign.revoke(2, (-1, 30), &[]),
            self.intermediate.revoke(2, (-1, 30), &[]),
            self.intermediate_in_file.revoke(2, (-1, 30), &[]),
            self.revoked.revoke(2, (-1, 30), &[]),
            self.revoked_in_file.revoke(2, (-1, 30), &[]),
            self.stale_crl.revoke(2, (-30, -1), &[]),
            self.v1_crl.revoke(1, (-1, 30), &[REVOKED_BY_V1_CRL]),
        ]
        .map(|list| pem("X509 CRL", &list))
        .concat()
    }

    /// A certificate that ends no path.
    pub fn intermediate_pem(&self) -> String {
        pem("CERTIFICATE", &self.intermediate.certificate)
    }

    /// A CRL of a CA that nobody trusts.
    pub fn crl_of_another_ca_pem(&self) -> String {
        pem("X509 CRL", &self.orphan.revoke(2, (-1, 30), &[]))
    }

    /// A CRL in the name of the main CA that another key has signed.
    pub fn forged_crl_pem(&self) -> String {
        pem("X509 CRL", &self.impostor.revoke(2, (-1, 30), &[]))
    }

    /// The main CA's CRL with this extension.
    pub fn extended_crl_pem(&self, further: &[u8]) -> String {
        let Authority { subject, key, key_identifier, .. } = &self.root;
        let spec = CrlSpec { version: 2, issuer: subject, days: (-1, 30), serials: &[], authority_key: key_identifier, further };
        pem("X509 CRL", &revocation_list(&spec, &**key))
    }

    /// The main CA's CRL, which should have been followed by another.
    pub fn expired_crl_pem(&self) -> String {
        pem("X509 CRL", &self.root.revoke(2, (-30, -1), &[]))
    }

    /// A month old, and valid for this many seconds more.
    pub fn named_for(&self, common: &str, seconds: i64) -> Credentials {
        Leaf { days: (-30, 0), seconds: Some(seconds), ..Leaf::named(common_name(common)) }.issue(&self.root)
    }

    /// A certificate of a serial number that [`Pki::crl_pem_with`] can list.
    pub fn named_with_serial(&self, common: &str, serial: u64) -> Credentials {
        Leaf { serial: Some(serial), ..Leaf::named(common_name(common)) }.issue(&self.root)
    }

    /// The main CA's certificate alone.
    pub fn main_ca_pem(&self) -> String {
        pem("CERTIFICATE", &self.root.certificate)
    }

    /// A good certificate with another name.
    pub fn named(&self, common: &str) -> Credentials {
        Leaf::named(common_name(common)).issue(&self.root)
    }

    pub fn client(&self, profile: Profile) -> Credentials {
        use Profile as P;
        let alice = || Leaf::named(common_name("alice"));
        let subject = |attributes: Vec<Attribute>| Leaf { subject: attributes, ..alice() }.issue(&self.root);
        let cn = |text: &[u8]| subject(vec![common_name(text)]);
        let extended = |extensions: Vec<Extension>| Leaf { extensions, ..alice() }.issue(&self.root);
        let v1 = || Leaf { version: 1, extensions: vec![], ..alice() };
        let key = |kind: KeyKind| Leaf { kind, ..alice() };
        match profile {
            P::Good => alice().issue(&self.root),
            P::Rsa => key(KeyKind::Rsa).issue(&self.root),
            P::P384 => key(KeyKind::P384).issue(&self.root),
            P::Ed25519 => key(KeyKind::Ed25519).issue(&self.root),
            P::Rsa1024 => key(KeyKind::Rsa1024).issue(&self.root),
            P::ByRsaRoot => alice().issue(&self.rsa_root),
            P::ByP384Root => alice().issue(&self.p384_root),

            P::V1 => v1().issue(&self.root),
            P::V1Rsa => Leaf { kind: KeyKind::Rsa, ..v1() }.issue(&self.root),
            P::V1ByRsaRoot => Leaf { kind: KeyKind::Rsa, ..v1() }.issue(&self.rsa_root),
            P::V1Expired => Leaf { days: (-30, -1), ..v1() }.issue(&self.root),
            P::V1OtherCaSameName => v1().issue(&self.impostor),
            P::V1Revoked => Leaf { serial: Some(REVOKED_V1_LEAF), ..v1() }.issue(&self.root),
            P::V1ByIntermediate => v1().issue(&self.intermediate).with(&[&self.intermediate]),
            P::V1TwoCns => Leaf { subject: vec![common_name("alice"), common_name("bob")], ..v1() }.issue(&self.root),

            P::OtherCaSameName => alice().issue(&self.impostor),
            P::SelfSigned => AuthoritySpec::named("alice").issue(None).as_client(),
            P::Expired => Leaf { days: (-30, -1), ..alice() }.issue(&self.root),
            P::NotYetValid => Leaf { days: (1, 30), ..alice() }.issue(&self.root),
            P::Revoked => Leaf { serial: Some(REVOKED_LEAF), ..alice() }.issue(&self.root),

            P::NoCn => subject(vec![Attribute(ORGANIZATION, UTF8_STRING, b"Example".to_vec())]),
            P::EmptyCn => cn(b""),
            P::TwoCns => subject(vec![common_name("alice"), common_name("bob")]),
            P::CnAndOtherAttributes => subject(vec![
                Attribute(ORGANIZATION, UTF8_STRING, b"Example".to_vec()),
                Attribute(ORGANIZATIONAL_UNIT, UTF8_STRING, b"bob".to_vec()),
                common_name("alice"),
            ]),
            P::Utf8Cn => cn("ålice".as_bytes()),
            P::InvalidUtf8Cn => cn(b"al\xffice"),
            P::Cn63 => cn(&[b'a'; 63]),
            P::Cn64 => cn(&[b'a'; 64]),
            P::Cn80 => cn(&[b'a'; 80]),
            P::NulInCn => cn(b"alice\0.example"),
            P::NulInOrganization => subject(vec![Attribute(ORGANIZATION, UTF8_STRING, b"Exa\0mple".to_vec()), common_name("alice")]),
            P::EscInCn => cn(b"al\x1b[31mice"),
            P::NewlineInCn => cn(b"alice\nbob"),
            P::NewlineInOrganization => {
                subject(vec![Attribute(ORGANIZATION, UTF8_STRING, b"Exa\n\x1bmple".to_vec()), common_name("alice")])
            }
            P::UpperCaseCn => cn(b"ALICE"),
            P::TrailingSpaceCn => cn(b"alice "),
            P::QuotedCn => cn(b"o'alice \"x\", CN=bob"),
            P::BmpCn => subject(vec![Attribute(COMMON_NAME, BMP_STRING, "alice".bytes().flat_map(|b| [0, b]).collect())]),
            P::T61Cn => subject(vec![Attribute(COMMON_NAME, T61_STRING, b"alice".to_vec())]),
            P::PrintableCn => subject(vec![Attribute(COMMON_NAME, 0x13, b"alice".to_vec())]),
            P::Ia5Cn => subject(vec![Attribute(COMMON_NAME, 0x16, b"alice".to_vec())]),
            P::BobByDnsName => extended(vec![Extension::DnsNames(&["bob"])]),

            P::EkuServerOnly => extended(vec![Extension::ExtendedKeyUsage(&[SERVER_AUTH])]),
            P::EkuServerAndClient => extended(vec![Extension::ExtendedKeyUsage(&[SERVER_AUTH, CLIENT_AUTH])]),
            P::NoEku => extended(vec![Extension::EndEntity, Extension::KeyUsage(DIGITAL_SIGNATURE)]),
            P::NoDigitalSignature => extended(vec![Extension::KeyUsage(KEY_ENCIPHERMENT)]),
            P::KeyAgreementOnly => extended(vec![Extension::KeyUsage(KEY_AGREEMENT)]),
            P::NoKeyUsage => extended(vec![Extension::EndEntity, Extension::ExtendedKeyUsage(&[CLIENT_AUTH])]),
            P::CaAsClient => AuthoritySpec { key_usage: KEY_CERT_SIGN | CRL_SIGN | DIGITAL_SIGNATURE, ..AuthoritySpec::named("alice") }
                .issue(Some(&self.root))
                .as_client(),
            P::LeafAsIssuer => {
                let issuer = self.named("alice");
                let leaf = Leaf::named(common_name("bob")).issue(&Authority {
                    subject: name(&[common_name("alice")]),
                    certificate: issuer.chain[0].clone(),
                    key: issuer.key.clone(),
                    key_identifier: vec![],
                });
                Credentials { chain: [leaf.chain, issuer.chain].concat(), key: leaf.key }
            }

            P::ViaIntermediate => alice().issue(&self.intermediate).with(&[&self.intermediate]),
            P::ViaIntermediateInFile => alice().issue(&self.intermediate_in_file),
            P::ViaIntermediateInFileSent => alice().issue(&self.intermediate_in_file).with(&[&self.intermediate_in_file]),
            P::ViaIntermediateMissing => alice().issue(&self.intermediate),
            P::ViaOrphanIntermediate => alice().issue(&self.orphan).with(&[&self.orphan]),
            P::PathLengthExceeded => alice().issue(&self.too_deep).with(&[&self.too_deep, &self.narrow]),
            P::ViaV1Intermediate => alice().issue(&self.v1_intermediate).with(&[&self.v1_intermediate]),
            P::ViaRevokedIntermediate => alice().issue(&self.revoked).with(&[&self.revoked]),
            P::ViaRevokedIntermediateInFile => alice().issue(&self.revoked_in_file),
            P::ViaIntermediateWithoutCrl => alice().issue(&self.intermediate_without_crl).with(&[&self.intermediate_without_crl]),
            P::ViaExpiredIntermediate => alice().issue(&self.expired_intermediate).with(&[&self.expired_intermediate]),

            P::ByExpiredRoot => alice().issue(&self.expired_root),
            P::ByFutureRoot => alice().issue(&self.future_root),
            P::ByV1Root => alice().issue(&self.v1_root),
            P::V1ByV1Root => v1().issue(&self.v1_root),
            P::ByRootWithoutCrlSign => alice().issue(&self.no_crl_sign),
            P::ByRootWithoutCertSign => alice().issue(&self.no_cert_sign),
            P::ByRootWithStaleCrl => alice().issue(&self.stale_crl),
            P::ByRootWithoutCrl => alice().issue(&self.no_crl),
            P::ByRootWithV1Crl => alice().issue(&self.v1_crl),
            P::RevokedByV1Crl => Leaf { serial: Some(REVOKED_BY_V1_CRL), ..alice() }.issue(&self.v1_crl),
        }
    }
}

impl Credentials {
    /// The chain as a client sends it, without looking at what is in it.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        let chain = self.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        Arc::new(CertifiedKey::new(chain, self.key.tls()))
    }

    pub fn certificate_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// Both files, the key readable by its owner only, as libpq and every server here demand.
    pub fn write(&self, dir: &Path, stem: &str) -> CredentialFiles {
        let files = CredentialFiles { certificate: dir.join(format!("{stem}.crt")), key: dir.join(format!("{stem}.key")) };
        fs::write(&files.certificate, self.certificate_pem()).unwrap();
        fs::write(&files.key, self.key.pem()).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files
    }

    fn with(mut self, intermediates: &[&Authority]) -> Self {
        self.chain.extend(intermediates.iter().map(|authority| authority.certificate.clone()));
        self
    }
}

/// The recipe that most people followed, word for word: its leaves are X.509 v1 where OpenSSL is older than 3.2.
/// The folder then holds `server-ca`, `server`, `client-ca` and `client`, each with `.crt` and `.key`.
pub fn run_the_usual_recipe(dir: &Path) {
    const RECIPE: &str = r#"
        openssl req -sha256 -new -x509 -days 365 -nodes -subj "/CN=server-ca" -out server-ca.crt -keyout server-ca.key
        openssl req -sha256 -new -nodes -subj "/CN=localhost" -out server.csr -keyout server.key
        openssl x509 -req -sha256 -days 365 -in server.csr -CA server-ca.crt -CAkey server-ca.key -CAcreateserial -out server.crt
        openssl req -sha256 -new -x509 -days 365 -nodes -subj "/CN=client-ca" -out client-ca.crt -keyout client-ca.key
        openssl req -sha256 -new -nodes -subj "/CN=alice" -out client.csr -keyout client.key
        openssl x509 -req -sha256 -days 365 -in client.csr -CA client-ca.crt -CAkey client-ca.key -CAcreateserial -out client.crt
    "#;
    let run = Command::new("sh").arg("-ec").arg(RECIPE).current_dir(dir).output().unwrap();
    assert!(run.status.success(), "the recipe failed: {}", String::from_utf8_lossy(&run.stderr));
}

struct Authority {
    subject: Vec<u8>,
    certificate: Vec<u8>,
    key: Arc<Key>,
    key_identifier: Vec<u8>,
}

impl Authority {
    fn revoke(&self, version: u8, days: (i64, i64), serials: &[u64]) -> Vec<u8> {
        let spec = CrlSpec { version, issuer: &self.subject, days, serials, authority_key: &self.key_identifier, further: &[] };
        revocation_list(&spec, &*self.key)
    }

    fn as_client(&self) -> Credentials {
        Credentials { chain: vec![self.certificate.clone()], key: self.key.clone() }
    }
}

struct AuthoritySpec {
    common_name: &'static str,
    version: u8,
    days: (i64, i64),
    serial: Option<u64>,
    path_length: Option<u64>,
    key_usage: u8,
    kind: KeyKind,
}

impl AuthoritySpec {
    fn named(common_name: &'static str) -> Self {
        Self {
            common_name,
            version: 3,
            days: (-1, 30),
            serial: None,
            path_length: None,
            key_usage: KEY_CERT_SIGN | CRL_SIGN,
            kind: KeyKind::P256,
        }
    }

    /// Signed by `issuer`, or by itself.
    fn issue(self, issuer: Option<&Authority>) -> Authority {
        let key = Key::generate(self.kind);
        let subject = name(&[common_name(self.common_name)]);
        let public_key = key.public_key();
        let key_identifier = public_key[public_key.len() - 20..].to_vec();
        let extensions = [
            Extension::Authority { path_length: self.path_length },
            Extension::KeyUsage(self.key_usage),
            Extension::SubjectKeyIdentifier(key_identifier.clone()),
        ];
        let spec = CertificateSpec {
            version: self.version,
            serial: self.serial.unwrap_or_else(next_serial),
            issuer: issuer.map_or(&subject, |issuer| &issuer.subject),
            subject: &subject,
            days: self.days,
            seconds: None,
            public_key: &public_key,
            extensions: if self.version == 1 { &[] } else { &extensions },
        };
        let certificate = certificate(&spec, issuer.map_or(&key, |issuer| &*issuer.key));
        Authority { subject, certificate, key: Arc::new(key), key_identifier }
    }
}

struct Leaf {
    subject: Vec<Attribute>,
    version: u8,
    days: (i64, i64),
    seconds: Option<i64>,
    serial: Option<u64>,
    extensions: Vec<Extension>,
    kind: KeyKind,
}

impl Leaf {
    fn named(common: Attribute) -> Self {
        Self {
            subject: vec![common],
            version: 3,
            days: (-1, 30),
            seconds: None,
            serial: None,
            extensions: vec![Extension::EndEntity, Extension::KeyUsage(DIGITAL_SIGNATURE), Extension::ExtendedKeyUsage(&[CLIENT_AUTH])],
            kind: KeyKind::P256,
        }
    }

    fn issue(self, issuer: &Authority) -> Credentials {
        let key = Key::generate(self.kind);
        let spec = CertificateSpec {
            version: self.version,
            serial: self.serial.unwrap_or_else(next_serial),
            issuer: &issuer.subject,
            subject: &name(&self.subject),
            days: self.days,
            seconds: self.seconds,
            public_key: &key.public_key(),
            extensions: &self.extensions,
        };
        Credentials { chain: vec![certificate(&spec, &*issuer.key)], key: Arc::new(key) }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum KeyKind {
    P256,
    P384,
    Rsa,
    Rsa1024,
    Ed25519,
}

enum Key {
    AwsLc(KeyPair),
    /// A key that aws-lc refuses, kept as PEM for the `openssl` command.
    OpenSsl {
        pem: String,
        public_key: Vec<u8>,
    },
}

impl Key {
    fn generate(kind: KeyKind) -> Self {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Rsa => &rcgen::PKCS_RSA_SHA256,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::Rsa1024 => return Self::openssl_rsa("1024"),
        };
        Self::AwsLc(KeyPair::generate_for(algorithm).unwrap())
    }

    fn openssl_rsa(bits: &str) -> Self {
        let key = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")], &[]);
        let public_key = openssl(&["pkey", "-pubout", "-outform", "DER"], &key);
        Self::OpenSsl { pem: String::from_utf8(key).unwrap(), public_key }
    }

    fn public_key(&self) -> Vec<u8> {
        match self {
            Self::AwsLc(pair) => pair.subject_public_key_info(),
            Self::OpenSsl { public_key, .. } => public_key.clone(),
        }
    }

    fn pem(&self) -> String {
        match self {
            Self::AwsLc(pair) => pair.serialize_pem(),
            Self::OpenSsl { pem, .. } => pem.clone(),
        }
    }

    fn tls(&self) -> Arc<dyn SigningKey> {
        match self {
            Self::AwsLc(pair) => {
                let der = PrivateKeyDer::Pkcs8(pair.serialize_der().into());
                rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap()
            }
            Self::OpenSsl { pem, .. } => Arc::new(OpenSslSigner(pem.clone())),
        }
    }
}

impl Signs for Key {
    fn algorithm(&self) -> Vec<u8> {
        let Self::AwsLc(pair) = self else { panic!("keys of the openssl command sign no certificates here") };
        let null: &[u8] = &[0x05, 0x00];
        let (algorithm, parameters): (_, &[u8]) = match pair.algorithm() {
            rsa if *rsa == rcgen::PKCS_RSA_SHA256 => ("1.2.840.113549.1.1.11", null),
            p256 if *p256 == rcgen::PKCS_ECDSA_P256_SHA256 => ("1.2.840.10045.4.3.2", &[]),
            p384 if *p384 == rcgen::PKCS_ECDSA_P384_SHA384 => ("1.2.840.10045.4.3.3", &[]),
            _ => ("1.3.101.112", &[]),
        };
        sequence(&[&oid(algorithm), parameters])
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let Self::AwsLc(pair) = self else { panic!("keys of the openssl command sign no certificates here") };
        pair.sign(message).unwrap()
    }
}

/// Signs a handshake as RSA-PSS with SHA-256 by way of the `openssl` command.
#[derive(Clone, Debug)]
struct OpenSslSigner(String);

impl SigningKey for OpenSslSigner {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for OpenSslSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key.pem");
        fs::write(&key, &self.0).unwrap();
        let key = key.to_str().unwrap();
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
        Ok(openssl(&[&["dgst", "-sha256", "-sign", key], &pss[..]].concat(), message))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let run = super::clients::run_with_input(Command::new("openssl").args(arguments), input);
    assert!(run.status.success(), "openssl {arguments:?} failed: {}", String::from_utf8_lossy(&run.stderr));
    run.stdout
}

fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0x1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const REVOKED_LEAF: u64 = 0x0bad_0001;
const REVOKED_V1_LEAF: u64 = 0x0bad_0002;
const REVOKED_INTERMEDIATE: u64 = 0x0bad_0003;
const REVOKED_INTERMEDIATE_IN_FILE: u64 = 0x0bad_0004;
const REVOKED_BY_V1_CRL: u64 = 0x0bad_0005;
