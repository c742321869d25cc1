//! P2: where a refusal proves nothing, the life lock that a dead server has left proves its death: and that of nobody else,
//! whoever deletes what meanwhile. There root, on another host, is refused by whoever serves.

use super::super::calls::Call;
use super::super::faults::Fault;
use super::super::kernel::{FileSystem, PROCESSES, Pid};
use super::super::others::git_create;
use super::super::parties::{create as create_as, fresh_create, with_protocol};
use super::super::process::Process;
use super::super::{Failure, Run, Sim};
use super::*;
use rustix::io::Errno;

use crate::ErrorKind;
use crate::protocol::{Found, Sweep};

const ROOT: Pid = 2;
const CLEANER: Pid = PROCESSES as Pid - 1;

/// An empty directory, and root elsewhere.
fn shared() -> Kernel {
    let mut kernel = Kernel::new();
    kernel.file_system = FileSystem::WithRootElsewhere;
    kernel.processes[usize::from(ROOT)].user = 0;
    kernel.processes[usize::from(CLEANER)].class = Party::Cleaner.class();
    kernel
}

/// With what a killed server has left.
fn after_a_kill() -> Kernel {
    let dead = shared().with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    dead.with(Name::Life, FileKind::Regular, 0o1400, 0, false)
}

fn without(mut kernel: Kernel, names: &[Name]) -> Kernel {
    for &name in names {
        kernel.apply(CLEANER, Call::Unlink(name));
        assert!(!kernel.has(name));
    }
    kernel
}

/// Once a party has created its server, and serves.
fn served(mut kernel: Kernel, number: Pid, party: Party) -> Kernel {
    kernel.processes[usize::from(number)].class = party.class();
    let sim = Sim::direct(kernel, number, None);
    let (ours, gits) = match party {
        Party::Git => (None, git_create(&sim, |_| true).expect("git looks at nothing but the path")),
        party => (create_as(&sim, party), None),
    };
    let after = sim.kernel();
    drop((ours, gits));
    assert!(after.is_live_at_name(number), "{party:?}");
    after
}

/// Root takes nothing from the live server of another.
#[track_caller]
fn assert_left_alone(kernel: Kernel, server: Pid) {
    let root = Sim::direct(kernel, ROOT, None);
    assert_ne!(fresh_create(&root, Party::ClaimDrainLifetime), Ok(()));
    assert_eq!(root.kernel().fault, None);
    assert!(root.kernel().is_live_at_name(server));
}

#[test]
fn a_claim_whose_names_were_all_deleted_takes_nothing_from_who_came_meanwhile() {
    let newcomers = [Party::ClaimDrainLifetime, Party::Create, Party::Git];
    for (party, newcomer) in newcomers.map(|newcomer| (Party::ClaimDrainLifetime, newcomer)) {
        let mut kernel = after_a_kill();
        kernel.processes[0].user = 0; // root is the one that claims
        kernel.processes[usize::from(ROOT)].user = 1;
        let sim = Sim::direct(kernel, 0, None);
        let published = with_protocol(&sim, party, |protocol| {
            let claimed = protocol.claim().expect("a dead one's path");
            let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
            // A server without life lock needs no more than the free name.
            let names: &[Name] = if newcomer.has_life_lock() { &[Name::Socket, Name::Life] } else { &[Name::Socket] };
            let meanwhile = served(without(sim.kernel(), names), 1, newcomer);
            direct.kernel.replace(meanwhile);
            protocol.publish_claim(claimed).map(|_| ()).map_err(|error| error.kind())
        });
        assert!(matches!(published, Err(ErrorKind::InUse | ErrorKind::CannotTell)), "{newcomer:?}: {published:?}");
        assert_eq!(sim.kernel().fault, None, "{newcomer:?}");
        assert!(sim.kernel().is_live_at_name(1), "{newcomer:?}");
    }
}

