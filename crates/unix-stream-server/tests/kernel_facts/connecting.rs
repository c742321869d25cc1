//! connect(), by what stands at the path.

use rustix::event::PollFlags;
use rustix::fs::{self, Mode};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, Shutdown, SocketType};
use std::fs as stdfs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::support::*;

#[test]
fn connect_to_nothing_or_a_dangling_symlink_says_enoent() {
    let scratch = Scratch::shared();
    let link = scratch.path("link");
    symlink("nothing", &link).unwrap();
    assert_eq!(probe(scratch.path("nothing")), Err(Errno::NOENT));
    assert_eq!(probe(link), Err(Errno::NOENT));
}

#[test]
fn connect_to_a_live_listener_succeeds_also_through_a_symlink() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    symlink("s", scratch.path("link")).unwrap();
    let _server = listening(&path);
    assert_eq!(probe(path), Ok(()));
    assert_eq!(probe(scratch.path("link")), Ok(()));
}

#[test]
fn connect_to_a_full_backlog_says_eagain_when_non_blocking() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (_server, _clients) = busy(&path);
    assert_eq!(probe(path), Err(Errno::AGAIN));
}

#[test]
fn connect_to_a_full_backlog_blocks_until_there_is_room() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (server, _clients) = busy(&path);
    let waiter = waiting_client(&path);
    net::accept(&server).unwrap();
    assert_eq!(waiter.result().map(drop), Ok(()));
}

#[test]
fn so_sndtimeo_bounds_a_blocking_connect_to_a_full_backlog_with_eagain() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (_server, _clients) = busy(&path);
    let socket = socket(SocketType::STREAM);
    set_socket_timeout(&socket, Timeout::Send, Some(Duration::from_millis(20))).unwrap();
    assert_eq!(in_time(move || net::connect(&socket, &address(path))), Err(Errno::AGAIN));
}

#[test]
fn poll_cannot_wait_for_room_in_a_full_backlog() {
    // It reports the unconnected socket as ready and hung up at once, so waiting needs a blocking connect or a timer.
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (_server, _clients) = busy(&path);
    let (socket, result) = connect_nonblocking(&path);
    assert_eq!(result, Err(Errno::AGAIN));
    assert!(polled(&socket).contains(PollFlags::OUT | PollFlags::HUP));
}

#[test]
fn connect_to_a_socket_of_another_type_says_eprototype() {
    let scratch = Scratch::shared();
    let datagram = socket(SocketType::DGRAM);
    net::bind(&datagram, &address(scratch.path("datagram"))).unwrap();
    let packets = socket(SocketType::SEQPACKET);
    net::bind(&packets, &address(scratch.path("packets"))).unwrap();
    net::listen(&packets, 1).unwrap();
    assert_eq!(probe(scratch.path("datagram")), Err(Errno::PROTOTYPE));
    assert_eq!(probe(scratch.path("packets")), Err(Errno::PROTOTYPE));
}

#[test]
fn connect_to_a_dead_socket_of_any_type_says_econnrefused() {
    let scratch = Scratch::shared();
    leave_dead(scratch.path("stream"));
    assert_eq!(probe(scratch.path("stream")), Err(Errno::CONNREFUSED));
    net::bind(socket(SocketType::DGRAM), &address(scratch.path("datagram"))).unwrap();
    assert_eq!(probe(scratch.path("datagram")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_to_a_socket_bound_but_not_listening_says_econnrefused() {
    let scratch = Scratch::shared();
    let _socket = bound(scratch.path("s"));
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_after_shut_rd_says_econnrefused() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    net::shutdown(&server, Shutdown::Read).unwrap();
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_to_a_bound_client_says_econnrefused_though_it_is_alive() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let client = bound(scratch.path("client"));
    net::connect(&client, &address(scratch.path("s"))).unwrap();
    assert_eq!(probe(scratch.path("client")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_to_what_is_no_socket_says_econnrefused_as_if_it_were_dead() {
    let scratch = Scratch::shared();
    stdfs::write(scratch.path("file"), "precious").unwrap();
    stdfs::create_dir(scratch.path("dir")).unwrap();
    make_fifo(&scratch.path("fifo"), 0o600);
    for name in ["file", "dir", "fifo"] {
        assert_eq!(probe(scratch.path(name)), Err(Errno::CONNREFUSED), "{name}");
    }
}

#[test]
fn connect_through_a_symlink_loop_says_eloop() {
    let scratch = Scratch::shared();
    symlink("loop", scratch.path("loop")).unwrap();
    assert_eq!(probe(scratch.path("loop")), Err(Errno::LOOP));
}

#[test]
fn connect_without_write_permission_says_eacces_whether_live_or_dead() {
    as_ordinary_user("connecting::connect_without_write_permission_says_eacces_whether_live_or_dead", || {
        let scratch = Scratch::shared();
        let path = scratch.path("s");
        let server = listening(&path);
        fs::chmod(&path, Mode::from_raw_mode(0o555)).unwrap();
        assert_eq!(probe(&path), Err(Errno::ACCESS));
        drop(server);
        assert_eq!(probe(&path), Err(Errno::ACCESS));
    });
}
