//! `serve`, killed at any system call between its start and its readiness, leaves nothing that stops the next one; told to
//! end there, it leaves nothing at all.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod common;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use common::activated::is_alive;
use common::{Place, ask, client, eventually, put_dead, unix_ss};
use rustix::process::{Pid, Signal, kill_process};
use stepper::{End, Side, Stop, Victim, name};

/// Set, every stop is tried; otherwise one in so many.
const ALL: &str = "UNIX_STREAM_SERVER_ALL_STEPS";
const SHARE: usize = 7;

#[test]
fn a_killed_start_over_a_dead_socket_is_made_up_for_by_the_next_start() {
    let place = Place::new();
    let neighbour = UnixListener::bind(place.path("t")).expect("bind");
    std::fs::write(place.path("file"), "precious").expect("a file");
    let stops = stops(&mut serve(&place));
    std::fs::remove_file(place.path("s")).expect("a dead socket");
    let share = if std::env::var_os(ALL).is_some() { 1 } else { SHARE };
    let mut kills = 0;
    // From the end on, where the lock is held and names change; most of the stops at the beginning are the loader's.
    for stop in stops.iter().rev().step_by(share) {
        let mut victim = serve(&place);
        let reached = victim.step_to(stop.index).expect("the same stop again");
        victim.kill();
        let mut next = place.serve(&["--lock-timeout", "5s"], "s", &["cat"]);
        assert_eq!(ask(client(&place.path("s")), b"word"), b"word", "killed at {reached}");
        assert_eq!(next.end(), 0, "killed at {reached}: {}", next.errors());
        let mut names: Vec<_> = std::fs::read_dir(place.path("")).expect("a directory").collect();
        names.retain(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != "s.stderr"));
        assert_eq!(names.len(), 2, "killed at {reached}: {names:?}");
        kills += 1;
    }
    drop(client(&place.path("t")));
    assert!(neighbour.accept().is_ok());
    assert_eq!(std::fs::read_to_string(place.path("file")).expect("a file"), "precious");
    let which = if share == 1 { String::new() } else { format!(", one in {share} of them tried; all with {ALL}=1") };
    let _ = writeln!(std::io::stderr(), "kills: serve: {} stops{which}: {kills} recoveries", stops.len());
}

#[test]
fn told_to_end_at_any_step_of_its_start_it_leaves_nothing() {
    let place = Place::new();
    let stops = stops(&mut start(&place));
    std::fs::remove_file(place.path("s")).expect("a dead socket");
    let share = if std::env::var_os(ALL).is_some() { 1 } else { SHARE };
    for stop in stops.iter().rev().step_by(share) {
        let mut victim = start(&place);
        let reached = victim.step_to(stop.index).expect("the same stop again");
        let pid = Pid::from_raw(victim.pid().try_into().expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("it lives");
        victim.release();
        eventually("it ends", || !is_alive(pid.as_raw_nonzero().get()));
        // By the signal, before it has begun to catch it.
        let end = victim.wait();
        assert!([End::Exited(0), End::Killed(Signal::TERM.as_raw())].contains(&end), "told at {reached}: {end:?}");
        let left: Vec<_> = std::fs::read_dir(place.path("")).expect("a directory").collect();
        assert!(left.is_empty(), "told at {reached}: {left:?}");
    }
}

/// A start over a dead socket, before its first instruction.
fn serve(place: &Place) -> Victim {
    let _ = std::fs::remove_file(place.path("s"));
    put_dead(&place.path("s"));
    start(place)
}

fn start(place: &Place) -> Victim {
    let mut command: Command = unix_ss(&["serve", &place.name("s"), "--", "cat"]);
    Victim::exec(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// The stops up to the first wait for a client.
fn stops(victim: &mut Victim) -> Vec<Stop> {
    let mut stops = Vec::new();
    let mut listens = false;
    while let Some(stop) = victim.step() {
        stops.push(stop);
        listens |= stop.side == Side::Exit && name(stop.number) == "listen";
        if listens && is_wait(stop.number) {
            return stops;
        }
    }
    panic!("it ended after {} stops", stops.len());
}

fn is_wait(number: i64) -> bool {
    #[cfg(target_arch = "x86_64")]
    let poll = number == libc::SYS_poll;
    #[cfg(not(target_arch = "x86_64"))]
    let poll = false;
    poll || number == libc::SYS_ppoll
}
