//! What the two CAs are made for: a server's certificate and its clients'.

use std::path::PathBuf;

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};

use super::authority::{Authority, Validity, common_name};
use super::folder::{Folder, NewFile, Purpose, write_all};
use super::{ClientName, HostName, PkiError};

/// How long a CA lives, unless said otherwise: ten years. Renewing one means touching every machine.
pub const CA_DAYS: u32 = 3652;
/// How long a server's certificate lives, unless said otherwise: a year and a month, so that it is renewed once a year, and the
/// 398 days that some clients allow at most are kept.
pub const SERVER_DAYS: u32 = 397;
/// How long a client's certificate lives, unless said otherwise. What a laptop loses is worth nothing after a quarter.
pub const CLIENT_DAYS: u32 = 90;

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The private key's file.
    pub key: PathBuf,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// Whether it ends earlier than asked for, with its CA.
    pub ends_with_authority: bool,
}

/// Makes both CAs in a folder that has neither, and the folder if need be. Gives the files that were written.
///
/// # Errors
/// Any of the four files is there, or cannot be written. Nothing was made then, except perhaps the folder.
pub fn init(folder: &Folder, days: u32, now: i64) -> Result<Vec<PathBuf>, PkiError> {
    folder.make()?;
    let validity = Validity::days(now, days);
    let mut files = Vec::from(Authority::create(folder, Purpose::Server, validity)?);
    files.extend(Authority::create(folder, Purpose::Client, validity)?);
    write_all(&files)?;
    Ok(files.into_iter().map(|file| file.path).collect())
}

/// Issues the server's certificate, for `hosts`.
///
/// # Errors
/// There is no server CA in the folder, or there is a server certificate.
pub fn issue_server(folder: &Folder, hosts: &[HostName], days: u32, now: i64) -> Result<Issued, PkiError> {
    let authority = Authority::load(folder, Purpose::Server, now)?;
    let mut leaf = Leaf::new(&authority, days, now)?;
    // X.509 allows 64 characters in a CN. Whoever checks a name looks at the subjectAltName.
    let shown = hosts.iter().map(ToString::to_string).find(|host| host.len() <= 64);
    if hosts.is_empty() {
        return Err(PkiError::NoHost);
    }
    leaf.params.distinguished_name = common_name(shown.as_deref().unwrap_or("postern"));
    leaf.params.subject_alt_names = hosts.iter().map(alternative_name).collect::<Result<_, _>>()?;
    leaf.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.issue(folder, &authority, folder.server_certificate(), folder.server_key())
}

/// Issues the certificate of a client that logs in as the role `name`.
///
/// # Errors
/// There is no client CA in the folder, or there is a certificate of that name.
pub fn issue_client(folder: &Folder, name: &ClientName, days: u32, now: i64) -> Result<Issued, PkiError> {
    let authority = Authority::load(folder, Purpose::Client, now)?;
    let mut leaf = Leaf::new(&authority, days, now)?;
    leaf.params.distinguished_name = common_name(name.as_str());
    leaf.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf.issue(folder, &authority, folder.client_certificate(name), folder.client_key(name))
}

/// A certificate in the making.
struct Leaf {
    params: CertificateParams,
    ends_with_authority: bool,
}

impl Leaf {
    fn new(authority: &Authority, days: u32, now: i64) -> Result<Self, PkiError> {
        let asked = Validity::days(now, days);
        let validity = Validity { not_after: asked.not_after.min(authority.not_after()), ..asked };
        Ok(Self { params: validity.params()?, ends_with_authority: validity != asked })
    }

    fn issue(self, folder: &Folder, authority: &Authority, certificate: PathBuf, key: PathBuf) -> Result<Issued, PkiError> {
        folder.check()?;
        let pair = KeyPair::generate()?;
        let (pem, leaf) = authority.sign(self.params, &pair)?;
        folder.make_issued()?;
        write_all(&[
            NewFile::key(key.clone(), pair.serialize_pem()),
            NewFile::certificate(folder.issued(&leaf.serial_hex()), pem.clone()),
            NewFile::certificate(certificate.clone(), pem),
        ])?;
        Ok(Issued { certificate, key, not_after: leaf.not_after(), ends_with_authority: self.ends_with_authority })
    }
}

fn alternative_name(host: &HostName) -> Result<SanType, PkiError> {
    Ok(match host {
        HostName::Dns(name) => SanType::DnsName(Ia5String::try_from(&**name)?),
        HostName::Address(address) => SanType::IpAddress(*address),
    })
}

#[cfg(test)]
mod tests;
