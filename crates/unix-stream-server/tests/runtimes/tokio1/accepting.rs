//! Clients come in, whatever is dropped in the middle; and the loss of the path is told.

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures_core::Stream;
use rustix::fs::OFlags;
use tokio::task::yield_now;
use unix_stream_server::{ErrorKind, ServerSocket, Status, connect, tokio1};

use super::{answer, ask, clients, join, run};
use crate::support::child::{whole_process, with_descriptors};
use crate::support::dir::Dir;
use crate::support::sockets::assert_serves;
use crate::this_test;

#[test]
fn a_server_given_to_tokio_does_not_block_and_serves() {
    let dir = Dir::new();
    run(async {
        let server =
            tokio1::ServerSocket::try_from(ServerSocket::create(dir.join("s")).expect("create")).expect("tokio");
        assert!(rustix::fs::fcntl_getfl(server.as_fd()).expect("fcntl").contains(OFlags::NONBLOCK));
        assert_eq!((server.status(), server.local_path()), (Status::Ours, dir.join("s").as_path()));
        let asking = clients(&dir.join("s"), 3);
        for _ in 0..3 {
            answer(server.accept().await.expect("accept").0).await;
        }
        join(asking).await;
        assert_eq!(server.close().await.expect("close"), Status::Ours);
    });
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn an_accept_that_is_dropped_at_any_time_loses_nobody() {
    const CLIENTS: usize = 200;
    let dir = Dir::new();
    run(async {
        let server = ServerSocket::create(dir.join("s")).expect("create").into_tokio().expect("tokio");
        let asking = clients(&dir.join("s"), CLIENTS);
        let mut accepted = 0;
        let mut dropped = 0;
        while accepted < CLIENTS {
            // Polled once, or once more after it was woken, and dropped.
            let mut accept = pin!(server.accept());
            for _ in 0..=dropped % 2 {
                if let Poll::Ready(client) = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await {
                    tokio::spawn(answer(client.expect("accept").0));
                    accepted += 1;
                    break;
                }
                yield_now().await;
            }
            dropped += 1;
        }
        join(asking).await;
        assert!(dropped >= accepted);
    });
}

#[test]
fn many_tasks_may_accept_at_once() {
    const CLIENTS: usize = 60;
    let dir = Dir::new();
    run(async {
        let server = Arc::new(ServerSocket::create(dir.join("s")).expect("create").into_tokio().expect("tokio"));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    loop {
                        answer(server.accept().await.expect("accept").0).await;
                    }
                })
            })
            .collect();
        join(clients(&dir.join("s"), CLIENTS)).await;
        tasks.iter().for_each(|task| task.abort());
    });
}

#[test]
fn the_socket_is_a_stream_of_clients() {
    let dir = Dir::new();
    run(async {
        let mut server = ServerSocket::create(dir.join("s")).expect("create").into_tokio().expect("tokio");
        let asking = clients(&dir.join("s"), 5);
        for _ in 0..5 {
            let client = poll_fn(|cx| Pin::new(&mut server).poll_next(cx)).await.expect("endless");
            answer(client.expect("accept")).await;
        }
        join(asking).await;
    });
}

#[test]
fn without_a_runtime_the_server_is_handed_back_unharmed() {
    let dir = Dir::new();
    let refused = ServerSocket::create(dir.join("s")).expect("create").into_tokio().expect_err("no runtime");
    crate::support::assert_error(&refused.error, ErrorKind::Invalid, libc::EINVAL);
    refused.server.set_nonblocking(false).expect("fcntl");
    assert_serves(&*refused.server, &dir.join("s"));
}

#[test]
fn a_server_taken_out_of_the_reactor_is_the_same_server() {
    let dir = Dir::new();
    let server =
        run(async { ServerSocket::create(dir.join("s")).expect("create").into_tokio().expect("tokio").into_inner() });
    assert_serves(&server, &dir.join("s"));
    assert_eq!(server.close().expect("close"), Status::Ours);
}

#[test]
fn without_descriptors_nobody_is_lost_and_nothing_spins() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let runtime = super::one_thread();
        let mut clients = runtime.block_on(async {
            let server = ServerSocket::create(dir.join("s")).expect("create").into_tokio().expect("tokio");
            server.clients_until(std::future::pending())
        });
        let queued = connect(dir.join("s")).expect("connect");
        let start = Instant::now();
        let mut errors = 0;
        with_descriptors(0, || {
            while errors < 3 {
                let error = runtime.block_on(clients.next()).expect("not the end").expect_err("no descriptors");
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                errors += 1;
            }
        });
        assert!(start.elapsed() >= Duration::from_millis(200), "it spins");
        let asking = vec![thread::spawn(|| ask(queued))];
        runtime.block_on(async {
            answer(clients.next().await.expect("not the end").expect("accept")).await;
            join(asking).await;
        });
    });
}

#[test]
fn a_server_dropped_in_a_runtime_or_outside_removes_its_path_at_once() {
    let dir = Dir::new();
    for scope in [unix_stream_server::LockScope::Startup, unix_stream_server::LockScope::Lifetime] {
        let create = || ServerSocket::builder().lock_scope(scope).create(dir.join("s")).expect("create");
        run(async {
            let server = create().into_tokio().expect("tokio");
            let queued = connect(dir.join("s")).expect("connect");
            drop(server);
            assert_eq!(dir.names(), [""; 0]);
            drop(queued);
        });
        let runtime = super::one_thread();
        let server = runtime.block_on(async { create().into_tokio().expect("tokio") });
        drop(server);
        assert_eq!(dir.names(), [""; 0]);
        let server = runtime.block_on(async { create().into_tokio().expect("tokio") });
        drop(runtime);
        drop(server);
        assert_eq!(dir.names(), [""; 0]);
    }
}
