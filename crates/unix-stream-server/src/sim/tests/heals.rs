//! A server whose path is deleted, and who puts a new socket there: beside everybody else, with a crash anywhere.
//!
//! Beside each two of ours it is among `Party::OURS`; here are larger companies, and clients.

use super::super::parties::{create, with_protocol};
use super::super::{Failure, Sim};
use super::*;
use Party::{Cleaner, Client, Create, CreateClose, FilePutter, Git, GitFree, Heal, HealLifetime, KeepsCopy, Rebinder};
use rustix::io::Errno;

#[test]
fn p1_to_p5_hold_for_one_that_heals_beside_two_that_start() {
    // The larger ones have 16 million states, half a minute.
    let larger = [[Heal, Heal, Create], [Heal, Create, CreateClose]];
    let trios = [[Heal, Create, Git], [Heal, Create, GitFree]].into_iter();
    let trios = trios.chain(asks_for_more().then_some(larger).into_iter().flatten());
    explore_all(trios.map(|trio| scenario(&trio, "nothing")), 10_000);
}

#[test]
fn p1_to_p5_hold_for_one_that_heals_with_a_life_lock() {
    let others = [Create, CreateClose, Party::ClaimDrainLifetime, Git, GitFree].into_iter();
    let others = others.chain(asks_for_more().then_some([Heal, HealLifetime]).into_iter().flatten());
    let beginnings: &[&str] = if asks_for_more() { &["nothing", "dead+life"] } else { &["nothing"] };
    let on = |other| beginnings.iter().map(move |it| scenario(&[HealLifetime, other], it).within(CRASH));
    explore_all(others.flat_map(on), 10_000);
}

#[test]
fn p2_a_heal_takes_nothing_from_strangers_who_come_at_any_moment() {
    let on = |stranger| {
        let pair = scenario(&[Heal, stranger], "nothing").within(CRASH);
        let trio = scenario(&[Heal, Create, stranger], "nothing");
        [pair, trio, scenario(&[HealLifetime, stranger], "nothing").within(CRASH)]
    };
    explore_all([Cleaner, Rebinder, FilePutter].into_iter().flat_map(on), 10_000);
}

#[test]
fn p7_a_heal_serves_every_client_that_got_in_and_wakes_every_other() {
    let alone = scenario(&[Heal, Client, Client, Client], "nothing").within(CRASH);
    let copied = scenario(&[Heal, KeepsCopy, Client, Client, Client], "nothing").within(CRASH);
    let cleaned = scenario(&[HealLifetime, Client, Client], "nothing").within(CRASH);
    explore_all([alone, copied, cleaned], 1_000);
}

/// It could not see who has its path, waits for the lock to find out, in vain, and then sees that it needs nothing.
#[test]
fn one_that_has_its_path_after_all_goes_on_without_the_lock() {
    let sim = Sim::direct(Kernel::new(), 0, None);
    let server = create(&sim, Heal).expect("nobody is there");
    let kernel = sim.kernel().with(Name::Lock, FileKind::Regular, 0o644, 0, true);
    let unseen = Failure { at: 0, errno: Errno::IO, from_then_on: false };
    let sim = Sim::direct(kernel, 0, Some(unseen));
    let healed = with_protocol(&sim, Heal, |protocol| protocol.heal(&server.socket, server.id, &mut None));
    assert!(healed.expect("it has its path").is_none());
}
