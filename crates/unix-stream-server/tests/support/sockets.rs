//! Sockets of every kind that may stand at a path, made without the library.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::PATIENCE;

/// A socket of a type, bound to a path, which does not listen.
#[must_use]
pub fn bound(path: &Path, kind: SocketType) -> OwnedFd {
    let socket = net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("socket");
    net::bind(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("bind");
    socket
}

/// A dead socket: what is left when the last descriptor of one is closed. It never had any, so that not even a copy in a
/// process that another test is just starting can make it look alive.
pub fn put_dead(path: &Path) {
    mknodat(CWD, path, FileType::Socket, Mode::from_raw_mode(0o777), 0).expect("mknod");
}

/// A live server of a stranger, who knows no lock.
#[must_use]
pub fn stranger(path: &Path) -> UnixListener {
    UnixListener::bind(path).expect("bind")
}

/// A live server with a full backlog, and the clients that fill it.
#[must_use]
pub fn busy(path: &Path) -> (OwnedFd, Vec<OwnedFd>) {
    let server = bound(path, SocketType::STREAM);
    net::listen(&server, 0).expect("listen");
    let clients = fill(path);
    (server, clients)
}

/// Has it been closed at the other end?
#[must_use]
pub fn hung_up(client: &UnixStream) -> bool {
    let mut events = [PollFd::new(client, PollFlags::empty())];
    poll(&mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
    events[0].revents().contains(PollFlags::HUP)
}

/// Clients until the backlog is full.
#[must_use]
pub fn fill(path: &Path) -> Vec<OwnedFd> {
    let address = SocketAddrUnix::new(path).expect("a short path");
    let mut clients = Vec::new();
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let client = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("socket");
        match net::connect(&client, &address) {
            Ok(()) => clients.push(client),
            Err(Errno::AGAIN) => return clients,
            Err(errno) => panic!("connect to {}: {errno}", path.display()),
        }
        assert!(clients.len() < 10_000, "the backlog never fills");
    }
}

/// The next client of any listener, which must come.
#[track_caller]
pub fn next_client(server: &impl AsFd) -> UnixStream {
    let seconds = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().try_into().expect("few"), tv_nsec: 0 };
    let mut events = [PollFd::new(server, PollFlags::IN)];
    let came = rustix::event::poll(&mut events, Some(&seconds)).expect("poll");
    assert_eq!(came, 1, "no client came");
    UnixStream::from(net::accept_with(server, SocketFlags::CLOEXEC).expect("accept"))
}

/// A client of the path is served by just this server; those queued before it have gone.
#[track_caller]
pub fn assert_serves(server: &impl AsFd, path: &Path) {
    let mut client = unix_stream_server::connect_timeout(path, PATIENCE).expect("the server is alive");
    let word = unique();
    client.write_all(&word).expect("write");
    client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    // Probes and earlier clients said nothing or something else.
    for _ in 0..10_000 {
        let mut accepted = next_client(server);
        if said(&mut accepted) == word {
            return;
        }
    }
    panic!("clients of {} land elsewhere", path.display());
}

/// What a client has said before it hung up or shut its side; nothing if it is still connected and silent.
fn said(client: &mut UnixStream) -> Vec<u8> {
    client.set_nonblocking(true).expect("fcntl");
    let mut words = Vec::new();
    let _ = client.read_to_end(&mut words);
    words
}

fn unique() -> Vec<u8> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("word {} of {}", NEXT.fetch_add(1, Ordering::Relaxed), std::process::id()).into_bytes()
}

/// A word each way between the ends of a connection.
#[track_caller]
pub fn assert_connected(mut one: UnixStream, mut other: UnixStream) {
    let mut word = [0; 4];
    one.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    other.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    one.write_all(b"ping").expect("write");
    other.read_exact(&mut word).expect("read");
    assert_eq!(&word, b"ping");
    other.write_all(b"pong").expect("write");
    one.read_exact(&mut word).expect("read");
    assert_eq!(&word, b"pong");
}
