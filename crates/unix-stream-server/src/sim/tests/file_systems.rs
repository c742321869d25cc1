//! P2, P3: file systems that other kernels serve, that have no flock, or that keep no modes.

use super::super::calls::Call;
use super::super::kernel::{FileSystem, Pid};
use super::super::parties::{create as create_as, fresh_create, fresh_create_assuming_local, with_protocol};
use super::super::{Run, Sim};
use super::*;
use crate::ErrorKind;
use crate::sys::FileId;

type Create = fn(&Sim) -> Result<(), ErrorKind>;

/// A kernel on another kind of file system, after one create; and what became of that.
fn on(file_system: FileSystem, mut kernel: Kernel, create: Create) -> (Result<(), ErrorKind>, Kernel) {
    kernel.file_system = file_system;
    let sim = Sim::direct(kernel, 0, None);
    let created = create(&sim);
    let kernel = sim.kernel();
    assert_eq!(kernel.fault, None);
    (created, kernel)
}

fn create(sim: &Sim) -> Result<(), ErrorKind> {
    fresh_create(sim, Party::Create)
}

#[test]
fn p2_a_refusal_where_other_kernels_may_serve_is_not_death() {
    let dead = Kernel::new().with(Name::Socket, FileKind::Socket, 0o600, 0, true);
    let (created, after) = on(FileSystem::Shared, dead, create);
    assert_eq!(created, Err(ErrorKind::CannotTell));
    assert!(after.has(Name::Socket) && !after.has(Name::Lock));
    // A free path needs no verdict, and who knows better may say so.
    assert_eq!(on(FileSystem::Shared, Kernel::new(), create).0, Ok(()));
    let dead = Kernel::new().with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    assert_eq!(on(FileSystem::Shared, dead, fresh_create_assuming_local).0, Ok(()));
}

#[test]
fn p2_a_life_lock_left_behind_proves_death_only_where_its_flock_would_be_seen() {
    let with_life: Create = |sim| fresh_create(sim, Party::ClaimDrainLifetime);
    let dead = Kernel::new().with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    let left = dead.with(Name::Life, FileKind::Regular, 0o1400, 0, false);
    assert_eq!(on(FileSystem::SharedWithLocks, left, with_life).0, Ok(()));
    assert_eq!(on(FileSystem::SharedWithLocks, dead, with_life).0, Err(ErrorKind::CannotTell));
    // Its holder may live in another kernel, which keeps its flocks to itself.
    let foreign = Kernel::new().with(Name::Socket, FileKind::Socket, 0o600, 0, true);
    let (created, after) =
        on(FileSystem::Shared, foreign.with(Name::Life, FileKind::Regular, 0o1400, 0, false), with_life);
    assert_eq!(created, Err(ErrorKind::CannotTell));
    assert!(after.has(Name::Socket));
}

#[test]
fn p1_to_p5_hold_with_a_life_lock_where_a_busy_server_refuses_like_a_dead_one() {
    use Party::{ClaimAbandonLifetime, ClaimDrainLifetime, HealLifetime};
    // Beside another, one that heals cannot tell whether that one lives, and says so; alone it can heal.
    let companies: [&[Party]; 4] = [
        &[ClaimDrainLifetime, ClaimDrainLifetime],
        &[ClaimDrainLifetime, ClaimAbandonLifetime],
        &[ClaimAbandonLifetime, ClaimAbandonLifetime],
        &[HealLifetime],
    ];
    let kernels = beginnings().into_iter().filter(|(name, _)| matches!(*name, "nothing" | "dead+life"));
    let kernels: Vec<_> = kernels.collect();
    let on = |parties: &[Party]| {
        let roles: Vec<Role> = parties.iter().map(|&party| Role { party, user: 1 }).collect();
        kernels.iter().map(move |&(beginning, mut kernel)| {
            kernel.file_system = FileSystem::BusyRefuses;
            Scenario::new(&roles, beginning, kernel).within(CRASH)
        })
    };
    explore_all(companies.into_iter().flat_map(on), 100_000);
}

