//! Two parties, every schedule, one crash anywhere: promises P1 to P5, on the shipping protocol.

use super::explorer::Explorer;
use super::kernel::{FileSystem, Kernel, Name};
use super::parties::{Party, fresh_create, fresh_create_assuming_local, fresh_create_lifetime};
use super::{Run, Sim};
use crate::{ErrorKind, FileKind};

const OURS: [Party; 5] =
    [Party::Create, Party::CreateClose, Party::ClaimDrainLifetime, Party::ClaimAbandon, Party::CreateLongNameClose];
const GIT: [Party; 2] = [Party::Git, Party::GitFree];

/// What is at the path before anybody starts.
fn beginnings() -> Vec<(&'static str, Kernel)> {
    let dead = |kernel: Kernel| kernel.with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    let lock = |kernel: Kernel, mode| kernel.with(Name::Lock, FileKind::Regular, mode, 0, false);
    let life = |kernel: Kernel| kernel.with(Name::Life, FileKind::Regular, 0o1400, 0, false);
    vec![
        ("nothing", Kernel::new(2)),
        ("a dead socket", dead(Kernel::new(2))),
        ("a killed holder's lock", lock(Kernel::new(2), 0o1400)),
        ("a dead socket and a killed holder's lock", lock(dead(Kernel::new(2)), 0o1400)),
        ("a lock whose holder was killed before it gave the read bit back", lock(dead(Kernel::new(2)), 0o1000)),
        ("a killed server of a lifetime", life(dead(Kernel::new(2)))),
        (
            "a killed starter's temporary name",
            dead(Kernel::new(2)).with(Name::Temporary, FileKind::Socket, 0o600, 0, false),
        ),
    ]
}

fn all_is_well(parties: [Party; 2], crashes: usize) -> usize {
    // What none of the two ever looks at makes no difference.
    let matters = |beginning: &str| match beginning {
        "a killed server of a lifetime" => parties.contains(&Party::ClaimDrainLifetime),
        "a killed starter's temporary name" => parties.contains(&Party::CreateLongNameClose),
        _ => true,
    };
    beginnings()
        .into_iter()
        .filter(|(beginning, _)| matters(beginning))
        .map(|(beginning, kernel)| match Explorer::new(&parties, crashes).explore(kernel) {
            Ok(states) => {
                println!("{states:>8} states: {parties:?} on {beginning}");
                states
            }
            Err(schedule) => panic!("{parties:?} on {beginning}: {schedule}"),
        })
        .sum()
}

fn pairs(left: &[Party], right: &[Party]) -> Vec<[Party; 2]> {
    left.iter().flat_map(|&a| right.iter().map(move |&b| [a, b])).collect()
}

/// Each two of ours, whatever the order: the explorer tries both who goes first.
fn pairs_of_ours() -> Vec<[Party; 2]> {
    OURS.iter().enumerate().flat_map(|(at, &a)| OURS[at..].iter().map(move |&b| [a, b])).collect()
}

fn count(pairs: impl IntoIterator<Item = [Party; 2]>) {
    let states: usize = pairs.into_iter().map(|parties| all_is_well(parties, 1)).sum();
    println!("{states} states");
    assert!(states > 10_000, "the search was cut short: {states} states");
}

#[test]
fn p1_to_p5_hold_for_two_of_ours_in_every_schedule_with_a_crash_anywhere() {
    count(pairs_of_ours().into_iter().filter(|pair| !pair.contains(&Party::ClaimDrainLifetime)));
}

#[test]
fn p1_to_p5_hold_with_a_life_lock_in_every_schedule_with_a_crash_anywhere() {
    count(pairs_of_ours().into_iter().filter(|pair| pair.contains(&Party::ClaimDrainLifetime)));
}

#[test]
fn p1_to_p5_hold_beside_git_in_every_schedule_with_a_crash_anywhere() {
    count(pairs(&OURS, &GIT));
}

