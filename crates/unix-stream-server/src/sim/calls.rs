//! What a party can ask of the simulated kernel, and what it can be told.

use std::ffi::CStr;

use rustix::io::Errno;

use crate::FileKind;
use crate::sys::{FileId, NAME_BEHIND_DESCRIPTOR_MAX, Reach, Stat};

/// The names in the one simulated directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    Socket,
    Lock,
    Life,
    Temporary,
}

impl Name {
    pub(super) const ALL: [Name; 4] = [Name::Socket, Name::Lock, Name::Life, Name::Temporary];

    pub(super) fn of(name: &CStr) -> Self {
        match name.to_bytes() {
            b"s" | b"/s" => Name::Socket,
            // One that is too long to bind.
            long if long.len() > NAME_BEHIND_DESCRIPTOR_MAX => Name::Socket,
            b"s.lock" | b"/s.lock" => Name::Lock,
            b"s.owner" => Name::Life,
            b"s.new" => Name::Temporary,
            other => panic!("no such name in the simulated directory: {other:?}"),
        }
    }
}

/// The number of a descriptor in its process.
pub(super) type FdNumber = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    CreateLock(Name),
    /// git's: another mode, and no flock to follow
    CreateGitLock,
    OpenLock(Name),
    Flock(FdNumber),
    Stat(FdNumber),
    StatAt(Name),
    /// lstat() of a whole path
    StatPath(Name),
    Unlink(Name),
    Rename(Name, Name),
    Exchange(Name, Name),
    RenameOver(Name, Name),
    Pin(Name),
    Chmod(FdNumber, u32),
    Fchmod(FdNumber, u32),
    Chown(FdNumber, Option<u32>),
    Reach(FdNumber),
    /// What `/proc/locks` says of this inode
    FlockHolder(u64),
    Socket,
    Bind(FdNumber, Name),
    Listen(FdNumber, i32),
    Shut(FdNumber),
    Accept(FdNumber),
    /// accept() that sleeps until somebody comes
    Await(FdNumber),
    /// A probe: connect() through a pin, without blocking
    Connect(FdNumber),
    /// connect() by the name without blocking, as git does it
    ConnectPath,
    /// connect() by the name, as a client does it, in its two halves: it finds the listener,
    Find,
    /// and gets into its queue; on a full backlog it sleeps, and looks the name up again when it wakes
    ConnectBlocking,
    /// Not a system call of its own: a copy of somebody's listener, as fork() or SCM_RIGHTS give it
    Inherit,
    /// Not a system call of its own: bind to a name that nobody knows, listen, rename over the path
    Usurp(FdNumber),
    /// Not a system call of its own: a file renamed over the path
    PutFile,
    /// Not a system call of its own: a cleaner deletes this name of ours
    Vanish(Name),
    Close(FdNumber),
    Pause,
    /// Not a system call: time passes that is long enough for all that is under way
    Grace,
    /// Not a system call: the party says where it stands, and all that it remembers from here on
    Note(Note),
    /// Not a system call: the party lives on and does nothing more
    Stay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Note {
    /// create() has returned a server: from here on the name must lead to it
    Owns,
    /// claim() has returned
    Claims,
    /// It waits for clients, until it is replaced
    Serves,
    /// It has seen that it is replaced
    Replaced,
    /// close() is called
    Closing,
    /// clean() has returned: what was dead is gone
    Cleaned,
    /// heal() has returned a new server: from here on the name must lead to that
    Healed,
    /// The path led elsewhere in the middle of it; or heal() has found another server's dead socket
    Moved,
    InUse,
    Locked,
    NotASocket,
    Failed,
    /// A client that was let in by connect() has ended
    Connected,
    /// A client that connect() has refused
    Refused,
}

impl Note {
    pub(super) const ALL: [Note; 14] = [
        Note::Owns,
        Note::Claims,
        Note::Serves,
        Note::Replaced,
        Note::Closing,
        Note::Cleaned,
        Note::Healed,
        Note::Moved,
        Note::InUse,
        Note::Locked,
        Note::NotASocket,
        Note::Failed,
        Note::Connected,
        Note::Refused,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    Done,
    Fd(FdNumber),
    Stat(Stat),
    /// The pause is over because nothing else can happen any more: the clock has moved past every deadline
    Late,
    Reach(Reach),
    Yes,
    No,
    Err(i32),
    /// The caller sleeps in the kernel, and the call starts anew when it wakes.
    Blocked,
}

impl Reply {
    /// For readers of a schedule.
    pub(super) fn show(self) -> String {
        match self {
            Reply::Err(errno) => errno_name(errno),
            Reply::Stat(Stat { id: FileId { ino, .. }, kind, mode, links, size, uid, .. }) => {
                let odd = if kind == FileKind::Regular { format!(", size {size}, uid {uid}") } else { String::new() };
                format!("inode {ino}, a {kind} of mode {mode:o}, {links} links{odd}")
            }
            reply => format!("{reply:?}"),
        }
    }
}

pub(super) fn errno_name(errno: i32) -> String {
    let errno = Errno::from_raw_os_error(errno);
    match errno {
        Errno::NOENT => "ENOENT".into(),
        Errno::EXIST => "EEXIST".into(),
        Errno::WOULDBLOCK => "EAGAIN".into(),
        Errno::ADDRINUSE => "EADDRINUSE".into(),
        Errno::CONNREFUSED => "ECONNREFUSED".into(),
        Errno::ACCESS => "EACCES".into(),
        errno => format!("{errno:?}"),
    }
}
