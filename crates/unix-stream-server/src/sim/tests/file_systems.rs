//! P2, P3: file systems that other kernels serve, that have no flock, or that keep no modes.

use super::super::Sim;
use super::super::kernel::FileSystem;
use super::super::parties::{fresh_create, fresh_create_assuming_local};
use super::*;
use crate::ErrorKind;

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
