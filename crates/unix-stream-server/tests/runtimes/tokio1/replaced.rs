//! A server that may be replaced: nobody is lost, and the path is its successor's.

use std::fs::File;
use std::future::{pending, ready};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use unix_stream_server::{Builder, LockScope, ServerSocket, Status, connect, tokio1};

use super::{answer, ask, clients, join, run};
use crate::support::PATIENCE;
use crate::support::dir::Dir;
use crate::support::sockets::assert_serves;

fn builder() -> Builder {
    ServerSocket::builder().replaceable(true).take_over(true)
}

fn create(path: &Path) -> tokio1::ServerSocket {
    builder().create(path).expect("create").into_tokio().expect("tokio")
}

#[test]
fn a_server_that_was_replaced_serves_its_queue_and_ends_without_touching_the_path() {
    const CLIENTS: usize = 30;
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let mut first = create(&path).clients_until(pending());
        let queued: Vec<_> = (0..CLIENTS).map(|_| connect(&path).expect("connect")).collect();
        let asking = queued.into_iter().map(|client| thread::spawn(|| ask(client))).collect();
        let second = builder().create(&path).expect("take over");
        let mut answered = 0;
        while let Some(client) = first.next().await {
            tokio::spawn(answer(client.expect("accept")));
            answered += 1;
        }
        join(asking).await;
        assert_eq!(answered, CLIENTS, "the one who knocks is no client");
        assert_eq!(first.status().expect("the end").expect("nothing to remove"), Status::Replaced);
        drop(first);
        assert_eq!(dir.names(), ["s"]);
        assert_serves(&second, &path);
    });
}

#[test]
fn who_found_the_old_socket_just_before_it_was_replaced_is_served_in_the_grace_time() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let mut first = create(&path).clients_until(pending()).grace(2 * PATIENCE);
        let pin = File::options().read(true).custom_flags(libc::O_PATH).open(&path).expect("open");
        let second = builder().create(&path).expect("take over");
        // It has to be replaced in its own eyes before the late one comes.
        while !format!("{first:?}").contains("replaced") {
            let polled = tokio::time::timeout(std::time::Duration::from_millis(1), first.next()).await;
            assert!(polled.is_err(), "nobody is there");
        }
        let late = UnixStream::connect(format!("/proc/self/fd/{}", pin.as_raw_fd())).expect("not refused");
        let asking = vec![thread::spawn(|| ask(late))];
        answer(first.next().await.expect("not the end").expect("accept")).await;
        join(asking).await;
        drop(first);
        assert_serves(&second, &path);
    });
}

/// A successor may have come and gone.
#[test]
fn a_replaceable_server_whose_path_is_gone_ends_too() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let mut first = create(&path).clients_until(pending());
        builder().create(&path).expect("take over").close().expect("close");
        assert!(first.next().await.is_none());
        let mut third = create(&path).clients_until(pending());
        std::fs::remove_file(&path).expect("unlink");
        assert!(third.next().await.is_none());
        assert_eq!(third.status().expect("the end").expect("nothing to remove"), Status::Gone);
    });
}

#[test]
fn a_server_that_may_not_be_replaced_outlives_a_thief() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::create(&path).expect("create").into_tokio().expect("tokio");
        let queued = connect(&path).expect("connect");
        std::fs::rename(&path, dir.join("elsewhere")).expect("rename");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut clients = server.clients_until(async { drop(ended.await) }).grace(std::time::Duration::ZERO);
        let asking = vec![thread::spawn(|| ask(queued))];
        answer(clients.next().await.expect("not the end").expect("accept")).await;
        join(asking).await;
        assert_eq!(clients.server().expect("it serves").stolen().await, Status::Gone);
        let asking = super::clients(&dir.join("elsewhere"), 1);
        answer(clients.next().await.expect("not the end").expect("accept")).await;
        join(asking).await;
        let goes_on = tokio::time::timeout(std::time::Duration::from_millis(20), clients.next()).await;
        goes_on.expect_err("nobody is there, and it is not the end");
        assert!(clients.server().is_some());
        drop(end);
        assert!(clients.next().await.is_none());
    });
}

#[test]
fn with_a_life_lock_the_successor_gets_it_when_the_last_client_can_have_been_served() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let builder = builder().lock_scope(LockScope::Lifetime);
        let mut first = builder.create(&path).expect("create").into_tokio().expect("tokio").clients_until(pending());
        let mut second = builder.create(&path).expect("take over");
        assert!(first.next().await.is_none());
        assert!(second.wait_for_predecessor(std::time::Duration::ZERO).is_err(), "the first has not been dropped");
        drop(first);
        second.wait_for_predecessor(PATIENCE).expect("the first has ended");
        let asking = clients(&path, 1);
        let mut second = second.into_tokio().expect("tokio").clients_until(pending());
        answer(second.next().await.expect("not the end").expect("accept")).await;
        join(asking).await;
    });
}

#[test]
fn a_shutdown_cuts_the_grace_time_short() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = create(&path);
        let _second = builder().create(&path).expect("take over");
        let mut clients = server.clients_until(ready(())).grace(2 * PATIENCE);
        // The successor's questions, and then the end: long before the grace time is over.
        while let Some(client) = clients.next().await {
            drop(client);
        }
    });
}
