//! The demo's certificates: those of the last run if they are still good, else new ones.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::error::DemoError;
use crate::cli::conninfo::{first_certificate, host_of};
use crate::identity::Certificate;
use crate::os::{effective_uid, open_folder, unix_now};
use crate::pki::{ClientName, Folder, Founding, HostName, Order, Purpose, init, issue_client, issue_server, show};
use crate::tls;

/// All that the logins need.
pub(super) struct Certificates {
    /// Those of the servers and clients of the story.
    pub(super) folder: Folder,
    /// Those of a CA that nobody here trusts; it has an alice, too.
    pub(super) strangers: Folder,
    found: bool,
}

impl Certificates {
    /// Finds or makes them in `dir`, and the strangers' in `own`.
    pub(super) fn prepare(dir: &Path, own: &Path) -> Result<Self, DemoError> {
        let (folder, strangers) = (Folder::new(dir), Folder::new(own.join("strangers")));
        let now = unix_now();
        init(&strangers, &Founding { days: Some(1), ..Founding::default() }, now)?;
        issue_client(&strangers, &name("alice")?, &[], Order::default(), now)?;
        let found = is_good(&folder, now);
        if !found {
            make_room(&folder)?;
            make(&folder, now)?;
        }
        Ok(Self { folder, strangers, found })
    }

    /// Whether they are the last run's.
    pub(super) fn state(&self) -> &'static str {
        if self.found { "two CAs, a server, three clients, as the last run left them" } else { "made two CAs, a server, three clients" }
    }
}

fn make(folder: &Folder, now: i64) -> Result<(), DemoError> {
    let hosts = HOSTS.map(HostName::parse).into_iter().collect::<Result<Vec<_>, _>>();
    let hosts = hosts.map_err(|error| DemoError::Text(error.to_string()))?;
    init(folder, &Founding::default(), now)?;
    issue_server(folder, &hosts, Order::default(), now)?;
    for client in CLIENTS {
        issue_client(folder, &name(client)?, &[], Order::default(), now)?;
    }
    hand_over(folder.path()).map_err(|error| DemoError::io("give the folder of copies to its user", error))
}

/// Whether every certificate is there, ours, and good for another day.
fn is_good(folder: &Folder, now: i64) -> bool {
    let leaf_is_good = |purpose, certificate: PathBuf, key: PathBuf| {
        let (authority, leaf) = (first_certificate(&folder.authority_certificate(purpose)), first_certificate(&certificate));
        let (Some(authority), Some(leaf)) = (authority, leaf) else { return false };
        let lasts = |certificate: &Certificate| certificate.not_before() <= now && certificate.not_after() > now.saturating_add(DAY);
        let trusted = tls::is_signed_by(&leaf, &authority) == Some(true);
        trusted && lasts(&authority) && lasts(&leaf) && is_key_of(&key, &leaf)
    };
    let clients = CLIENTS.iter().all(|client| {
        let Ok(client) = ClientName::parse(client) else { return false };
        leaf_is_good(Purpose::Client, folder.client_certificate(&client), folder.client_key(&client))
    });
    let server = folder.server_certificate();
    let named = first_certificate(&server).and_then(|server| host_of(&server)).is_some_and(|host| HOSTS.contains(&host.as_str()));
    clients && named && leaf_is_good(Purpose::Server, server, folder.server_key())
}

/// Whether a file is the key of a certificate, and one that Postern and psql would take from us.
fn is_key_of(key: &Path, certificate: &Certificate) -> bool {
    let safe = fs::metadata(key).is_ok_and(|found| {
        let owner = found.uid();
        (owner == 0 || owner == effective_uid()) && found.permissions().mode() & 0o077 == 0
    });
    let holds = |block: &show::Block| match block {
        show::Block::Key { public_key, .. } => public_key.as_deref() == Some(certificate.public_key()),
        show::Block::Certificate(_) | show::Block::Crl(_) | show::Block::Request(_) | show::Block::Other(_) => false,
    };
    safe && show::read(key).is_ok_and(|blocks| blocks.iter().any(holds))
}

/// Leaves a folder with the two files that say what it is, and without the certificates of an earlier run. It removes only what
/// it has made, and nothing from a folder that does not say it is the demo's.
fn make_room(folder: &Folder) -> Result<(), DemoError> {
    let dir = folder.path();
    let failed = |what: &str, path: &Path| {
        let what = format!("{what} {}", path.display());
        move |error| DemoError::io(what, error)
    };
    fs::create_dir_all(dir).map_err(failed("make", dir))?;
    folder.check_owner()?;
    let ours = fs::read_to_string(dir.join("README.md")).is_ok_and(|text| text.contains(MARK));
    let made = made(dir);
    if !ours && made.iter().any(|path| fs::symlink_metadata(path).is_ok()) {
        return Err(DemoError::Foreign(dir.to_owned()));
    }
    for path in made.iter().filter(|path| fs::symlink_metadata(path).is_ok()) {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.map_err(failed("remove", path))?;
    }
    // A checkout under umask 002 lets the group in, which no folder of CAs should.
    close_to_others(dir).map_err(failed("change the mode of", dir))?;
    for (file, text) in [("README.md", README), (".gitignore", GITIGNORE)] {
        let path = dir.join(file);
        write_new(&path, text).map_err(failed("write", &path))?;
    }
    Ok(())
}

