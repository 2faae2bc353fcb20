//! What the two CAs are made for: a server's certificate and its clients'.

use std::path::PathBuf;

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};

use super::authority::{Authority, Validity, common_name};
use super::files::{NewFile, check_free, write_all};
use super::folder::{Folder, Purpose, SERVER, Seat};
use super::index::{Entry, Index, Kind};
use super::{ClientName, HostName, KeyKind, OtherName, PkiError};

/// How long a server's certificate lives, unless said otherwise: a year and a month, so that it is renewed once a year, and the
/// 398 days that some clients allow at most are kept.
pub const SERVER_DAYS: u32 = 397;
/// How long a client's certificate lives, unless said otherwise. What a laptop loses is worth nothing after a quarter.
pub const CLIENT_DAYS: u32 = 90;

/// How a certificate is to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    /// How long it lives. Where it is not said, it ends with its CA if that ends earlier than usual.
    pub days: Option<u32>,
    /// The kind of its key.
    pub key: KeyKind,
    /// Whether to issue it although there is one that can be used: it gets a key and files of its own, and both are good.
    pub renew: bool,
    /// Whether to write the key as PKCS #8 in DER too, for pgjdbc.
    pub pk8: bool,
}

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The private key's file.
    pub key: PathBuf,
    /// The private key in DER, where that was asked for.
    pub pk8: Option<PathBuf>,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// Whether it ends earlier than usual, with its CA.
    pub ends_with_authority: bool,
    /// Those that were issued before under the same name and can still be used.
    pub earlier: Vec<Entry>,
}

/// Issues the server's certificate, for `hosts`.
///
/// # Errors
/// There is no server CA in the folder, or there is a server certificate and `order` is not to renew.
pub fn issue_server(folder: &Folder, hosts: &[HostName], order: Order, now: i64) -> Result<Issued, PkiError> {
    // X.509 allows 64 characters in a CN. Whoever checks a name looks at the subjectAltName.
    let shown = hosts.iter().map(ToString::to_string).find(|host| host.len() <= 64);
    if hosts.is_empty() {
        return Err(PkiError::NoHost);
    }
    let subject = Subject {
        kind: Kind::Server,
        cn: shown.as_deref().unwrap_or("postern"),
        names: hosts.iter().map(host_name).collect::<Result<_, _>>()?,
        stem: SERVER,
    };
    subject.issue(folder, order, now)
}

/// Issues the certificate of a client that logs in as the role `name`, with `others` as its subject alternative names.
///
/// # Errors
/// There is no client CA in the folder, or the role has a certificate and `order` is not to renew.
pub fn issue_client(folder: &Folder, name: &ClientName, others: &[OtherName], order: Order, now: i64) -> Result<Issued, PkiError> {
    let names = others.iter().map(other_name).collect::<Result<_, _>>()?;
    Subject { kind: Kind::Client, cn: name.as_str(), names, stem: &name.file_stem() }.issue(folder, order, now)
}

/// Whom a certificate is for.
struct Subject<'a> {
    kind: Kind,
    cn: &'a str,
    names: Vec<SanType>,
    /// What its files are called.
    stem: &'a str,
}

impl Subject<'_> {
    fn issue(self, folder: &Folder, order: Order, now: i64) -> Result<Issued, PkiError> {
        let key = order.key.generate()?;
        let _lock = folder.lock()?;
        let mut index = Index::load(folder)?;
        let earlier: Vec<_> = index.entries().iter().filter(|entry| self.is_for(entry) && entry.is_live(now)).cloned().collect();
        if let Some(live) = earlier.last().filter(|_| !order.renew) {
            return Err(PkiError::Live { entry: Box::new(live.clone()), folder: folder.path().to_owned() });
        }
        let (purpose, usage, days) = match self.kind {
            Kind::Client => (Purpose::Client, ExtendedKeyUsagePurpose::ClientAuth, CLIENT_DAYS),
            Kind::Server | Kind::Ca => (Purpose::Server, ExtendedKeyUsagePurpose::ServerAuth, SERVER_DAYS),
        };
        let authority = Authority::load(folder, Seat::issuing(purpose), now)?;
        let usual = Validity::days(now, order.days.unwrap_or(days));
        let validity = Validity { not_after: usual.not_after.min(authority.not_after()), ..usual };
        if order.days.is_some() && validity != usual {
            return Err(PkiError::Outlives(authority.not_after()));
        }
        let (pem, leaf) = authority.sign(self.params(validity, usage)?, &key)?;
        let place = folder.free_place(self.stem);
        let mut files = vec![
            NewFile::secret(place.key.clone(), key.serialize_pem()),
            NewFile::public(folder.issued(&leaf.serial_hex()), pem.clone()),
            NewFile::public(place.certificate.clone(), pem),
        ];
        if order.pk8 {
            files.push(NewFile::secret(place.pk8.clone(), key.serialize_der()));
        }
        folder.make_issued()?;
        check_free(&files)?;
        let file = place.certificate.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        index.issued(&Entry::of(&leaf, self.kind, authority.seat, file), now)?;
        index.save()?;
        write_all(&files)?;
        Ok(Issued {
            certificate: place.certificate,
            key: place.key,
            pk8: order.pk8.then_some(place.pk8),
            not_after: leaf.not_after(),
            ends_with_authority: validity != usual,
            earlier,
        })
    }

    /// Whether `entry` is a certificate for the same: the role, or the server that the folder is for.
    fn is_for(&self, entry: &Entry) -> bool {
        entry.kind == self.kind && (self.kind == Kind::Server || entry.cn == self.cn)
    }

    fn params(&self, validity: Validity, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, PkiError> {
        let mut params = validity.params()?;
        params.distinguished_name = common_name(self.cn);
        params.subject_alt_names = self.names.clone();
        params.extended_key_usages = vec![usage];
        Ok(params)
    }
}

fn host_name(host: &HostName) -> Result<SanType, PkiError> {
    Ok(match host {
        HostName::Dns(name) => SanType::DnsName(Ia5String::try_from(&**name)?),
        HostName::Address(address) => SanType::IpAddress(*address),
    })
}

fn other_name(name: &OtherName) -> Result<SanType, PkiError> {
    Ok(match name {
        OtherName::Uri(uri) => SanType::URI(Ia5String::try_from(&**uri)?),
        OtherName::Dns(name) => SanType::DnsName(Ia5String::try_from(&**name)?),
        OtherName::Email(address) => SanType::Rfc822Name(Ia5String::try_from(&**address)?),
    })
}

#[cfg(test)]
mod tests;
