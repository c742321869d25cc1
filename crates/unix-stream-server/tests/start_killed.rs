//! Whoever starts a server on demand may be killed at any system call, or any call may fail: the next client gets a server,
//! the same or its first, and nothing is stuck. Its server may end between any two of its calls: what that has said is read.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

pub mod support;

use std::io::Read;

use stepper::{End, Side, Victim, call, name, operation};
use support::child::{self, whole_process};
use support::start::{Household, answer, is_alive, play};
use support::wait::until;
use unix_stream_server::connect_or_start;

/// The system calls of a start come to an end, but the looks whether it is over have no fixed number.
const MOST: usize = 2_000;

fn killed_at_any_step(test: &str, role: &str, wait: bool) {
    play();
    whole_process(test, || {
        // An odd number, so that entries and exits are tried alike.
        let stride = if std::env::var_os("UNIX_STREAM_SERVER_ALL_STEPS").is_some() { 1 } else { 3 };
        let (mut kills, mut before_any) = (0, 0);
        for index in (0..MOST).step_by(stride) {
            let mut home = Household::new(test);
            let (path, command) = (home.path(), home.server(role).wait_listen(wait));
            let mut victim = Victim::fork(|| {
                let _ = operation(|| connect_or_start(&path, &command));
            });
            let stop = victim.step_to(index);
            victim.kill();
            let Some(stop) = stop else { break };
            kills += 1;
            before_any += usize::from(home.started().is_empty());
            let pid = answer(connect_or_start(&path, &command).unwrap_or_else(|error| panic!("{stop}: {error}")));
            // Again, now that it lives; and no second one was started that got the path.
            assert_eq!(answer(connect_or_start(&path, &command).expect("it lives")), pid, "{stop}");
            let living: Vec<i32> = home.started().into_iter().filter(|&pid| is_alive(pid)).collect();
            if !wait {
                assert_eq!(living, [pid], "{stop}: more than one server");
            }
            home.end();
            let locks: Vec<_> = home.dir.names().into_iter().filter(|name| name.ends_with(".lock")).collect();
            assert!(locks.is_empty(), "{stop}: {locks:?}");
            until("nobody is left", || home.started().iter().all(|&pid| !is_alive(pid)));
        }
        assert!(kills > 20 && before_any > 0, "{kills} kills, {before_any} before a server was started");
        support::tell(&format!("{test}: {kills} kills, {before_any} before a server had begun"));
    });
}

#[test]
fn a_starter_killed_at_any_step_leaves_one_server_or_the_next_client_starts_it() {
    killed_at_any_step(&this_test!(), "serve", false);
}

#[test]
fn so_does_one_whose_server_makes_its_socket_itself() {
    killed_at_any_step(&this_test!(), "own", true);
}

#[test]
fn a_server_that_lets_its_starter_in_just_after_he_looked_and_ends_has_served_him() {
    let test = this_test!();
    play();
    whole_process(&test, || {
        let mut home = Household::new(&test);
        let (path, command) = (home.path(), home.server("speak"));
        let mut victim = Victim::fork(|| {
            let mut stream = operation(|| connect_or_start(&path, &command)).expect("a server");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("what it has said");
            assert!(said.parse::<i32>().is_ok(), "{said}");
        });
        victim.step_to_call(Side::Exit, "clone");
        until("the server was started", || home.started().len() == 1);
        let server = home.started()[0];
        let watcher = parent(server);
        // He has been told that he is queued.
        victim.step_to_call(Side::Exit, "recvfrom");
        home.say();
        until("its end is reported", || !is_alive(server) && !is_alive(watcher));
        victim.release();
        assert_eq!(victim.wait(), End::Exited(0));
        assert!(!home.path().exists(), "a dead socket is left");
        home.end();
    });
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, fields) = stat.rsplit_once(") ").expect("stat");
    fields.split(' ').nth(1).expect("a parent").parse().expect("a pid")
}

/// What a call says, it may say in the middle of a start.
fn failing_at_any_call(test: &str, role: &str, wait: bool) {
    play();
    whole_process(test, || {
        let share = if std::env::var_os("UNIX_STREAM_SERVER_ALL_STEPS").is_some() { 1 } else { 5 };
        let attempt = |home: &Household| {
            let (path, command) = (home.path(), home.server(role).wait_listen(wait));
            Victim::fork(move || {
                let before = child::descriptors();
                let result = operation(|| connect_or_start(&path, &command));
                if let Err(error) = &result {
                    assert!(error.to_string().starts_with("cannot ") && error.raw_os_error() != 0, "{error}");
                }
                drop(result);
                assert_eq!(child::descriptors(), before);
            })
        };
        // The calls when nothing fails.
        let mut home = Household::new(test);
        let mut victim = attempt(&home);
        let mut calls = Vec::new();
        while let Some(stop) = victim.step() {
            if stop.side == Side::Entry {
                calls.push((stop.index, stop.number));
            }
        }
        victim.release();
        assert_eq!(victim.wait(), End::Exited(0));
        home.end();
        let (mut turn, mut tried) = (0, 0);
        for (index, number) in calls {
            let row = call(number).unwrap_or_else(|| panic!("{} has no row in stepper::calls", name(number)));
            for &errno in row.errnos.iter().chain(row.passing) {
                turn += 1;
                if turn % share != 0 {
                    continue;
                }
                let mut home = Household::new(test);
                let mut victim = attempt(&home);
                // The looks whether it is over have no fixed number.
                match victim.step_to(index) {
                    Some(stop) if stop.number == number => victim.fail(errno),
                    _ => {
                        victim.kill();
                        continue;
                    }
                }
                tried += 1;
                victim.release();
                let when = format!("{} says {errno} at stop {index}", name(number));
                assert_eq!(victim.wait(), End::Exited(0), "{when}");
                let next = connect_or_start(home.path(), &home.server(role).wait_listen(wait));
                let pid = answer(next.unwrap_or_else(|error| panic!("{when}: {error}")));
                assert!(home.started().contains(&pid), "{when}");
                home.end();
            }
        }
        assert!(tried > 20, "{tried} failures");
        support::tell(&format!("{test}: {tried} failures"));
    });
}

#[test]
fn a_call_that_fails_in_a_start_leaves_nothing_open_or_stuck() {
    failing_at_any_call(&this_test!(), "serve", false);
}

#[test]
fn nor_does_one_where_the_server_makes_its_socket_itself() {
    failing_at_any_call(&this_test!(), "own", true);
}
