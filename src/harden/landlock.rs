//! The fence: which files and ports the kernel lets this process reach, by Landlock.
//!
//! What is open already stays so: the listeners need no right to bind, nor standard output one to write. Unix sockets in the file system
//! are connected to freely, since kernels before 7.1 have no right for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::links::folders;
use super::{Measure, Named, Outside, Resources};
use crate::os;

/// What is inside.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    read: BTreeSet<PathBuf>,
    appended: BTreeSet<PathBuf>,
    sockets: BTreeSet<PathBuf>,
    connected: BTreeSet<u16>,
    abstract_sockets: bool,
    /// What the kernel enforces, or why nothing.
    enforced: Result<ABI, String>,
}

impl Fence {
    /// Where nothing was asked for.
    pub(super) fn none() -> Self {
        Self {
            read: BTreeSet::new(),
            appended: BTreeSet::new(),
            sockets: BTreeSet::new(),
            connected: BTreeSet::new(),
            abstract_sockets: false,
            enforced: Err("harden: none".to_owned()),
        }
    }

    /// Fences the process in: from now on it reaches `resources`, what the system always gives, and nothing else.
    pub(super) fn around(resources: &Resources) -> Self {
        let all = |files: &[Named<PathBuf>]| files.iter().flat_map(|named| folders(&named.value)).collect::<BTreeSet<_>>();
        let mut fence = Self {
            read: all(&resources.read),
            appended: all(&resources.appended),
            sockets: all(&resources.sockets),
            connected: resources.connected.iter().map(|named| named.value).collect(),
            abstract_sockets: resources.abstract_sockets,
            enforced: Ok(ABI::Unsupported),
        };
        fence.enforced = fence.build().map_err(|error| error.to_string()).and_then(|status| match status.landlock {
            LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi),
            LandlockStatus::NotEnabled => Err("Landlock is built into this kernel and not enabled; start it with lsm=landlock".to_owned()),
            LandlockStatus::NotImplemented => Err("this kernel has no Landlock; Linux 5.13 and later can have it".to_owned()),
        });
        fence
    }

    /// Each measure that this is, and why it is not in force if it is not.
    pub(super) fn outcomes(&self) -> Vec<(Measure, Result<(), String>)> {
        let since = |least: ABI, version: &str| match &self.enforced {
            Ok(abi) if *abi >= least => Ok(()),
            Ok(abi) => Err(format!("this kernel has version {} of Landlock; Linux {version} and later can do it", *abi as i32)),
            Err(why) => Err(why.clone()),
        };
        let other_processes = match since(ABI::V6, "6.12") {
            Ok(()) if self.abstract_sockets => Err("the service manager's socket, NOTIFY_SOCKET, is an abstract one".to_owned()),
            outcome => outcome,
        };
        vec![
            (Measure::Files, since(ABI::V1, "5.13")),
            (Measure::TcpPorts, since(ABI::V4, "6.7")),
            (Measure::OtherProcesses, other_processes),
        ]
    }

    /// What of `resources` is outside.
    pub(super) fn outside(&self, resources: &Resources) -> Vec<Outside> {
        let Ok(abi) = self.enforced else { return Vec::new() };
        let beyond = |files: &[Named<PathBuf>], inside: &[&BTreeSet<PathBuf>]| {
            let covered = |path: &Path| inside.iter().any(|folders| folders.iter().any(|folder| path.starts_with(folder)));
            let folders = files.iter().flat_map(|named| folders(&named.value).into_iter().map(|folder| named.with(folder)));
            folders
                .filter(|named| !covered(&named.value))
                .map(|named| outside(&named, named.value.display().to_string()))
                .collect::<Vec<_>>()
        };
        let mut found = beyond(&resources.read, &[&self.read, &self.appended]);
        found.extend(beyond(&resources.appended, &[&self.appended]));
        found.extend(beyond(&resources.sockets, &[&self.sockets]));
        if abi >= ABI::V4 {
            let ports = resources.connected.iter().filter(|named| !self.connected.contains(&named.value));
            found.extend(ports.map(|named| outside(named, format!("port {}", named.value))));
        }
        found
    }

    fn build(&self) -> Result<RestrictionStatus, RulesetError> {
        let scope = if self.abstract_sockets { Scope::Signal.into() } else { Scope::AbstractUnixSocket | Scope::Signal };
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
            .scope(scope)?
            .create()?;
        let users = if os::effective_uid() == 0 { USERS } else { &["/etc"] };
        for path in SYSTEM.iter().chain(users) {
            rules = allow(rules, Path::new(path), READ.into())?;
        }
        // Kernels before 6.2 have descriptors counted, by their names.
        rules = allow(rules, Path::new("/proc"), AccessFs::ReadDir.into())?;
        for folder in &self.read {
            rules = allow(rules, folder, READ | AccessFs::ReadDir)?;
        }
        // Nothing is removed or renamed there: what is on the trail stays, under its name.
        for folder in &self.appended {
            rules = allow(rules, folder, READ | AccessFs::WriteFile | AccessFs::MakeReg)?;
        }
        // What a rename within the folder takes as well, over another name included (Landlock asks for both at once).
        for folder in &self.sockets {
            rules = allow(rules, folder, AccessFs::MakeSock | AccessFs::RemoveFile)?;
        }
        for port in &self.connected {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        rules.restrict_self()
    }
}

/// Adds a rule for all beneath `path`. What is not there, or hidden from this user, needs none: whoever reads it finds that out.
fn allow(rules: RulesetCreated, path: &Path, mut access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(file) = PathFd::new(path) else { return Ok(rules) };
    if !path.is_dir() {
        access &= AccessFs::from_file(ABI::V6);
    }
    if access.is_empty() { Ok(rules) } else { rules.add_rule(PathBeneath::new(file, access)) }
}

fn outside<T>(named: &Named<T>, what: String) -> Outside {
    Outside { setting: named.setting.clone(), what }
}

const READ: AccessFs = AccessFs::ReadFile;

/// /proc: what the process itself uses, for the metrics, and the kernel's table of TCP connections, for clients that are lost. Landlock
/// hides the processes outside from ptrace(2) and with it their secrets there. /dev/null: the descriptor that the accept loop keeps back.
const SYSTEM: &[&str] = &["/proc", "/dev/null"];

/// The users of this machine, for the names that a reload looks up. Root is given these files alone, and finds no one any more after
/// they were replaced; another user all of /etc, where what is secret is not for others to read.
const USERS: &[&str] = &["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];
