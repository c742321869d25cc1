//! The end: nobody who was let in is lost, nobody stays blocked, and the runtime goes on in the meantime.

use std::future::{Future, pending, poll_fn, ready};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use unix_stream_server::{Claim, ErrorKind, LockScope, PathState, ServerSocket, Status, connect, probe, tokio1};

use super::{answer, ask, join, one_thread, run};
use crate::support::dir::Dir;
use crate::support::sockets::fill;
use crate::support::wait::Worker;
use crate::support::{PATIENCE, assert_error};

fn create(path: &Path) -> tokio1::ServerSocket {
    ServerSocket::builder().lock_timeout(PATIENCE).create(path).expect("create").into_tokio().expect("tokio")
}

/// Holds the lock of a path: whoever wants to end a server there has to wait. The socket that stands there is put aside
/// for as long as it takes to get the lock, since nothing is claimed where a server lives.
fn hold_lock(path: &Path) -> Claim {
    let aside = path.with_extension("aside");
    std::fs::rename(path, &aside).expect("rename");
    let claim = ServerSocket::builder().claim(path).expect("claim");
    std::fs::rename(&aside, path).expect("rename");
    claim
}

#[test]
fn a_drain_hands_out_the_queue_and_frees_the_path() {
    const CLIENTS: usize = 100;
    let dir = Dir::new();
    run(async {
        let server = create(&dir.join("s"));
        let queued: Vec<_> = (0..CLIENTS).map(|_| connect(dir.join("s")).expect("connect")).collect();
        let mut drain = server.drain().await.expect("drain");
        assert_eq!(dir.names(), [""; 0]);
        assert_eq!(drain.status().expect("removed"), Status::Ours);
        let asking = queued.into_iter().map(|client| thread::spawn(|| ask(client))).collect();
        let mut count = 0;
        while let Some(client) = drain.next().await {
            tokio::spawn(answer(client.expect("accept")));
            count += 1;
        }
        assert_eq!(count, CLIENTS);
        assert!(poll_fn(|cx| Pin::new(&mut drain).poll_next(cx)).await.is_none(), "the end is the end");
        join(asking).await;
    });
}

#[test]
fn neither_drain_nor_close_holds_the_runtime_up_while_the_lock_is_held() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        // This is the only thread: an end that blocked it would wait for a lock that is never given back.
        let server = create(&path);
        let queued = connect(&path).expect("connect");
        let claim = hold_lock(&path);
        let mut draining = pin!(server.drain());
        assert!(poll_fn(|cx| Poll::Ready(draining.as_mut().poll(cx))).await.is_pending());
        drop(claim);
        let mut drain = draining.await.expect("drain");
        assert_eq!(drain.status().expect("removed"), Status::Ours);
        assert!(drain.next().await.expect("one").is_ok());
        assert!(drain.next().await.is_none());
        drop(queued);

        let server = create(&path);
        let claim = hold_lock(&path);
        let mut closing = pin!(server.close());
        assert!(poll_fn(|cx| Poll::Ready(closing.as_mut().poll(cx))).await.is_pending());
        drop(claim);
        assert_eq!(closing.await.expect("close"), Status::Ours);

        let server = create(&path);
        let claim = hold_lock(&path);
        let mut clients = server.clients_until(ready(()));
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut clients).poll_next(cx))).await.is_pending());
        drop(claim);
        assert!(clients.next().await.is_none());
        assert_eq!(clients.status().expect("the end").expect("removed"), Status::Ours);
    });
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_lock_that_is_not_had_is_told_and_nobody_is_lost_all_the_same() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::builder().lock_timeout(Duration::ZERO).create(&path).expect("create");
        let queued = connect(&path).expect("connect");
        let asking = vec![thread::spawn(|| ask(queued))];
        let claim = hold_lock(&path);
        let mut clients = server.into_tokio().expect("tokio").clients_until(ready(()));
        answer(clients.next().await.expect("one").expect("accept")).await;
        assert!(clients.next().await.is_none());
        assert_error(clients.status().expect("the end").expect_err("no lock"), ErrorKind::Locked, libc::EEXIST);
        drop(claim);
        join(asking).await;
    });
    assert_eq!(dir.names(), ["s"]);
    assert_eq!(probe(&path).expect("probe"), PathState::Dead);
}

