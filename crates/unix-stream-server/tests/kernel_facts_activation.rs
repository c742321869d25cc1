//! The facts of the kernel that adopting a socket relies on: see `kernel_facts.rs`, and `PLATFORM.md`.
#![cfg(target_os = "linux")]

#[path = "kernel_facts/support.rs"]
#[expect(dead_code, reason = "shared with kernel_facts.rs, which uses all of it")]
mod support;
#[path = "support/unshared.rs"]
pub mod unshared;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::fs;
use rustix::io::{Errno, FdFlags};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, netlink, sockopt};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use support::*;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;

/// Asks for one socket, by its number and cookie: the bound inode and the backlog.
fn ask(number: u32, cookie: u64) -> Result<(u32, u32), Errno> {
    let socket =
        net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut request = 40_u32.to_ne_bytes().to_vec();
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(1_u16.to_ne_bytes()); // a request, and no dump
    request.extend([0; 8]);
    request.extend([1, 0, 0, 0]); // AF_UNIX
    request.extend(u32::MAX.to_ne_bytes()); // in any state
    request.extend(number.to_ne_bytes());
    request.extend(0x12_u32.to_ne_bytes()); // file and queue
    request.extend([cookie as u32, (cookie >> 32) as u32].into_iter().flat_map(u32::to_ne_bytes));
    net::send(&socket, &request, SendFlags::empty())?;
    let mut answer = [0; 4096];
    // Without waiting: it has come by now.
    let (read, _) = net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    let word = |at: usize| u32::from_ne_bytes(answer[at..at + 4].try_into().expect("four bytes"));
    if word(4) as u16 == NLMSG_ERROR {
        return Err(Errno::from_raw_os_error(-(word(16) as i32)));
    }
    let (mut ino, mut backlog) = (0, 0);
    let mut at = 32;
    while at + 12 <= read {
        let (length, kind) = (word(at) & 0xffff, word(at) >> 16);
        match kind {
            1 => ino = word(at + 4),
            4 => backlog = word(at + 8),
            _ => {}
        }
        at += (length as usize).max(4).next_multiple_of(4);
    }
    Ok((ino, backlog))
}

fn number(socket: &OwnedFd) -> u32 {
    fs::fstat(socket).expect("fstat").st_ino as u32
}

fn cookie(socket: &OwnedFd) -> u64 {
    sockopt::socket_cookie(socket).expect("SO_COOKIE")
}

/// Whether this kernel can be asked at all.
fn answers() -> bool {
    match ask(1, 1) {
        Err(Errno::NOENT) => true,
        other => {
            eprintln!("this kernel has no unix_diag ({other:?}), so its silence proves nothing");
            false
        }
    }
}

#[test]
fn sock_diag_tells_of_one_socket_by_number_and_cookie_also_after_its_name_is_gone() {
    let scratch = Scratch::shared();
    if !answers() {
        return;
    }
    let server = listening(scratch.path("s"));
    net::listen(&server, 7).expect("listen");
    let ino = ino(scratch.path("s")) as u32; // the kernel cuts it to 32 bits
    assert_eq!(ask(number(&server), cookie(&server)), Ok((ino, 7)));
    assert_eq!(ask(number(&server), cookie(&server) + 1), Err(Errno::STALE), "a number that was given again");
    std::fs::rename(scratch.path("s"), scratch.path("moved")).expect("rename");
    assert_eq!(ask(number(&server), cookie(&server)), Ok((ino, 7)));
    std::fs::remove_file(scratch.path("moved")).expect("unlink");
    assert_eq!(ask(number(&server), cookie(&server)), Ok((ino, 7)));
}

#[test]
fn sock_diag_finds_no_socket_of_another_network_namespace_though_it_can_be_connected_to() {
    let scratch = Scratch::shared();
    if !is_root() || !answers() {
        return eprintln!("not tried: needs root and unix_diag");
    }
    let path = scratch.path("s");
    let server = listening(&path);
    let (number, cookie) = (number(&server), cookie(&server));
    std::thread::spawn(move || {
        unshared::with_own_network();
        assert_eq!(ask(number, cookie), Err(Errno::NOENT));
        assert_eq!(connect_nonblocking(&path).1, Ok(()));
    })
    .join()
    .expect("as expected");
}

#[test]
fn so_acceptconn_is_said_of_listeners_only() {
    let scratch = Scratch::shared();
    let server = bound(scratch.path("s"));
    assert_eq!(sockopt::socket_acceptconn(&server), Ok(false));
    net::listen(&server, 1).expect("listen");
    assert_eq!(sockopt::socket_acceptconn(&server), Ok(true));
    assert_eq!(sockopt::socket_acceptconn(client(scratch.path("s"))), Ok(false));
    let file = File::open("/dev/null").expect("open");
    assert_eq!(sockopt::socket_domain(&file), Err(Errno::NOTSOCK));
}

#[test]
fn a_shutdown_of_one_copy_shuts_them_all_and_a_close_none() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let copy = server.try_clone().expect("dup");
    let queued = client(scratch.path("s"));
    drop(copy);
    assert_eq!(probe(scratch.path("s")), Ok(()));
    net::shutdown(server.try_clone().expect("dup"), Shutdown::Read).expect("shutdown");
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
    drop(queued);
}

#[test]
fn non_blocking_is_of_the_socket_and_close_on_exec_of_the_copy() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let copy = server.try_clone().expect("dup");
    rustix::io::ioctl_fionbio(&copy, true).expect("FIONBIO");
    assert_eq!(net::accept(&server).map(drop), Err(Errno::AGAIN));
    rustix::io::fcntl_setfd(&copy, FdFlags::empty()).expect("fcntl");
    assert_eq!(rustix::io::fcntl_getfd(&server), Ok(FdFlags::CLOEXEC));
    rustix::io::fcntl_setfd(&copy, FdFlags::CLOEXEC).expect("fcntl");
}

#[test]
fn a_listener_listened_on_again_by_another_backlog_takes_it_at_once() {
    let scratch = Scratch::shared();
    let (server, _clients) = busy(scratch.path("s"));
    net::listen(&server, 0).expect("listen");
    assert_eq!(probe(scratch.path("s")), Err(Errno::AGAIN), "as full as it was");
    net::listen(&server, 10).expect("listen");
    assert_eq!(probe(scratch.path("s")), Ok(()));
}

#[test]
fn a_pidfd_has_the_same_number_each_time_where_there_is_a_pidfs() {
    const PIDFS: u64 = 0x5049_4446;
    let numbers = [(); 2].map(|()| {
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).expect("pidfd_open");
        let file_system = fs::fstatfs(&pidfd).expect("fstatfs").f_type as u64;
        (file_system == PIDFS).then(|| fs::fstat(&pidfd).expect("fstat").st_ino)
    });
    match numbers {
        [None, None] => eprintln!("this kernel has no pidfs (it came with Linux 6.9)"),
        [one, other] => assert!(one.is_some() && one == other, "{numbers:?}"),
    }
}

#[test]
fn so_sndtimeo_bounds_a_datagram_to_a_full_queue_with_eagain() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let _receiver = UnixDatagram::bind(&path).expect("bind");
    let sender = socket(SocketType::DGRAM);
    sockopt::set_socket_timeout(&sender, sockopt::Timeout::Send, Some(Duration::from_millis(20))).expect("setsockopt");
    let to = address(&path);
    let said = in_time(move || {
        let send = || net::sendto(sender.as_fd(), b"x", SendFlags::NOSIGNAL, &to);
        (0..100_000).find_map(|_| send().err())
    });
    assert_eq!(said, Some(Errno::AGAIN));
}
