//! Asking the kernel for its listening Unix sockets (NETLINK_SOCK_DIAG, sock_diag(7)), which disturbs no server.
//!
//! It needs no privileges, but it knows only its own network namespace, and the module may be missing: an answer
//! proves a listener, silence proves nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs as sysfs;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::FileId;
use crate::PeerCredentials;

// linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const LISTENING: u32 = 1 << 10;
const SHOW_VFS_AND_QUEUE: u32 = 0x02 | 0x10;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_RQLEN: u16 = 4;
const HEADER: usize = 16;

/// A listening socket as the kernel lists it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listener {
    /// `SOCK_STREAM` or `SOCK_SEQPACKET`.
    pub(crate) is_stream: bool,
    /// No further client gets in for now.
    pub(crate) is_full: bool,
    /// The number in `/proc/PID/fd/N -> socket:[number]`.
    socket: u32,
}

/// The listener that is bound to this file, if the kernel lists one.
pub(crate) fn find_listener(file: FileId) -> Option<Listener> {
    // The kernel cuts inode numbers to 32 bits; a longer one could be taken for another.
    let ino = u32::try_from(file.ino).ok()?;
    let dev = (sysfs::major(file.dev), sysfs::minor(file.dev));
    let mut found = None;
    let listed = list(|listener, bound_ino, bound_dev| {
        if (bound_ino, bound_dev) == (ino, dev) {
            found = Some(listener);
        }
    });
    listed.ok().and(found)
}

impl Listener {
    /// A process that has this socket open, among those whose descriptors we may see.
    pub(crate) fn holder(&self) -> Option<PeerCredentials> {
        let wanted = format!("socket:[{}]", self.socket);
        let mut pids: Vec<u32> =
            fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        let pid = pids.into_iter().find(|pid| {
            fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut fds| {
                fds.any(|fd| fd.and_then(|fd| fs::read_link(fd.path())).is_ok_and(|link| link == Path::new(&wanted)))
            })
        })?;
        // Owned by its effective user and group (proc(5)).
        let process = fs::metadata(format!("/proc/{pid}")).ok()?;
        Some(PeerCredentials { pid: Some(pid), uid: process.uid(), gid: process.gid() })
    }
}

/// Calls `each` with every listening Unix socket and the inode and device of the file it is bound to.
fn list(mut each: impl FnMut(Listener, u32, (u32, u32))) -> Result<(), Errno> {
    let socket =
        net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    net::send(&socket, &request(), SendFlags::empty())?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (read, _) = net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        if rest.is_empty() {
            return Err(Errno::IO);
        }
        while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
            let length = length as usize;
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(Errno::OPNOTSUPP),
                _ => {
                    if let Some((listener, ino, dev)) = rest.get(HEADER..length).and_then(parse) {
                        each(listener, ino, dev);
                    }
                }
            }
            if length < HEADER {
                return Err(Errno::IO); // a message that would never end
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req`: all listeners, with their files and queues.
fn request() -> Vec<u8> {
    let mut request = Vec::with_capacity(40);
    request.extend(40_u32.to_ne_bytes()); // the whole length
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 8]); // sequence, port
    request.extend([1, 0, 0, 0]); // AF_UNIX
    request.extend(LISTENING.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes()); // any socket
    request.extend(SHOW_VFS_AND_QUEUE.to_ne_bytes());
    request.extend([0xff; 8]); // any cookie
    request
}

/// `struct unix_diag_msg` and its attributes; `None` for a socket without a file.
fn parse(message: &[u8]) -> Option<(Listener, u32, (u32, u32))> {
    let mut listener = Listener { is_stream: message.get(1) == Some(&1), is_full: false, socket: u32_at(message, 4)? };
    let mut file = None;
    let mut attributes = message.get(16..)?;
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        match kind {
            UNIX_DIAG_VFS => {
                // A device number in the kernel's inner form: 12 bits and 20 bits.
                let dev = u32_at(attributes, 8)?;
                file = Some((u32_at(attributes, 4)?, (dev >> 20, dev & 0xf_ffff)));
            }
            UNIX_DIAG_RQLEN => listener.is_full = u32_at(attributes, 4)? > u32_at(attributes, 8)?,
            _ => {}
        }
        if length < 4 {
            break;
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    file.map(|(ino, dev)| (listener, ino, dev))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
