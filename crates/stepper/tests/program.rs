//! A program as a victim.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::process::{Command, Stdio};

use stepper::{Side, Victim};

#[test]
fn it_stops_from_its_first_call_to_its_last_and_writes_what_it_would() {
    use std::io::Read;
    let mut victim = Victim::exec(Command::new("echo").arg("word").stdout(Stdio::piped()));
    let stops: Vec<_> = std::iter::from_fn(|| victim.step()).collect();
    assert!(stops.len() > 10, "{stops:?}");
    let last = stops.last().expect("stops");
    assert_eq!((last.number, last.side), (libc::SYS_exit_group, Side::Entry));
    let mut said = String::new();
    victim.stdout.take().expect("a pipe").read_to_string(&mut said).expect("read");
    assert_eq!(said, "word\n");

    let half = stops.len() / 2;
    let mut victim = Victim::exec(Command::new("echo").arg("word").stdout(Stdio::piped()));
    assert_eq!(victim.step_to(half).map(|stop| stop.index), Some(half));
    let mut pipe = victim.stdout.take().expect("a pipe");
    victim.kill();
    said.clear();
    pipe.read_to_string(&mut said).expect("read");
    assert_eq!(said, "");
}
