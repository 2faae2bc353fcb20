//! Which folders a file can come from, now and after it was rotated.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

/// The folders that the file `path` can be found in: its own, and those that the symbolic links on the way to it point into. Kubernetes
/// has `tls.crt -> ..data/tls.crt` and swaps `..data -> ..2026_11_28`, certbot has `live/db/cert.pem -> ../../archive/db/cert7.pem`: what is
/// in the folder of a link's target can be there tomorrow.
///
/// A folder is named as the kernel names it. The root is never among them, since all is in it: a file there, and a
/// directory, a pipe and a device, are named themselves.
pub(super) fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(path) = std::path::absolute(path) else { return found };
    let mut way = path.clone();
    for _ in 0..MOST_LINKS {
        let Some((link, target)) = first_link(&way) else { break };
        // What the kernel calls a link there leads nowhere by its name: /dev/stdout -> /proc/self/fd/1 -> pipe:[1234].
        if target.starts_with("/proc") || link.starts_with("/proc") {
            break;
        }
        let target = link.parent().unwrap_or(Path::new("/")).join(target);
        note_parent(&target, &mut found);
        let rest = way.strip_prefix(&link).unwrap_or(Path::new(""));
        way = plain(&target.join(rest));
    }
    // A socket is made anew like a file; a directory, a device and a pipe are not.
    let renewed = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() || metadata.file_type().is_socket());
    let is_itself = (path.exists() && !renewed) || path.parent() == Some(Path::new("/"));
    if is_itself {
        found.extend(super::real(&path).filter(|path| path.parent().is_some()));
        return found;
    }
    note_parent(&path, &mut found);
    if let Some(real) = super::real(&path) {
        note_parent(&real, &mut found);
    }
    found
}

fn note_parent(path: &Path, found: &mut BTreeSet<PathBuf>) {
    let folder = path.parent().and_then(super::real);
    found.extend(folder.filter(|folder| folder.parent().is_some()));
}

/// The first component of an absolute path that is a symbolic link, and what it says.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut so_far = PathBuf::new();
    path.components().find_map(|component| {
        so_far.push(component);
        fs::read_link(&so_far).ok().map(|target| (so_far.clone(), target))
    })
}

/// Without `.` and `..`. Nothing before a `..` is a link any more: links are followed from the left.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => plain.push(component),
        }
    }
    plain
}

/// What the kernel follows in one path (path_resolution(7)).
const MOST_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn dir() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = super::super::real(dir.path()).unwrap();
        (dir, path)
    }

    fn folders_of(path: &Path) -> Vec<PathBuf> {
        folders(path).into_iter().collect()
    }

    #[test]
    fn a_file_comes_from_its_folder_whether_it_is_there_or_not() {
        let (_guard, dir) = dir();
        assert_eq!(folders_of(&dir.join("server.crt")), std::slice::from_ref(&dir));
        fs::write(dir.join("server.crt"), "").unwrap();
        assert_eq!(folders_of(&dir.join("./server.crt")), std::slice::from_ref(&dir));
        drop(std::os::unix::net::UnixListener::bind(dir.join("admin.sock")).unwrap());
        assert_eq!(folders_of(&dir.join("admin.sock")), [dir], "a socket that was left behind is made anew there");
    }

    #[test]
    fn the_folder_of_a_swapped_link_is_one_even_if_the_link_is_in_the_middle() {
        let (_guard, dir) = dir();
        fs::create_dir(dir.join("..2026_1")).unwrap();
        fs::write(dir.join("..2026_1/tls.crt"), "").unwrap();
        symlink("..2026_1", dir.join("..data")).unwrap();
        symlink("..data/tls.crt", dir.join("tls.crt")).unwrap();
        assert!(folders(&dir.join("tls.crt")).contains(&dir));
        assert!(folders(&dir.join("..data/tls.crt")).contains(&dir), "who names it by the link has it rotated as well");
    }

    #[test]
    fn a_link_out_of_the_folder_names_the_folder_of_its_target() {
        let (_guard, dir) = dir();
        fs::create_dir_all(dir.join("live/db")).unwrap();
        fs::create_dir_all(dir.join("archive/db")).unwrap();
        fs::write(dir.join("archive/db/cert7.pem"), "").unwrap();
        symlink("../../archive/db/cert7.pem", dir.join("live/db/cert.pem")).unwrap();
        let found = folders(&dir.join("live/db/cert.pem"));
        assert_eq!(found, BTreeSet::from([dir.join("live/db"), dir.join("archive/db")]));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let (_guard, dir) = dir();
        symlink("b", dir.join("a")).unwrap();
        symlink("a", dir.join("b")).unwrap();
        assert_eq!(folders_of(&dir.join("a/x")), [dir]);
    }

    #[test]
    fn the_root_is_no_folder_and_a_device_is_named_itself() {
        assert_eq!(folders_of(Path::new("/dev/null")), [PathBuf::from("/dev/null")]);
        assert!(folders(Path::new("/postern.yaml")).is_empty());
        assert!(!folders(Path::new("/var/run/postern/x")).contains(Path::new("/")));
    }
}
