//! What the rules for peers, the runtime directory and the cleaning assume of the kernel. Not through the library.
#![expect(unsafe_code, reason = "getsockopt of SO_PEERGROUPS and SO_PEERPIDFD has no safe wrapper")]

pub mod support;

use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, FdFlags};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use support::dir::Dir;
use support::sockets::bound;
use support::{NOBODY, as_user, is_root, not_tried};

fn getsockopt(socket: impl AsFd, option: libc::c_int, values: &mut [u32]) -> Result<usize, (i32, usize)> {
    let mut length = libc::socklen_t::try_from(size_of_val(values)).expect("short");
    // SAFETY: the values and their length in bytes outlive the call; any bits are a value.
    let done = unsafe {
        let to = values.as_mut_ptr().cast();
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, option, to, &raw mut length)
    };
    let filled = length as usize / size_of::<u32>();
    let errno = std::io::Error::last_os_error().raw_os_error().expect("an errno");
    if done == 0 { Ok(filled) } else { Err((errno, filled)) }
}

#[test]
fn peergroups_are_the_supplementary_groups_of_whoever_called_connect() {
    if !is_root() {
        return not_tried("the groups of another user's client: needs root");
    }
    let dir = Dir::new();
    let server = UnixListener::bind(dir.join("s")).expect("bind");
    support::dir::chmod(&dir.join("s"), 0o666);
    let groups: Vec<u32> = (7_000..7_003).collect();
    let _client = as_user(NOBODY, NOBODY, &groups, || UnixStream::connect(dir.join("s")).expect("connect"));
    let (accepted, _) = server.accept().expect("accept");
    let mut few = [0; 2];
    assert_eq!(getsockopt(&accepted, libc::SO_PEERGROUPS, &mut few), Err((libc::ERANGE, 3)));
    let mut room = [0; 8];
    assert_eq!(getsockopt(&accepted, libc::SO_PEERGROUPS, &mut room), Ok(3));
    assert_eq!(room[..3], groups);
}

#[test]
fn a_pidfd_of_the_peer_is_close_on_exec() {
    let dir = Dir::new();
    let _server = UnixListener::bind(dir.join("s")).expect("bind");
    let client = UnixStream::connect(dir.join("s")).expect("connect");
    let mut number = [0];
    match getsockopt(&client, libc::SO_PEERPIDFD, &mut number) {
        Ok(1) => {}
        Err((libc::ENOPROTOOPT, _)) => return not_tried("a pidfd of a peer: needs Linux 6.5"),
        other => panic!("{other:?}"),
    }
    // SAFETY: the kernel has just made it for this call.
    let pidfd = unsafe { OwnedFd::from_raw_fd(i32::try_from(number[0]).expect("a descriptor")) };
    assert!(rustix::io::fcntl_getfd(&pidfd).expect("fcntl").contains(FdFlags::CLOEXEC));
}

#[test]
fn openat2_with_no_xdev_enters_no_mounted_directory() {
    let root = std::fs::File::open("/").expect("open");
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |name: &str| openat2(&root, name, flags, Mode::empty(), ResolveFlags::NO_XDEV).map(drop);
    if open(".") == Err(Errno::NOSYS) {
        return not_tried("openat2: needs Linux 5.6");
    }
    assert_eq!(open("."), Ok(()));
    assert_eq!(open("proc"), Err(Errno::XDEV));
}

/// Inode and device of the file that each socket is bound to, in whatever state, and who made it.
fn listed() -> Result<Vec<(u32, Option<u32>)>, Errno> {
    let socket =
        net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut request = 40_u32.to_ne_bytes().to_vec();
    request.extend(20_u16.to_ne_bytes()); // SOCK_DIAG_BY_FAMILY
    request.extend(0x301_u16.to_ne_bytes()); // a request for all
    request.extend([0; 8]);
    request.extend([1, 0, 0, 0]); // AF_UNIX
    request.extend(u32::MAX.to_ne_bytes()); // any state
    request.extend(0_u32.to_ne_bytes());
    request.extend(0x42_u32.to_ne_bytes()); // UDIAG_SHOW_VFS, UDIAG_SHOW_UID
    request.extend([0xff; 8]);
    net::send(&socket, &request, SendFlags::empty())?;
    let (mut found, mut buffer) = (Vec::new(), vec![0_u8; 1 << 16]);
    let at = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four"));
    loop {
        let (read, _) = net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..read];
        while rest.len() >= 16 {
            let length = at(rest, 0) as usize;
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                3 => return Ok(found),
                2 => return Err(Errno::OPNOTSUPP),
                _ => {}
            }
            let (mut ino, mut uid, mut attributes) = (None, None, &rest[32..length]);
            while attributes.len() >= 4 {
                match u16::from_ne_bytes([attributes[2], attributes[3]]) {
                    1 => ino = Some(at(attributes, 4)),
                    7 => uid = Some(at(attributes, 4)),
                    _ => {}
                }
                let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
                attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
            found.extend(ino.map(|ino| (ino, uid)));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as the kernel does it")]
fn ino(path: &Path) -> u32 {
    support::dir::inode(path) as u32
}

#[test]
fn sock_diag_lists_bound_sockets_in_any_state_and_who_made_them_if_it_answers() {
    let dir = Dir::new();
    let not_listening = bound(&dir.join("bound"), SocketType::STREAM);
    let server = UnixListener::bind(dir.join("server")).expect("bind");
    let client = UnixStream::connect(dir.join("server")).expect("connect");
    let (accepted, _) = server.accept().expect("accept");
    drop(server);
    let Ok(all) = listed() else { return not_tried("the list of sockets: the kernel has none") };
    let uids =
        |name: &str| all.iter().filter(|(of, _)| *of == ino(&dir.join(name))).map(|(_, uid)| *uid).collect::<Vec<_>>();
    let me = Some(rustix::process::geteuid().as_raw());
    assert!(uids("bound").contains(&me) || uids("bound").contains(&None), "{:?}", uids("bound"));
    assert!(!uids("server").is_empty(), "the server's end of a connection is bound to its file");
    drop((not_listening, client, accepted));
}