#[test]
fn p3_what_is_not_ours_is_never_removed() {
    for parties in pairs_of_ours() {
        for (name, kind, mode, size) in [
            (Name::Socket, FileKind::Regular, 0o644, 0),
            (Name::Socket, FileKind::Directory, 0o755, 0),
            (Name::Socket, FileKind::Symlink, 0o777, 5),
            (Name::Lock, FileKind::Regular, 0o644, 0),
            (Name::Lock, FileKind::Regular, 0o444, 0),
            (Name::Lock, FileKind::Regular, 0o1400, 5),
            (Name::Lock, FileKind::Directory, 0o1400, 0),
            (Name::Lock, FileKind::Fifo, 0o1400, 0),
        ] {
            let kernel = Kernel::new(2).with(name, kind, mode, size, true);
            if let Err(schedule) = Explorer::new(&parties, 1).explore(kernel) {
                panic!("{parties:?}, a foreign {kind} of mode {mode:o} at {name:?}: {schedule}");
            }
        }
    }
}

/// A kernel on another kind of file system, after one create; and what became of that.
fn on(file_system: FileSystem, mut kernel: Kernel, create: Create) -> (Result<(), ErrorKind>, Kernel) {
    kernel.file_system = file_system;
    let sim = Sim::direct(kernel, 0);
    let created = create(&sim);
    let Run::Direct { kernel, .. } = &*sim.run else { panic!("it runs alone") };
    let kernel = kernel.borrow().clone();
    assert_eq!(kernel.fault, None);
    (created, kernel)
}

type Create = fn(&Sim) -> Result<(), ErrorKind>;

#[test]
fn p2_a_refusal_where_other_kernels_may_serve_is_not_death() {
    let dead = || Kernel::new(1).with(Name::Socket, FileKind::Socket, 0o600, 0, true);
    let (created, after) = on(FileSystem::Shared, dead(), fresh_create);
    assert_eq!(created, Err(ErrorKind::CannotTell));
    assert!(after.has(Name::Socket) && !after.has(Name::Lock));
    // A free path needs no verdict, and who knows better may say so.
    assert_eq!(on(FileSystem::Shared, Kernel::new(1), fresh_create).0, Ok(()));
    let dead = Kernel::new(1).with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    assert_eq!(on(FileSystem::Shared, dead, fresh_create_assuming_local).0, Ok(()));
}

#[test]
fn p2_a_life_lock_left_behind_proves_death_only_where_its_flock_would_be_seen() {
    let left = |foreign| {
        let dead = Kernel::new(1).with(Name::Socket, FileKind::Socket, 0o600, 0, foreign);
        dead.with(Name::Life, FileKind::Regular, 0o1400, 0, false)
    };
    // Its holder may live in another kernel, whose flocks are its own.
    let (created, after) = on(FileSystem::Shared, left(true), fresh_create_lifetime);
    assert_eq!(created, Err(ErrorKind::CannotTell));
    assert!(after.has(Name::Socket));
    assert_eq!(on(FileSystem::SharedWithLocks, left(false), fresh_create_lifetime).0, Ok(()));
    assert_eq!(on(FileSystem::SharedWithLocks, left(true), fresh_create).0, Err(ErrorKind::CannotTell));
}

#[test]
fn p3_without_flock_nothing_is_created_and_nothing_is_left() {
    let (created, after) = on(FileSystem::WithoutFlock, Kernel::new(1), fresh_create);
    assert_eq!(created, Err(ErrorKind::System));
    assert!(!after.has(Name::Socket) && !after.has(Name::Lock));
}

#[test]
fn p3_without_modes_a_lock_is_held_by_its_existence_and_never_taken_over() {
    assert_eq!(on(FileSystem::WithoutModes, Kernel::new(1), fresh_create).0, Ok(()));
    let left = Kernel::new(1).with(Name::Lock, FileKind::Regular, 0o755, 0, true);
    let (created, after) = on(FileSystem::WithoutModes, left, fresh_create);
    assert_eq!(created, Err(ErrorKind::Locked));
    assert!(after.has(Name::Lock));
}

/// A check that finds nothing proves nothing: what is known to be wrong must be found.
#[test]
fn a_close_without_the_lock_is_found_out() {
    let schedule = Explorer::new(&[Party::CreateCloseUnlocked, Party::Create], 0)
        .explore(Kernel::new(2))
        .expect_err("the unlocked close went unnoticed");
    assert!(schedule.contains("without holding the lock"), "{schedule}");
}

#[test]
fn clearing_a_dead_socket_without_the_lock_is_found_out() {
    let dead = Kernel::new(2).with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    let schedule = Explorer::new(&[Party::UnlinkThenCreate, Party::Create], 0)
        .explore(dead)
        .expect_err("the unlocked unlink went unnoticed");
    assert!(schedule.contains("P2") || schedule.contains("rule"), "{schedule}");
}
