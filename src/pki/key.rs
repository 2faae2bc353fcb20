//! The kinds of key that certificates are made with.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};

use super::PkiError;
use crate::crypto::ed25519_key;

/// A kind of private key. All of them are taken by OpenSSL 1.1.1 and with it by libpq, by Java 15 (Ed25519; the others long before),
/// by Go 1.13, and by Postern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// ECDSA on P-256: small, fast, and taken everywhere.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519. Java takes it from 15 on.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits: a login costs both sides several times what P-256 does.
    Rsa4096,
}

impl KeyKind {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("p256", Self::P256),
        ("p384", Self::P384),
        ("ed25519", Self::Ed25519),
        ("rsa2048", Self::Rsa2048),
        ("rsa3072", Self::Rsa3072),
        ("rsa4096", Self::Rsa4096),
    ];

    /// The kind of that name.
    ///
    /// # Errors
    /// There is none; says which there are.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        by_name(&Self::ALL, name)
    }

    /// Makes a key of this kind.
    pub(super) fn generate(self) -> Result<KeyPair, PkiError> {
        let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
        let key = match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => KeyPair::try_from(ed25519_key()?.as_slice()),
            Self::Rsa2048 => rsa(RsaKeySize::_2048),
            Self::Rsa3072 => rsa(RsaKeySize::_3072),
            Self::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        Ok(key?)
    }
}

/// A name that is not among those that there are. Holds these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName(Vec<&'static str>);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected one of {}", self.0.join(", "))
    }
}

impl std::error::Error for UnknownName {}

/// What `all` has under `name`.
pub(super) fn by_name<T: Copy>(all: &[(&'static str, T)], name: &str) -> Result<T, UnknownName> {
    let found = all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| UnknownName(all.iter().map(|(known, _)| *known).collect()))
}
