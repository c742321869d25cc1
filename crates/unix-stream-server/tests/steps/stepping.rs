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

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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

/// Says to the parent, now and then, that what takes so long is not one trial but many.
fn tell_it_goes_on() {
    const NOW_AND_THEN: Duration = Duration::from_secs(5);
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|told| told.elapsed() > NOW_AND_THEN) {
        *told = Some(Instant::now());
        crate::support::child::say("going on");
    }
}
