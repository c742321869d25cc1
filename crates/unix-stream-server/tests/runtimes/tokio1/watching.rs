//! The loss of the path is told at once, and only that.

use std::fs;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use tokio::task::yield_now;
use unix_stream_server::{ErrorKind, ServerSocket, Status};

use super::run;
use crate::support::assert_error;
use crate::support::child::{whole_process, with_descriptors};
use crate::support::dir::{Dir, chmod};
use crate::support::sockets::stranger;
use crate::this_test;

#[test]
fn a_theft_is_told_and_a_changed_mode_is_none() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::create(&path).expect("create").into_tokio().expect("tokio");
        let (mut stolen, mut replaced) = (Box::pin(server.stolen()), Box::pin(server.replaced()));
        // Polled, so that it watches; then the mode changes, which the kernel tells in the same words as a deletion.
        assert!(poll_fn(|cx| Poll::Ready(stolen.as_mut().poll(cx))).await.is_pending());
        chmod(&path, 0o666);
        assert!(poll_fn(|cx| Poll::Ready(replaced.as_mut().poll(cx))).await.is_pending());
        fs::remove_file(&path).expect("unlink");
        assert_eq!(stolen.as_mut().await, Status::Gone);
        // Gone is not replaced; and a future made after the event tells it too.
        assert!(poll_fn(|cx| Poll::Ready(replaced.as_mut().poll(cx))).await.is_pending());
        let _thief = stranger(&path);
        replaced.as_mut().await;
        drop((stolen, replaced));
        assert_eq!(server.stolen().await, Status::Replaced);
        server.replaced().await;
        assert_eq!(server.close().await.expect("close"), Status::Replaced);
    });
    assert_eq!(dir.names(), ["s"], "what is the thief's stays");
}

#[test]
fn a_rename_over_is_told_to_all_who_wait() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = Arc::new(ServerSocket::create(&path).expect("create").into_tokio().expect("tokio"));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let server = Arc::clone(&server);
                tokio::spawn(async move { server.stolen().await })
            })
            .collect();
        yield_now().await;
        let _thief = stranger(&dir.join("beside"));
        fs::rename(dir.join("beside"), &path).expect("rename");
        for told in waiting {
            assert_eq!(told.await.expect("no panic"), Status::Replaced);
        }
    });
}

#[test]
fn each_change_is_told_and_a_future_that_is_dropped_misses_none() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::create(&path).expect("create");
        let mut watch = server.watch().expect("watch").into_tokio().expect("tokio");
        assert_eq!(watch.local_path(), path);
        let server = server.into_tokio().expect("tokio");
        for round in 0..50 {
            let (from, to) = if round % 2 == 0 { ("s", "away") } else { ("away", "s") };
            fs::rename(dir.join(from), dir.join(to)).expect("rename");
            let told = loop {
                // A future of its own each time, polled once.
                let mut changed = Box::pin(watch.changed());
                match poll_fn(|cx| Poll::Ready(changed.as_mut().poll(cx))).await {
                    Poll::Ready(told) => break told.expect("not forked"),
                    Poll::Pending => yield_now().await,
                }
            };
            assert_eq!(told, if round % 2 == 0 { Status::Gone } else { Status::Ours });
        }
        // It outlives its server, as one of another runtime or none.
        server.close().await.expect("close");
        let told = poll_fn(|cx| Pin::new(&mut watch).poll_next(cx)).await.expect("endless");
        assert_eq!(told.expect("not forked"), Status::Gone);
        assert_eq!(watch.into_inner().check().expect("not forked"), None);
    });
}

#[test]
fn without_a_runtime_a_watch_says_so() {
    let dir = Dir::new();
    let server = ServerSocket::create(dir.join("s")).expect("create");
    let refused = server.watch().expect("watch").into_tokio().expect_err("no runtime");
    assert_error(&refused, ErrorKind::Invalid, libc::EINVAL);
}

#[test]
fn without_descriptors_for_a_watch_a_theft_is_told_all_the_same() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let runtime = super::one_thread();
        let server =
            runtime.block_on(async { ServerSocket::create(&path).expect("create").into_tokio().expect("tokio") });
        with_descriptors(0, || {
            runtime.block_on(async {
                let mut stolen = pin!(server.stolen());
                assert!(poll_fn(|cx| Poll::Ready(stolen.as_mut().poll(cx))).await.is_pending());
                fs::remove_file(&path).expect("unlink");
                assert_eq!(stolen.await, Status::Gone);
            });
        });
    });
}

#[test]
fn a_watch_sleeps_while_nothing_changes() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::create(&path).expect("create");
        let mut watch = server.watch().expect("watch").into_tokio().expect("tokio");
        let mut polls = 0;
        let mut polled = poll_fn(|cx| {
            polls += 1;
            watch.poll_changed(cx)
        });
        for mode in [0o600, 0o666, 0o600] {
            // Long enough for one that spins to be found out.
            tokio::time::timeout(Duration::from_millis(20), &mut polled).await.expect_err("no change");
            chmod(&path, mode);
        }
        assert!(polls < 50, "{polls} polls");
    });
}