/// A claim by a party, publishing when the names have come to this.
fn published_after(kernel: Kernel, meanwhile: impl FnOnce(Kernel) -> Kernel) -> (Result<(), ErrorKind>, Kernel) {
    let sim = Sim::direct(kernel, 3, None);
    let published = with_protocol(&sim, Party::ClaimDrainLifetime, |protocol| {
        let claimed = protocol.claim().expect("a path that is free");
        let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
        direct.kernel.replace(meanwhile(sim.kernel()));
        let published = protocol.publish_claim(claimed);
        let after = sim.kernel();
        (published.map(drop).map_err(|error| error.kind()), after)
    });
    assert_eq!(published.1.fault, None);
    published
}

/// Nor does one whose look at anything fails, be it published or given up.
#[test]
fn a_claim_beside_who_came_to_the_free_name_takes_nothing_whatever_fails() {
    let errnos = [Errno::IO, Errno::STALE, Errno::MFILE];
    for (errno, publishes) in errnos.into_iter().flat_map(|errno| [(errno, true), (errno, false)]) {
        for at in 0.. {
            let mut kernel = after_a_kill();
            kernel.processes[3].user = 0;
            *kernel.process(ROOT) = Process { user: 0, ..Process::default() };
            let failure = Failure { at, errno, from_then_on: false };
            let sim = Sim::direct(kernel, 3, Some(failure));
            let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
            let party = Party::ClaimDrainLifetime;
            let is_claimed = with_protocol(&sim, party, |protocol| {
                let Ok(claimed) = protocol.claim() else { return false };
                if sim.kernel().has(Name::Lock) {
                    return false; // its removal failed, so that git is kept out
                }
                direct.kernel.replace(served(without(sim.kernel(), &[Name::Socket]), 1, Party::Git));
                match publishes {
                    true => assert!(protocol.publish_claim(claimed).is_err()),
                    false => protocol.abandon_claim(claimed),
                }
                true
            });
            if is_claimed {
                let mut after = sim.kernel();
                assert_eq!(after.fault, None, "{failure:?}");
                assert!(after.is_live_at_name(1), "{failure:?}");
                after.kill(3);
                let failed = direct.calls.borrow().get(at).copied();
                if after.has(Name::Life) {
                    // It could not be removed, or the lock not be had for that.
                    assert_ne!(failed, Some(Call::StatAt(Name::Socket)), "{failure:?}: who came is looked at twice");
                    continue;
                }
                assert_left_alone(after, 1);
            }
            if at > direct.calls.borrow().len() {
                break;
            }
        }
    }
}

#[test]
fn a_claim_of_which_the_life_lock_alone_is_deleted_is_as_good_as_before() {
    let (published, after) = published_after(after_a_kill(), |claimed| without(claimed, &[Name::Life]));
    assert_eq!(published, Ok(()));
    assert!(after.has(Name::Life) && after.is_live_at_name(3));
}

#[test]
fn nor_does_it_take_the_proof_from_who_came_and_was_killed_meanwhile() {
    let (published, after) = published_after(shared(), |claimed| {
        let mut left = served(without(claimed, &[Name::Life]), 1, Party::ClaimDrainLifetime);
        left.kill(1);
        left
    });
    assert_eq!(published, Ok(()));
    assert!(after.is_live_at_name(3));
}

#[test]
fn nor_does_it_make_a_false_one_beside_who_came_and_lost_his() {
    let (published, after) = published_after(shared(), |claimed| {
        without(served(without(claimed, &[Name::Life]), 1, Party::ClaimDrainLifetime), &[Name::Life])
    });
    assert_eq!(published, Err(ErrorKind::InUse));
    assert!(!after.has(Name::Life));
    assert_left_alone(after, 1);
}

#[test]
fn a_successor_killed_beside_a_predecessor_whose_life_lock_was_deleted_leaves_none() {
    let live = without(served(shared(), 0, Party::TakeOverLifetime), &[Name::Life]);
    let sim = Sim::direct(live, 1, None);
    drop(create_as(&sim, Party::TakeOverLifetime));
    let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
    let calls = direct.calls.borrow().clone();
    for made in 0..=calls.len() {
        let mut killed = live;
        for &call in &calls[..made] {
            killed.apply(1, call);
        }
        killed.kill(1);
        let root = Sim::direct(killed, ROOT, None);
        let _ = fresh_create(&root, Party::ClaimDrainLifetime);
        assert_eq!(root.kernel().fault, None, "killed after {made} calls");
    }
}

