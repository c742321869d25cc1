//! `serve --activate`: what it does about its path follows from one look at it, whatever a second one would say.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod common;

use std::fs::{self, File};
use std::process::Stdio;

use common::activated::is_alive;
use common::{Place, eventually, unix_ss};
use rustix::process::{Pid, Signal, kill_process};
use stepper::{End, Side, Victim, name};

/// The supervisor of a PROG that ends well when it is told to, stopped once it `is_up`.
fn start(place: &Place, options: &[&str], is_up: impl Fn(&str) -> bool) -> Victim {
    let script = "trap 'exit 0' TERM; echo up >\"$0\"; while :; do sleep 0.01; done";
    let mut command = unix_ss(&["serve", "--activate"]);
    command.args(options).arg(place.path("s")).args(["--", "sh", "-c", script]).arg(place.path("up"));
    let said = File::create(place.path("said")).expect("a file");
    let mut victim = Victim::exec(command.stdout(Stdio::null()).stderr(said));
    victim.step_to_call(Side::Exit, "listen");
    while !is_up(&name(victim.step().expect("it lives").number)) {}
    victim
}

/// Has the path gone at the next look at it, and back a moment later.
fn gone_at_one_look(place: &Place, victim: &mut Victim) {
    fs::rename(place.path("s"), place.path("away")).expect("moved");
    victim.step_to_call(Side::Exit, "newfstatat");
    fs::rename(place.path("away"), place.path("s")).expect("moved back");
    victim.release();
}

#[track_caller]
fn assert_ends(place: &Place, victim: Victim, status: i32) {
    let pid = victim.pid().try_into().expect("a pid");
    eventually("it ends", || !is_alive(pid));
    assert_eq!(victim.wait(), End::Exited(status));
    let said = fs::read_to_string(place.path("said")).expect("a file");
    assert!(said.contains("lost the path") && said.contains("it was deleted or moved away"), "{said:?}");
    assert!(!place.path("s").exists());
}

#[test]
fn while_the_program_runs() {
    let place = Place::new();
    let mut victim = start(&place, &[], |_| place.path("up").exists());
    gone_at_one_look(&place, &mut victim);
    // What there is to say is said before signals are looked at again.
    let pid = Pid::from_raw(victim.pid().try_into().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it lives");
    assert_ends(&place, victim, 0);
}

#[test]
fn while_nobody_wants_it() {
    let place = Place::new();
    let mut victim = start(&place, &["--on-demand"], |call| ["poll", "ppoll"].contains(&call));
    gone_at_one_look(&place, &mut victim);
    assert_ends(&place, victim, 5);
    assert!(!place.path("up").exists());
}
