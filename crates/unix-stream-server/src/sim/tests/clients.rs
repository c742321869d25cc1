//! P7: no client is lost. Clients whose connect() succeeds are served by a server that drains, and nobody stays blocked.

use super::*;

const SERVERS: [Party; 3] = [Party::CreateDrain, Party::ClaimDrain, Party::ClaimDrainLifetime];
use Party::{Client, CreateClose, CreateDrain, KeepsCopy};

#[test]
fn p7_a_drain_serves_every_client_that_got_in_and_wakes_every_other() {
    explore_all(SERVERS.map(|server| scenario(&[server, Client, Client, Client], "nothing").within(CRASH)), 1_000);
}

#[test]
fn p7_so_it_does_while_another_process_has_a_copy_of_the_listener() {
    explore_all(
        SERVERS.map(|server| scenario(&[server, KeepsCopy, Client, Client, Client], "nothing").within(CRASH)),
        1_000,
    );
}

#[test]
fn p7_a_close_resets_whom_it_does_not_serve_but_leaves_nobody_blocked() {
    let alone = scenario(&[CreateClose, Client, Client], "nothing").within(CRASH);
    let copied = scenario(&[CreateClose, KeepsCopy, Client, Client, Client], "nothing").within(CRASH);
    explore_all([alone, copied], 1_000);
}

#[test]
fn p7_a_client_is_served_by_one_server_or_the_next() {
    let drain = scenario(&[CreateDrain, CreateDrain, Client], "nothing");
    let close = scenario(&[CreateDrain, CreateClose, Client, Client], "nothing");
    explore_all(if asks_for_more() { vec![drain, close] } else { vec![drain] }, 1_000);
}
