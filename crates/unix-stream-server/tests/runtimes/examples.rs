//! The examples, each a process of its own, with real clients.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use unix_stream_server::connect_timeout;

use crate::support::PATIENCE;
use crate::support::child::{self, Program, Running};
use crate::support::dir::Dir;
use crate::support::wait::until;
use crate::this_test;

#[path = "../../examples/axum_api.rs"]
#[expect(dead_code, reason = "its main")]
mod axum_api;
#[path = "../../examples/hyper_hello.rs"]
#[expect(dead_code, reason = "its main")]
mod hyper_hello;
#[path = "../../examples/mio_echo.rs"]
#[expect(dead_code, reason = "its main")]
mod mio_echo;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

/// This test once more, as the server at `s`; it is there when this returns.
fn start(test: &str, role: &str, dir: &Dir) -> Running {
    let server = Program::new(test, role).dir(dir).start();
    until("the server lives", || connect_timeout(dir.join("s"), PATIENCE).is_ok());
    server
}

/// Says that the whole of an example has ended well.
fn ended(result: Result<(), Box<dyn std::error::Error>>) {
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn curl(path: &Path, target: &str) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--unix-socket"])
        .arg(path)
        .arg(format!("http://localhost/{target}"))
        .output()
        .expect("curl");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn read_bytes(mut client: UnixStream) -> Vec<u8> {
    client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("not reset");
    answer
}

fn read(client: UnixStream) -> String {
    String::from_utf8(read_bytes(client)).expect("text")
}

/// Who is queued when the server is told to end is answered, and so is whoever was let in before.
fn assert_ends_well(server: Running, path: &Path, answer: impl Fn(&str) -> bool) {
    let mut client = connect_timeout(path, PATIENCE).expect("connect");
    client.write_all(REQUEST).expect("write");
    assert!(answer(&read(client)));
    // It sees the clients and its end at once, whatever it looks at first.
    server.pause();
    let mut queued: Vec<_> = (0..20).map(|_| connect_timeout(path, PATIENCE).expect("connect")).collect();
    server.signal(Signal::TERM);
    for client in &mut queued {
        client.write_all(REQUEST).expect("write");
    }
    server.go_on();
    for client in queued {
        let said = read(client);
        assert!(answer(&said), "{said:?}");
    }
    server.finish();
    assert!(!path.exists());
}

#[test]
fn hyper_answers_all_who_are_queued_at_its_end() {
    let test = this_test!();
    if child::role().is_some() {
        return ended(hyper_hello::serve(&child::dir().join("s")));
    }
    let dir = Dir::new();
    let is_answer = |said: &str| said.starts_with("HTTP/1.1 200 OK") && said.ends_with("hello, GET /\n");
    assert_ends_well(start(&test, "server", &dir), &dir.join("s"), is_answer);
}

#[test]
fn axum_answers_all_who_are_queued_at_its_end() {
    let test = this_test!();
    if child::role().is_some() {
        return ended(axum_api::serve(&child::dir().join("s")));
    }
    let dir = Dir::new();
    let me = format!(" to process {} (uid {})\n", std::process::id(), rustix::process::geteuid().as_raw());
    let is_answer = |said: &str| said.starts_with("HTTP/1.1 200 OK") && said.ends_with(&me);
    assert_ends_well(start(&test, "server", &dir), &dir.join("s"), is_answer);
}

/// Versions of the API take the path one from the other while clients ask without a pause: each request is answered.
fn assert_each_version_replaces_the_one_before(test: &str, ask: fn(&Path) -> String) {
    const VERSIONS: usize = 20;
    let dir = Dir::new();
    let path = dir.join("s");
    let mut versions = vec![start(test, "server", &dir)];
    let is_over = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        let loops: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = 0;
                    let mut servers = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        servers.push(process(&ask(&path)));
                        servers.dedup();
                        answers += 1;
                    }
                    (answers, servers)
                })
            })
            .collect();
        let stop = Stop(&is_over); // also if this panics
        for _ in 0..VERSIONS {
            let next = Program::new(test, "server").dir(&dir).start();
            until("the next version answers", || process(&ask(&path)) == next.pid());
            versions.push(next);
        }
        drop(stop);
        loops.into_iter().map(|asking| asking.join().expect("each is answered")).collect::<Vec<_>>()
    });
    let last = versions.pop().expect("one");
    let pids: Vec<_> = versions.iter().map(Running::pid).collect();
    // They have ended of themselves, and well.
    versions.into_iter().for_each(Running::finish);
    for (count, servers) in &answers {
        assert!(servers.iter().all(|server| pids.contains(server) || *server == last.pid()));
        assert!(*count >= servers.len() && servers.len() > 1, "{count} answers of {servers:?}");
    }
    last.signal(Signal::TERM);
    last.finish();
    assert_eq!(dir.names(), [""; 0]);
}

