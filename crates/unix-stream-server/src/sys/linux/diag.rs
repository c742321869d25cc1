//! Asking the kernel for its listening Unix sockets (NETLINK_SOCK_DIAG, sock_diag(7)), which disturbs no server.
//!
//! It needs no privileges, but it knows only its own network namespace, and the module may be missing: an answer
//! proves a listener, silence proves nothing.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs as sysfs;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::PeerCredentials;
use crate::sys::FileId;

// linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
pub(super) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// One socket is asked for.
const NLM_F_REQUEST: u16 = 1;
/// All of them are.
const NLM_F_REQUEST_DUMP: u16 = 0x301;
pub(super) const LISTENING: u32 = 1 << 10;
const ANY_STATE: u32 = u32::MAX;
pub(super) const SHOW_NAME: u32 = 0x01;
pub(super) const SHOW_VFS: u32 = 0x02;
pub(super) const SHOW_QUEUE: u32 = 0x10;
pub(super) const SHOW_VFS_AND_QUEUE: u32 = SHOW_VFS | SHOW_QUEUE;
const SHOW_UID: u32 = 0x40;
const UNIX_DIAG_NAME: u16 = 0;
pub(super) const UNIX_DIAG_VFS: u16 = 1;
pub(super) const UNIX_DIAG_RQLEN: u16 = 4;
pub(super) const UNIX_DIAG_SHUTDOWN: u16 = 6;
const UNIX_DIAG_UID: u16 = 7;
/// Bits of `sk_shutdown`: no more clients.
const RCV_SHUTDOWN: u8 = 1;
const HEADER: usize = 16;
/// Whatever the socket's cookie is.
pub(super) const ANY_COOKIE: u64 = u64::MAX;

/// A listening socket as the kernel lists it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listener {
    /// `SOCK_STREAM` or `SOCK_SEQPACKET`.
    pub(crate) is_stream: bool,
    /// No further client gets in for now.
    pub(crate) is_full: bool,
    /// It has been shut, and lets nobody in any more.
    pub(super) is_shut: bool,
    /// Who made it, where the kernel tells (since Linux 5.3).
    pub(crate) uid: Option<u32>,
    /// The number in `/proc/PID/fd/N -> socket:[number]`.
    pub(super) socket: u32,
}

/// A socket that is bound to a file, as one message of the list has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed<'a> {
    pub(super) listener: Listener,
    pub(super) ino: u32,
    pub(super) dev: (u32, u32),
    /// What bind(2) was told, where it is asked for. Unlike in `/proc/net/unix`, no byte of it can be taken for another
    /// socket's line.
    pub(super) name: &'a [u8],
}

/// The listener that is bound to this file, if the kernel lists one.
pub(crate) fn find_listener(file: FileId) -> Option<Listener> {
    // The kernel cuts inode numbers to 32 bits; a longer one could be taken for another.
    let ino = u32::try_from(file.ino).ok()?;
    let dev = device(file);
    let mut found = None;
    let listed = list(LISTENING, SHOW_VFS | SHOW_QUEUE | SHOW_UID, |listed| {
        if (listed.ino, listed.dev) == (ino, dev) && !listed.listener.is_shut {
            found = Some(listed.listener);
        }
    });
    listed.ok().and(found)
}

/// The files that any open Unix socket is bound to, in whatever state: listening, not yet, not any more, or the
/// server's end of a connection. As of one moment, and of this network namespace.
#[derive(Debug, Default)]
pub(crate) struct BoundFiles(HashMap<u32, Vec<(u32, u32)>>);

impl BoundFiles {
    /// `None` where the kernel has no such list.
    pub(crate) fn list() -> Option<Self> {
        let mut files: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
        list(ANY_STATE, SHOW_VFS, |listed| files.entry(listed.ino).or_default().push(listed.dev)).ok()?;
        Some(BoundFiles(files))
    }

