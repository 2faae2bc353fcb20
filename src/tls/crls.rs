//! The CRLs of a file, read once for as long as the file's content stays the same: a list of a million entries is neither read again nor
//! kept twice because something else was reloaded.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;

use crate::crypto::Sha256;
use crate::identity::Crl;

use super::material::{MaterialFault, Read, Source};
use super::revocation::RevocationLists;

/// The CRLs of a file.
pub(super) struct Crls {
    /// The digest of the file.
    content: Sha256,
    pub(super) lists: Arc<RevocationLists>,
}

/// A file of CRLs, before it is known whose signatures they could bear.
pub(super) enum ReadCrls {
    /// What is known already.
    Same(Crls),
    New(Sha256, Vec<Crl>),
}

impl ReadCrls {
    /// Reads the file, unless it is what is `known`.
    pub(super) fn of(source: Source<'_>, known: Option<&Crls>) -> Result<Self, Vec<MaterialFault>> {
        let bytes = source.crl_file()?;
        let content = Sha256::of(&bytes);
        match known.filter(|known| known.content == content) {
            Some(Crls { lists, .. }) => Ok(Self::Same(Crls { content, lists: Arc::clone(lists) })),
            None => source.crls(&bytes).map(|crls| Self::New(content, crls)),
        }
    }

    /// The lists, those of `authorities` verified. That a key signed a list stays true whichever CA file is read beside it; lists of a
    /// CA that is new are verified when first asked.
    pub(super) fn verified_by(self, authorities: &[Read], algorithms: WebPkiSupportedAlgorithms) -> Crls {
        match self {
            Self::Same(crls) => crls,
            Self::New(content, crls) => {
                let certificates: Vec<_> = authorities.iter().map(|read| &read.certificate).collect();
                Crls { content, lists: Arc::new(RevocationLists::new(crls, &certificates, algorithms)) }
            }
        }
    }
}
