//! A watch, stopped at every step: whatever happens there is told, and what is not its business costs no look.

use std::fs;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stepper::{End, Side, Victim, operation};
use unix_stream_server::{ServerSocket, Status, Watch};

use crate::support::PATIENCE;
use crate::support::child::whole_process;
use crate::support::dir::{Dir, chmod, put_file};
use crate::this_test;

/// The race: a look, and then the directory is listened to; what happens between the two is no event for anybody.
#[test]
fn a_change_at_any_step_of_a_look_is_told() {
    whole_process(&this_test!(), || {
        let stops = at_each_step(|server, path| {
            let mut watch = server.watch().expect("watch");
            fs::remove_file(path).expect("unlink");
            let told = operation(|| watch.check()).expect("a check");
            until_told(&mut watch, told);
        });
        assert!(stops > 10, "{stops}");
    });
}

#[test]
fn a_change_at_any_step_of_the_making_of_a_watch_is_told() {
    whole_process(&this_test!(), || {
        let stops = at_each_step(|server, _| match operation(|| server.watch()) {
            Ok(mut watch) => until_told(&mut watch, None),
            // It was lost before it was pinned.
            Err(error) => assert_eq!(error.raw_os_error(), libc::ESTALE, "{error}"),
        });
        assert!(stops > 15, "{stops}");
    });
}

#[test]
fn what_happens_to_other_names_costs_no_look_and_a_chmod_costs_one() {
    whole_process(&this_test!(), || {
        let looks = |before: fn(&Path, &mut Watch)| {
            let dir = Dir::new();
            let path = dir.join("s");
            let mut victim = Victim::fork(|| {
                let server = ServerSocket::create(&path).expect("create");
                let mut watch = server.watch().expect("watch");
                before(&path, &mut watch);
                assert_eq!(operation(|| watch.check()).expect("a check"), None);
            });
            let stops: Vec<_> = std::iter::from_fn(|| victim.step()).collect();
            victim.release();
            assert_eq!(victim.wait(), End::Exited(0));
            let is_look = |stop: &&stepper::Stop| (stop.side, stop.number) == (Side::Entry, libc::SYS_newfstatat);
            stops.iter().filter(is_look).count()
        };
        let others = looks(|path, watch| {
            fs::remove_file(path).expect("unlink");
            assert_eq!(watch.check().expect("a check"), Some(Status::Gone));
            put_file(&path.with_file_name("other"), b"", 0o600);
        });
        assert_eq!(others, 0);
        assert_eq!(looks(|path, _| chmod(path, 0o666)), 1);
    });
}

/// Something is renamed over the path at each stop in turn of what is done with a server; the number of stops.
fn at_each_step(work: impl Fn(&ServerSocket, &Path)) -> usize {
    for index in 0.. {
        let dir = Dir::new();
        let path = dir.join("s");
        put_file(&dir.join("new"), b"", 0o600);
        let mut victim = Victim::fork(|| {
            let server = ServerSocket::create(&path).expect("create");
            work(&server, &path);
        });
        let Some(stop) = victim.step_to(index) else {
            victim.kill();
            return index;
        };
        fs::rename(dir.join("new"), &path).expect("rename");
        victim.release();
        assert_eq!(victim.wait(), End::Exited(0), "a change at {stop} was not told");
    }
    unreachable!("it has an end")
}

/// By its descriptor alone, as an event loop has it.
fn until_told(watch: &mut Watch, mut told: Option<Status>) {
    let seconds = Timespec { tv_sec: PATIENCE.as_secs().try_into().expect("few"), tv_nsec: 0 };
    while told != Some(Status::Replaced) {
        let woken = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&seconds)).expect("poll");
        assert_eq!(woken, 1, "nobody was woken");
        told = watch.check().expect("a check").or(told);
    }
}
