//! mio: a source of events like any other.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use unix_stream_server::{ServerSocket, Status, connect, mio1};

use crate::support::PATIENCE;
use crate::support::dir::Dir;
use crate::support::sockets::assert_serves;

/// The tokens of the next events; there must be some.
#[track_caller]
fn wait(poll: &mut Poll) -> Vec<Token> {
    let mut events = Events::with_capacity(16);
    let start = Instant::now();
    while events.is_empty() {
        assert!(start.elapsed() < PATIENCE, "no event came");
        poll.poll(&mut events, Some(PATIENCE)).expect("poll");
    }
    events.iter().map(mio::event::Event::token).collect()
}

/// Both ends speak, and neither blocks the server.
fn assert_speaks(mut served: mio::net::UnixStream, mut client: net::UnixStream) {
    assert_eq!(served.read(&mut [0; 4]).expect_err("nothing yet").kind(), ErrorKind::WouldBlock);
    served.write_all(b"word").expect("write");
    drop(served);
    let mut word = Vec::new();
    client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    client.read_to_end(&mut word).expect("read");
    assert_eq!(word, b"word");
}

#[test]
fn each_client_is_an_event_and_nobody_is_none() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = mio1::ServerSocket::try_from(ServerSocket::create(&path).expect("create")).expect("mio");
    let mut poll = Poll::new().expect("epoll");
    poll.registry().register(&mut server, Token(7), Interest::READABLE).expect("register");
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
    assert!(events.is_empty());
    for _ in 0..3 {
        assert_eq!(server.accept().expect_err("nobody").kind(), ErrorKind::WouldBlock);
        let client = connect(&path).expect("connect");
        assert_eq!(wait(&mut poll), [Token(7)]);
        assert_speaks(server.accept().expect("accept").0, client);
    }
    poll.registry().reregister(&mut server, Token(8), Interest::READABLE).expect("reregister");
    let _client = connect(&path).expect("connect");
    assert_eq!(wait(&mut poll), [Token(8)]);
    poll.registry().deregister(&mut server).expect("deregister");
    let _client = connect(&path).expect("connect");
    poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
    assert!(events.is_empty());
    assert_eq!(server.close().expect("close"), Status::Ours);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_drain_hands_out_the_queue_and_never_waits() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create").into_mio().expect("mio");
    let clients: Vec<_> = (0..20).map(|_| connect(&path).expect("connect")).collect();
    let mut drain = server.drain().expect("drain");
    assert_eq!(dir.names(), [""; 0]);
    assert_eq!(drain.status().expect("removed"), Status::Ours);
    for client in clients {
        assert_speaks(drain.next().expect("queued").expect("accept"), client);
    }
    assert!(drain.next().is_none() && drain.next().is_none());
}

#[test]
fn a_lost_path_is_an_event() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    let mut watch = server.watch().expect("watch");
    let mut poll = Poll::new().expect("epoll");
    poll.registry().register(&mut watch, Token(1), Interest::READABLE).expect("register");
    // One event each time, though the events of mio are edge-triggered.
    for status in [Status::Gone, Status::Ours, Status::Gone, Status::Ours] {
        let (from, to) = if status == Status::Gone { ("s", "away") } else { ("away", "s") };
        std::fs::rename(dir.join(from), dir.join(to)).expect("rename");
        loop {
            assert_eq!(wait(&mut poll), [Token(1)]);
            if let Some(news) = watch.check().expect("not forked") {
                assert_eq!(news, status);
                break;
            }
        }
    }
    poll.registry().deregister(&mut watch).expect("deregister");
}

#[test]
fn the_server_comes_back_whole() {
    let dir = Dir::new();
    let server = ServerSocket::create(dir.join("s")).expect("create").into_mio().expect("mio");
    assert_eq!(server.get_ref().status(), Status::Ours);
    assert_serves(&server, &dir.join("s"));
    let server = server.into_inner();
    assert_serves(&server, &dir.join("s"));
    drop(server);
    assert_eq!(dir.names(), [""; 0]);
    drop(ServerSocket::create(dir.join("s")).expect("create").into_mio().expect("mio"));
    assert_eq!(dir.names(), [""; 0]);
}
