//! P2, P7: a server that has allowed it is replaced by one that asked for it, and no client is turned away or lost.

use super::super::kernel::FileSystem;
use super::*;

use Party::{Client, Create, CreateClose, Replaceable, TakeOver, TakeOverDrain, TakeOverLifetime};

#[test]
fn p7_no_client_is_turned_away_while_a_server_is_replaced() {
    let on = |parties: &[Party]| scenario(parties, "nothing");
    let two = [on(&[Replaceable, TakeOver, Client, Client]), on(&[Replaceable, TakeOverLifetime, Client])];
    let life = on(&[TakeOverLifetime, TakeOverLifetime, Client]);
    let three = on(&[Replaceable, TakeOver, TakeOver, Client]);
    let more = [
        on(&[Replaceable, TakeOverLifetime, TakeOverLifetime]),
        on(&[Replaceable, TakeOver, TakeOver, Client, Client]),
    ];
    let more = asks_for_more().then_some(more).into_iter().flatten();
    explore_all(two.into_iter().chain([life, three]).chain(more), 1_000_000);
}

#[test]
fn p2_two_successors_of_one_server_leave_one_server() {
    let crash = scenario(&[Replaceable, TakeOver, TakeOver], "nothing").within(CRASH);
    let mixed = scenario(&[Replaceable, TakeOver, Create], "nothing").within(CRASH);
    let over_dead = scenario(&[Replaceable, TakeOver, TakeOver], "dead");
    let drain = asks_for_more().then(|| scenario(&[Replaceable, TakeOver, TakeOverDrain], "nothing"));
    explore_all([crash, mixed, over_dead].into_iter().chain(drain), 1_000_000);
}

#[test]
fn p4_a_crash_at_any_step_of_a_take_over_leaves_one_server_or_none() {
    let all =
        [[Replaceable, TakeOver], [TakeOver, TakeOver], [Replaceable, TakeOverDrain], [Replaceable, TakeOverLifetime]];
    explore_all(all.map(|pair| scenario(&pair, "nothing").within(CRASH)), 10_000);
}

#[test]
fn p2_a_server_that_has_not_allowed_it_is_not_replaced() {
    let all = [[Create, TakeOver], [CreateClose, TakeOver], [Create, TakeOverLifetime]];
    explore_all(all.map(|pair| scenario(&pair, "nothing").within(CRASH)), 10_000);
}

#[test]
fn p7_nor_is_one_where_names_cannot_be_exchanged() {
    let mut without = Kernel::new();
    without.file_system = FileSystem::WithoutExchange;
    let on = |parties: &[Party], bounds| {
        let roles: Vec<Role> = parties.iter().map(|&party| Role { party, user: 1 }).collect();
        Scenario::new(&roles, "nothing", without).within(bounds)
    };
    explore_all([on(&[Replaceable, TakeOver, Client, Client], NONE), on(&[Replaceable, TakeOver], CRASH)], 10_000);
}

#[test]
fn p3_what_a_stranger_puts_at_the_name_while_it_is_taken_over_is_given_back() {
    let strangers = [Party::FilePutter, Party::Rebinder, Party::Cleaner];
    let one = strangers.map(|stranger| scenario(&[Replaceable, TakeOver, stranger], "nothing"));
    // A cleaner empties the name first, for another to fill.
    let two = [Party::FilePutter, Party::Rebinder];
    let two = two.map(|stranger| scenario(&[Replaceable, TakeOver, Party::Cleaner, stranger], "nothing"));
    explore_all(one.into_iter().chain(two), 10_000);
}

#[test]
fn p1_a_cleaner_that_deletes_the_name_while_it_is_taken_over_makes_no_start_fail() {
    use Party::{Cleaner, TakeOverDrain};
    let trios = [
        [Replaceable, TakeOver, Cleaner],
        [Replaceable, TakeOverLifetime, Cleaner],
        [TakeOver, TakeOverDrain, Cleaner],
    ];
    let mut without = Kernel::new();
    without.file_system = FileSystem::WithoutExchange;
    let roles = trios[0].map(|party| Role { party, user: 1 });
    let on = trios.map(|trio| scenario(&trio, "nothing")).into_iter();
    let killed = trios[..2].iter().map(|trio| scenario(trio, "nothing").within(CRASH));
    explore_all(on.chain(killed).chain([Scenario::new(&roles, "nothing", without)]), 10_000);
}

#[test]
fn a_server_that_stops_while_it_takes_over_costs_the_others_their_patience() {
    let stop = Bounds { stops: 1, ..NONE };
    let trios = [[Replaceable, TakeOver, TakeOver], [Replaceable, TakeOver, Create]];
    explore_all(trios.map(|trio| scenario(&trio, "nothing").within(stop)), 10_000);
}
