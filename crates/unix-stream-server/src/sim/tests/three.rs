//! P1 to P5: three parties, every schedule.
//!
//! The bound of the ordinary run: three of the short kinds, on the beginnings named, with one crash where it says so.
//! With `UNIX_SS_SIM=more`: any three of ours and git's, on the four beginnings that differ most, one crash.

use super::*;

#[test]
fn p1_to_p5_hold_for_three_that_serve_on() {
    let on = ["nothing", "dead", "lock", "dead+lock", "dead+masked-lock", "odd-umask"];
    let crashes = Bounds { crashes: if asks_for_more() { 3 } else { 2 }, ..NONE };
    explore_all(on.map(|beginning| scenario(&[Party::Create; 3], beginning).within(crashes)), 100_000);
}

#[test]
fn p1_to_p5_hold_for_three_that_come_and_go() {
    use Party::{ClaimAbandon, Create, CreateClose};
    let close = scenario(&[CreateClose; 3], "dead").within(CRASH);
    let mixed = scenario(&[Create, CreateClose, CreateClose], "nothing").within(CRASH);
    let claim = scenario(&[Create, Create, ClaimAbandon], "dead").within(CRASH);
    let more = asks_for_more().then(any_three).into_iter().flatten();
    explore_all([close, mixed, claim].into_iter().chain(more), 1_000_000);
}

#[test]
fn p1_to_p5_hold_for_two_beside_git() {
    let ours = [Party::Create, Party::CreateClose, Party::ClaimAbandon];
    let beside = |git| pairs(&ours).into_iter().map(move |[a, b]| [a, b, git]);
    let all = [Party::Git, Party::GitFree].into_iter().flat_map(beside);
    let on = |trio: [Party; 3]| ["nothing", "dead", "lock"].map(|it| scenario(&trio, it).within(CRASH));
    explore_all(all.flat_map(on), 1_000_000);
}

/// Any three of ours and git's, for those who have the time.
fn any_three() -> impl Iterator<Item = Scenario> {
    let kinds = [Party::OURS.as_slice(), &[Party::Git, Party::GitFree]].concat();
    let trios = pairs(&kinds).into_iter().flat_map(move |[a, b]| {
        let from = kinds.iter().position(|&kind| kind == b).expect("it is one of them");
        kinds[from..].iter().map(|&c| [a, b, c]).collect::<Vec<_>>()
    });
    trios.flat_map(|trio| ["nothing", "dead", "lock", "dead+lock"].map(|it| scenario(&trio, it).within(CRASH)))
}
