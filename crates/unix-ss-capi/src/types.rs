//! The structs of the header. That sizes, offsets and the bit-field are a C compiler's is tested (`tests/header.rs`).

use std::ffi::{c_char, c_int, c_uint};

/// `struct stat`, as programs have it that are compiled for large files.
#[cfg(any(target_pointer_width = "64", not(any(target_os = "linux", target_os = "android"))))]
pub(crate) use libc::stat as Stat;
#[cfg(not(any(target_pointer_width = "64", not(any(target_os = "linux", target_os = "android")))))]
pub(crate) use libc::stat64 as Stat;

/// `struct unix_stream_listen_opts`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ListenOpts {
    /// How many clients may wait; 0 or less: the kernel's most.
    pub listen_backlog_size: c_int,
    /// The unit that holds the bit-field `disallow_chdir:1`.
    pub bits: c_uint,
}

impl ListenOpts {
    /// Where compilers put the first bit of a bit-field: the lowest bit, or the highest on big-endian machines.
    pub const DISALLOW_CHDIR: c_uint = if cfg!(target_endian = "big") { 1 << (c_uint::BITS - 1) } else { 1 };

    pub(crate) fn disallows_chdir(self) -> bool {
        self.bits & Self::DISALLOW_CHDIR != 0
    }
}

/// `struct unix_ss_socket`: what C sees of a server.
#[repr(C)]
pub struct Socket {
    /// The path as it was given, from malloc.
    pub path_socket: *mut c_char,
    /// The socket's file as it was when it was created.
    pub st_socket: Stat,
    /// The listening socket.
    pub fd_socket: c_int,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("fd_socket", &self.fd_socket).finish_non_exhaustive()
    }
}

/// `enum unix_ss_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[expect(missing_docs, reason = "the header explains them")]
pub enum State {
    Absent = 0,
    Dead = 1,
    Live = 2,
    Busy = 3,
    OtherType = 4,
    NotASocket = 5,
}

/// `struct unix_ss_peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Peer {
    /// 0: unknown.
    pub pid: libc::pid_t,
    /// -1: unknown.
    pub uid: libc::uid_t,
    /// -1: unknown.
    pub gid: libc::gid_t,
}

impl Peer {
    pub(crate) const UNKNOWN: Peer = Peer { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX };
}

impl From<unix_stream_server::PeerCredentials> for Peer {
    fn from(peer: unix_stream_server::PeerCredentials) -> Self {
        let pid = peer.pid.and_then(|pid| libc::pid_t::try_from(pid).ok()).unwrap_or(0);
        Peer { pid, uid: peer.uid, gid: peer.gid }
    }
}
