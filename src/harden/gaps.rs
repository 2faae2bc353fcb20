//! What the fence cannot keep apart, because of the folders that the configuration chose.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::links::folders;
use super::{Named, Resources};
use crate::notice::Notice;

/// What a fence around `resources` leaves open that folders of their own would close, and how.
pub(super) fn gaps(resources: &Resources) -> Vec<Notice> {
    removable_trail(resources).into_iter().collect()
}

/// Landlock gives rights to all beneath a folder. Where sockets are made and removed files can be, so a trail there can be taken away.
fn removable_trail(resources: &Resources) -> Option<Notice> {
    let trail = resources.appended.iter().flat_map(folders_of).collect::<BTreeSet<_>>();
    resources.sockets.iter().find_map(|socket| {
        let shared = folders_of(socket).into_iter().find(|folder| trail.iter().any(|trail| trail.starts_with(folder)))?;
        let files = keys(resources.appended.iter().map(|file| file.setting.as_str()));
        let found = format!(
            "{}: found in {}, and {files} there or below; expected a folder without it, since who makes and removes sockets there can \
             remove the trail",
            socket.setting,
            shared.display()
        );
        Some(Notice::new(found, "give the socket a folder of its own, as /run/postern"))
    })
}

fn folders_of(named: &Named<PathBuf>) -> BTreeSet<PathBuf> {
    folders(&named.value)
}

fn keys<'a>(settings: impl Iterator<Item = &'a str>) -> String {
    settings.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shown(resources: &Resources) -> Vec<String> {
        gaps(resources).iter().map(ToString::to_string).collect()
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
