//! Two users: a lock file is opened only by its owner and by root. Another user's is waited for and never removed.

use super::*;

#[test]
fn p3_another_users_lock_is_left_alone_and_root_recovers_everything() {
    let kinds = [Party::Create, Party::CreateClose, Party::ClaimAbandon];
    let ways = kinds.into_iter().flat_map(|a| kinds.map(|b| [a, b]));
    let users = |pair: [Party; 2]| [[1, 2], [1, 0]].map(|users| (pair, users));
    let on = |(pair, users): ([Party; 2], [u8; 2])| {
        ["nothing", "dead", "lock", "dead+lock", "dead+masked-lock", "odd-umask"].map(|beginning| {
            let roles = [0, 1].map(|at| Role { party: pair[at], user: users[at] });
            let kernel = beginnings().into_iter().find(|(name, _)| *name == beginning).expect("it is in the list").1;
            Scenario::new(&roles, beginning, kernel).within(CRASH)
        })
    };
    explore_all(ways.flat_map(users).flat_map(on), 10_000);
}
