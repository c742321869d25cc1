//! Operations, a stage for them, and an actor: what is done to him, and what has to be so all the same.

mod actor;
mod cost;
mod deletions;
mod errnos;
mod kills;
mod operations;
mod pauses;
mod predecessor;
mod scene;
mod watches;

/// Everything is tried, where otherwise some of it is left out for the sake of time.
const ALL: &str = "UNIX_STREAM_SERVER_ALL_STEPS";

fn all_steps() -> bool {
    std::env::var_os(ALL).is_some()
}

/// Says how much was done, where the harness would swallow it; and to the parent, that it goes on.
fn tell(words: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{words}");
    crate::support::child::say("done");
}
