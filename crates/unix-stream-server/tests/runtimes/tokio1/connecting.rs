//! tokio's clients: any path, no thread held up by a full backlog.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use libc::{ECONNREFUSED, ENOENT, ENOTSOCK};
use rustix::net::SocketType;
use tokio::time::timeout;
use unix_stream_server::{ErrorKind, ServerSocket, tokio1};

use super::{answer, run};
use crate::support::assert_error;
use crate::support::dir::{Dir, put_file};
use crate::support::sockets::{bound, fill, next_client, put_dead};

#[test]
fn a_client_connects_at_any_path_length() {
    let dir = Dir::new();
    for path in [dir.join("s"), dir.join("l".repeat(200)), dir.join("./".repeat(200) + "s")] {
        run(async {
            let server = ServerSocket::create(&path).expect("create").into_tokio().expect("tokio");
            let mut client = tokio1::connect(&path).await.expect("connect");
            let served = tokio::spawn(async move { answer(server.accept().await.expect("accept").0).await });
            let mut word = Vec::new();
            let (mut reader, mut writer) = client.split();
            tokio::io::AsyncWriteExt::write_all(&mut writer, b"word").await.expect("write");
            tokio::io::AsyncWriteExt::shutdown(&mut writer).await.expect("shutdown");
            tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut word).await.expect("read");
            assert_eq!(word, b"word");
            served.await.expect("no panic");
        });
    }
}

#[test]
fn a_client_waits_on_a_full_backlog_without_blocking_the_runtime() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = bound(&path, SocketType::STREAM);
        rustix::net::listen(&server, 0).expect("listen");
        let queued = fill(&path);
        let mut waiting = pin!(tokio1::connect(&path));
        assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "let in where there is no room");
        // This is the only thread: had the client blocked it, nobody would make room.
        for _ in &queued {
            next_client(&server);
        }
        drop(waiting.await.expect("let in"));
        next_client(&server);
    });
}

#[test]
fn a_client_that_is_dropped_has_connected_to_nobody() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = bound(&path, SocketType::STREAM);
        rustix::net::listen(&server, 0).expect("listen");
        let queued = fill(&path);
        {
            let mut waiting = pin!(tokio1::connect(&path));
            assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await.is_pending());
        }
        for _ in &queued {
            next_client(&server);
        }
        rustix::io::ioctl_fionbio(&server, true).expect("ioctl");
        assert_eq!(rustix::net::accept(&server).expect_err("nobody is left"), rustix::io::Errno::AGAIN);
    });
}

#[test]
fn each_failure_of_a_client_has_its_own_errno() {
    let dir = Dir::new();
    put_dead(&dir.join("dead"));
    put_file(&dir.join("file"), b"precious", 0o666);
    for (name, kind, errno) in [
        ("none", ErrorKind::System, ENOENT),
        ("dead", ErrorKind::System, ECONNREFUSED),
        ("file", ErrorKind::NotASocket, ENOTSOCK),
    ] {
        let error = run(tokio1::connect(dir.join(name))).expect_err(name);
        assert_error(&error, kind, errno);
    }
}