/// Ends the loops when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The process that gave an answer of the API.
fn process(answer: &str) -> u32 {
    let number = answer.split("process ").nth(1).and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[test]
fn axum_is_replaced_twenty_times_and_each_request_is_answered() {
    let test = this_test!();
    if child::role().is_some() {
        return ended(axum_api::serve(&child::dir().join("s")));
    }
    assert_each_version_replaces_the_one_before(&test, |path| {
        // Without a second try, as any client.
        let mut client = UnixStream::connect(path).expect("a version is there");
        client.write_all(REQUEST).expect("write");
        read(client)
    });
}

#[test]
#[ignore = "needs curl"]
fn axum_is_replaced_twenty_times_while_curl_runs_in_loops_and_nothing_is_lost() {
    let test = this_test!();
    if child::role().is_some() {
        return ended(axum_api::serve(&child::dir().join("s")));
    }
    assert_each_version_replaces_the_one_before(&test, |path| curl(path, ""));
}

#[test]
#[ignore = "needs curl"]
fn curl_is_answered_by_hyper_and_by_axum() {
    let test = this_test!();
    match child::role().as_deref() {
        Some("hyper") => return ended(hyper_hello::serve(&child::dir().join("s"))),
        Some(_) => return ended(axum_api::serve(&child::dir().join("s"))),
        None => {}
    }
    let dir = Dir::new();
    for (role, answer) in [("hyper", "hello, GET /some/where\n".to_owned()), ("axum", "process ".to_owned())] {
        let server = start(&test, role, &dir);
        let target = if role == "hyper" { "some/where" } else { "" };
        assert!(curl(&dir.join("s"), target).starts_with(&answer));
        server.signal(Signal::TERM);
        server.finish();
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn mio_echoes_all_who_are_queued_at_its_end() {
    let test = this_test!();
    if child::role().is_some() {
        return ended(mio_echo::serve(&child::dir().join("s")));
    }
    let dir = Dir::new();
    let server = start(&test, "server", &dir);
    // More than a socket's buffer holds, there and back.
    let much: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let client = connect_timeout(dir.join("s"), PATIENCE).expect("connect");
    let (mut sending, sent) = (client.try_clone().expect("dup"), much.clone());
    let writer = thread::spawn(move || {
        sending.write_all(&sent).expect("write");
        sending.shutdown(Shutdown::Write).expect("shutdown");
    });
    assert!(read_bytes(client) == much, "not the same");
    writer.join().expect("sent");

    let clients: Vec<_> = (0..50_u8)
        .map(|word| {
            let mut client = connect_timeout(dir.join("s"), PATIENCE).expect("connect");
            client.write_all(&[word]).expect("write");
            client.shutdown(Shutdown::Write).expect("shutdown");
            client
        })
        .collect();
    server.finish();
    for (word, client) in (0..).zip(clients) {
        assert_eq!(read_bytes(client), [word]);
    }
    assert_eq!(dir.names(), [""; 0]);
}
