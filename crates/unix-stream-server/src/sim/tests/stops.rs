//! P1, P4: a party that stops for a long time, alive, with all that it holds. The others end with Locked or InUse and
//! change nothing that is not theirs; and when it goes on, all promises still hold.

use super::*;

const STOP: Bounds = Bounds { stops: 1, ..NONE };

#[test]
fn a_party_that_stops_costs_the_others_their_patience_and_no_more() {
    let on = |pair: [Party; 2]| ["nothing", "dead", "dead+lock"].map(|it| scenario(&pair, it).within(STOP));
    let short = pairs(&Party::OURS).into_iter().filter(|pair| !pair.iter().any(|party| party.has_life_lock()));
    explore_all(short.flat_map(on), 100_000);
}

#[test]
fn so_it_does_with_a_life_lock() {
    let on = |pair: [Party; 2]| ["nothing", "dead"].map(|it| scenario(&pair, it).within(STOP));
    let ours = [Party::Create, Party::CreateClose, Party::ClaimDrainLifetime];
    let life = pairs(&ours).into_iter().filter(|pair| pair.iter().any(|party| party.has_life_lock()));
    explore_all(life.flat_map(on), 100_000);
}

#[test]
fn so_it_does_among_three_and_beside_git() {
    use Party::{Create, CreateClose, Git};
    let all = [[Create, Create, Create], [Create, Create, Git], [Create, CreateClose, Git]];
    let on = |trio: [Party; 3]| ["nothing", "dead"].map(|it| scenario(&trio, it).within(STOP));
    explore_all(all.into_iter().flat_map(on), 100_000);
}
