//! A cleaner, who knows of no lock, deletes the socket at the path in the middle of an operation, whosever it is, or the
//! one at the temporary name. Nobody is told of an error that only the deletion explains, but for those that say so;
//! and the next start finds all in order.

use stepper::{Side, Stop};

use super::actor::{Actor, Report};
use super::operations::{Before, Kind, Length, OPERATIONS, Operation};
use super::scene::{Deleted, Scene};
use super::tell;
use crate::support::child::whole_process;
use crate::support::dir::{beside, exists};
use crate::support::succession::temporary;
use crate::this_test;

#[test]
fn a_socket_deleted_at_any_step_of_any_operation_makes_none_fail_that_need_not() {
    whole_process(&this_test!(), || {
        let mut all = 0;
        for operation in OPERATIONS {
            let mut scene = Scene::new(operation);
            let undisturbed = Undisturbed::new(&mut scene);
            let (mut stops, mut deletions, mut told) = (0, 0, 0);
            loop {
                let mut actor = scene.actor();
                let first = scene.pin_socket();
                let Some(stop) = actor.victim.step_to(stops) else { break };
                stops += 1;
                let deleted = scene.delete_socket(first.as_ref());
                let report = actor.report();
                let when = format!("{deleted:?} deleted at {stop}: {report:?} instead of {:?}", undisturbed.report);
                if !report.is_like(&undisturbed.report) {
                    let may = deleted.is_some_and(|which| may_say(operation, which, &undisturbed, &stop, &report));
                    assert!(may, "{}: {when}", operation.name);
                    told += 1;
                }
                if deleted == Some(Deleted::Old) && operation.creates() && report == Report::Live {
                    actor.assert_serves(&scene.path);
                    if undisturbed.probes_are_over(&stop) {
                        assert_eq!(scene.left_by_now(), undisturbed.left, "{}: {when}: knocks", operation.name);
                    }
                }
                end(&mut scene, actor, &when);
                deletions += usize::from(deleted.is_some());
            }
            scene.recover(&"nothing deleted");
            scene.assert_neighbour_lives();
            let never = matches!(operation.before, Before::File | Before::GitLock);
            assert_eq!(deletions == 0, never, "{}: {deletions} at {stops} stops", operation.name);
            all += deletions;
            tell(&format!("deletions: {}: {deletions} at {stops} stops, told of at {told}", operation.name));
        }
        tell(&format!("deletions: {all} in the middle of {} operations", OPERATIONS.len()));
    });
}

#[test]
fn nor_does_one_deleted_at_the_temporary_name_but_as_moved() {
    whole_process(&this_test!(), || {
        for operation in OPERATIONS.iter().filter(|row| row.before.yields() || row.length == Length::LongName) {
            let mut scene = Scene::new(operation);
            let undisturbed = Undisturbed::new(&mut scene);
            let (mut stops, mut deletions, mut told) = (0, 0, 0);
            loop {
                let mut actor = scene.actor();
                let Some(stop) = actor.victim.step_to(stops) else { break };
                stops += 1;
                let is_there = std::fs::remove_file(temporary(&scene.path)).is_ok();
                let report = actor.report();
                let when = format!("deleted at {stop}: {report:?} instead of {:?}", undisturbed.report);
                if !report.is_like(&undisturbed.report) {
                    assert!(is_there && says(&report, "Moved", libc::ESTALE), "{}: {when}", operation.name);
                    told += 1;
                }
                if report == Report::Live && operation.creates() {
                    actor.assert_serves(&scene.path);
                }
                end(&mut scene, actor, &when);
                deletions += usize::from(is_there);
            }
            scene.recover(&"nothing deleted");
            tell(&format!("deletions beside: {}: {deletions} at {stops} stops, told of at {told}", operation.name));
            assert!(deletions > 0 || !operation.creates() || operation.before.is_in_the_way(), "{}", operation.name);
        }
    });
}

