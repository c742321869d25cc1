//! Runtimes that take any descriptor need nothing from us: smol's async-io.

use std::thread;

use async_io::Async;
use unix_stream_server::{ServerSocket, connect};

use crate::support::dir::Dir;
use crate::support::sockets::assert_connected;
use crate::support::wait::within;
use crate::support::{PATIENCE, wait};

#[test]
fn async_io_takes_the_server_socket_itself() {
    let dir = Dir::new();
    let path = dir.join("s");
    let at = path.clone();
    within(PATIENCE, move || {
        async_io::block_on(async {
            let server = Async::new(ServerSocket::create(&at).expect("create")).expect("epoll");
            let late = at.clone();
            let client = thread::spawn(move || connect(late).expect("connect"));
            let (served, _) = server.read_with(|server| server.accept()).await.expect("accept");
            assert_connected(served, client.join().expect("no panic"));

            let queued = connect(&at).expect("connect");
            let mut drain = server.into_inner().expect("epoll").drain().expect("drain");
            assert_connected(drain.next().expect("one").expect("accept"), queued);
            assert!(drain.next().is_none());
        });
    });
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn async_io_takes_the_listener_and_its_path_is_removed_at_the_end() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (listener, ownership) = ServerSocket::create(&path).expect("create").into_parts().expect("parts");
    let at = path.clone();
    let accepting = wait::Worker::start(move || {
        async_io::block_on(async {
            let listener = Async::new(listener).expect("epoll");
            let (served, _) = listener.accept().await.expect("accept");
            (served.into_inner().expect("epoll"), listener.into_inner().expect("epoll"))
        })
    });
    let client = connect(&at).expect("connect");
    let (served, listener) = accepting.result();
    served.set_nonblocking(false).expect("fcntl");
    assert_connected(served, client);
    assert!(ownership.drain(listener).expect("drain").next().is_none());
    assert_eq!(dir.names(), [""; 0]);
}