/// Of a starter whose lock is deleted, and had by another at once, there stays what proves its death.
#[test]
fn a_starter_that_has_lost_its_lock_to_another_leaves_nothing_that_stops_the_next() {
    let party = Party::ClaimDrainLifetime;
    let calls = {
        let sim = Sim::direct(shared(), 0, None);
        drop(create_as(&sim, party));
        let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
        direct.calls.borrow().len()
    };
    let mut lost = 0;
    for number in 0..calls {
        let sim = Sim::meanwhile(shared(), 0, number, |kernel| {
            if kernel.has(Name::Lock) {
                kernel.apply(CLEANER, Call::Unlink(Name::Lock));
                kernel.apply(1, Call::CreateLock(Name::Lock));
                kernel.apply(1, Call::Flock(0));
            }
        });
        let created = create_as(&sim, party);
        let mut after = sim.kernel();
        drop(created);
        // It goes on for a while without the lock; and after its last look at it, unlinks what has its name.
        let is_known = matches!(
            after.fault,
            None | Some(Fault::Rule { party: 0, .. } | Fault::NotHeld { party: 0, name: Name::Lock })
        );
        assert!(is_known, "{:?}", after.fault);
        after.fault = None;
        if !after.is_live_at_name(0) {
            lost += 1;
            after.kill(0);
            after.kill(1);
            let next = Sim::direct(after, 3, None);
            assert_eq!(fresh_create(&next, party), Ok(()), "lost before call {number}");
        }
    }
    assert!(lost > 3, "{lost} of {calls}");
}

#[test]
fn a_starter_killed_beside_a_server_whose_life_lock_was_deleted_leaves_none() {
    for server in [Party::ClaimDrainLifetime, Party::Create, Party::Git] {
        let live = served(shared(), 0, server);
        let live = if live.has(Name::Life) { without(live, &[Name::Life]) } else { live };
        for (number, party) in [(1, Party::ClaimDrainLifetime), (ROOT, Party::ClaimAbandonLifetime)] {
            let sim = Sim::direct(live, number, None);
            party.play(&sim);
            let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
            let calls = direct.calls.borrow().clone();
            for made in 0..=calls.len() {
                let mut killed = live;
                for &call in &calls[..made] {
                    killed.apply(number, call);
                }
                killed.kill(number);
                *killed.process(ROOT) = Process { user: 0, ..Process::default() };
                assert_left_alone(killed, 0);
            }
        }
    }
}

#[test]
fn one_that_is_seen_beside_a_live_server_of_others_goes() {
    let live = served(after_a_kill(), 0, Party::Git);
    assert!(live.has(Name::Life));
    let sim = Sim::direct(live, 1, None);
    // It came after the first look.
    let created = with_protocol(&sim, Party::ClaimDrainLifetime, |protocol| protocol.create(Found::Nothing));
    assert_eq!(created.map(drop).map_err(|error| error.kind()), Err(ErrorKind::InUse));
    assert!(!sim.kernel().has(Name::Life));
    assert_left_alone(sim.kernel(), 0);
}

#[test]
fn a_cleaning_that_took_a_server_for_alive_leaves_what_proves_its_death() {
    let sim = Sim::direct(after_a_kill(), 1, None);
    let sweep = Sweep { sockets: false, life: true, temporary: false, changed_before: None };
    let swept = with_protocol(&sim, Party::Clean, |protocol| protocol.sweep(sweep));
    swept.state.expect("swept");
    assert_eq!(swept.removed, []);
    assert!(sim.kernel().has(Name::Life));
    let next = Sim::direct(sim.kernel(), 3, None);
    assert_eq!(fresh_create(&next, Party::ClaimDrainLifetime), Ok(()));
}
