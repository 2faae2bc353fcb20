//! The system calls that a serving daemon has a use for; all others are refused with EPERM.
//!
//! Refused, not killed for: to whoever has taken the process over it makes no difference, and a call that is missing here, because a
//! future C library makes it, then fails by itself instead of ending every session. clone3(2) alone fails with ENOSYS: its flags are out of
//! a filter's sight, and a C library that hears so makes its threads by clone(2).

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::process;

use nix::libc::{self, c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter,
};

/// Has the kernel refuse all other system calls, for this thread and those that it makes.
pub(super) fn install() -> Result<(), String> {
    let architecture = TargetArch::try_from(ARCH).map_err(|_| format!("there is no list of system calls for {ARCH}"))?;
    let unbuilt = |error: BackendError| format!("the filter cannot be built: {error}");
    let unknown = program(only_clone3(), SeccompAction::Allow, refusal(libc::ENOSYS), architecture).map_err(unbuilt)?;
    let others = allowed().and_then(|rules| program(rules, refusal(libc::EPERM), SeccompAction::Allow, architecture)).map_err(unbuilt)?;
    // Where both have something to say the stricter is heard, and an error is stricter than "allow" (seccomp(2)).
    for program in [unknown, others] {
        apply_filter(&program).map_err(|error| format!("the kernel takes no filter: {error}"))?;
    }
    Ok(())
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction, architecture: TargetArch) -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into()
}

fn refusal(errno: c_int) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}

fn only_clone3() -> Rules {
    // A call without a rule is meant whatever its arguments are.
    Rules::from([(libc::SYS_clone3, Vec::new())])
}

fn allowed() -> Result<Rules, BackendError> {
    let mut rules = only_clone3();
    rules.extend(GROUPS.iter().flat_map(|(_, calls)| *calls).map(|call| (*call, Vec::new())));
    for (call, conditions) in narrow() {
        let conditions = conditions.into_iter().map(|Where(argument, mask, value)| {
            // Arguments are of 32 bits but for prlimit's pointer, and the upper half of a register is then nobody's.
            let width = if mask > u64::from(u32::MAX) { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
            SeccompCondition::new(argument, width, SeccompCmpOp::MaskedEq(mask), value)
        });
        rules.entry(call).or_default().push(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?);
    }
    Ok(rules)
}

/// The argument of this number, counted from 0, has under this mask this value.
#[derive(Clone)]
struct Where(u8, u64, u64);

/// Calls that are allowed with some arguments only; of two entries of one call, either.
fn narrow() -> Vec<(c_long, Vec<Where>)> {
    let without = |argument, bits: c_int| vec![Where(argument, word(bits), 0)];
    let with = |argument, value: c_int| vec![Where(argument, u64::from(u32::MAX), word(value))];
    let all = |parts: &[Vec<Where>]| parts.concat();
    // Bits of an argument that must be these, others among them not set.
    let exactly = |argument, among: c_int, bits: c_int| vec![Where(argument, word(among), word(bits))];
    // TCP by either of its numbers, and no MPTCP, which Landlock's ports do not see.
    let stream =
        |domain: c_int, protocol: c_int| all(&[with(0, domain), vec![Where(1, SOCKET_TYPE, word(libc::SOCK_STREAM))], with(2, protocol)]);
    let tcp_option = |name: c_int| (libc::SYS_setsockopt, all(&[with(1, libc::IPPROTO_TCP), with(2, name)]));
    vec![
        // No memory that code could be written to, none that becomes code, and none that is written back to a file.
        (libc::SYS_mmap, all(&[without(2, libc::PROT_EXEC), exactly(3, libc::MAP_TYPE, libc::MAP_PRIVATE)])),
        // What getrandom(2) without a system call is kept in (glibc 2.41).
        (libc::SYS_mmap, all(&[without(2, libc::PROT_EXEC), exactly(3, libc::MAP_TYPE, MAP_DROPPABLE)])),
        (libc::SYS_mprotect, without(2, libc::PROT_EXEC)),
        // Threads of this process; no other process, and no namespace.
        (libc::SYS_clone, vec![Where(0, word(THREAD | NAMESPACES), word(THREAD))]),
        (libc::SYS_prctl, with(0, libc::PR_SET_NAME)),
        // What glibc 2.39 calls its memory in /proc/PID/maps.
        (libc::SYS_prctl, with(0, libc::PR_SET_VMA)),
        // abort(3), which a panic within a panic ends in.
        (libc::SYS_tgkill, vec![Where(0, u64::from(u32::MAX), u64::from(process::id()))]),
        // Limits are read, and not set: what would be the new one is no pointer.
        (libc::SYS_prlimit64, vec![Where(2, u64::MAX, 0)]),
        // Clients and a backend on loopback; a backend's Unix socket, the service manager, the name service.
        (libc::SYS_socket, stream(libc::AF_INET, 0)),
        (libc::SYS_socket, stream(libc::AF_INET, libc::IPPROTO_TCP)),
        (libc::SYS_socket, stream(libc::AF_INET6, 0)),
        (libc::SYS_socket, stream(libc::AF_INET6, libc::IPPROTO_TCP)),
        (libc::SYS_socket, with(0, libc::AF_UNIX)),
        // What makes a connection without connect(2), which Landlock would not see: TCP Fast Open, in each of its ways.
        (libc::SYS_sendto, without(3, libc::MSG_FASTOPEN)),
        (libc::SYS_sendmsg, without(2, libc::MSG_FASTOPEN)),
        (libc::SYS_setsockopt, all(&[with(1, libc::SOL_SOCKET), with(2, libc::SO_KEEPALIVE)])),
        tcp_option(libc::TCP_NODELAY),
        tcp_option(libc::TCP_KEEPIDLE),
        tcp_option(libc::TCP_KEEPINTVL),
        tcp_option(libc::TCP_KEEPCNT),
        // This machine's addresses, for rules that say samehost or samenet (rtnetlink(7)).
        (
            libc::SYS_socket,
            vec![Where(0, u64::from(u32::MAX), word(libc::AF_NETLINK)), Where(2, u64::from(u32::MAX), word(libc::NETLINK_ROUTE))],
        ),
        // The runtime's own, to be told of signals.
        (libc::SYS_socketpair, with(0, libc::AF_UNIX)),
        // Sockets that do not block; whether the log goes to a terminal.
        (libc::SYS_ioctl, vec![Where(1, u64::from(u32::MAX), FIONBIO)]),
        (libc::SYS_ioctl, vec![Where(1, u64::from(u32::MAX), TCGETS)]),
        // What is there is read, or something is added to its end.
        (libc::SYS_openat, exactly(2, OPENING, libc::O_RDONLY)),
        (libc::SYS_openat, exactly(2, OPENING & !libc::O_CREAT, APPENDING)),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, exactly(1, OPENING, libc::O_RDONLY)),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, exactly(1, OPENING & !libc::O_CREAT, APPENDING)),
        // Another number for what is open, and whether it outlives execve(2). Not F_SETFL, which would take O_APPEND away, nor F_SETOWN,
        // F_SETSIG and the like, which have the kernel send signals.
        (libc::SYS_fcntl, with(1, libc::F_DUPFD_CLOEXEC)),
        (libc::SYS_fcntl, with(1, libc::F_GETFD)),
        (libc::SYS_fcntl, with(1, libc::F_SETFD)),
        (libc::SYS_fcntl, with(1, libc::F_GETFL)),
        // Names of files and sockets, not of directories.
        (libc::SYS_unlinkat, with(2, 0)),
        (libc::SYS_renameat2, with(4, 0)),
        // A netlink socket's address, which is shorter than any of the internet's.
        (libc::SYS_bind, with(2, SOCKADDR_NL)),
    ]
}

