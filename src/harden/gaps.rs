//! What the fence cannot keep apart, because of the folders that the configuration chose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::links::folders;
use super::{Named, Resources};
use crate::notice::Notice;
use crate::os;

/// What a fence around `resources` leaves open that folders of their own would close, and how.
pub(super) fn gaps(resources: &Resources) -> Vec<Notice> {
    wide_folders(resources).into_iter().chain(shared_folders(resources)).chain(replaceable_sockets(resources)).collect()
}

/// What is renewed can be anything in its folder tomorrow, so all in it is within reach; and some folders are everybody's.
fn wide_folders(resources: &Resources) -> Vec<Notice> {
    let all = [&resources.read, &resources.appended, &resources.sockets].into_iter().flatten();
    let told = |(folder, settings): (PathBuf, BTreeSet<&str>)| {
        let found = format!(
            "{}: found in {}, or by a link that leads there; expected a folder of its own, since all that lies there stays within reach of a \
             daemon that was taken over",
            keys(settings.into_iter()),
            folder.display()
        );
        Notice::new(found, format!("move it to one, as {}", folder.join("postern").display()))
    };
    by_folder(all).into_iter().filter(|(folder, _)| is_everybodys(folder)).map(told).collect()
}

/// Whether a folder is one that the file system hierarchy has for many, or somebody's home.
fn is_everybodys(folder: &Path) -> bool {
    EVERYBODYS.iter().any(|everybodys| folder == Path::new(everybodys)) || folder.parent() == Some(Path::new("/home"))
}

/// Landlock gives rights to all beneath a folder. Where sockets are made and removed files can be, the trail and what is read among them;
/// where the trail is, files can be made and appended to. A folder is told once, for the most that can be done in it.
fn shared_folders(resources: &Resources) -> Vec<Notice> {
    let by_sockets = by_folder(&resources.sockets);
    let removable = by_sockets.iter().filter_map(|(folder, settings)| {
        let files = below(folder, resources.appended.iter().chain(&resources.read))?;
        Some(shared(folder, settings, &files, "makes and removes sockets there can remove", "the socket", "/run/postern"))
    });
    let by_trail = by_folder(&resources.appended);
    let writable = by_trail.iter().filter(|(folder, _)| !by_sockets.contains_key(*folder)).filter_map(|(folder, settings)| {
        let files = below(folder, &resources.read)?;
        Some(shared(folder, settings, &files, "makes files there and appends to them can change", "the trail", "/var/log/postern"))
    });
    removable.chain(writable).collect()
}

fn shared(folder: &Path, settings: &BTreeSet<&str>, files: &BTreeSet<&str>, who: &str, what: &str, example: &str) -> Notice {
    let found = format!(
        "{}: found in {}, and {} there or below; expected a folder without them, since who {who} them",
        keys(settings.iter().copied()),
        folder.display(),
        keys(files.iter().copied())
    );
    Notice::new(found, format!("give {what} a folder of its own, as {example}"))
}

/// The folders of these, each with the keys that lead there.
fn by_folder<'a>(all: impl IntoIterator<Item = &'a Named<PathBuf>>) -> BTreeMap<PathBuf, BTreeSet<&'a str>> {
    let mut found = BTreeMap::<PathBuf, BTreeSet<&str>>::new();
    for named in all {
        for folder in folders_of(named) {
            found.entry(folder).or_default().insert(&named.setting);
        }
    }
    found
}

/// The keys of those that lie in a folder or below; `None` if there are none.
fn below<'a>(folder: &Path, all: impl IntoIterator<Item = &'a Named<PathBuf>>) -> Option<BTreeSet<&'a str>> {
    let lies_below = |named: &&Named<PathBuf>| folders_of(named).iter().any(|own| own.starts_with(folder));
    let found = all.into_iter().filter(lies_below).map(|named| named.setting.as_str()).collect::<BTreeSet<_>>();
    (!found.is_empty()).then_some(found)
}

/// In a folder that everybody may write to, and that is not sticky, anybody can put a socket of his own in the place of ours.
fn replaceable_sockets(resources: &Resources) -> Vec<Notice> {
    let replaceable =
        |folder: &PathBuf| fs::metadata(folder).is_ok_and(|folder| folder.mode() & (OTHERS_WRITE | os::STICKY) == OTHERS_WRITE);
    let told = |socket: &Named<PathBuf>| {
        let folder = folders_of(socket).into_iter().find(replaceable)?;
        let found = format!(
            "{}: found in {}, which everybody can write to; expected its owner alone, or a sticky folder, since who can write there can put \
             a socket of his own in its place",
            socket.setting,
            folder.display()
        );
        Some(Notice::new(found, "chmod o-w it, or choose another"))
    };
    resources.sockets.iter().filter_map(told).collect()
}

fn folders_of(named: &Named<PathBuf>) -> BTreeSet<PathBuf> {
    folders(&named.value)
}

fn keys<'a>(settings: impl Iterator<Item = &'a str>) -> String {
    settings.collect::<Vec<_>>().join(", ")
}

/// S_IWOTH (inode(7)).
const OTHERS_WRITE: u32 = 0o002;