/// Which lets in who comes meanwhile, and is no reason to fail.
#[test]
fn nor_does_a_lock_that_is_deleted() {
    whole_process(&this_test!(), || {
        let ours = OPERATIONS.iter().filter(|row| row.before != Before::GitLock);
        let has_life = |row: &&Operation| matches!(row.kind, Kind::Lifetime | Kind::TakeOverLifetime);
        let locks = ours.clone().map(|row| (row, ".lock")).chain(ours.filter(has_life).map(|row| (row, ".owner")));
        for (operation, suffix) in locks {
            let mut scene = Scene::new(operation);
            let undisturbed = Undisturbed::new(&mut scene);
            // It waits for the life lock, which is gone.
            let waits = suffix == ".owner" && says(&undisturbed.report, "InUse", libc::EADDRINUSE);
            let (mut stops, mut deletions) = (0, 0);
            loop {
                let mut actor = scene.actor();
                let Some(stop) = actor.victim.step_to(stops) else { break };
                stops += 1;
                deletions += usize::from(std::fs::remove_file(beside(&scene.path, suffix)).is_ok());
                let report = actor.report();
                let when = format!("{suffix} deleted at {stop}: {report:?} instead of {:?}", undisturbed.report);
                assert!(waits || report.is_like(&undisturbed.report), "{}: {when}", operation.name);
                actor.end();
                scene.recover(&when);
            }
            scene.recover(&"nothing deleted");
            assert!(deletions > 0 || suffix == ".lock", "{}: {stops} stops", operation.name);
            tell(&format!("deletions of {suffix}: {}: {deletions} at {stops} stops", operation.name));
        }
    });
}

/// What an operation does and says where nothing is deleted.
struct Undisturbed {
    calls: Vec<Stop>,
    report: Report,
    /// How many came to the predecessor and left again: those who probed it, and whoever knocked.
    left: usize,
}

impl Undisturbed {
    fn new(scene: &mut Scene<'_>) -> Undisturbed {
        let mut actor = scene.actor();
        let calls = std::iter::from_fn(|| actor.victim.step()).collect();
        let report = actor.report();
        let left = scene.left_by_now();
        actor.end();
        scene.recover(&"undisturbed");
        Undisturbed { calls, report, left }
    }

    /// The last to connect is who knocks, and the one before that, the last to probe.
    fn probes_are_over(&self, stop: &Stop) -> bool {
        let is_connect = |call: &&Stop| (call.side, call.number) == (Side::Exit, libc::SYS_connect);
        self.calls.iter().rev().filter(is_connect).nth(1).is_some_and(|probe| probe.index < stop.index)
    }

    /// It has a socket of its own.
    fn has_begun(&self, stop: &Stop) -> bool {
        self.calls.iter().find(|call| call.number == libc::SYS_fchmod).is_some_and(|call| call.index <= stop.index)
    }
}

/// All is in order, and the next start comes.
fn end(scene: &mut Scene<'_>, actor: Actor, when: &str) {
    scene.assert_unharmed(&when);
    actor.end();
    let had_one = matches!(scene.operation.before, Before::ReplaceableAndDeadBeside | Before::ReplaceableAndLiveBeside);
    assert!(had_one || !exists(&temporary(&scene.path)), "{}: {when}: a temporary name is left", scene.operation.name);
    scene.recover(&when);
}

fn says(report: &Report, kind: &str, errno: i32) -> bool {
    matches!(report, Report::Failed { kind: its, errno: number, .. } if its == kind && *number == errno)
}

/// What the documentation of the operation says of a path that has been deleted.
fn may_say(operation: &Operation, which: Deleted, undisturbed: &Undisturbed, stop: &Stop, report: &Report) -> bool {
    if !matches!(report, Report::Failed { .. }) {
        // What was in the way is gone; or a server that has lost its path is handed back.
        return operation.before.is_in_the_way() || operation.name.starts_with("into_parts");
    }
    match which {
        // Before it was a server's. After a take-over it is one by then.
        Deleted::New => !operation.before.yields() && says(report, "Moved", libc::ESTALE),
        Deleted::Old if operation.name.starts_with("adopt") => says(report, "Moved", libc::ESTALE),
        Deleted::Old if operation.name.starts_with("connect") => says(report, "System", libc::ENOENT),
        // The file cannot be found any more.
        Deleted::Old if operation.name.starts_with("watch") => says(report, "System", libc::ENOENT),
        // Nobody yields the path any more, and the life lock is held.
        Deleted::Old if operation.before.yields() => {
            let waits = operation.kind == Kind::TakeOverLifetime && !undisturbed.has_begun(stop);
            waits && says(report, "InUse", libc::EADDRINUSE)
        }
        Deleted::Old => false,
    }
}
