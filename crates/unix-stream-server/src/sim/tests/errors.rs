//! Every errno that each call can give, at every call, once and from then on: a clean error or success, nothing
//! foreign removed, no descriptor left open, and nothing left that stops or outlives the next create.

use rustix::io::Errno;

use super::super::calls::{Call, Note};
use super::super::errnos;
use super::super::inode::Origin;
use super::super::kernel::FileSystem;
use super::super::parties::fresh_create;
use super::super::process::Process;
use super::super::verdict::recovers;
use super::super::{Failure, Run, Sim};
use super::*;
use crate::ErrorKind;

/// Runs the party alone, with a failure; the kernel after it, and the number of calls.
fn run(party: Party, kernel: Kernel, failure: Option<Failure>) -> (Kernel, Vec<Call>) {
    let sim = Sim::direct(kernel, 0, failure);
    party.play(&sim);
    let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
    (sim.kernel(), direct.calls.take())
}

#[test]
fn every_errno_of_every_call_leaves_everything_as_it_must_be() {
    let mut failures = 0;
    for (beginning, kernel) in beginnings() {
        for party in Party::OURS {
            let (_, calls) = run(party, kernel, None);
            for (at, &call) in calls.iter().enumerate() {
                for errno in errnos::of(call) {
                    for from_then_on in [false, true] {
                        let failure = Failure { at, errno, from_then_on };
                        let told = format!("{party:?} on {beginning}: {call:?}, its call {at}, {failure:?}");
                        survives(party, kernel, &calls, failure).unwrap_or_else(|why| panic!("{told}: {why}"));
                        failures += 1;
                    }
                }
            }
        }
    }
    println!("{failures} failures");
    assert!(failures > 10_000, "there is more than that to try: {failures}");
}

/// Where a pin is no more than a name, that is what is said of one whose file has gone from there.
#[test]
fn p1_a_socket_that_goes_while_it_is_judged_stops_no_start() {
    let dead = Kernel::new().with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    let create = |failure| {
        let sim = Sim::direct(dead, 0, failure);
        let created = fresh_create(&sim, Party::Create);
        let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
        (created, direct.calls.take())
    };
    let (created, calls) = create(None);
    assert_eq!(created, Ok(()));
    let pinned = calls.iter().position(|call| matches!(call, Call::Pin(Name::Socket))).expect("it is judged");
    let asked = (pinned..calls.len()).find(|&at| matches!(calls[at], Call::Connect(_))).expect("it is asked");
    for at in [pinned + 1, asked] {
        let failure = |from_then_on| Some(Failure { at, errno: Errno::STALE, from_then_on });
        assert_eq!(create(failure(false)).0, Ok(()), "{:?}", calls[at]);
        assert_eq!(create(failure(true)).0, Err(ErrorKind::CannotTell), "{:?}", calls[at]);
    }
}

fn survives(party: Party, mut kernel: Kernel, calls: &[Call], mut failure: Failure) -> Result<(), String> {
    let is_flock = |call: &Call| matches!(call, Call::Flock(_));
    if is_flock(&calls[failure.at]) && errnos::NO_FLOCK.contains(&failure.errno) {
        // A file system without flock() has none from the first call on.
        kernel.file_system = FileSystem::WithoutFlock;
        failure.at = calls.iter().position(is_flock).expect("there is one");
        failure.from_then_on = true;
    }
    let (mut after, _) = run(party, kernel, Some(failure));
    if let Some(fault) = &after.fault {
        return Err(fault.to_string());
    }
    if after.open_fds(0) > 0 {
        return Err("a descriptor stays open".to_owned());
    }
    if after.processes[0].notes.none() {
        return Err("it ended without a word".to_owned());
    }
    after.file_system = FileSystem::Local;
    recovers(&after, 1, 1)
}

/// Where other kernels serve too, it is the life lock of a dead server that proves its death; of one that failed to remove
/// its socket at the end as well.
#[test]
fn no_errno_of_any_call_takes_the_proof_from_a_dead_socket() {
    let (mut others, mut own) = (0, 0);
    for (_, mut kernel) in beginnings().into_iter().filter(|(name, _)| matches!(*name, "nothing" | "dead+life")) {
        kernel.file_system = FileSystem::SharedWithLocks;
        for party in [Party::ClaimDrainLifetime, Party::ClaimAbandonLifetime] {
            let (_, calls) = run(party, kernel, None);
            let owns = calls.iter().position(|call| matches!(call, Call::Note(Note::Owns)));
            let served = |at| owns.is_some_and(|owns| at > owns);
            for (at, &call) in calls.iter().enumerate() {
                // That nothing is there is no failure but a lie, and so it is that somebody lives there.
                let is_lie = |errno| matches!(errno, Errno::NOENT | Errno::PROTOTYPE | Errno::AGAIN);
                for errno in errnos::of(call).into_iter().filter(|&errno| !is_lie(errno)) {
                    let failure = Failure { at, errno, from_then_on: false };
                    let (mut after, _) = run(party, kernel, Some(failure));
                    match after.at(Name::Socket).map(|socket| socket.origin) {
                        Some(Origin::Before) => others += 1,
                        Some(_) if served(at) => own += 1,
                        _ => continue,
                    }
                    after.kill(0);
                    *after.process(1) = Process { user: 1, ..Process::default() };
                    let created = fresh_create(&Sim::direct(after, 1, None), Party::ClaimDrainLifetime);
                    assert_eq!(created, Ok(()), "{party:?}: {call:?}, its call {at}, {failure:?}");
                }
            }
        }
    }
    assert!(others > 100 && own > 10, "there is more than that to try: {others}, {own}");
}

#[test]
fn every_errno_of_every_call_in_every_schedule_of_two() {
    let once = Bounds { failures: 1, ..NONE };
    let kinds = [Party::Create, Party::CreateClose, Party::ClaimAbandon];
    let on = |pair: [Party; 2]| {
        // Without a clean end the beginnings differ little; both are tried where that is asked for.
        let beginnings: &[&str] = if asks_for_more() || pair[0] == pair[1] { &["nothing", "dead"] } else { &["dead"] };
        beginnings.iter().map(move |beginning| scenario(&pair, beginning).within(once)).collect::<Vec<_>>()
    };
    explore_all(pairs(&kinds).into_iter().flat_map(on), 10_000);
}
