//! axum: its shutdown waits until the queue has been handed out and each client has begun.

use std::future::{Future, ready};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{any, get};
use axum::serve::Listener as _;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;
use unix_stream_server::axum0_8::{self, Client};
use unix_stream_server::{ErrorKind, LockScope, ServerSocket, Status, connect};

use crate::support::PATIENCE;
use crate::support::dir::Dir;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

/// Runs a future on two threads, as axum is run.
#[track_caller]
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(PATIENCE, future).await.expect("it hangs") })
}

fn create(path: &Path) -> unix_stream_server::tokio1::ServerSocket {
    ServerSocket::create(path).expect("create").into_tokio().expect("tokio")
}

fn api() -> Router {
    Router::new().route("/", any(|| async { "served" }))
}

/// The rest of a request, and its answer.
fn ask(client: &mut UnixStream, request: &[u8]) -> String {
    client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    client.write_all(request).expect("write");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("not reset");
    answer
}

#[track_caller]
fn assert_served(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("served"), "{answer:?}");
}

#[test]
fn who_is_queued_at_the_end_is_served() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = create(&path);
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let mut client = connect(&path).expect("connect");
                thread::spawn(move || assert_served(&ask(&mut client, REQUEST)))
            })
            .collect();
        // It ends before it has begun.
        let (listener, handed_out) = axum0_8::listener(server.clients_until(ready(())));
        axum::serve(listener, api()).with_graceful_shutdown(handed_out).await.expect("served");
        clients.into_iter().for_each(|client| client.join().expect("served"));
    });
    assert_eq!(dir.names(), [""; 0]);
}

/// axum, asked to shut down, closes each connection of which it does not know the version of HTTP yet.
#[test]
fn who_was_let_in_before_the_end_and_speaks_after_it_is_served() {
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let dir = Dir::new();
    let path = dir.join("s");
    // Nothing; what may be the beginning of HTTP/2's preface; and what is none.
    for (request, begun, is_silent) in
        [(REQUEST, 0, true), (POST, 1, true), (POST, 2, false), (REQUEST, 1, false), (REQUEST, 30, false)]
    {
        run(async {
            let (end, ended) = oneshot::channel::<()>();
            let (listener, handed_out) = axum0_8::listener(create(&path).clients_until(async { drop(ended.await) }));
            let listener = listener.silence(2 * PATIENCE);
            let (is_handed_out, mut told) = oneshot::channel();
            let handed_out = async {
                handed_out.await;
                let _ = is_handed_out.send(());
            };
            let serving = tokio::spawn(axum::serve(listener, api()).with_graceful_shutdown(handed_out).into_future());
            let mut clients = [connect(&path).expect("connect"), connect(&path).expect("connect")];
            for client in &mut clients {
                client.write_all(&request[..begun]).expect("write");
            }
            drop(end);
            if is_silent {
                let early = timeout(Duration::from_millis(30), &mut told).await;
                assert!(early.is_err(), "axum is told to close those who are about to speak");
            } else {
                told.await.expect("handed out");
            }
            let asked = tokio::task::spawn_blocking(move || {
                for client in &mut clients {
                    assert_served(&ask(client, &request[begun..]));
                }
            });
            asked.await.expect("served");
            serving.await.expect("no panic").expect("served");
        });
    }
}

#[test]
fn a_silent_client_does_not_keep_the_server_for_ever() {
    let dir = Dir::new();
    let path = dir.join("s");
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        run(async {
            let server = create(&path);
            let mut silent = connect(&path).expect("connect");
            silent.write_all(begun).expect("write");
            let (listener, handed_out) = axum0_8::listener(server.clients_until(ready(())));
            let listener = listener.silence(Duration::from_millis(20));
            axum::serve(listener, api()).with_graceful_shutdown(handed_out).await.expect("served");
            silent.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
            match silent.read(&mut [0]) {
                Ok(read) => assert_eq!(read, 0),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            }
        });
    }
}

#[test]
fn a_client_that_hangs_up_silently_is_not_waited_for() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = create(&path);
        drop(connect(&path).expect("connect"));
        let half = connect(&path).expect("connect");
        half.shutdown(Shutdown::Write).expect("shutdown");
        let (listener, handed_out) = axum0_8::listener(server.clients_until(ready(())));
        let listener = listener.silence(Duration::MAX);
        axum::serve(listener, api()).with_graceful_shutdown(handed_out).await.expect("served");
    });
}

