//! How each system call can fail: the errors of its page in section 2 of the manual, less those that only a mistake of
//! the caller's own brings about (EBADF, EFAULT, ENOTSOCK, and EINVAL where no kernel or file system gives it for other
//! reasons), and with those that the pages leave to "other errors of the file system" (EIO, ESTALE, EDQUOT).
//!
//! Left out, each for its reason:
//!
//! - ECONNREFUSED of connect: the one answer that means death to the library. A kernel that said it of a live server
//!   would be lying; of a dead one it is what happens anyway.
//! - ERANGE of getcwd: "the buffer is too small", to which the caller gives a larger one.
//! - ENOSYS and EPERM of getrandom, for which std opens /dev/urandom and keeps it: every kernel it runs on has the call.
//! - Errors of the memory calls: a Rust program whose allocator gets no memory ends.

use libc::{
    E2BIG, EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EBUSY, ECHILD, ECONNABORTED, EDQUOT, EEXIST, EINTR,
    EINVAL, EIO, EISDIR, ELOOP, EMFILE, EMLINK, ENAMETOOLONG, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENODEV, ENOENT,
    ENOLCK, ENOMEM, ENOPROTOOPT, ENOSPC, ENOSYS, ENOTCONN, ENOTDIR, ENOTTY, ENXIO, EOPNOTSUPP, EOVERFLOW, EPERM,
    EPROTO, EPROTONOSUPPORT, EPROTOTYPE, EROFS, ESTALE, ETIMEDOUT, ETXTBSY, EXDEV,
};

/// A system call and the ways it can fail.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its name in the manual.
    pub name: &'static str,
    /// Its number here.
    pub number: i64,
    /// What it can say, once or again and again.
    pub errnos: &'static [i32],
    /// What it can say now and then, and what std tries again for ever.
    pub passing: &'static [i32],
    /// Whether it does anything when it fails.
    pub how: How,
}

/// What a call that fails has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing.
    Instead,
    /// Its work: close(2) gives the descriptor back whatever it says.
    After,
}

/// What is known of a system call, by its number.
#[must_use]
pub fn call(number: i64) -> Option<&'static Call> {
    CALLS.iter().chain(OLD_CALLS).find(|call| call.number == number)
}

/// Its name, or its number where it has no row.
#[must_use]
pub fn name(number: i64) -> String {
    call(number).map_or_else(|| format!("system call {number}"), |call| call.name.to_owned())
}

const fn row(name: &'static str, number: i64, errnos: &'static [i32]) -> Call {
    Call { name, number, errnos, passing: &[], how: How::Instead }
}

/// Those that read what cannot be short of anything, of this process alone.
const NONE: &[i32] = &[];
/// Of a path that is only looked at.
const LOOK: &[i32] = &[EACCES, EINTR, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EOVERFLOW, EPERM, ESTALE];
/// Of an inode that is changed.
const CHANGE: &[i32] = &[
    EACCES,
    EDQUOT,
    EINTR,
    EIO,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOTDIR,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ESTALE,
];
const POLL: &[i32] = &[EINTR, EINVAL, ENOMEM];
const OPEN: &[i32] = &[
    EACCES,
    EAGAIN,
    EBUSY,
    EDQUOT,
    EEXIST,
    EINTR,
    EIO,
    EISDIR,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    EROFS,
    ESTALE,
    ETXTBSY,
];

/// Without flags, over whatever is there.
const RENAME: &[i32] = &[
    EACCES, EBUSY, EDQUOT, EINTR, EINVAL, EIO, EISDIR, ELOOP, EMLINK, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS,
    ESTALE, EXDEV,
];

