//! `serve --replace`: the next version in place of a running one, and no client lost.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{BOUND, Place, Running, ask, client, eventually, hear, run, status_of, text, unix_ss};
use rustix::process::Signal;
use unix_stream_server::connect_timeout;

#[test]
fn a_successor_takes_the_path_over_and_the_old_server_ends_well() {
    let place = Place::new();
    let mut old = place.serve(&["--replaceable"], "s", &["sh", "-c", "cat; echo old"]);
    let early = client(&place.path("s"));
    eventually("its program has started", || text(&ask_status(&place)).contains("\"live\""));
    let mut new = place.serve(&["--replace"], "s", &["sh", "-c", "cat; echo new"]);
    assert_eq!(text(&ask(client(&place.path("s")), b"late ")), "late new\n");
    assert_eq!(text(&ask(early, b"early ")), "early old\n");
    assert_eq!(old.wait(), 0, "{}", old.errors());
    assert!(old.errors().contains("replaced at"), "{}", old.errors());
    assert_eq!(new.end(), 0, "{}", new.errors());
    assert!(!place.path("s").exists());
}

fn ask_status(place: &Place) -> Vec<u8> {
    run(&mut unix_ss(&["status", "--json", &place.name("s")])).stdout
}

#[test]
fn a_server_that_has_not_allowed_it_is_in_use() {
    let place = Place::new();
    let mut old = place.serve(&[], "s", &["cat"]);
    let output = run(&mut unix_ss(&["serve", "--replace", &place.name("s"), "--", "cat"]));
    assert_eq!(status_of(&output), 3, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("in use"), "{}", text(&output.stderr));
    assert_eq!(text(&ask(client(&place.path("s")), b"still here")), "still here");
    assert_eq!(old.end(), 0);
}

#[test]
fn no_client_is_lost_while_one_server_after_the_other_is_replaced() {
    assert_no_client_is_lost(&[], &["cat"]);
}

/// It accepts for as long as it is not told to end, and then serves nobody who is still queued.
const ECHO: &str = r#"
import os, select, signal, socket, sys
told, tell = os.pipe()
signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"x"))
listener = socket.socket(fileno=3)
while True:
    ready, _, _ = select.select([listener, told], [], [])
    if told in ready: sys.exit(0)
    client, _ = listener.accept()
    while data := client.recv(9999): client.sendall(data)
    client.close()
"#;

#[test]
#[ignore = "needs python3"]
fn nor_is_one_where_the_program_has_the_socket() {
    assert_no_client_is_lost(&["--activate"], &["python3", "-c", ECHO]);
    assert_no_client_is_lost(&["--activate", "--lock-scope", "lifetime"], &["python3", "-c", ECHO]);
    assert_no_client_is_lost(&["--activate", "--on-demand"], &["python3", "-c", ECHO]);
}

