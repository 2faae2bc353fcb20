//! What kind of key a certificate holds: only as much as is needed to say beforehand that nobody here can use it.

use x509_parser::public_key::RSAPublicKey;

use super::der::{Malformed, only, tag, whole, whole_octets};

/// A SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
#[derive(Clone, Copy, Debug)]
pub struct PublicKey<'a> {
    algorithm: &'a [u8],
    octets: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Reads the SubjectPublicKeyInfo that `der` is.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = only(der, tag::SEQUENCE, "there is no public key")?.inside();
        let algorithm = fields.expect(tag::SEQUENCE, "the public key has no algorithm")?.content;
        let octets = whole_octets(&fields.expect(tag::BIT_STRING, "the public key is not a BIT STRING")?)?;
        fields.end()?;
        Ok(Self { algorithm, octets })
    }

    /// The contents of the AlgorithmIdentifier, without its tag and length.
    pub fn algorithm(&self) -> &'a [u8] {
        self.algorithm
    }

    /// The size of an RSA key in bits, as OpenSSL counts it; `None` for any other key.
    pub fn rsa_bits(&self) -> Option<u32> {
        if !self.algorithm.starts_with(RSA_ENCRYPTION) {
            return None;
        }
        let key: RSAPublicKey<'_> = whole(self.octets, "").ok()?;
        // Its key_size() counts octets.
        let modulus = key.modulus.strip_prefix(&[0]).unwrap_or(key.modulus);
        let unused = modulus.first().map_or(0, |first| first.leading_zeros());
        let bits = u32::try_from(modulus.len()).ok().and_then(|octets| octets.checked_mul(8)).unwrap_or(u32::MAX);
        Some(bits.saturating_sub(unused))
    }
}

/// The encoded OBJECT IDENTIFIER rsaEncryption, 1.2.840.113549.1.1.1.
const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