/// The Filesystem Hierarchy Standard's, and where distributions keep the keys of all services. Names that are links to another of them, as
/// /var/run and, on most, /bin, come as that one.
const EVERYBODYS: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/dev/shm",
    "/etc",
    "/etc/pki",
    "/etc/pki/tls",
    "/etc/pki/tls/private",
    "/etc/ssl",
    "/etc/ssl/private",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/run/lock",
    "/run/user",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/lib",
    "/usr/local/share",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/lock",
    "/var/log",
    "/var/opt",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn shown(resources: &Resources) -> Vec<String> {
        gaps(resources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_that_many_share_is_told_once_with_every_key_that_opens_it() {
        let file = |setting: &str, path: &str| Named::new(setting, PathBuf::from(path));
        let resources = Resources {
            read: vec![file("tls.ssl_key_file", "/etc/no-such-postern.key"), file("tls.ssl_ca_file", "/etc/no-such-postern.crt")],
            appended: vec![file("audit.file", "/var/log/no-such-postern.jsonl")],
            sockets: vec![file("admin.socket", "/run/no-such-postern.sock")],
            ..Resources::default()
        };
        let told = shown(&resources);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("tls.ssl_ca_file, tls.ssl_key_file: found in /etc, "), "{told:?}");
        assert!(told[0].ends_with("; move it to one, as /etc/postern"), "{told:?}");
        assert!(told[1].starts_with("admin.socket: found in /run, ") && told[2].starts_with("audit.file: found in /var/log, "), "{told:?}");
    }

    #[test]
    fn folders_of_their_own_a_device_and_a_file_below_the_root_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let read = [dir.path().join("server.key"), "/dev/null".into(), "/no-such-postern.yaml".into()];
        let resources = Resources { read: read.into_iter().map(|path| Named::new("-c", path)).collect(), ..Resources::default() };
        assert_eq!(shown(&resources), [""; 0]);
        assert!(is_everybodys(Path::new("/home/alice")) && !is_everybodys(Path::new("/home/alice/postern")));
    }

    #[test]
    fn a_link_that_leads_into_a_shared_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/no-such-postern.key", dir.path().join("server.key")).unwrap();
        let read = vec![Named::new("tls.ssl_key_file", dir.path().join("server.key"))];
        let told = shown(&Resources { read, ..Resources::default() });
        assert!(told.len() == 1 && told[0].starts_with("tls.ssl_key_file: found in /etc, "), "{told:?}");
    }

    #[test]
    fn a_socket_that_everybody_can_replace_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let resources = Resources { sockets: vec![Named::new("admin.socket", dir.path().join("admin.sock"))], ..Resources::default() };
        for (mode, told) in [(0o755, 0), (0o775, 0), (0o777, 1), (0o1777, 0), (0o2777, 1)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(shown(&resources).len(), told, "{mode:o}");
        }
    }

    #[test]
    fn what_is_read_in_the_folder_of_the_trail_or_the_socket_is_told_once_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir_all(dir.join("log")).unwrap();
        fs::create_dir_all(dir.join("run")).unwrap();
        let with = |trail: &str, socket: &str, rules: &str| {
            shown(&Resources {
                read: vec![Named::new("hba_file", dir.join(rules)), Named::new("tls.ssl_key_file", dir.join(rules))],
                appended: vec![Named::new("audit.file", dir.join(trail))],
                sockets: vec![Named::new("admin.socket", dir.join(socket))],
                ..Resources::default()
            })
        };
        let all = with("audit.jsonl", "admin.sock", "pg_hba.conf");
        assert_eq!(all.len(), 1, "all in one folder: {all:?}");
        assert!(all[0].contains(", and audit.file, hba_file, tls.ssl_key_file there or below; "), "{all:?}");
        let trail = with("log/audit.jsonl", "run/admin.sock", "log/pg_hba.conf");
        assert_eq!(trail.len(), 1, "{trail:?}");
        assert!(
            trail[0].starts_with("audit.file: ") && trail[0].contains(", and hba_file, tls.ssl_key_file there or below; "),
            "{trail:?}"
        );
        assert!(trail[0].ends_with("; give the trail a folder of its own, as /var/log/postern"), "{trail:?}");
        let socket = with("log/audit.jsonl", "run/admin.sock", "run/pg_hba.conf");
        assert!(socket.len() == 1 && socket[0].starts_with("admin.socket: "), "{socket:?}");
        assert_eq!(with("log/audit.jsonl", "run/admin.sock", "pg_hba.conf"), [""; 0], "above it is none of theirs");
    }

    #[test]
    fn a_socket_in_the_trails_folder_or_above_it_is_told_and_one_below_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir_all(dir.join("log/run")).unwrap();
        let with_socket = |socket: &str| Resources {
            appended: vec![Named::new("audit.file", dir.join("log/audit.jsonl"))],
            sockets: vec![Named::new("admin.socket", dir.join(socket))],
            ..Resources::default()
        };
        for (socket, folder) in [("log/admin.sock", dir.join("log")), ("admin.sock", dir.clone())] {
            let told = shown(&with_socket(socket));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].starts_with(&format!("admin.socket: found in {}, and audit.file there or below; ", folder.display())),
                "{told:?}"
            );
            assert!(told[0].ends_with("; give the socket a folder of its own, as /run/postern"), "{told:?}");
        }
        assert_eq!(shown(&with_socket("log/run/admin.sock")), [""; 0]);
    }
}