    /// Is a socket bound to this file, as far as the list says? In doubt yes: of a long inode number the kernel lists
    /// the lower half, and where stat(2) makes device numbers up (`known_dev` false: btrfs, overlayfs) they do not count.
    #[expect(clippy::cast_possible_truncation, reason = "as the kernel does it")]
    pub(crate) fn may_contain(&self, file: FileId, known_dev: bool) -> bool {
        self.0.get(&(file.ino as u32)).is_some_and(|devs| !known_dev || devs.contains(&device(file)))
    }
}

impl Listener {
    /// A process that has this socket open, among those whose descriptors we may see.
    pub(crate) fn holder(&self) -> Option<PeerCredentials> {
        holder_of(self.socket)
    }
}

/// A process that has the socket of this number open, among those whose descriptors we may see.
pub(crate) fn holder_of(socket: u32) -> Option<PeerCredentials> {
    let wanted = format!("socket:[{socket}]");
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

/// Calls `each` with every Unix socket in one of these states that is bound to a file.
pub(super) fn list(states: u32, show: u32, mut each: impl FnMut(Listed<'_>)) -> Result<(), Errno> {
    let socket = ask(&request(NLM_F_REQUEST_DUMP, states, 0, show, ANY_COOKIE))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (read, _) = net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if take(buffer.get(..read).unwrap_or_default(), &mut each)? == End::Yes {
            return Ok(());
        }
    }
}

/// For a fuzzer, which has no kernel that lies.
#[cfg(fuzzing)]
pub fn fuzz(datagram: &[u8]) {
    let _ = take(datagram, &mut |_| {});
}

/// Whether the list has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Yes,
    NotYet,
}

/// One datagram of the answer: netlink messages, one behind the other.
fn take(mut datagram: &[u8], each: &mut impl FnMut(Listed<'_>)) -> Result<End, Errno> {
    if datagram.is_empty() {
        return Err(Errno::IO);
    }
    while let (Some(length), Some(kind)) = (u32_at(datagram, 0), u16_at(datagram, 4)) {
        let length = length as usize;
        match kind {
            NLMSG_DONE => return Ok(End::Yes),
            NLMSG_ERROR => return Err(Errno::OPNOTSUPP),
            _ => {
                if let Some(listed) = datagram.get(HEADER..length).and_then(parse) {
                    each(listed);
                }
            }
        }
        if length < HEADER {
            return Err(Errno::IO); // a message that would never end
        }
        // Where a usize has 32 bits the length may be too near its end to be rounded up.
        let next = length.checked_next_multiple_of(4);
        datagram = next.and_then(|next| datagram.get(next..)).unwrap_or_default();
    }
    Ok(End::NotYet)
}

/// The kernel's answer about the one socket of this number, and of this cookie unless it is [`ANY_COOKIE`].
pub(super) fn ask_one(number: u32, cookie: u64, show: u32, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    let socket = ask(&request(NLM_F_REQUEST, ANY_STATE, number, show, cookie))?;
    // The answer to such a request has come before send() returns.
    let (read, _) = net::recv(&socket, &mut *buffer, RecvFlags::DONTWAIT)?;
    Ok(buffer.get(..read).unwrap_or_default())
}

fn ask(request: &[u8]) -> Result<OwnedFd, Errno> {
    let socket =
        net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    net::send(&socket, request, SendFlags::empty())?;
    Ok(socket)
}

/// `struct nlmsghdr` and `struct unix_diag_req`: sockets in these states, `socket` being the number of the one or 0.
fn request(flags: u16, states: u32, socket: u32, show: u32, cookie: u64) -> Vec<u8> {
    let mut request = Vec::with_capacity(40);
    request.extend(40_u32.to_ne_bytes()); // the whole length
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]); // sequence, port
    request.extend([1, 0, 0, 0]); // AF_UNIX
    request.extend(states.to_ne_bytes());
    request.extend(socket.to_ne_bytes());
    request.extend(show.to_ne_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "the low half, then the high half")]
    request.extend([cookie as u32, (cookie >> 32) as u32].into_iter().flat_map(u32::to_ne_bytes));
    request
}

