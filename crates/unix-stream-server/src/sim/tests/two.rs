//! P1 to P5: two parties, every schedule, a crash of one of them before and after every call.

use super::*;

const BEGINNINGS: [&str; 8] =
    ["nothing", "dead", "lock", "dead+lock", "dead+masked-lock", "odd-umask", "dead+life", "dead+temporary"];

fn on_every_beginning(pairs: impl IntoIterator<Item = [Party; 2]>) -> Vec<Scenario> {
    let on = |pair: [Party; 2]| {
        let relevant = BEGINNINGS.into_iter().filter(move |beginning| matters(&pair, beginning));
        relevant.map(move |beginning| scenario(&pair, beginning).within(CRASH))
    };
    pairs.into_iter().flat_map(on).collect()
}

fn has_life_lock(pair: &[Party; 2]) -> bool {
    pair.iter().any(|party| party.has_life_lock())
}

#[test]
fn p1_to_p5_hold_for_two_of_ours() {
    let ours = pairs(&Party::OURS).into_iter().filter(|pair| !has_life_lock(pair));
    explore_all(on_every_beginning(ours), 100_000);
}

/// The two odd umasks make the space of these pairs three times as large, and are asked for.
#[test]
fn p1_to_p5_hold_for_two_of_ours_with_a_life_lock() {
    let ours = pairs(&Party::OURS).into_iter().filter(has_life_lock);
    let odd = |scenario: &Scenario| ["dead+masked-lock", "odd-umask"].contains(&scenario.beginning.as_str());
    let all = on_every_beginning(ours).into_iter().filter(|it| asks_for_more() || !odd(it));
    explore_all(all, 100_000);
}

#[test]
fn p1_to_p5_hold_beside_git() {
    let beside = |git| Party::OURS.into_iter().map(move |ours| [ours, git]);
    explore_all(on_every_beginning([Party::Git, Party::GitFree].into_iter().flat_map(beside)), 10_000);
}

#[test]
fn p3_what_is_not_ours_is_never_removed() {
    let foreign = beginnings().into_iter().map(|(beginning, _)| beginning).filter(|name| !BEGINNINGS.contains(name));
    let on = |beginning| pairs(&Party::OURS).into_iter().map(move |pair| scenario(&pair, beginning).within(CRASH));
    explore_all(foreign.flat_map(on), 10_000);
}
