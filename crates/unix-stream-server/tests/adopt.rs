//! Sockets that come by other means than the environment, and the duty to remove their path, which is taken explicitly.

pub mod support;

use std::fs::{self, File};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use libc::{ECONNREFUSED, EINVAL, ENAMETOOLONG, ENOENT, ENOTSOCK, EPERM, ESTALE, SYS_connect};
use rustix::io::FdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use support::assert_error;
use support::child::{Program, dir as given_dir, role, whole_process};
use support::dir::{Dir, exists};
use support::fork::in_a_forked_child;
use support::sockets::{assert_connected, assert_serves, fill, next_client, put_dead, stranger};
use support::wait::Worker;
use unix_stream_server::{AdoptedSocket, ErrorKind, ServerSocket, Status, adopt, connect};

#[test]
fn a_listener_that_is_adopted_is_close_on_exec_and_knows_its_path() {
    let dir = Dir::new();
    let path = dir.join("s");
    let listener = OwnedFd::from(stranger(&path));
    rustix::io::fcntl_setfd(&listener, FdFlags::empty()).expect("fcntl");
    let socket = adopt(listener).expect("a listener");
    assert_eq!(rustix::io::fcntl_getfd(&socket), Ok(FdFlags::CLOEXEC));
    assert_eq!((socket.name(), socket.owns_path()), (None, false));
    assert_eq!((socket.local_path(), socket.status()), (Some(path.as_path()), Some(Status::Ours)));
    assert_serves(&socket, &path);
    fs::rename(&path, dir.join("moved")).expect("rename");
    assert_eq!((socket.status(), socket.was_stolen()), (Some(Status::Gone), true));
    let other = stranger(&path);
    assert_eq!((socket.status(), socket.was_stolen()), (Some(Status::Replaced), true));
    drop((socket, other));
    assert_eq!(dir.names(), ["moved", "s"]);
}

#[test]
fn what_is_no_listener_comes_back_as_it_was() {
    let file = OwnedFd::from(File::open("/dev/null").expect("open"));
    rustix::io::fcntl_setfd(&file, FdFlags::empty()).expect("fcntl");
    let number = file.as_raw_fd();
    let refused = adopt(file).expect_err("a file");
    assert_error(&refused.error, ErrorKind::NotAListener, ENOTSOCK);
    assert!(refused.to_string().contains(&format!("descriptor {number} is a device")), "{refused}");
    assert_eq!(refused.fd.as_raw_fd(), number);
    assert_eq!(rustix::io::fcntl_getfd(&refused.fd), Ok(FdFlags::empty()));
}

#[test]
fn a_socket_that_comes_over_another_socket_is_served() {
    let (here, there) = UnixStream::pair().expect("socketpair");
    if role().is_some() {
        let path = given_dir().join("s");
        let channel = connect(given_dir().join("channel")).expect("the parent listens");
        let socket = adopt(received(&channel)).expect("a listener");
        assert_eq!(socket.status(), Some(Status::Ours));
        assert_serves(&socket, &path);
        return;
    }
    drop((here, there));
    let dir = Dir::new();
    let (made, channel) = (stranger(&dir.join("s")), stranger(&dir.join("channel")));
    let child = Program::new(&this_test!(), "server").dir(&dir).start();
    send(&next_client(&channel), made.as_fd());
    child.finish();
    assert!(exists(&dir.join("s")), "it was not the child's to remove");
}

fn send(channel: &UnixStream, fd: std::os::fd::BorrowedFd<'_>) {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    rustix::net::sendmsg(channel, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).expect("sendmsg");
}

fn received(channel: &UnixStream) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())
        .expect("recvmsg");
    let mut fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    fds.next().expect("a descriptor")
}

/// Adopted, with the duty to remove its path.
fn owning(path: &std::path::Path) -> AdoptedSocket {
    let mut socket = adopt(stranger(path)).expect("a listener");
    socket.own_path(path).expect("it leads here");
    assert!(socket.owns_path());
    socket
}