#[test]
fn a_handler_learns_who_its_client_is() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let who = |ConnectInfo(client): ConnectInfo<Client>| async move {
            let client = client.credentials.expect("known");
            format!("{:?} {} {}", client.pid, client.uid, client.gid)
        };
        let app = Router::new().route("/", get(who)).into_make_service_with_connect_info::<Client>();
        let server = create(&path);
        let mut client = connect(&path).expect("connect");
        let (listener, handed_out) = axum0_8::listener(server.clients_until(ready(())));
        assert_eq!(listener.local_addr().expect("bound").as_pathname(), Some(path.as_path()));
        let asked = thread::spawn(move || ask(&mut client, REQUEST));
        axum::serve(listener, app).with_graceful_shutdown(handed_out).await.expect("served");
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let answer = asked.join().expect("answered");
        assert!(answer.ends_with(&format!("{:?} {uid} {gid}", Some(std::process::id()))), "{answer}");
    });
}

#[test]
fn an_end_that_leaves_a_dead_socket_is_reported() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let server = ServerSocket::builder().lock_timeout(Duration::ZERO).create(&path).expect("create");
        // A lock of another program.
        std::fs::write(dir.join("s.lock"), b"").expect("write");
        let clients = server.into_tokio().expect("tokio").clients_until(ready(()));
        let (listener, handed_out) = axum0_8::listener(clients);
        assert_eq!(listener.clients().server().expect("it serves").status(), Status::Ours);
        let (sender, reports) = mpsc::channel();
        let listener = listener.on_error(move |error| sender.send(error.to_string()).expect("heard"));
        axum::serve(listener, api()).with_graceful_shutdown(handed_out).await.expect("served");
        let report = reports.recv().expect("a report");
        assert!(report.contains("s.lock") && report.contains("a dead socket stays"), "{report}");
        assert!(reports.recv().is_err(), "one report");
    });
    assert_eq!(dir.names(), ["s", "s.lock"]);
}

#[test]
fn a_server_dropped_early_removes_its_path() {
    let dir = Dir::new();
    let path = dir.join("s");
    run(async {
        let (listener, handed_out) = axum0_8::listener(create(&path).clients_until(std::future::pending()));
        let serving =
            tokio::spawn(axum::serve(listener, api()).with_graceful_shutdown(std::future::pending()).into_future());
        let mut client = connect(&path).expect("connect");
        assert_served(&tokio::task::spawn_blocking(move || ask(&mut client, REQUEST)).await.expect("served"));
        serving.abort();
        assert!(serving.await.expect_err("aborted").is_cancelled());
        assert_eq!(dir.names(), [""; 0]);
        handed_out.await;
    });
}

#[test]
fn a_life_lock_is_held_until_the_last_request_is_answered() {
    let dir = Dir::new();
    let path = dir.join("s");
    let locked = ServerSocket::builder().lock_scope(LockScope::Lifetime).lock_timeout(Duration::ZERO);
    run(async {
        let (answer, may_answer) = oneshot::channel::<()>();
        let may_answer = Arc::new(Mutex::new(may_answer));
        let slow = get(move || async move {
            let _ = (&mut *may_answer.lock().await).await;
            "served"
        });
        let server = locked.create(&path).expect("create").into_tokio().expect("tokio");
        let mut client = connect(&path).expect("connect");
        let asked = thread::spawn(move || ask(&mut client, REQUEST));
        let (listener, handed_out) = axum0_8::listener(server.clients_until(ready(())));
        let (held, is_dropped) = oneshot::channel::<()>();
        let listener = listener.on_error(move |_| assert!(!held.is_closed()));
        let app = Router::new().route("/", slow);
        let serving = tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(handed_out).into_future());
        is_dropped.await.expect_err("with the listener");
        let refused = locked.create(&path).expect_err("a request is being answered");
        assert_eq!(refused.kind(), ErrorKind::InUse);
        drop(answer);
        serving.await.expect("no panic").expect("served");
        assert_served(&asked.join().expect("answered"));
        locked.create(&path).expect("its life is over").close().expect("close");
    });
}
