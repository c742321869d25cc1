//! `serve --activate --on-demand`, told to end, or robbed of its path, while it cannot accept: whoever is queued is served.
//! And so he is when PROG cannot be started for the moment.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod common;

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::activated::{Household, as_role, dir, is_alive, role, serve, who_answers};
use common::{client, eventually, run, text, unix_ss};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use stepper::{End, Side, Stop, Victim, name};

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

/// One on demand at whose path somebody waits, and which is about to start PROG for him.
fn about_to_start(program: &[String], home: &Household) -> (Victim, UnixStream) {
    let mut command = unix_ss(&["serve", "--activate", "--on-demand", &home.place.name("s"), "--"]);
    let errors = File::create(home.place.path("errors")).expect("a file");
    let mut victim = Victim::exec(command.args(program).stdout(Stdio::null()).stderr(errors));
    victim.step_to_call(Side::Exit, "listen");
    let mut guest = client(&home.place.path("s"));
    guest.write_all(b"who?\n").expect("sent");
    step_to_fork(&mut victim);
    (victim, guest)
}

fn step_to_fork(victim: &mut Victim) {
    while let Some(stop) = victim.step() {
        if is_fork(stop) {
            return;
        }
    }
    panic!("it ended");
}

fn is_fork(stop: Stop) -> bool {
    stop.side == Side::Entry && [libc::SYS_clone3, libc::SYS_clone].contains(&stop.number)
}

#[test]
fn when_no_process_can_be_had_the_client_waits_and_that_is_said_once() {
    let test = "when_no_process_can_be_had_the_client_waits_and_that_is_said_once";
    if let Some(role) = role() {
        serve(&role);
    }
    let home = Household::new();
    let (mut victim, guest) = about_to_start(&home.program(test, "once"), &home);
    for errno in [libc::EAGAIN, libc::ENOMEM] {
        victim.fail(errno);
        step_to_fork(&mut victim);
    }
    victim.release();
    let answers = who_answers(guest);
    assert_eq!([answers], *home.started());
    eventually("PROG ends", || !is_alive(answers));
    let pid = i32::try_from(victim.pid()).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::TERM).expect("it lives");
    assert_eq!(victim.wait(), End::Exited(0));
    let said = std::fs::read_to_string(home.place.path("errors")).expect("a file");
    assert_eq!(said.lines().filter(|line| line.contains("unix-ss: ")).count(), 1, "{said}");
    assert!(said.contains("cannot run sh yet: ") && !said.contains("/proc"), "{said}");
}

/// One on demand at whose path somebody has sent something, and hung up.
fn after_a_note(test: &str, home: &Household) -> Victim {
    let mut command = unix_ss(&["serve", "--activate", "--on-demand", &home.place.name("s"), "--"]);
    let errors = File::create(home.place.path("errors")).expect("a file");
    command.args(home.program(test, "serve")).stdout(Stdio::null()).stderr(errors);
    let mut victim = Victim::exec(&mut command);
    victim.step_to_call(Side::Exit, "listen");
    let mut note = Command::new("/proc/self/exe");
    note.args(["--exact", test, "--nocapture"]);
    let note = run(as_role(&mut note, "note", home));
    assert!(note.status.success(), "{}", text(&note.stdout));
    victim
}

/// The same, when it has accepted him and can get no descriptor to repeat what he has sent; and what could be had before.
fn after_a_note_that_cannot_be_repeated(test: &str, home: &Household) -> (Victim, Option<Pid>, Rlimit) {
    let mut victim = after_a_note(test, home);
    victim.step_to_call(Side::Exit, ACCEPT);
    let pid = Pid::from_raw(i32::try_from(victim.pid()).expect("a pid"));
    let usual = leave_no_descriptor(pid);
    victim.release();
    let errors = home.place.path("errors");
    eventually("PROG cannot be started", || {
        std::fs::read_to_string(&errors).expect("a file").contains("cannot run sh yet")
    });
    (victim, pid, usual)
}

/// What it has stays open.
fn leave_no_descriptor(pid: Option<Pid>) -> Rlimit {
    let few = Rlimit { current: Some(4), ..getrlimit(Resource::Nofile) };
    prlimit(pid, Resource::Nofile, few).expect("a limit")
}

fn send_a_note() {
    let mut client = UnixStream::connect(dir().join("s")).expect("a server");
    client.write_all(b"note\n").expect("sent");
}

/// And then it ends.
fn the_note_is_heard(victim: Victim, mut home: Household) {
    let said = || std::fs::read_to_string(home.place.path("errors")).expect("a file");
    let uid = rustix::process::geteuid().as_raw();
    eventually("PROG hears it", || {
        assert!(!said().contains("lost"), "{}", said());
        home.heard() == [format!("note {uid}")]
    });
    home.end();
    let pid = i32::try_from(victim.pid()).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::TERM).expect("it lives");
    assert_eq!(victim.wait(), End::Exited(0));
}