#[test]
fn whoever_was_let_in_before_the_end_is_answered() {
    let dir = Dir::new();
    for round in 0..20 {
        let path = dir.join(format!("s{round}"));
        run(async {
            let (end, ended) = oneshot::channel::<()>();
            let mut serving = create(&path).clients_until(async move { drop(ended.await) });
            assert_eq!((serving.local_path(), serving.status().is_none()), (path.as_path(), true));
            let is_over = Arc::new(AtomicBool::new(false));
            let flood: Vec<_> = (0..4)
                .map(|_| {
                    let (path, is_over) = (path.clone(), Arc::clone(&is_over));
                    thread::spawn(move || {
                        let mut asked = 0;
                        while !is_over.load(Ordering::Relaxed) {
                            // Refused or absent: the server has ended. Let in: it has to be answered.
                            let Ok(client) = connect(&path) else { break };
                            ask(client);
                            asked += 1;
                        }
                        asked
                    })
                })
                .collect();
            let mut end = Some(end);
            let mut answered = 0;
            while let Some(client) = serving.next().await {
                tokio::spawn(answer(client.expect("accept")));
                answered += 1;
                if answered == 50 {
                    drop(end.take());
                }
            }
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(serving.status().expect("the end").expect("removed"), Status::Ours);
            assert!(serving.next().await.is_none() && serving.server().is_none());
            let asked: usize = join(flood).await.into_iter().sum();
            assert_eq!(asked, answered);
        });
    }
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn the_end_wakes_who_is_blocked_in_connect_and_serves_who_is_queued() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::builder().backlog(1).create(&path).expect("create").into_tokio().expect("tokio");
        let queued = fill(&path);
        let at = path.clone();
        let blocked = Worker::start(move || connect(at).map(drop).map_err(|error| error.raw_os_error()));
        blocked.until_in(libc::SYS_connect);
        let mut clients = server.clients_until(ready(()));
        let mut count = 0;
        while let Some(client) = clients.next().await {
            drop(client.expect("accept"));
            count += 1;
        }
        assert_eq!(count, queued.len());
        assert_eq!(blocked.result(), Err(libc::ENOENT));
    });
}

#[test]
fn a_next_that_is_dropped_at_any_time_loses_nobody() {
    const CLIENTS: usize = 50;
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let (end, ended) = oneshot::channel::<()>();
        let mut end = Some(end);
        let mut serving = create(&path).clients_until(async move { drop(ended.await) });
        let queued: Vec<_> = (0..CLIENTS).map(|_| connect(&path).expect("connect")).collect();
        let asking = queued.into_iter().map(|client| thread::spawn(|| ask(client))).collect();
        let mut answered = 0;
        let mut claim = None;
        loop {
            // A future of its own each time, polled once.
            let mut next = Box::pin(serving.next());
            let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
            drop(next);
            match polled {
                Poll::Pending => yield_now().await,
                Poll::Ready(None) => break,
                Poll::Ready(Some(client)) => {
                    tokio::spawn(answer(client.expect("accept")));
                    answered += 1;
                    if answered == CLIENTS / 2 {
                        // The end has to wait for the lock.
                        claim = Some(hold_lock(&path));
                        drop(end.take());
                    }
                }
            }
            if serving.server().is_none() {
                drop(claim.take());
            }
        }
        join(asking).await;
        assert_eq!(answered, CLIENTS);
    });
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_life_lock_is_held_until_the_last_client_can_have_been_served() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::builder().lock_scope(LockScope::Lifetime).create(&path).expect("create");
        let _queued = [connect(&path).expect("connect"), connect(&path).expect("connect")];
        let mut clients = server.into_tokio().expect("tokio").clients_until(ready(()));
        assert!(clients.next().await.expect("one").is_ok());
        let second = ServerSocket::builder().lock_scope(LockScope::Lifetime).lock_timeout(Duration::ZERO);
        let refused = second.create(&path).expect_err("the first still drains");
        assert_error(&refused, ErrorKind::InUse, libc::EADDRINUSE);
        assert!(clients.next().await.expect("two").is_ok());
        assert!(clients.next().await.is_none());
        // The last one is still to be served.
        assert_error(&second.create(&path).expect_err("it lives"), ErrorKind::InUse, libc::EADDRINUSE);
        drop(clients);
        second.create(&path).expect("its life is over").close().expect("close");
    });
}

#[test]
fn a_server_whose_path_was_lost_ends_without_touching_what_stands_there() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = create(&path);
        let queued = connect(&path).expect("connect");
        let asking = vec![thread::spawn(|| ask(queued))];
        std::fs::remove_file(&path).expect("unlink");
        std::fs::write(&path, b"precious").expect("write");
        let mut clients = server.clients_until(ready(()));
        answer(clients.next().await.expect("one").expect("accept")).await;
        assert!(clients.next().await.is_none());
        assert_eq!(clients.status().expect("the end").expect("nothing to remove"), Status::Replaced);
        join(asking).await;
    });
    assert_eq!(std::fs::read(&path).expect("read"), b"precious");
}

#[test]
fn a_runtime_that_shuts_down_frees_the_path() {
    let dir = Dir::new();
    let runtime = one_thread();
    runtime.spawn({
        let path = dir.join("s");
        async move { create(&path).clients_until(pending()).next().await }
    });
    runtime.block_on(async {
        while !dir.join("s").exists() {
            yield_now().await;
        }
    });
    drop(runtime);
    assert_eq!(dir.names(), [""; 0]);
}