/// The attributes of the one socket that was asked about; else the kernel's errno.
pub(super) fn attributes_of_one(message: &[u8]) -> Result<impl Iterator<Item = (u16, &[u8])>, Errno> {
    match u16_at(message, 4) {
        Some(SOCK_DIAG_BY_FAMILY) => Ok(attributes(message.get(HEADER + 16..).unwrap_or_default())),
        Some(NLMSG_ERROR) => {
            let errno = u32_at(message, HEADER).map(|errno| i32::from_ne_bytes(errno.to_ne_bytes()).wrapping_neg());
            Err(errno.filter(|errno| (1..4096).contains(errno)).map_or(Errno::IO, Errno::from_raw_os_error))
        }
        _ => Err(Errno::IO),
    }
}

/// `struct unix_diag_msg` and its attributes; `None` for a socket without a file.
fn parse(message: &[u8]) -> Option<Listed<'_>> {
    let mut listener =
        Listener { is_stream: message.get(1) == Some(&1), socket: u32_at(message, 4)?, ..Listener::default() };
    let (mut file, mut name) = (None, &[][..]);
    for (kind, content) in attributes(message.get(16..)?) {
        match kind {
            // With the NUL at its end, or without (unix(7)).
            UNIX_DIAG_NAME => name = content.strip_suffix(b"\0").unwrap_or(content),
            UNIX_DIAG_VFS => file = Some(bound_file(content)?),
            UNIX_DIAG_SHUTDOWN => listener.is_shut = lets_nobody_in(content),
            UNIX_DIAG_UID => listener.uid = u32_at(content, 0),
            UNIX_DIAG_RQLEN => listener.is_full = u32_at(content, 0)? > u32_at(content, 4)?,
            _ => {}
        }
    }
    file.map(|(ino, dev)| Listed { listener, ino, dev, name })
}

/// The attributes behind a `struct unix_diag_msg`: what each is, and its content.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        // One that is shorter than its own head would never end.
        let content = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// `UNIX_DIAG_VFS`: an inode's number, or its low 32 bits, and its device.
pub(super) fn bound_file(content: &[u8]) -> Option<(u32, (u32, u32))> {
    // A device number in the kernel's inner form: 12 bits and 20 bits.
    let (ino, dev) = (u32_at(content, 0)?, u32_at(content, 4)?);
    Some((ino, (dev >> 20, dev & 0xf_ffff)))
}

/// `UNIX_DIAG_SHUTDOWN`: a socket that has been shut is in the state of listening still.
pub(super) fn lets_nobody_in(content: &[u8]) -> bool {
    content.first().is_some_and(|bits| bits & RCV_SHUTDOWN != 0)
}