fn assert_no_client_is_lost(options: &[&str], program: &[&str]) {
    let place = Place::new();
    let path = place.path("s");
    let options = [&["--replace"], options].concat();
    let mut current = place.serve(&options, "s", program);
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let stream = connect_timeout(&path, BOUND).expect("the path is never absent, nor refuses");
                    stream.set_read_timeout(Some(BOUND)).expect("a time");
                    assert_eq!(ask(stream, b"hello"), b"hello");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..10 {
            let before = answered.load(Ordering::Relaxed);
            eventually("clients are served", || answered.load(Ordering::Relaxed) > before + 4);
            let next = place.serve(&options, "s", program);
            let mut old = std::mem::replace(&mut current, next);
            assert_eq!(old.wait(), 0, "{}", old.errors());
            assert!(!old.errors().contains("queued"), "{}", old.errors());
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(current.end(), 0, "{}", current.errors());
}

/// The successor's programs may use what the predecessor's have used.
#[test]
fn with_a_life_lock_no_program_of_the_successor_runs_beside_one_of_the_predecessor() {
    let place = Place::new();
    let options = ["--replace", "--lock-scope", "lifetime"];
    let program = ["sh", "-c", "mkdir alone && cat && rmdir alone && echo done"];
    let mut old = place.serve(&options, "s", &program);
    let first = client(&place.path("s"));
    eventually("the first program runs", || place.path("alone").exists());
    let mut new = place.serve(&options, "s", &program);
    let second = client(&place.path("s"));
    // It is not replaced as long as it waits for its predecessor.
    let third = run(&mut unix_ss(&["serve", "--replace", "--lock-timeout", "0", &place.name("s"), "--", "cat"]));
    assert_eq!(status_of(&third), 3, "{}", text(&third.stderr));
    // Told to end, it serves the one who waits first.
    new.signal(Signal::TERM);
    assert_eq!(text(&ask(first, b"")), "done\n");
    assert_eq!(text(&hear_after_shutdown(&second)), "done\n");
    assert_eq!((old.wait(), new.wait()), (0, 0), "{}{}", old.errors(), new.errors());
    assert!(!place.path("s").exists() && !place.path("s.owner").exists());
}

/// Whatever becomes of its path meanwhile.
#[test]
fn nor_does_one_if_the_successor_has_lost_the_path_while_it_waits() {
    let place = Place::new();
    let options = ["--replace", "--lock-scope", "lifetime"];
    let program = ["sh", "-c", "mkdir alone && cat && rmdir alone && echo done"];
    let mut old = place.serve(&options, "s", &program);
    let first = client(&place.path("s"));
    eventually("the first program runs", || place.path("alone").exists());
    let mut new = place.serve(&options, "s", &program);
    let second = client(&place.path("s"));
    let before = switches(&new);
    std::fs::remove_file(place.path("s")).expect("deleted");
    // It looks at its path once in a second, and at its predecessor fifty times.
    eventually("it has looked", || switches(&new) > before + 80 || new.errors().contains("lost the path"));
    let busy = ticks(&new);
    std::thread::sleep(std::time::Duration::from_millis(300)); // what is not to happen has had its time
    assert!(ticks(&new) - busy < 15, "it spins");
    assert_eq!(text(&ask(first, b"")), "done\n");
    assert_eq!(text(&hear_after_shutdown(&second)), "done\n", "{}", new.errors());
    assert_eq!(new.wait(), 5, "{}", new.errors());
    old.wait(); // 5 if it saw the path without its successor
}

/// The same where PROG has the socket; it is started only to serve those who came before.
#[test]
fn told_to_end_while_it_waits_for_its_predecessor_one_with_activate_serves_who_is_queued() {
    let place = Place::new();
    let options = ["--replace", "--lock-scope", "lifetime"];
    let mut old = place.serve(&options, "s", &["sh", "-c", "echo >up; cat"]);
    let first = client(&place.path("s"));
    eventually("the first program runs", || place.path("up").exists());
    // This PROG accepts nobody, and so is not told to end.
    let activated = [&options[..], &["--activate"]].concat();
    let script = "echo >run; while [ ! -e served ]; do sleep 0.01; done";
    let mut new = place.serve(&activated, "s", &["sh", "-c", script]);
    let second = client(&place.path("s"));
    new.signal(Signal::TERM);
    eventually("it has given the path up", || !place.path("s").exists());
    assert!(!place.path("run").exists());
    assert_eq!(text(&ask(first, b"")), "");
    eventually("PROG is started for the second", || place.path("run").exists());
    std::fs::write(place.path("served"), "").expect("a file");
    assert_eq!(new.wait(), 0, "{}", new.errors());
    old.wait(); // 5 if it saw the path without its successor
    assert!(new.errors().contains("1 client was still queued at the end"), "{}", new.errors());
    drop(second);
}

fn hear_after_shutdown(stream: &std::os::unix::net::UnixStream) -> Vec<u8> {
    stream.shutdown(std::net::Shutdown::Write).expect("shut");
    hear(stream)
}

/// One that is killed before it can tell: its predecessor finds out by itself.
#[test]
fn a_successor_that_is_killed_at_once_stops_nobody() {
    let place = Place::new();
    let mut old = place.serve(&["--replaceable"], "s", &["cat"]);
    let new = place.serve(&["--replace"], "s", &["cat"]);
    drop(new); // SIGKILL
    assert_eq!(old.wait(), 0, "{}", old.errors());
    let mut third = place.serve(&["--replace"], "s", &["cat"]);
    assert_eq!(text(&ask(client(&place.path("s")), b"third")), "third");
    assert_eq!(third.end(), 0);
}

#[test]
fn what_cannot_be_run_replaces_nobody() {
    let place = Place::new();
    std::fs::write(place.path("data"), "not a program").expect("a file");
    let mut old = place.serve(&["--replaceable"], "s", &["cat"]);
    for mode in [&[][..], &["--activate"]] {
        for (program, status) in [("no-such-program-anywhere", 127), (&*place.name("data"), 126)] {
            let mut command = unix_ss(&["serve", "--replace"]);
            let output = run(command.args(mode).arg(place.path("s")).args(["--", program]));
            assert_eq!(status_of(&output), status, "{}", text(&output.stderr));
            assert!(text(&output.stderr).contains("nothing was replaced"), "{}", text(&output.stderr));
        }
    }
    assert_eq!(text(&ask(client(&place.path("s")), b"still here")), "still here");
    assert_eq!(old.end(), 0, "{}", old.errors());
}

/// A rule that lets no successor in does not keep a server from hearing that it has been replaced; and it sleeps, rather
/// than spins, until its last program ends.
#[test]
fn a_rule_for_clients_is_none_for_successors() {
    let place = Place::new();
    let uid = (rustix::process::geteuid().as_raw() + 1).to_string();
    let mut old = place.serve(&["--replaceable", "--allow-uid", &uid], "s", &["cat"]);
    let mut new = place.serve(&["--replace"], "s", &["cat"]);
    assert_eq!(old.wait(), 0, "{}", old.errors());
    assert!(old.errors().contains("replaced at"), "{}", old.errors());
    assert_eq!(new.end(), 0);
}

/// How often it has gone to sleep.
fn switches(server: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a count");
    line.trim().parse().expect("a number")
}

/// How long it has worked, in hundredths of a second.
fn ticks(server: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("it lives");
    let fields: Vec<_> = stat.rsplit_once(") ").expect("stat").1.split(' ').collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// It has seen its successor, who has ended before it.
#[test]
fn a_server_that_was_replaced_has_lost_nothing_if_its_successor_ends_first() {
    let place = Place::new();
    // It accepts nobody, so that it has its time to do so.
    let script = "trap 'exit 0' TERM; echo >up; while :; do sleep 0.01; done";
    let mut old = place.serve(&["--activate", "--replaceable"], "s", &["sh", "-c", script]);
    eventually("its program runs", || place.path("up").exists());
    let _queued = client(&place.path("s"));
    let mut new = place.serve(&["--replace"], "s", &["cat"]);
    // It looks once in a second until it has seen that, and then all the time whether the client is still there.
    let before = switches(&old);
    eventually("it has seen its successor", || switches(&old) > before + 10);
    assert_eq!(new.end(), 0);
    assert_eq!(old.end(), 0, "{}", old.errors());
    assert!(old.errors().contains("replaced at"), "{}", old.errors());
}

#[test]
fn a_server_that_was_replaced_sleeps_until_its_last_program_ends() {
    let place = Place::new();
    let mut old = place.serve(&["--replaceable"], "s", &["sh", "-c", "echo up; cat"]);
    let mut stream = client(&place.path("s"));
    std::io::Read::read_exact(&mut stream, &mut [0; 3]).expect("its program runs");
    let mut new = place.serve(&["--replace"], "s", &["cat"]);
    eventually("it has seen its successor", || old.errors().contains("replaced at"));
    let (before, busy) = (switches(&old), ticks(&old));
    std::thread::sleep(std::time::Duration::from_millis(300)); // what is not to happen has had its time
    assert!(switches(&old) - before < 50 && ticks(&old) - busy < 15, "it wakes all the time");
    drop(stream);
    assert_eq!(old.wait(), 0, "{}", old.errors());
    assert_eq!(new.end(), 0);
}
