//! A process that stands still in the middle, however long, holds nobody up beyond the timeout; and when it goes on,
//! there is still one server and no harm done.
//!
//! It is held by its tracer and not by SIGSTOP, which would let the call at whose entry it comes be carried out first.

use unix_stream_server::{ErrorKind, ServerSocket};

use super::actor::Report;
use super::operations::{Before, OPERATIONS};
use super::scene::Scene;
use super::tell;
use crate::support::child::whole_process;
use crate::support::sockets::assert_serves;
use crate::this_test;

#[test]
fn paused_at_any_step_of_any_operation_there_is_one_server_at_most_and_one_in_the_end() {
    whole_process(&this_test!(), || {
        let (mut all, mut overtaken_in_all) = (0, 0);
        for operation in OPERATIONS {
            let mut scene = Scene::new(operation);
            let mut undisturbed = scene.actor();
            assert_eq!(undisturbed.victim.step_to(usize::MAX), None);
            let expected = undisturbed.report();
            undisturbed.end();
            scene.recover(&"undisturbed");
            let (mut stops, mut overtaken) = (0, 0);
            loop {
                let mut actor = scene.actor();
                let Some(stop) = actor.victim.step_to(stops) else { break };
                stops += 1;
                let when = format!("{}: paused at {stop}", operation.name);
                let other = start_beside(&scene, &when);
                let report = actor.report();
                let when = format!("{when}: the other start {other:?}, this one {report:?}");
                match (&other, &report) {
                    // One has replaced the other, whichever it was.
                    (Ok(other), Report::Live) if operation.kind.takes_over() => {
                        if other.was_stolen() {
                            actor.assert_serves(&scene.path);
                        } else {
                            assert_serves(other, &scene.path);
                        }
                    }
                    (Ok(_), Report::Live) => panic!("{when}: two servers"),
                    // It came too late, or had nothing to do with the path any more.
                    (Ok(other), Report::Done) => assert_serves(other, &scene.path),
                    (Ok(other), Report::Failed { kind, .. }) => {
                        assert!(kind == "InUse" || kind == "Locked" || report.is_like(&expected), "{when}");
                        assert_serves(other, &scene.path);
                    }
                    (Err(_), Report::Live) => {
                        assert_eq!(expected, Report::Live, "{when}");
                        actor.assert_serves(&scene.path);
                    }
                    (Err(_), report) => assert!(report.is_like(&expected), "{when}"),
                }
                overtaken += usize::from(other.is_ok());
                scene.assert_unharmed(&when);
                drop(other.map(ServerSocket::close));
                actor.end();
                scene.recover(&when);
            }
            scene.recover(&"not paused");
            scene.assert_neighbour_lives();
            all += stops;
            overtaken_in_all += overtaken;
            tell(&format!("pauses: {}: {stops} stops, overtaken at {overtaken}", operation.name));
        }
        tell(&format!("pauses: {all} stops of {} operations, overtaken at {overtaken_in_all}", OPERATIONS.len()));
    });
}

/// Another start, while somebody stands still.
fn start_beside(scene: &Scene<'_>, when: &str) -> Result<ServerSocket, ErrorKind> {
    let other = scene.operation.another().create(&scene.path);
    scene.assert_unharmed(&when);
    match other {
        Ok(server) => {
            assert!(!scene.operation.before.is_in_the_way(), "{when}: another start took the path");
            assert_serves(&server, &scene.path);
            Ok(server)
        }
        Err(error) => {
            let expected: &[ErrorKind] = match scene.operation.before {
                Before::Live | Before::LiveLate | Before::Successor => &[ErrorKind::InUse],
                Before::File => &[ErrorKind::NotASocket],
                Before::GitLock => &[ErrorKind::Locked],
                _ => &[ErrorKind::InUse, ErrorKind::Locked],
            };
            assert!(expected.contains(&error.kind()), "{when}: {error}");
            Err(error.kind())
        }
    }
}