#[test]
fn what_one_has_sent_who_hung_up_is_not_lost_when_no_process_can_be_had() {
    let test = "what_one_has_sent_who_hung_up_is_not_lost_when_no_process_can_be_had";
    match role().as_deref() {
        None => {}
        Some("note") => return send_a_note(),
        Some(role) => serve(role),
    }
    let home = Household::new();
    let mut victim = after_a_note(test, &home);
    for _ in 0..2 {
        step_to_fork(&mut victim); // a thread
        victim.fail(libc::EAGAIN);
    }
    victim.release();
    let errors = home.place.path("errors");
    eventually("it says so", || std::fs::read_to_string(&errors).is_ok_and(|said| said.contains('\n')));
    let said = std::fs::read_to_string(&errors).expect("a file");
    assert_eq!(said.matches("cannot accept a client yet: ").count(), 1, "{said}");
    the_note_is_heard(victim, home);
}

#[test]
fn nor_when_there_is_no_descriptor_to_repeat_it() {
    let test = "nor_when_there_is_no_descriptor_to_repeat_it";
    match role().as_deref() {
        None => {}
        Some("note") => return send_a_note(),
        Some(role) => serve(role),
    }
    let home = Household::new();
    let (victim, pid, usual) = after_a_note_that_cannot_be_repeated(test, &home);
    prlimit(pid, Resource::Nofile, usual).expect("a limit");
    the_note_is_heard(victim, home);
}

#[test]
fn and_counted_among_those_who_were_not_served_when_it_is_told_to_end_meanwhile() {
    let test = "and_counted_among_those_who_were_not_served_when_it_is_told_to_end_meanwhile";
    match role().as_deref() {
        None => {}
        Some("note") => return send_a_note(),
        Some(role) => serve(role),
    }
    let home = Household::new();
    let (victim, pid, _) = after_a_note_that_cannot_be_repeated(test, &home);
    kill_process(pid.expect("a pid"), Signal::TERM).expect("it lives");
    let said = || std::fs::read_to_string(home.place.path("errors")).expect("a file");
    assert_eq!(victim.wait(), End::Exited(126), "{}", said());
    assert!(said().contains("1 client was still queued at the end, and was not served"), "{}", said());
    assert!(home.started().is_empty());
}

/// The hidden half of it that becomes PROG has the limits of the moment in which it was forked.
#[test]
fn when_what_becomes_the_program_lacks_a_descriptor_the_client_waits_and_it_is_not_tried_without_pause() {
    let test = "when_what_becomes_the_program_lacks_a_descriptor_the_client_waits_and_it_is_not_tried_without_pause";
    if let Some(role) = role() {
        serve(&role);
    }
    let mut home = Household::new();
    let (mut victim, guest) = about_to_start(&home.program(test, "serve"), &home);
    let pid = Pid::from_raw(i32::try_from(victim.pid()).expect("a pid"));
    let since = Instant::now();
    for _ in 0..TRIES {
        let usual = leave_no_descriptor(pid);
        assert_eq!(victim.step().map(|stop| stop.side), Some(Side::Exit));
        prlimit(pid, Resource::Nofile, usual).expect("a limit");
        step_to_fork(&mut victim);
    }
    // The SIGCHLD of each is no reason to try again.
    assert!(since.elapsed() >= PAUSE * TRIES, "{:?}", since.elapsed());
    victim.release();
    assert_eq!([who_answers(guest)], *home.started());
    home.end();
    kill_process(pid.expect("a pid"), Signal::TERM).expect("it lives");
    assert_eq!(victim.wait(), End::Exited(0));
    let said = std::fs::read_to_string(home.place.path("errors")).expect("a file");
    assert_eq!(said, "unix-ss: cannot run sh yet: too many open files; trying again\n");
}

const TRIES: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn told_to_end_twice_while_no_process_can_be_had_it_ends_at_once() {
    let home = Household::new();
    let (mut victim, _guest) = about_to_start(&["true".to_owned()], &home);
    let pid = i32::try_from(victim.pid()).expect("a pid");
    let tell = || kill_process(Pid::from_raw(pid).expect("a pid"), Signal::TERM).expect("it lives");
    tell();
    while home.place.path("s").exists() {
        victim.fail(libc::EAGAIN);
        step_to_fork(&mut victim);
    }
    tell();
    victim.fail(libc::EAGAIN);
    loop {
        let stop = victim.step().expect("it lives");
        assert!(!is_fork(stop), "told twice, it goes on trying");
        if stop.number == libc::SYS_exit_group {
            break;
        }
    }
    victim.release();
    assert_eq!(victim.wait(), End::Exited(126), "PROG could not be started");
    let said = std::fs::read_to_string(home.place.path("errors")).expect("a file");
    assert!(said.contains("1 client was still queued"), "{said}");
}

const ACCEPT: &str = "accept4";
