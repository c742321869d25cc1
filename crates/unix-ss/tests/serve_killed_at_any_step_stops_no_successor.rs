//! `serve`, killed at any system call between its start and its readiness, leaves nothing that stops the next one.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod common;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use common::{Place, ask, client, put_dead, unix_ss};
use stepper::{Side, Stop, Victim, name};

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

/// A start over a dead socket, before its first instruction.
fn serve(place: &Place) -> Victim {
    let _ = std::fs::remove_file(place.path("s"));
    put_dead(&place.path("s"));
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