/// Takes group and others the right to write, by the open folder: the one whose mode was read is the one that is changed.
fn close_to_others(dir: &Path) -> io::Result<()> {
    let open = File::open(dir)?;
    let mode = open.metadata()?.permissions().mode();
    if mode & 0o022 == 0 { Ok(()) } else { open.set_permissions(Permissions::from_mode(mode & 0o755)) }
}

/// Writes a file unless there is one.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o644).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Every path that a run makes.
fn made(dir: &Path) -> Vec<PathBuf> {
    let stems = ["server-ca", "client-ca", "server"].iter().chain(&CLIENTS);
    let files = stems.flat_map(|stem| [format!("{stem}.crt"), format!("{stem}.key")]);
    files.chain(["server-ca.crl", "client-ca.crl", "index.jsonl", "issued"].map(str::to_owned)).map(|file| dir.join(file)).collect()
}

/// After a run as root in another's folder: he can remove every file in it, and so he must be able to empty that one. He could
/// put a link in its place as well: what is given to him is the folder that was opened, and no link is followed to it.
fn hand_over(dir: &Path) -> io::Result<()> {
    let owner = fs::metadata(dir)?;
    if effective_uid() != 0 || owner.uid() == 0 {
        return Ok(());
    }
    fchown(open_folder(&dir.join("issued"))?, Some(owner.uid()), Some(owner.gid()))
}

fn name(client: &str) -> Result<ClientName, DemoError> {
    ClientName::parse(client).map_err(|error| DemoError::Text(error.to_string()))
}

/// Who comes in.
const CLIENTS: [&str; 3] = ["alice", "bob", "charlie"];
/// What they connect to.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: i64 = 86_400;
/// What the README says and no other does.
const MARK: &str = "made by `postern demo`";
const README: &str = "# Certificates for trying things out\n\n\
    Two CAs and their certificates, made by `postern demo`: for this machine and for looking at, never for production. Keys and\n\
    certificates are not kept in git; a run uses those of the last one while they are good, and makes new ones else.\n";
const GITIGNORE: &str = "*\n!.gitignore\n!README.md\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn certificates_are_used_again_while_they_are_good() {
        let (dir, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = dir.path().join("certs-dev");
        assert!(!Certificates::prepare(&dir, own.path()).unwrap().found);
        let before = fs::read(dir.join("alice.crt")).unwrap();
        let again = tempfile::tempdir().unwrap();
        assert!(Certificates::prepare(&dir, again.path()).unwrap().found);
        assert_eq!(fs::read(dir.join("alice.crt")).unwrap(), before);
        assert!(!is_good(&Folder::new(&dir), unix_now() + 90 * DAY));
    }

    #[test]
    fn what_an_interrupted_run_left_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        Certificates::prepare(dir.path(), tempfile::tempdir().unwrap().path()).unwrap();
        fs::remove_file(dir.path().join("bob.key")).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o775)).unwrap();
        assert!(!Certificates::prepare(dir.path(), tempfile::tempdir().unwrap().path()).unwrap().found);
        assert!(is_good(&Folder::new(dir.path()), unix_now()));
        assert_eq!(mode(dir.path()), 0o755);
        assert_eq!(fs::read_to_string(dir.path().join(".gitignore")).unwrap(), GITIGNORE);
    }

    #[test]
    fn a_folder_with_somebodys_cas_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        init(&folder, &Founding::default(), unix_now()).unwrap();
        let before = fs::read(folder.authority_key(Purpose::Client)).unwrap();
        let refused = Certificates::prepare(dir.path(), tempfile::tempdir().unwrap().path());
        assert!(matches!(refused, Err(DemoError::Foreign(_))));
        assert_eq!(fs::read(folder.authority_key(Purpose::Client)).unwrap(), before);
    }

    #[test]
    fn a_link_in_the_place_of_the_copies_is_not_given_away() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("issued")).unwrap();
        let root = effective_uid() == 0;
        if root {
            fchown(File::open(dir.path()).unwrap(), Some(1000), Some(1000)).unwrap();
        }
        // Nobody but root could give anything away, and nobody else tries.
        assert_eq!(hand_over(dir.path()).is_err(), root);
        assert_eq!(fs::metadata(elsewhere.path()).unwrap().uid(), effective_uid());
    }

    #[test]
    fn the_committed_readme_and_gitignore_are_the_ones_that_are_written() {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs-dev");
        assert_eq!(fs::read_to_string(committed.join("README.md")).unwrap(), README);
        assert_eq!(fs::read_to_string(committed.join(".gitignore")).unwrap(), GITIGNORE);
    }
}