#[test]
fn p2_there_a_refusal_without_a_life_lock_left_behind_is_not_death() {
    let with_life: Create = |sim| fresh_create(sim, Party::ClaimDrainLifetime);
    let dead = Kernel::new().with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    for start in [create as Create, with_life] {
        let (created, after) = on(FileSystem::BusyRefuses, dead, start);
        assert_eq!(created, Err(ErrorKind::CannotTell));
        assert!(after.has(Name::Socket) && !after.has(Name::Lock) && !after.has(Name::Life));
    }
    let left = dead.with(Name::Life, FileKind::Regular, 0o1400, 0, false);
    assert_eq!(on(FileSystem::BusyRefuses, left, with_life).0, Ok(()));
    assert_eq!(on(FileSystem::BusyRefuses, dead, fresh_create_assuming_local).0, Ok(()));
}

#[test]
fn p3_without_flock_nothing_is_created_and_nothing_is_left() {
    let (created, after) = on(FileSystem::WithoutFlock, Kernel::new(), create);
    assert_eq!(created, Err(ErrorKind::System));
    assert!(!after.has(Name::Socket) && !after.has(Name::Lock));
}

#[test]
fn p3_without_modes_a_lock_is_held_by_its_existence_and_never_taken_over() {
    assert_eq!(on(FileSystem::WithoutModes, Kernel::new(), create).0, Ok(()));
    let left = Kernel::new().with(Name::Lock, FileKind::Regular, 0o755, 0, true);
    let (created, after) = on(FileSystem::WithoutModes, left, create);
    assert_eq!(created, Err(ErrorKind::Locked));
    assert!(after.has(Name::Lock));
}

/// The kernel once a party, beside those that are there, has created its server or failed to, with its calls.
fn after_create(kernel: Kernel, number: Pid, party: Party) -> (Kernel, Vec<Call>) {
    let sim = Sim::direct(kernel, number, None);
    let server = create_as(&sim, party);
    let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
    let (after, calls) = (sim.kernel(), direct.calls.borrow().clone());
    drop(server);
    (after, calls)
}

/// Each kernel in which a party has been killed on the way to its server, from its first call on.
fn killed_on_the_way(kernel: Kernel, number: Pid, party: Party) -> impl Iterator<Item = Kernel> {
    let (_, calls) = after_create(kernel, number, party);
    (0..calls.len()).map(move |made| {
        let mut killed = kernel;
        for &call in &calls[..made] {
            killed.apply(number, call);
        }
        killed.kill(number);
        killed
    })
}

#[test]
fn p4_a_successor_that_was_killed_stops_no_other_where_a_refusal_proves_nothing() {
    for file_system in [FileSystem::Shared, FileSystem::SharedWithLocks] {
        let mut nothing = Kernel::new();
        nothing.file_system = file_system;
        let (served, _) = after_create(nothing, 0, Party::Replaceable);
        assert!(served.is_live_at_name(0));
        let mut leftovers = 0;
        for killed in killed_on_the_way(served, 1, Party::TakeOver).filter(|killed| killed.is_live_at_name(0)) {
            leftovers += usize::from(killed.has(Name::Temporary));
            let (after, _) = after_create(killed, 2, Party::TakeOver);
            assert_eq!(after.fault, None);
            assert!(after.is_live_at_name(2) && !after.has(Name::Temporary), "on {file_system:?}, after {killed:?}");
        }
        assert!(leftovers > 1, "killed between bind and the exchange, it has left a socket: {leftovers}");
    }
}

#[test]
fn p2_at_the_temporary_name_of_a_long_one_it_may_be_a_starter_of_another_kernel_that_refuses() {
    let left = Kernel::new().with(Name::Temporary, FileKind::Socket, 0o600, 0, false);
    let long_name: Create = |sim| fresh_create(sim, Party::CreateLongNameClose);
    assert_eq!(on(FileSystem::SharedWithLocks, left, long_name).0, Ok(()));
    let (created, after) = on(FileSystem::Shared, left, long_name);
    assert_eq!(created, Err(ErrorKind::CannotTell));
    assert!(after.has(Name::Temporary) && !after.has(Name::Lock) && !after.has(Name::Socket));
}

/// A server with a life lock that has been taken over from, and killed before it gave that lock back: its successor
/// lives at the name. Root, on another host, comes as party 2.
fn orphaned_life(successor: Party) -> Kernel {
    let mut nothing = Kernel::new();
    nothing.file_system = FileSystem::WithRootElsewhere;
    nothing.processes[2].user = 0;
    let (served, _) = after_create(nothing, 0, Party::TakeOverLifetime);
    let (mut orphaned, _) = after_create(served, 1, successor);
    orphaned.kill(0);
    assert!(orphaned.is_live_at_name(1) && orphaned.has(Name::Life));
    orphaned
}

