//! Every errno that each call of the seam can give, from the manual pages: the table by which calls are made to fail.
//!
//! Left out: EFAULT and EBADF, which only a fault of ours could give (no pointer and no descriptor number is made up), but
//! for the EBADF of flock() on NFSv4; ECONNREFUSED of connect(), which would be a lie while somebody listens, and the kernel tells none; EINTR where the seam tries again by itself, except as a storm of signals that outlasts it.

use rustix::io::Errno;

use super::calls::Call;

/// openat(2) without O_CREAT of a name in a directory that is open.
const OPEN: &[Errno] = &[
    Errno::ACCESS,
    Errno::INTR,
    Errno::IO,
    Errno::LOOP,
    Errno::MFILE,
    Errno::NAMETOOLONG,
    Errno::NFILE,
    Errno::NODEV,
    Errno::NOENT,
    Errno::NOMEM,
    Errno::NOTDIR,
    Errno::NXIO,
    Errno::PERM,
    Errno::STALE,
    Errno::TXTBSY,
    Errno::WOULDBLOCK,
];

/// What a search of a path can meet: fstatat(2), lstat(2), chmod(2).
const SEARCH: &[Errno] = &[
    Errno::ACCESS,
    Errno::IO,
    Errno::LOOP,
    Errno::NAMETOOLONG,
    Errno::NOENT,
    Errno::NOMEM,
    Errno::NOTDIR,
    Errno::OVERFLOW,
    Errno::STALE,
];

/// The errnos of a call; empty for what cannot fail.
pub(super) fn of(call: Call) -> Vec<Errno> {
    let on = |common: &[Errno], more: &[Errno]| [common, more].concat();
    match call {
        // openat(2) with O_CREAT|O_EXCL
        Call::CreateLock(_) | Call::CreateGitLock => {
            on(OPEN, &[Errno::DQUOT, Errno::EXIST, Errno::FBIG, Errno::INVAL, Errno::NOSPC, Errno::ROFS])
        }
        Call::OpenLock(_) => on(OPEN, &[Errno::FBIG]),
        Call::Pin(_) => OPEN.to_vec(),
        // flock(2), and what NFS and FUSE say
        Call::Flock(_) => vec![
            Errno::INTR,
            Errno::INVAL,
            Errno::IO,
            Errno::NOLCK,
            Errno::NOMEM,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
            Errno::STALE,
            Errno::WOULDBLOCK,
        ],
        // fstat(2)
        Call::Stat(_) => vec![Errno::IO, Errno::NOMEM, Errno::OVERFLOW, Errno::STALE],
        Call::StatAt(_) | Call::StatPath(_) => SEARCH.to_vec(),
        // unlink(2)
        Call::Unlink(_) => on(SEARCH, &[Errno::BUSY, Errno::ISDIR, Errno::PERM, Errno::ROFS]),
        // renameat2(2); INVAL and NOSYS: no such flag here
        Call::Rename(..) | Call::Exchange(..) | Call::RenameOver(..) => on(
            SEARCH,
            &[
                Errno::BUSY,
                Errno::DQUOT,
                Errno::EXIST,
                Errno::INVAL,
                Errno::ISDIR,
                Errno::MLINK,
                Errno::NOSPC,
                Errno::NOSYS,
                Errno::NOTEMPTY,
                Errno::PERM,
                Errno::ROFS,
                Errno::XDEV,
            ],
        ),
        // chmod(2) through /proc
        Call::Chmod(..) => on(SEARCH, &[Errno::OPNOTSUPP, Errno::PERM, Errno::ROFS]),
        // fchmod(2)
        Call::Fchmod(..) => vec![Errno::INVAL, Errno::IO, Errno::OPNOTSUPP, Errno::PERM, Errno::ROFS],
        // fchownat(2)
        Call::Chown(..) => on(SEARCH, &[Errno::DQUOT, Errno::INVAL, Errno::PERM, Errno::ROFS]),
        // fstatfs(2)
        Call::Reach(_) => vec![Errno::INTR, Errno::IO, Errno::NOMEM, Errno::NOSYS, Errno::OVERFLOW, Errno::STALE],
        // socket(2)
        Call::Socket => vec![
            Errno::ACCESS,
            Errno::AFNOSUPPORT,
            Errno::INVAL,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::PROTONOSUPPORT,
        ],
        // bind(2), unix(7)
        Call::Bind(..) => on(
            SEARCH,
            &[
                Errno::ADDRINUSE,
                Errno::ADDRNOTAVAIL,
                Errno::DQUOT,
                Errno::EXIST,
                Errno::INVAL,
                Errno::NOSPC,
                Errno::PERM,
                Errno::ROFS,
            ],
        ),
        // listen(2)
        Call::Listen(..) => vec![Errno::ADDRINUSE, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP],
        // shutdown(2)
        Call::Shut(_) => vec![Errno::INVAL, Errno::NOTCONN, Errno::NOTSOCK],
        // socket(2) and connect(2) through /proc
        Call::Connect(_) | Call::ConnectPath => vec![
            Errno::ACCESS,
            Errno::ADDRNOTAVAIL,
            Errno::AFNOSUPPORT,
            Errno::CONNRESET,
            Errno::INTR,
            Errno::IO,
            Errno::LOOP,
            Errno::MFILE,
            Errno::NAMETOOLONG,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOENT,
            Errno::NOMEM,
            Errno::NOTDIR,
            Errno::PERM,
            Errno::PROTOTYPE,
            Errno::TIMEDOUT,
            Errno::WOULDBLOCK,
        ],
        // accept(2)
        Call::Accept(_) => {
            vec![Errno::CONNABORTED, Errno::INTR, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        }
        // close(2) may report an error of an earlier write, but it always closes
        Call::Close(_)
        | Call::Await(_)
        | Call::Grace
        | Call::Find
        | Call::ConnectBlocking
        | Call::Inherit
        | Call::Usurp(_)
        | Call::PutFile
        | Call::Vanish(_)
        | Call::FlockHolder(_)
        | Call::Pause
        | Call::Note(_)
        | Call::Stay => Vec::new(),
    }
}

/// Those of them that one call can give and the next one not: a file system without flock() has none for anybody.
pub(super) fn passing(call: Call) -> Vec<Errno> {
    let lasting = |errno: &Errno| matches!(call, Call::Flock(_)) && NO_FLOCK.contains(errno);
    of(call).into_iter().filter(|errno| !lasting(errno)).collect()
}

/// By these a file system says that it has no flock().
pub(super) const NO_FLOCK: [Errno; 4] = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::BADF];
