//! A cleaner, who knows of no lock, deletes the socket at the path in the middle of an operation, whosever it is. Nobody
//! is told of an error that only the deletion explains, but for those that say so; and the next start finds all in order.

use super::actor::Report;
use super::operations::{Before, Kind, OPERATIONS, Operation};
use super::scene::{Deleted, Scene};
use super::tell;
use crate::support::child::whole_process;
use crate::this_test;

#[test]
fn a_socket_deleted_at_any_step_of_any_operation_makes_none_fail_that_need_not() {
    whole_process(&this_test!(), || {
        let mut all = 0;
        for operation in OPERATIONS {
            let mut scene = Scene::new(operation);
            let mut undisturbed = scene.actor();
            assert_eq!(undisturbed.victim.step_to(usize::MAX), None);
            let expected = undisturbed.report();
            undisturbed.end();
            scene.recover(&"undisturbed");
            let (mut stops, mut deletions, mut told) = (0, 0, 0);
            loop {
                let mut actor = scene.actor();
                let first = scene.pin_socket();
                let Some(stop) = actor.victim.step_to(stops) else { break };
                stops += 1;
                let deleted = scene.delete_socket(first.as_ref());
                let report = actor.report();
                let when = format!("{}: {deleted:?} at {stop}: {report:?} instead of {expected:?}", operation.name);
                if report.is_like(&expected) {
                    if deleted == Some(Deleted::Old) && report == Report::Live && operation.creates() {
                        actor.assert_serves(&scene.path);
                    }
                } else {
                    assert!(deleted.is_some_and(|which| may_say(operation, which, &report)), "{when}");
                    told += 1;
                }
                scene.assert_unharmed(&when);
                actor.end();
                scene.recover(&when);
                deletions += usize::from(deleted.is_some());
            }
            scene.recover(&"nothing deleted");
            scene.assert_neighbour_lives();
            all += deletions;
            tell(&format!("deletions: {}: {deletions} at {stops} stops, told of at {told}", operation.name));
        }
        tell(&format!("deletions: {all} in the middle of {} operations", OPERATIONS.len()));
    });
}

/// What the documentation of the operation says of a path that has been deleted.
fn may_say(operation: &Operation, which: Deleted, report: &Report) -> bool {
    let Report::Failed { kind, errno, .. } = report else {
        // What was in the way is gone; or a server that has lost its path is handed back.
        return operation.before.is_in_the_way() || operation.name.starts_with("into_parts");
    };
    let is = |other_kind, other_errno| (kind.as_str(), *errno) == (other_kind, other_errno);
    match which {
        // Before it was a server's.
        Deleted::New => is("Moved", libc::ESTALE),
        Deleted::Old if operation.name.starts_with("adopt") => is("Moved", libc::ESTALE),
        Deleted::Old if operation.name.starts_with("connect") => is("System", libc::ENOENT),
        // The file cannot be found any more.
        Deleted::Old if operation.name.starts_with("watch") => is("System", libc::ENOENT),
        // Nobody yields the path any more, and the life lock is held.
        Deleted::Old if operation.before == Before::Replaceable => {
            operation.kind == Kind::TakeOverLifetime && is("InUse", libc::EADDRINUSE)
        }
        Deleted::Old => false,
    }
}