#[test]
fn p2_the_life_lock_of_a_killed_predecessor_proves_nothing_of_its_successor() {
    use Party::{Clean, Create, Sweep};
    let third = [Party::ClaimDrainLifetime, Party::ClaimAbandonLifetime, Create, Clean, Sweep];
    for successor in [Party::TakeOverLifetime, Party::TakeOver] {
        for party in third {
            let sim = Sim::direct(orphaned_life(successor), 2, None);
            party.play(&sim);
            let after = sim.kernel();
            assert_eq!(after.fault, None, "{party:?} beside {successor:?}");
            assert!(after.is_live_at_name(1), "{party:?} beside {successor:?}");
        }
        let sim = Sim::direct(orphaned_life(successor), 2, None);
        assert_eq!(fresh_create(&sim, Party::ClaimDrainLifetime), Err(ErrorKind::CannotTell));
    }
}

/// A cleaner may delete the predecessor's socket in the middle of the take-over: then the successor meets a free name, and
/// its life lock is the predecessor's all the same.
#[test]
fn p2_nor_of_a_successor_that_met_a_name_which_had_been_deleted_meanwhile() {
    let mut nothing = Kernel::new();
    nothing.file_system = FileSystem::WithRootElsewhere;
    nothing.processes[2].user = 0;
    let (served, _) = after_create(nothing, 0, Party::TakeOverLifetime);
    let (_, calls) = after_create(served, 1, Party::TakeOverLifetime);
    let mut orphans = 0;
    for number in 0..calls.len() {
        let sim = Sim::meanwhile(served, 1, number, |kernel| {
            kernel.apply(0, Call::Vanish(Name::Socket));
        });
        let server = create_as(&sim, Party::TakeOverLifetime);
        let mut orphaned = sim.kernel();
        drop(server);
        orphaned.kill(0);
        // Deleted too early, the name yields nothing; too late, it was the successor's own.
        if orphaned.fault.is_none() && orphaned.is_live_at_name(1) {
            orphans += 1;
            let root = Sim::direct(orphaned, 2, None);
            Party::ClaimDrainLifetime.play(&root);
            assert_eq!(root.kernel().fault, None, "deleted before call {number}");
            assert!(root.kernel().is_live_at_name(1), "deleted before call {number}");
        }
    }
    assert!(orphans > 5, "{orphans} of {} deletions", calls.len());
}

#[test]
fn p4_once_a_successor_has_the_life_lock_it_proves_the_successors_death() {
    let orphaned = orphaned_life(Party::TakeOverLifetime);
    let sim = Sim::direct(orphaned, 1, None);
    let id = FileId { dev: 1, ino: orphaned.ino(Name::Socket).expect("it serves").into() };
    let life = with_protocol(&sim, Party::TakeOverLifetime, |protocol| protocol.succeed(id)).expect("succeed");
    let mut succeeded = sim.kernel();
    drop(life);
    let alone = Sim::direct(succeeded, 2, None);
    assert_eq!(fresh_create(&alone, Party::ClaimDrainLifetime), Err(ErrorKind::InUse));
    succeeded.kill(1);
    let alone = Sim::direct(succeeded, 2, None);
    assert_eq!(fresh_create(&alone, Party::ClaimDrainLifetime), Ok(()));
    assert_eq!(alone.kernel().fault, None);
}

#[test]
fn p2_nor_does_it_wherever_in_the_take_over_either_of_them_is_killed() {
    let mut nothing = Kernel::new();
    nothing.file_system = FileSystem::WithRootElsewhere;
    nothing.processes[2].user = 0;
    let (served, _) = after_create(nothing, 0, Party::TakeOverLifetime);
    let (_, calls) = after_create(served, 1, Party::TakeOverLifetime);
    for made in 0..=calls.len() {
        let mut stopped = served;
        for &call in &calls[..made] {
            stopped.apply(1, call);
        }
        for killed in [&[0][..], &[1], &[0, 1]] {
            let mut left = stopped;
            killed.iter().for_each(|&party| left.kill(party));
            for third in [Party::ClaimDrainLifetime, Party::Sweep] {
                let sim = Sim::direct(left, 2, None);
                third.play(&sim);
                assert_eq!(sim.kernel().fault, None, "{third:?} after call {made}, {killed:?} killed");
            }
        }
    }
}