#[test]
fn the_duty_is_taken_given_up_and_made_a_server() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut socket = owning(&path);
    socket.own_path(&path).expect("it has the duty already");
    socket.leave_path();
    assert!(!socket.owns_path());
    assert_eq!((socket.local_path(), socket.status()), (Some(path.as_path()), Some(Status::Ours)));
    let mut socket = *socket.into_server().expect_err("the path is not its own");
    assert!(exists(&path));
    socket.own_path(&path).expect("again");
    let server = socket.into_server().expect("now it is");
    assert_eq!(server.status(), Status::Ours);
    assert_serves(&server, &path);
    let back = AdoptedSocket::from(server);
    assert!(back.owns_path());
    let queued = connect(&path).expect("connect");
    let mut drain = back.drain().expect("drain");
    assert_eq!(drain.status().expect("the lock was had"), Status::Ours);
    assert_connected(queued, drain.next().expect("queued").expect("accept"));
    assert!(drain.next().is_none());
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn the_duty_is_not_had_for_a_path_that_leads_elsewhere() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut socket = adopt(stranger(&path)).expect("a listener");
    let other = stranger(&dir.join("live"));
    put_dead(&dir.join("dead"));
    fs::write(dir.join("file"), "precious").expect("write");
    std::os::unix::fs::symlink(&path, dir.join("link")).expect("symlink");
    let before = dir.files();
    for name in ["live", "dead", "file", "link", "nothing"] {
        let error = socket.own_path(dir.join(name)).expect_err(name);
        assert_error(&error, ErrorKind::Moved, ESTALE);
    }
    let long = dir.join("x".repeat(300));
    for (path, kind, errno) in [
        (std::path::Path::new(""), ErrorKind::Invalid, EINVAL),
        (&long, ErrorKind::PathTooLong, ENAMETOOLONG),
        (&dir.join("no/such/s"), ErrorKind::System, ENOENT),
    ] {
        let error = socket.own_path(path).expect_err("no path of a socket");
        assert_eq!((error.kind(), error.raw_os_error()), (kind, errno), "{error}");
    }
    assert!(!socket.owns_path());
    // A second name of the same file leads here as well; but a socket has one path.
    socket.own_path(&path).expect("it leads here");
    fs::hard_link(&path, dir.join("second")).expect("link");
    assert_error(&socket.own_path(dir.join("second")).expect_err("owned"), ErrorKind::Invalid, EINVAL);
    fs::remove_file(dir.join("second")).expect("there");
    assert_eq!(dir.files(), before);
    drop(socket);
    assert_eq!(dir.names(), ["dead", "file", "link", "live"]);
    drop(other);
}

#[test]
fn what_took_the_path_meanwhile_is_left_alone() {
    let dir = Dir::new();
    let path = dir.join("s");
    let socket = owning(&path);
    fs::remove_file(&path).expect("there");
    let thief = stranger(&path);
    assert_eq!(socket.close().expect("nothing to remove"), Some(Status::Replaced));
    assert_serves(&thief, &path);
}

#[test]
fn all_copies_are_shut_only_when_that_is_asked_for() {
    let dir = Dir::new();
    let path = dir.join("s");
    let manager = stranger(&path);
    rustix::net::listen(&manager, 0).expect("listen");
    let socket = adopt(manager.try_clone().expect("dup")).expect("a listener");
    let clients = fill(&path);
    let asleep = {
        let path = path.clone();
        Worker::start(move || connect(path).map(drop).map_err(|error| error.raw_os_error()))
    };
    asleep.until_in(SYS_connect);
    let drain = socket.drain_all_copies().expect("the same process");
    assert_eq!(asleep.result(), Err(ECONNREFUSED), "nobody is left blocked");
    assert_eq!(drain.status().ok(), Some(Status::Ours));
    let served: Vec<_> = drain.map(|client| client.expect("accept")).collect();
    assert_eq!(served.len(), clients.len());
    for (client, served) in clients.into_iter().zip(served) {
        assert_connected(UnixStream::from(client), served);
    }
    assert_eq!(connect(&path).expect_err("shut").raw_os_error(), ECONNREFUSED);
    assert!(exists(&path), "the path is the maker's");
    assert!(manager.accept().is_err());
    // The next start replaces what is left.
    ServerSocket::create(&path).expect("dead").close().expect("close");
}

#[test]
fn a_forked_child_ends_nothing() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        for owns in [true, false] {
            let listener = UnixListener::bind(&path).expect("bind");
            let mut socket = Some(adopt(listener).expect("a listener"));
            if owns {
                socket.as_mut().expect("there").own_path(&path).expect("it leads here");
            }
            let mut take = |end: &dyn Fn(AdoptedSocket) -> bool| {
                assert_eq!(in_a_forked_child(|| end(socket.take().expect("there"))), 0);
            };
            let is_forked =
                |error: unix_stream_server::Error| (error.kind(), error.raw_os_error()) == (ErrorKind::Forked, EPERM);
            take(&|socket| {
                drop(socket);
                true
            });
            take(&|socket| socket.drain().is_err_and(is_forked));
            take(&|socket| socket.drain_all_copies().is_err_and(is_forked));
            take(&|mut socket| socket.own_path("/any").is_err_and(is_forked));
            take(&|mut socket| {
                socket.leave_path();
                true
            });
            let mut socket = socket.expect("the parent's");
            assert_eq!(socket.status(), Some(Status::Ours));
            assert_serves(&socket, &path);
            if owns {
                // A daemon's parent leaves it to the child.
                assert_eq!(
                    in_a_forked_child(|| {
                        socket.move_to_this_process();
                        socket.close().is_ok_and(|status| status == Some(Status::Ours))
                    }),
                    0
                );
                assert!(!exists(&path));
            } else {
                drop(socket);
                fs::remove_file(&path).expect("there");
            }
        }
    });
}
