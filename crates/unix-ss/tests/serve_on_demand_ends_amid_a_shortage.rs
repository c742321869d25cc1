//! `serve --activate --on-demand`, told to end, or robbed of its path, while it cannot accept: whoever is queued is served.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::activated::{Household, as_role, dir, is_alive, role, serve, who_answers};
use common::{client, eventually, run, text, unix_ss};
use rustix::process::{Pid, Signal, kill_process};
use stepper::{End, Side, Victim, name};

/// One that cannot accept: at the head of its queue is one who has gone, and behind him one who wants something. The stepper
/// has the call fail, since root may open more files than the system allows.
fn in_a_shortage(test: &str, home: &Household) -> (Victim, UnixStream) {
    let mut command = unix_ss(&["serve", "--activate", "--on-demand", &home.place.name("s"), "--"]);
    // Deaf, since it is told to end as soon as it has accepted the last one.
    command.args(["sh", "-c", "trap '' TERM; exec \"$@\"", "sh"]).args(home.program(test, "serve"));
    let mut victim = Victim::exec(command.stdout(Stdio::null()).stderr(Stdio::null()));
    victim.step_to_call(Side::Exit, "listen");
    // A process of its own: here, one that another test is just starting would hold its socket open.
    let mut gone = Command::new("/proc/self/exe");
    gone.args(["--exact", test, "--nocapture"]);
    let gone = run(as_role(&mut gone, "hangs up", home));
    assert!(gone.status.success(), "{}", text(&gone.stdout));
    let mut guest = client(&home.place.path("s"));
    guest.write_all(b"who?\n").expect("sent");
    for _ in 0..2 {
        victim.step_to_call(Side::Entry, ACCEPT);
        victim.fail(libc::ENFILE);
    }
    (victim, guest)
}

#[test]
fn told_to_end_while_no_client_can_be_accepted_it_starts_the_program_for_those_who_are_queued() {
    let test = "told_to_end_while_no_client_can_be_accepted_it_starts_the_program_for_those_who_are_queued";
    match role().as_deref() {
        None => {}
        Some("hangs up") => return drop(client(&dir().join("s"))),
        Some(role) => serve(role),
    }
    let mut home = Household::new();
    let path = home.place.path("s");
    let (mut victim, guest) = in_a_shortage(test, &home);
    let pid = i32::try_from(victim.pid()).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::TERM).expect("it lives");
    // At most once more, until it gives the path up.
    let mut failures = 0;
    while path.exists() {
        let stop = victim.step().expect("it lives");
        if (stop.side, name(stop.number).as_str()) == (Side::Entry, ACCEPT) {
            victim.fail(libc::ENFILE);
            failures += 1;
            assert!(failures <= 1, "told to end, it goes on trying");
        }
    }
    victim.release();
    assert_eq!([who_answers(guest)], *home.started());
    home.end();
    eventually("the supervisor ends", || !is_alive(pid));
    assert_eq!(victim.wait(), End::Exited(0));
}

#[test]
fn whoever_is_queued_while_no_client_can_be_accepted_is_served_though_the_path_is_lost() {
    let test = "whoever_is_queued_while_no_client_can_be_accepted_is_served_though_the_path_is_lost";
    match role().as_deref() {
        None => {}
        Some("hangs up") => return drop(client(&dir().join("s"))),
        Some(role) => serve(role),
    }
    let mut home = Household::new();
    let (mut victim, guest) = in_a_shortage(test, &home);
    let pid = i32::try_from(victim.pid()).expect("a pid");
    std::fs::remove_file(home.place.path("s")).expect("removed");
    // So long that it would have looked at its path.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        victim.step_to_call(Side::Entry, ACCEPT);
        victim.fail(libc::ENFILE);
    }
    victim.release();
    assert_eq!([who_answers(guest)], *home.started());
    home.end();
    eventually("the supervisor ends", || !is_alive(pid));
    assert_eq!(victim.wait(), End::Exited(5));
}

const ACCEPT: &str = "accept4";