/// A file's device, as these lists have it.
pub(super) fn device(file: FileId) -> (u32, u32) {
    (sysfs::major(file.dev), sysfs::minor(file.dev))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as the kernel makes it, with its attributes.
    pub(in crate::sys::linux) fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = u32::try_from(HEADER + body.len()).expect("short").to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.resize(HEADER, 0);
        message.extend(body);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    pub(in crate::sys::linux) fn listener(ino: u32, dev: u32, queued: u32, backlog: u32) -> Vec<u8> {
        let mut body = vec![1, 1, 10, 0];
        body.extend(77_u32.to_ne_bytes());
        body.resize(16, 0);
        for (kind, values) in [(UNIX_DIAG_VFS, [ino, dev]), (UNIX_DIAG_RQLEN, [queued, backlog])] {
            body.extend(12_u16.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
        }
        message(SOCK_DIAG_BY_FAMILY, &body)
    }

    type Taken = (Listener, u32, (u32, u32));

    fn taken(datagram: &[u8]) -> (Result<End, Errno>, Vec<Taken>) {
        let mut all = Vec::new();
        let end = take(datagram, &mut |Listed { listener, ino, dev, .. }| all.push((listener, ino, dev)));
        (end, all)
    }

    #[test]
    fn a_list_of_listeners_is_read_to_its_end() {
        let datagram = [listener(5, 8 << 20 | 2, 3, 2), listener(6, 9, 2, 2), message(NLMSG_DONE, &[0; 4])].concat();
        let full = Listener { is_stream: true, is_full: true, is_shut: false, uid: None, socket: 77 };
        let free = Listener { is_full: false, ..full };
        assert_eq!(taken(&datagram), (Ok(End::Yes), vec![(full, 5, (8, 2)), (free, 6, (0, 9))]));
        assert_eq!(taken(&listener(5, 0, 0, 1)).0, Ok(End::NotYet));
        let mut shut = listener(5, 0, 0, 1);
        shut.extend([5, 0, 6, 0, RCV_SHUTDOWN, 0, 0, 0, 8, 0, 7, 0, 100, 0, 0, 0]);
        shut[0] += 16; // the message has two attributes more
        let shut_one = Listener { is_shut: true, uid: Some(100), ..free };
        assert_eq!(taken(&shut), (Ok(End::NotYet), vec![(shut_one, 5, (0, 0))]));
        assert_eq!(taken(&message(NLMSG_ERROR, &[0; 20])).0, Err(Errno::OPNOTSUPP));
    }

    #[test]
    fn a_message_that_says_it_is_longer_than_any_memory_is_the_last() {
        for length in [u32::MAX, u32::MAX - 3, 0x8000_0000] {
            let mut datagram = [listener(5, 7, 3, 2), listener(6, 9, 2, 2)].concat();
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(taken(&datagram), (Ok(End::NotYet), vec![]));
        }
    }

    #[test]
    fn a_name_is_taken_to_its_last_byte() {
        let named = |name: &[u8]| {
            let mut message = listener(5, 0, 0, 1).split_off(HEADER);
            message.extend(u16::try_from(4 + name.len()).expect("short").to_ne_bytes());
            message.extend(UNIX_DIAG_NAME.to_ne_bytes());
            message.extend(name);
            message
        };
        for (told, name) in [(&b"/run/a b\n\0"[..], &b"/run/a b\n"[..]), (b"/run/s", b"/run/s"), (b"\0", b"")] {
            assert_eq!(parse(&named(told)).map(|listed| listed.name), Some(name));
        }
        // Without a file it is no path, whatever its name reads like.
        let abstract_one = [vec![1, 1, 10, 0], vec![0; 12], vec![6, 0, 0, 0, 0, b'/']].concat();
        assert_eq!(parse(&abstract_one), None);
    }

    #[test]
    fn a_file_is_bound_by_inode_and_by_device_where_that_is_known() {
        let files = BoundFiles(HashMap::from([(5, vec![(8, 2)])]));
        let file = |ino, minor| FileId { dev: sysfs::makedev(8, minor), ino };
        assert!(files.may_contain(file(5, 2), true) && files.may_contain(file(1 << 32 | 5, 2), true));
        assert!(!files.may_contain(file(5, 3), true) && files.may_contain(file(5, 3), false));
        assert!(!files.may_contain(file(6, 2), true) && !files.may_contain(file(6, 2), false));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic_or_run_for_ever(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0..64_usize,
        ) {
            let _ = taken(&bytes);
            // Broken at one place only, so that what lies deeper is reached.
            let mut datagram = [listener(5, 7, 3, 2), listener(6, 9, 2, 2)].concat();
            for (place, byte) in datagram.iter_mut().skip(at).zip(&bytes) {
                *place = *byte;
            }
            prop_assert!(taken(&datagram).1.len() <= datagram.len());
        }
    }
}
