//! What rustls and the socket say about a failed handshake, as a `TlsFailure`. Nothing above this floor sees their errors.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::error::TlsFailure;

/// The cause behind the error that a handshake ended with.
pub(super) fn of_handshake(error: &io::Error) -> TlsFailure {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return of_rustls(error);
    }
    // io::ErrorKind is non-exhaustive, and only these mean that the peer has gone.
    #[allow(clippy::wildcard_enum_match_arm)]
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::WriteZero => TlsFailure::ClientClosed,
        _ => TlsFailure::Other(error.to_string()),
    }
}

/// The cause behind an error of rustls as a server. What the verifier refused has its own, better cause; it comes here only
/// when the client's signature in CertificateVerify is at fault.
fn of_rustls(error: &Error) -> TlsFailure {
    // rustls::Error is non-exhaustive; each variant that a server can meet is named.
    #[allow(clippy::wildcard_enum_match_arm)]
    match error {
        Error::InvalidMessage(InvalidMessage::CertificatePayloadTooLarge) => {
            TlsFailure::Invalid("the client's certificates are longer than 64 KiB".to_owned())
        }
        Error::InvalidMessage(message) => TlsFailure::NotTls(format!("{message:?}")),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } | Error::PeerSentOversizedRecord => {
            TlsFailure::NotTls(error.to_string())
        }
        Error::PeerIncompatible(incompatible) => of_incompatible(incompatible),
        Error::NoApplicationProtocol => TlsFailure::ForeignAlpn,
        Error::AlertReceived(alert) => TlsFailure::ClientAlert(alert_name(*alert)),
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            TlsFailure::Invalid("the client did not prove that it holds the certificate's private key".to_owned())
        }
        Error::InvalidCertificate(error) => TlsFailure::Invalid(error.to_string()),
        Error::DecryptError => TlsFailure::Other("a record could not be decrypted".to_owned()),
        other => TlsFailure::Other(other.to_string()),
    }
}

fn of_incompatible(incompatible: &PeerIncompatible) -> TlsFailure {
    // Non-exhaustive as well. What a client without TLS 1.3 runs into, whatever it offers: TLS 1.1 and older know no
    // signature_algorithms either, which rustls looks for first (and answers by the alert handshake_failure).
    #[allow(clippy::wildcard_enum_match_arm)]
    match incompatible {
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => TlsFailure::Version,
        other => TlsFailure::Other(format!("nothing in common with the client: {other:?}")),
    }
}

/// An alert's name as RFC 8446 section 6 writes it: `unknown_ca`.
fn alert_name(alert: AlertDescription) -> String {
    if let AlertDescription::Unknown(number) = alert {
        return format!("number {number}");
    }
    let mut name = String::new();
    let mut before_was_small = false;
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && before_was_small {
            name.push('_');
        }
        before_was_small = !letter.is_ascii_uppercase();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use rustls::ContentType;

    use super::*;

    #[test]
    fn alerts_have_the_names_of_rfc_8446() {
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(alert_name(AlertDescription::BadCertificate), "bad_certificate");
        assert_eq!(alert_name(AlertDescription::NoApplicationProtocol), "no_application_protocol");
        assert_eq!(alert_name(AlertDescription::Unknown(200)), "number 200");
    }

    #[test]
    fn every_kind_of_failure_has_its_cause() {
        let of = |error: Error| of_handshake(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(of(Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired)), TlsFailure::Version);
        assert_eq!(of(Error::NoApplicationProtocol), TlsFailure::ForeignAlpn);
        assert_eq!(of(Error::AlertReceived(AlertDescription::UnknownCA)), TlsFailure::ClientAlert("unknown_ca".to_owned()));
        assert!(matches!(of(Error::InvalidMessage(InvalidMessage::InvalidContentType)), TlsFailure::NotTls(_)));
        let early = Error::InappropriateMessage { expect_types: vec![ContentType::Handshake], got_type: ContentType::ApplicationData };
        assert!(matches!(of(early), TlsFailure::NotTls(_)));
        assert!(matches!(of(Error::InvalidCertificate(CertificateError::BadSignature)), TlsFailure::Invalid(_)));
        assert!(matches!(of(Error::DecryptError), TlsFailure::Other(_)));
        assert_eq!(of_handshake(&io::ErrorKind::UnexpectedEof.into()), TlsFailure::ClientClosed);
        assert_eq!(of_handshake(&io::ErrorKind::ConnectionReset.into()), TlsFailure::ClientClosed);
    }
}
