//! P2, P3, P6: strangers who change the name without the lock, and processes that have a copy of a listener.

use super::*;

#[test]
fn p2_a_stranger_who_takes_the_name_is_not_robbed_in_turn() {
    let strangers = [Party::Cleaner, Party::Rebinder, Party::FilePutter];
    let beside = |stranger| Party::OURS.into_iter().map(move |ours| [ours, stranger]);
    let on = |pair: [Party; 2]| ["nothing", "dead", "dead+lock"].map(|it| scenario(&pair, it).within(CRASH));
    explore_all(strangers.into_iter().flat_map(beside).flat_map(on), 5_000);
}

#[test]
fn p2_two_of_ours_and_a_stranger_take_nothing_from_each_other() {
    use Party::{Cleaner, Create, CreateClose, Rebinder};
    let all = [[Create, Create, Rebinder], [Create, CreateClose, Rebinder], [Create, CreateClose, Cleaner]];
    let on = |trio: [Party; 3]| ["nothing", "dead"].map(|beginning| scenario(&trio, beginning));
    explore_all(all.into_iter().flat_map(on), 10_000);
}

#[test]
fn p6_a_server_whose_listener_is_shut_by_another_does_not_take_its_successor_for_itself() {
    use Party::{Create, CreateClose, CreateDrain, CreateUnpublish, ShutsCopy};
    let closers = [CreateClose, CreateDrain, CreateUnpublish];
    explore_all(closers.map(|closer| scenario(&[Create, closer, ShutsCopy], "nothing")), 10_000);
}
