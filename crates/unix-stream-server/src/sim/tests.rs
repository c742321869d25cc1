//! The checks themselves: what starts from where, in which company, and within which bounds.

mod clients;
mod errors;
mod file_systems;
mod heals;
mod proofs;
mod rejected;
mod replay;
mod stops;
mod strangers;
mod take_over;
mod three;
mod told;
mod two;
mod users;

use super::automaton::{Automaton, Role};
use super::calls::Name;
use super::explorer::{Bounds, Explorer, Scenario};
use super::inode::Inode;
use super::kernel::Kernel;
use super::parties::Party;
use crate::FileKind;

/// What can be at the path before anybody starts, by name.
pub(super) fn beginnings() -> Vec<(&'static str, Kernel)> {
    let dead = |kernel: Kernel| kernel.with(Name::Socket, FileKind::Socket, 0o600, 0, false);
    let lock = |kernel: Kernel, mode| kernel.with(Name::Lock, FileKind::Regular, mode, 0, false);
    let life = |kernel: Kernel| kernel.with(Name::Life, FileKind::Regular, 0o1400, 0, false);
    let foreign = |name, kind, mode, size| Kernel::new().with(name, kind, mode, size, true);
    let linked =
        Inode { links: 2, ..*foreign(Name::Lock, FileKind::Regular, 0o1400, 0).at(Name::Lock).expect("it is") };
    let mut odd_umask = Kernel::new();
    odd_umask.processes.iter_mut().for_each(|process| process.odd_umask = true);
    vec![
        ("nothing", Kernel::new()),
        ("dead", dead(Kernel::new())),
        // A killed holder's
        ("lock", lock(Kernel::new(), 0o1400)),
        ("dead+lock", lock(dead(Kernel::new()), 0o1400)),
        // A holder's that was killed before it gave the read bit back
        ("dead+masked-lock", lock(dead(Kernel::new()), 0o1000)),
        ("odd-umask", odd_umask),
        // A killed server of a lifetime
        ("dead+life", life(dead(Kernel::new()))),
        // A killed starter with a long name
        ("dead+temporary", dead(Kernel::new()).with(Name::Temporary, FileKind::Socket, 0o600, 0, false)),
        ("file", foreign(Name::Socket, FileKind::Regular, 0o644, 0)),
        ("directory", foreign(Name::Socket, FileKind::Directory, 0o755, 0)),
        ("symlink", foreign(Name::Socket, FileKind::Symlink, 0o777, 5)),
        ("lock-of-another-program", foreign(Name::Lock, FileKind::Regular, 0o644, 0)),
        ("read-only-lock", foreign(Name::Lock, FileKind::Regular, 0o444, 0)),
        ("lock-with-content", foreign(Name::Lock, FileKind::Regular, 0o1400, 5)),
        ("directory-as-lock", foreign(Name::Lock, FileKind::Directory, 0o1400, 0)),
        ("fifo-as-lock", foreign(Name::Lock, FileKind::Fifo, 0o1400, 0)),
        // It has another name somewhere, and so may be somebody's
        ("lock-of-two-links", Kernel::new().with_inode(Name::Lock, linked)),
        ("symlink-as-lock", foreign(Name::Lock, FileKind::Symlink, 0o777, 5)),
    ]
}

const NONE: Bounds = Bounds { crashes: 0, stops: 0, failures: 0 };
const CRASH: Bounds = Bounds { crashes: 1, ..NONE };

/// The larger bounds are asked for.
fn asks_for_more() -> bool {
    std::env::var_os("UNIX_SS_SIM").is_some_and(|bounds| bounds == "more")
}

fn scenario(parties: &[Party], beginning: &str) -> Scenario {
    let roles: Vec<Role> = parties.iter().map(|&party| Role { party, user: 1 }).collect();
    let kernel = beginnings().into_iter().find(|(name, _)| *name == beginning).expect("it is in the list").1;
    Scenario::new(&roles, beginning, kernel)
}

/// Explores it all; the number of states.
fn explore(scenario: Scenario, automaton: &mut Automaton) -> usize {
    let roles: Vec<_> = scenario.roles.iter().map(|role| role.party).collect();
    let (beginning, bounds) = (scenario.beginning.clone(), scenario.bounds);
    let begun = std::time::Instant::now();
    match Explorer::new(scenario, automaton).explore() {
        Ok(states) => {
            println!("{states:>9} states in {:?}: {roles:?} on {beginning}, {bounds:?}", begun.elapsed());
            states
        }
        Err(found) => panic!("{roles:?} on {beginning}, {bounds:?}: {found}"),
    }
}

/// Explores them all and says how many states that were; fewer than expected are a search that was cut short.
fn explore_all(scenarios: impl IntoIterator<Item = Scenario>, at_least: usize) {
    let mut automaton = Automaton::default();
    let states: usize = scenarios.into_iter().map(|scenario| explore(scenario, &mut automaton)).sum();
    println!("{states} states, and {} of the parties", automaton.len());
    assert!(states >= at_least, "the search was cut short: {states} states");
}

/// Each two, whatever the order: the explorer tries both who goes first.
fn pairs(kinds: &[Party]) -> Vec<[Party; 2]> {
    kinds.iter().enumerate().flat_map(|(at, &a)| kinds[at..].iter().map(move |&b| [a, b])).collect()
}

/// What none of them ever looks at makes no difference.
fn matters(parties: &[Party], beginning: &str) -> bool {
    match beginning {
        "dead+life" => parties.iter().any(|party| party.has_life_lock()),
        "dead+temporary" => parties.contains(&Party::CreateLongNameClose),
        _ => true,
    }
}
