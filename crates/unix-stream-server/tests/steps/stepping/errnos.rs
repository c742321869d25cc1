//! Whatever a system call says, once or from then on: a clean error or success, nobody else touched, no descriptor
//! leaked, and nothing left that stops the next start or outlives it.

use std::fmt;

use libc::{
    EACCES, EADDRINUSE, EAGAIN, EEXIST, EINTR, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM, EPROTOTYPE,
};
use stepper::{Side, Stop, call, name};

use super::actor::{Actor, Report};
use super::operations::OPERATIONS;
use super::scene::Scene;
use super::{ALL, all_steps, tell};
use crate::support::child::whole_process;
use crate::this_test;

#[derive(Clone, Copy, PartialEq, Eq)]
enum HowOften {
    Once,
    FromThenOn,
}

impl HowOften {
    /// One failure in so many is tried, in turn over all operations, calls and errnos, unless all are asked for.
    fn share(self) -> usize {
        match self {
            HowOften::Once => 2,
            HowOften::FromThenOn => 3,
        }
    }
}

#[test]
fn a_call_that_fails_once_gives_a_clean_error_or_success() {
    whole_process(&this_test!(), || try_all(HowOften::Once));
}

#[test]
fn a_call_that_fails_from_then_on_gives_a_clean_error_or_success() {
    whole_process(&this_test!(), || try_all(HowOften::FromThenOn));
}

/// A system call that is made to fail.
#[derive(Clone, Copy)]
struct Failure {
    stop: usize,
    number: i64,
    errno: i32,
    how_often: HowOften,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        let on = if self.how_often == HowOften::Once { "" } else { ", and from then on," };
        write!(f, "at stop {}{on} {} says {error}", self.stop, name(self.number))
    }
}

fn try_all(how_often: HowOften) {
    let label = if how_often == HowOften::Once { "errnos, once" } else { "errnos, from then on" };
    let share = if all_steps() { 1 } else { how_often.share() };
    let (mut turn, mut all, mut all_calls) = (0, 0, 0);
    for operation in OPERATIONS {
        let mut scene = Scene::new(operation);
        let (calls, expected) = calls(&mut scene);
        let (mut tried, mut succeeded) = (0, 0);
        for &(stop, number) in &calls {
            let row = call(number);
            let row =
                row.unwrap_or_else(|| panic!("{}: {} has no row in stepper::calls", operation.name, name(number)));
            let passing: &[i32] = if how_often == HowOften::Once { row.passing } else { &[] };
            for &errno in row.errnos.iter().chain(passing) {
                if errno == EINTR && how_often == HowOften::FromThenOn && operation.persists {
                    continue;
                }
                let unseen = number == libc::SYS_newfstatat && errno != ENOENT;
                if unseen && how_often == HowOften::FromThenOn && operation.unsure {
                    continue;
                }
                turn += 1;
                if turn % share != 0 {
                    continue;
                }
                let failure = Failure { stop, number, errno, how_often };
                if let Some(report) = try_one(&mut scene, failure, &expected) {
                    tried += 1;
                    succeeded += usize::from(!matches!(report, Report::Failed { .. }));
                }
            }
        }
        scene.assert_neighbour_lives();
        all += tried;
        all_calls += calls.len();
        let calls = calls.len();
        tell(&format!("{label}: {}: {calls} calls, {tried} failures, {succeeded} successes", operation.name));
    }
    let which = if share == 1 { String::new() } else { format!(" (one in {share}; all with {ALL}=1)") };
    tell(&format!("{label}: {all} failures{which} of {all_calls} calls of {} operations", OPERATIONS.len()));
}

/// The operation's calls when nothing fails, and what comes of it.
fn calls(scene: &mut Scene<'_>) -> (Vec<(usize, i64)>, Report) {
    let mut actor = scene.actor();
    let mut calls = Vec::new();
    while let Some(stop) = actor.victim.step() {
        if stop.side == Side::Entry {
            calls.push((stop.index, stop.number));
        }
    }
    let report = actor.report();
    actor.end();
    scene.recover(&"nothing failed");
    (calls, report)
}

/// What comes of the operation with that failure; `None` if it never came to that call.
fn try_one(scene: &mut Scene<'_>, failure: Failure, expected: &Report) -> Option<Report> {
    let mut actor = scene.actor();
    let is_it = |stop: Stop| stop.side == Side::Entry && stop.index >= failure.stop && stop.number == failure.number;
    let found = loop {
        match actor.victim.step() {
            Some(stop) if is_it(stop) => break Some(stop),
            Some(_) => {}
            None => break None,
        }
    };
    let Some(stop) = found else {
        // A wait may be over earlier this time, or a list be shorter.
        assert!(scene.operation.varies, "{}: {failure}: there was no such call", scene.operation.name);
        actor.report();
        actor.end();
        scene.recover(&failure);
        return None;
    };
    assert!(stop.index == failure.stop || scene.operation.varies, "{}: {failure}: at {stop}", scene.operation.name);
    actor.victim.fail(failure.errno);
    if failure.how_often == HowOften::FromThenOn {
        while let Some(stop) = actor.victim.step() {
            if stop.side == Side::Entry && stop.number == failure.number {
                actor.victim.fail(failure.errno);
            }
        }
    }
    let report = actor.report();
    let when = format!("{failure}: {report:?}");
    assert_clean(scene, &mut actor, &report, expected, failure);
    scene.assert_unharmed(&when);
    actor.end();
    scene.assert_unharmed(&when);
    scene.recover(&when);
    Some(report)
}

#[track_caller]
fn assert_clean(scene: &Scene<'_>, actor: &mut Actor, report: &Report, expected: &Report, failure: Failure) {
    let when = format!("{}: {failure}: {report:?}", scene.operation.name);
    match report {
        Report::Live => {
            assert!(!scene.operation.before.is_in_the_way(), "{when}: it took the path");
            actor.assert_serves(&scene.path);
            let second = scene.operation.kind.builder().take_over(false).create(&scene.path);
            assert!(second.is_err_and(|error| error.is_in_use()), "{when}: a second server");
        }
        // ENOENT: the kernel has said that nothing is there, so that nothing was to be done.
        Report::Done => assert!(&Report::Done == expected || failure.errno == ENOENT, "{when}"),
        Report::Failed { kind, errno, message } => {
            let injected = failure.errno;
            // The life lock is held, as it says, by a server of which it could not be told that it yields.
            let is_held = kind == "InUse" && scene.operation.before.yields() && message.contains(".owner");
            let explained = report.is_like(expected)
                || is_held
                || match kind.as_str() {
                    // Through a pin, what is missing cannot be the socket, so that it is /proc: ENAMETOOLONG.
                    "System" if *errno == ENAMETOOLONG => [ENOENT, ENOTDIR, ENAMETOOLONG].contains(&injected),
                    "System" | "CannotTell" => *errno == injected,
                    "Moved" => true,
                    // What the kernel says of a name that is taken, or of a live server; ENOENT: the name is taken,
                    // and yet nothing is there.
                    "InUse" => [EADDRINUSE, EEXIST, EAGAIN, EPROTOTYPE, ENOENT].contains(&injected),
                    // Held, another user's, or another program's.
                    "Locked" => [EEXIST, EAGAIN, EACCES, EPERM, ELOOP, ENXIO, ENODEV, ENOENT].contains(&injected),
                    "TimedOut" => injected == EAGAIN,
                    "PathTooLong" => true,
                    _ => false,
                };
            assert!(explained, "{when}: not what has happened");
        }
    }
}
