//! When something is lacking that will come back: descriptors, processes, pages. Clients wait for it, and nobody new is
//! accepted.

use std::collections::VecDeque;
use std::fmt::Arguments;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::message::{reason, say};

/// How long to leave the queue alone when there are no descriptors, or no processes, for another client.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client that has been accepted waits for resources to start its PROG.
const HOLD: Duration = Duration::from_secs(10);

/// How long there must have been no pause for the next one to be another shortage.
const QUIET: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Shortage {
    /// Clients that have been accepted and wait for resources. They are tried one by one, and nobody is accepted before.
    held: VecDeque<UnixStream>,
    /// How long the one that is tried does.
    hold_until: Option<Instant>,
    /// Nobody is accepted, or tried, until then.
    paused: Option<Instant>,
    /// When the last pause ended.
    last: Option<Instant>,
}

impl Shortage {
    pub(super) fn holds_nobody(&self) -> bool {
        self.held.is_empty()
    }

    /// Keeps clients for whom something is lacking, and waits. The first of them not for ever.
    pub(super) fn hold(&mut self, mut clients: VecDeque<UnixStream>, program: &str, error: &io::Error) {
        clients.append(&mut self.held); // whoever was tried now has been here longer
        self.held = clients;
        if Instant::now() < *self.hold_until.get_or_insert_with(|| Instant::now() + HOLD) {
            self.pause(format_args!("cannot run {program} yet: {}; trying again", reason(error)));
        } else {
            self.hold_until = None;
            self.held.pop_front();
            say(format_args!("cannot run {program}: {}; closing its client", reason(error)));
        }
    }

    /// The first of those who are held, for another try.
    pub(super) fn take(&mut self) -> Option<UnixStream> {
        self.held.pop_front()
    }

    /// Is one of them being tried? Then one at a time.
    pub(super) fn tries_one(&self) -> bool {
        self.hold_until.is_some()
    }

    /// The one that was tried waits no longer: it has its PROG, or is to get none.
    pub(super) fn has_settled_one(&mut self) {
        self.hold_until = None;
    }

    /// Hangs up on those who are held.
    pub(super) fn give_up(&mut self) {
        self.held.clear();
    }

    /// Waiting, where trying again at once would spin. Said once of pauses that follow each other, also if a PROG could be
    /// started in between.
    pub(super) fn pause(&mut self, why: Arguments<'_>) {
        let until = Instant::now() + PAUSE;
        self.paused = Some(until);
        if self.last.replace(until).is_none_or(|last| last.elapsed() >= QUIET) {
            say(why);
        }
    }

    pub(super) fn end_pause(&mut self) {
        self.paused = None;
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some_and(|until| Instant::now() < until)
    }
}
