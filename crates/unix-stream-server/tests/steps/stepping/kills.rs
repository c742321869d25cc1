//! SIGKILL at any point leaves nothing that stops the next start, and takes nothing of anybody else's.

use std::collections::BTreeSet;

use super::actor::Actor;
use super::operations::{OPERATIONS, create, create_beside};
use super::scene::Scene;
use super::{ALL, all_steps, tell};
use crate::support::child::whole_process;
use crate::this_test;

#[test]
fn killed_at_any_step_of_any_operation_nothing_stops_the_next_start() {
    whole_process(&this_test!(), || {
        let mut all = 0;
        for operation in OPERATIONS {
            let mut scene = Scene::new(operation);
            let mut stops = 0;
            while let Some(stop) = scene.actor().kill_at(stops) {
                scene.assert_unharmed(&stop);
                scene.recover(&stop);
                stops += 1;
            }
            scene.assert_unharmed(&"not killed");
            scene.recover(&"not killed");
            scene.assert_neighbour_lives();
            assert!(stops > 0, "{}: it makes no call", operation.name);
            all += stops;
            tell(&format!("kills: {}: {stops} stops, {stops} recoveries", operation.name));
        }
        tell(&format!("kills: {all} stops of {} operations, and as many recoveries", OPERATIONS.len()));
    });
}

/// Of the first kills, one is followed up for each state of the directory that they leave, which is all that a recovery
/// can see of them; every one if asked for.
#[test]
fn nor_does_anything_when_the_recovery_is_killed_at_any_step_too() {
    whole_process(&this_test!(), || {
        let mut seen = BTreeSet::new();
        let (mut firsts, mut states, mut seconds) = (0, 0, 0);
        for operation in OPERATIONS {
            let mut scene = Scene::new(operation);
            let before = operation.before;
            let alive = (before.is_in_the_way() || before.yields()).then_some(before);
            let (mut first, mut followed, mut kills) = (0, 0, 0);
            while let Some(stop) = scene.actor().kill_at(first) {
                first += 1;
                let new =
                    seen.insert((alive, scene.is_replaced(), operation.length, operation.kind, scene.left_names()));
                if !new && !all_steps() {
                    scene.recover(&stop);
                    continue;
                }
                followed += 1;
                kills += kill_recoveries(&mut scene, stop.index);
            }
            scene.recover(&"not killed");
            let name = operation.name;
            tell(&format!("double kills: {name}: {first} stops, {followed} followed by {kills} kills of the recovery"));
            firsts += first;
            states += followed;
            seconds += kills;
        }
        let which = if all_steps() { "all".to_owned() } else { format!("one for each state left; all with {ALL}=1") };
        tell(&format!("double kills: {firsts} stops, {states} followed ({which}) by {seconds} kills of the recovery"));
    });
}

/// With one killed at the stop `first`: how often its recovery could be killed.
fn kill_recoveries(scene: &mut Scene<'_>, first: usize) -> usize {
    let mut second = 0;
    loop {
        let arrange = if scene.operation.before.is_in_the_way() { create_beside } else { create };
        let recovery = Actor::new(scene.operation.kind, &scene.path, arrange);
        let stop = recovery.kill_at(second);
        let when = match stop {
            Some(stop) => format!("killed at stop {first}, and its recovery at {stop}"),
            None => format!("killed at stop {first}, and recovered"),
        };
        scene.assert_unharmed(&when);
        scene.recover(&when);
        if stop.is_none() {
            return second;
        }
        second += 1;
        if scene.actor().kill_at(first).is_none() {
            assert!(scene.operation.varies, "{}: no stop {first} any more", scene.operation.name);
            scene.recover(&"not killed");
            return second;
        }
    }
}
