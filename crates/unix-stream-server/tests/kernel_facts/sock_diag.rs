//! The kernel's own list of listening Unix sockets: NETLINK_SOCK_DIAG, see sock_diag(7).

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const STATE_LISTEN: u32 = 1 << 10;
const SHOW_VFS: u32 = 2;
const SHOW_QUEUE: u32 = 0x10;
const ATTR_VFS: u16 = 1;
const ATTR_QUEUE: u16 = 4;

/// One listener: inode and device of the file it is bound to, how many wait in its queue, and its backlog.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listener {
    pub(crate) ino: u32,
    pub(crate) dev: (u32, u32),
    pub(crate) queued: u32,
    pub(crate) backlog: u32,
}

/// Every listener of this network namespace; the errno when the kernel cannot tell.
pub(crate) fn listeners() -> Result<Vec<Listener>, Errno> {
    let socket =
        net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut request = Vec::new();
    request.extend(40_u32.to_ne_bytes()); // length of all of it
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 8]); // sequence, port
    request.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    request.extend(STATE_LISTEN.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes()); // any inode
    request.extend((SHOW_VFS | SHOW_QUEUE).to_ne_bytes());
    request.extend([0xff; 8]); // any cookie
    net::send(&socket, &request, SendFlags::empty())?;

    let mut found = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (read, _) = net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..read];
        while rest.len() >= 16 {
            let len = u32_at(rest, 0) as usize;
            match u16_at(rest, 4) {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return Err(Errno::from_raw_os_error(-(u32_at(rest, 16) as i32))),
                _ => found.push(listener(&rest[16 + 16..len])),
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// An attribute of one socket, as numbers; empty where the kernel leaves it out.
fn of_socket(number: u64, show: u32, attribute: u16) -> Result<Vec<u32>, Errno> {
    let socket =
        net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut request = Vec::new();
    request.extend(40_u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(1_u16.to_ne_bytes()); // NLM_F_REQUEST
    request.extend([0; 8]);
    request.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes()); // any state
    request.extend((number as u32).to_ne_bytes());
    request.extend(show.to_ne_bytes());
    request.extend([0xff; 8]);
    net::send(&socket, &request, SendFlags::empty())?;
    let mut buffer = vec![0; 1 << 16];
    let (read, _) = net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    if u16_at(&buffer, 4) == NLMSG_ERROR {
        return Err(Errno::from_raw_os_error(-(u32_at(&buffer, 16) as i32)));
    }
    let mut attributes = &buffer[16 + 16..read];
    while attributes.len() >= 4 {
        let len = usize::from(u16_at(attributes, 0));
        if u16_at(attributes, 2) == attribute {
            return Ok((4..len).step_by(4).map(|at| u32_at(attributes, at)).collect());
        }
        attributes = attributes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Vec::new())
}

/// The inodes of the sockets that wait in a listener's queue.
pub(crate) fn queued(listener: u64) -> Result<Vec<u32>, Errno> {
    of_socket(listener, 0x08, 3) // UDIAG_SHOW_ICONS, UNIX_DIAG_ICONS
}

/// The memory that what a socket has sent takes until it is read.
pub(crate) fn sent(socket: u64) -> Result<u32, Errno> {
    Ok(of_socket(socket, SHOW_QUEUE, ATTR_QUEUE)?[1])
}

fn listener(mut attributes: &[u8]) -> Listener {
    let mut listener = Listener::default();
    while attributes.len() >= 4 {
        let len = usize::from(u16_at(attributes, 0));
        match u16_at(attributes, 2) {
            ATTR_VFS => {
                listener.ino = u32_at(attributes, 4);
                // The kernel's inner form of a device number: 12 bits and 20 bits.
                let dev = u32_at(attributes, 8);
                listener.dev = (dev >> 20, dev & 0xf_ffff);
            }
            ATTR_QUEUE => {
                listener.queued = u32_at(attributes, 4);
                listener.backlog = u32_at(attributes, 8);
            }
            _ => {}
        }
        attributes = attributes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    listener
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