/// include/uapi/linux/mman.h.
const MAP_DROPPABLE: c_int = 0x8;

/// The flags of open(2) that decide what becomes of the file; __O_TMPFILE is O_TMPFILE without O_DIRECTORY.
const OPENING: c_int = libc::O_ACCMODE | libc::O_APPEND | libc::O_TRUNC | libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY);
const APPENDING: c_int = libc::O_WRONLY | libc::O_APPEND;

/// sizeof(struct sockaddr_nl) (netlink(7)).
const SOCKADDR_NL: c_int = 12;

/// The bits of an argument that is an `int`.
fn word(bits: c_int) -> u64 {
    u64::from(bits.cast_unsigned())
}

/// What makes a thread of this process (clone(2)), and what makes more than that.
const THREAD: c_int = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
const NAMESPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_PTRACE;

/// A socket's type without SOCK_CLOEXEC and SOCK_NONBLOCK (include/linux/net.h, SOCK_TYPE_MASK).
const SOCKET_TYPE: u64 = 0xf;

/// include/uapi/asm-generic/ioctls.h.
const FIONBIO: u64 = 0x5421;
const TCGETS: u64 = 0x5401;

/// Calls that are allowed whatever their arguments are, by what needs them.
const GROUPS: &[(&str, &[c_long])] = &[
    ("memory", &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk]),
    (
        "threads",
        &[
            libc::SYS_futex,
            libc::SYS_set_robust_list,
            libc::SYS_rseq,
            libc::SYS_sched_yield,
            libc::SYS_sched_getaffinity,
            libc::SYS_getcpu,
            libc::SYS_gettid,
            libc::SYS_getpid,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_restart_syscall,
        ],
    ),
    ("signals", &[libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack]),
    (
        "clocks and timers",
        &[libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_gettimeofday],
    ),
    (
        "the event loop",
        &[libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_ppoll],
    ),
    (
        "connections of clients, backend and operators, and a message to the service manager",
        &[
            libc::SYS_accept4,
            libc::SYS_connect,
            libc::SYS_getsockname,
            libc::SYS_getpeername,
            libc::SYS_getsockopt,
            libc::SYS_recvfrom,
            libc::SYS_recvmsg,
            libc::SYS_shutdown,
        ],
    ),
    (
        "all that is open: sockets, the trail, the log",
        &[
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_pread64,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_lseek,
            libc::SYS_dup,
            libc::SYS_close,
        ],
    ),
    (
        "files that a reload reads, and that rotation renames",
        &[
            libc::SYS_fstat,
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_readlinkat,
            libc::SYS_getdents64,
            libc::SYS_getcwd,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
        ],
    ),
    // Which has no rename(2), so that C libraries go by this.
    #[cfg(target_arch = "aarch64")]
    ("the admin socket's name, taken from a predecessor", &[libc::SYS_renameat]),
    ("keys, salts and session names", &[libc::SYS_getrandom]),
    (
        "whom a file or a peer belongs to, and what this process uses",
        &[libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getrusage],
    ),
    #[cfg(target_arch = "x86_64")]
    (
        "the older names of the same, which C libraries use where there are any",
        &[
            libc::SYS_epoll_wait,
            libc::SYS_poll,
            libc::SYS_time,
            libc::SYS_accept,
            libc::SYS_stat,
            libc::SYS_lstat,
            libc::SYS_readlink,
            libc::SYS_access,
            libc::SYS_rename,
            libc::SYS_unlink,
            libc::SYS_getrlimit,
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the list has a call with these arguments; what is not said of them is 0.
    fn has(call: c_long, arguments: &[c_int]) -> bool {
        let argument = |index: u8| arguments.get(usize::from(index)).map_or(0, |argument| word(*argument));
        let agrees = |conditions: &[Where]| conditions.iter().all(|Where(index, mask, value)| argument(*index) & mask == *value);
        GROUPS.iter().any(|(_, calls)| calls.contains(&call))
            || narrow().iter().any(|(name, conditions)| *name == call && agrees(conditions))
    }

    #[test]
    fn the_kernel_is_not_told_to_send_signals_and_what_is_appended_to_stays_so() {
        // include/uapi/asm-generic/fcntl.h and include/uapi/linux/fcntl.h; F_SETOWN_EX and F_SETSIG are not among libc's.
        const F_SETSIG: c_int = 10;
        const F_SETOWN_EX: c_int = 15;
        for command in
            [libc::F_SETFL, libc::F_SETOWN, F_SETOWN_EX, F_SETSIG, libc::F_NOTIFY, libc::F_SETLEASE, libc::F_SETLK, libc::F_DUPFD]
        {
            assert!(!has(libc::SYS_fcntl, &[3, command]), "{command}");
        }
        for command in [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL] {
            assert!(has(libc::SYS_fcntl, &[3, command]), "{command}");
        }
    }

    #[test]
    fn no_file_is_written_to_through_memory() {
        let maps = |protection, flags| has(libc::SYS_mmap, &[0, 4096, protection, flags, 3]);
        let (read, write) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
        assert!(maps(write, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE));
        // mprotect(2) would make it writable later.
        assert!(!maps(read, libc::MAP_SHARED) && !maps(write, libc::MAP_SHARED) && !maps(write, libc::MAP_SHARED_VALIDATE));
        assert!(!maps(write | libc::PROT_EXEC, libc::MAP_PRIVATE));
    }

    #[test]
    fn a_file_is_opened_to_be_read_or_appended_to_and_in_no_other_way() {
        let opens = |flags| has(libc::SYS_openat, &[libc::AT_FDCWD, 0, flags | libc::O_CLOEXEC]);
        assert!(opens(libc::O_RDONLY | libc::O_NONBLOCK) && opens(libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW));
        assert!(opens(APPENDING) && opens(APPENDING | libc::O_CREAT));
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR | libc::O_APPEND, libc::O_ACCMODE, libc::O_CREAT, libc::O_TRUNC] {
            assert!(!opens(flags), "{flags:o}");
        }
        assert!(!opens(APPENDING | libc::O_TRUNC) && !opens(libc::O_WRONLY | libc::O_TMPFILE));
    }

    #[test]
    fn nothing_that_changes_files_otherwise_is_on_the_list() {
        for call in [
            libc::SYS_truncate,
            libc::SYS_ftruncate,
            libc::SYS_pwrite64,
            libc::SYS_pwritev,
            libc::SYS_pwritev2,
            libc::SYS_fallocate,
            libc::SYS_copy_file_range,
            libc::SYS_sendfile,
            libc::SYS_splice,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
            libc::SYS_openat2,
            libc::SYS_io_uring_setup,
            libc::SYS_memfd_create,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_pidfd_send_signal,
            libc::SYS_listen,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
        ] {
            assert!(!has(call, &[]), "{call}");
        }
        assert!(!has(libc::SYS_renameat2, &[libc::AT_FDCWD, 0, libc::AT_FDCWD, 0, libc::RENAME_EXCHANGE.cast_signed()]));
        assert!(!has(libc::SYS_unlinkat, &[libc::AT_FDCWD, 0, libc::AT_REMOVEDIR]));
        assert!(!has(libc::SYS_setsockopt, &[3, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER]));
    }
}