const CALLS: &[Call] = &[
    // names
    row("openat", libc::SYS_openat, OPEN),
    row(
        "unlinkat",
        libc::SYS_unlinkat,
        &[EACCES, EBUSY, EINTR, EIO, EISDIR, ELOOP, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS, ESTALE],
    ),
    row(
        "renameat2",
        libc::SYS_renameat2,
        &[
            EACCES, EBUSY, EDQUOT, EEXIST, EINTR, EINVAL, EIO, ELOOP, EMLINK, ENOENT, ENOMEM, ENOSPC, ENOSYS, ENOTDIR,
            EOPNOTSUPP, EPERM, EROFS, ESTALE, EXDEV,
        ],
    ),
    row("renameat", libc::SYS_renameat, RENAME),
    row(
        "linkat",
        libc::SYS_linkat,
        &[
            EACCES, EDQUOT, EEXIST, EINTR, EIO, ELOOP, EMLINK, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS, ESTALE,
            EXDEV,
        ],
    ),
    row("newfstatat", libc::SYS_newfstatat, LOOK),
    row("statx", libc::SYS_statx, LOOK),
    row("readlinkat", libc::SYS_readlinkat, LOOK),
    row("fchmodat", libc::SYS_fchmodat, CHANGE),
    row("fchownat", libc::SYS_fchownat, CHANGE),
    row("getcwd", libc::SYS_getcwd, &[EACCES, ENAMETOOLONG, ENOENT, ENOMEM]),
    // descriptors
    row("fstat", libc::SYS_fstat, &[EINTR, EIO, ENOMEM, EOVERFLOW, ESTALE]),
    row("fstatfs", libc::SYS_fstatfs, &[EINTR, EIO, ENOMEM, ENOSYS, EOVERFLOW]),
    row("fchmod", libc::SYS_fchmod, CHANGE),
    row("flock", libc::SYS_flock, &[EAGAIN, EINTR, EINVAL, EIO, ENOLCK, ENOSYS, EOPNOTSUPP, EPERM, ESTALE]),
    row("getdents64", libc::SYS_getdents64, &[EINTR, EIO, ENOENT, ENOMEM, ESTALE]),
    row("lseek", libc::SYS_lseek, &[EINVAL, ENXIO, EOVERFLOW]),
    row("ioctl", libc::SYS_ioctl, &[EINTR, EIO, ENOMEM, ENOTTY, EPERM]),
    row("fcntl", libc::SYS_fcntl, &[EACCES, EAGAIN, EINTR, EMFILE, EPERM]), // std asks it before close, in debug builds
    Call { passing: &[EINTR], ..row("read", libc::SYS_read, &[EAGAIN, EIO, EISDIR, ENOMEM, ESTALE]) },
    Call { how: How::After, ..row("close", libc::SYS_close, &[EDQUOT, EINTR, EIO, ENOSPC]) },
    // sockets
    row(
        "socket",
        libc::SYS_socket,
        &[EACCES, EAFNOSUPPORT, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTONOSUPPORT],
    ),
    row(
        "bind",
        libc::SYS_bind,
        &[
            EACCES,
            EADDRINUSE,
            EADDRNOTAVAIL,
            EDQUOT,
            EEXIST,
            EINTR,
            EINVAL,
            EIO,
            ELOOP,
            ENAMETOOLONG,
            ENOENT,
            ENOMEM,
            ENOSPC,
            ENOTDIR,
            EOPNOTSUPP,
            EPERM,
            EROFS,
            ESTALE,
        ],
    ),
    row("listen", libc::SYS_listen, &[EACCES, EADDRINUSE, EINTR, EINVAL, ENOBUFS, ENOMEM, EOPNOTSUPP, EPERM]),
    row(
        "connect",
        libc::SYS_connect,
        &[
            EACCES,
            EAGAIN,
            EINTR,
            EIO,
            ELOOP,
            EMFILE,
            ENAMETOOLONG,
            ENETUNREACH,
            ENFILE,
            ENOENT,
            ENOMEM,
            ENOTDIR,
            EPERM,
            EPROTOTYPE,
            ESTALE,
            ETIMEDOUT,
        ],
    ),
    row(
        "accept4",
        libc::SYS_accept4,
        &[EAGAIN, ECONNABORTED, EINTR, EINVAL, EMFILE, ENETDOWN, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO],
    ),
    row("shutdown", libc::SYS_shutdown, &[EINTR, EINVAL, ENOBUFS, ENOTCONN, EPERM]),
    row("getsockopt", libc::SYS_getsockopt, &[EACCES, EINVAL, ENOBUFS, ENOMEM, ENOPROTOOPT, EPERM]),
    row("getsockname", libc::SYS_getsockname, &[EACCES, ENOBUFS, ENOMEM, EPERM]),
    row("setsockopt", libc::SYS_setsockopt, &[EACCES, EINVAL, ENOBUFS, ENOMEM, ENOPROTOOPT, EPERM]),
    row("sendto", libc::SYS_sendto, &[EACCES, EAGAIN, EINTR, ENOBUFS, ENOMEM, ENOTCONN, EPERM, E2BIG]),
    row("recvfrom", libc::SYS_recvfrom, &[EACCES, EAGAIN, EINTR, ENOBUFS, ENOMEM, ENOTCONN, EPERM]),
    row(
        "socketpair",
        libc::SYS_socketpair,
        &[EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM, EOPNOTSUPP, EPERM, EPROTONOSUPPORT],
    ),
    // processes
    row("clone", libc::SYS_clone, &[EAGAIN, ENOMEM, ENOSPC, EPERM]),
    row("wait4", libc::SYS_wait4, &[ECHILD, EINTR]),
    row("rt_sigprocmask", libc::SYS_rt_sigprocmask, NONE),
    row("prctl", libc::SYS_prctl, NONE),
    // events
    row("epoll_create1", libc::SYS_epoll_create1, &[EMFILE, ENFILE, ENOMEM]),
    row("epoll_ctl", libc::SYS_epoll_ctl, &[ENOMEM, ENOSPC]),
    row("inotify_init1", libc::SYS_inotify_init1, &[EMFILE, ENFILE, ENOMEM, ENOSYS]),
    row(
        "inotify_add_watch",
        libc::SYS_inotify_add_watch,
        &[EACCES, EINTR, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ESTALE],
    ),
    row("inotify_rm_watch", libc::SYS_inotify_rm_watch, NONE),
    row("timerfd_create", libc::SYS_timerfd_create, &[EMFILE, ENFILE, ENODEV, ENOMEM]),
    row("timerfd_settime", libc::SYS_timerfd_settime, NONE),
    row("pidfd_open", libc::SYS_pidfd_open, &[EMFILE, ENFILE, ENODEV, ENOMEM, ENOSYS, EPERM]),
    Call { passing: &[EINTR], ..row("ppoll", libc::SYS_ppoll, &[ENOMEM]) },
    // time and chance
    Call { passing: &[EINTR], ..row("clock_nanosleep", libc::SYS_clock_nanosleep, NONE) },
    Call { passing: &[EINTR], ..row("getrandom", libc::SYS_getrandom, NONE) },
    row("clock_gettime", libc::SYS_clock_gettime, NONE),
    // this process
    row("getpid", libc::SYS_getpid, NONE),
    row("geteuid", libc::SYS_geteuid, NONE),
    row("umask", libc::SYS_umask, NONE),
    row("exit_group", libc::SYS_exit_group, NONE),
    // memory: see above
    row("brk", libc::SYS_brk, NONE),
    row("mmap", libc::SYS_mmap, NONE),
    row("munmap", libc::SYS_munmap, NONE),
    row("mremap", libc::SYS_mremap, NONE),
    row("mprotect", libc::SYS_mprotect, NONE),
    row("madvise", libc::SYS_madvise, NONE),
];

/// Calls that newer architectures no longer have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[Call] = &[
    row("open", libc::SYS_open, OPEN),
    row("poll", libc::SYS_poll, POLL),
    row("stat", libc::SYS_stat, LOOK),
    row("lstat", libc::SYS_lstat, LOOK),
    row("readlink", libc::SYS_readlink, LOOK),
    row("chmod", libc::SYS_chmod, CHANGE),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[Call] = &[];
