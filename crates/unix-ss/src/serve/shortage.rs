//! When something is lacking that will come back: descriptors, processes, pages. Clients wait for it, and nobody new is
//! accepted.

use std::collections::VecDeque;
use std::fmt::Arguments;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::complaint::Complaint;
use crate::message::{reason, say};

/// How long to leave the queue alone when there are no descriptors, or no processes, for another client.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client that has been accepted waits for resources to start its PROG; and, at the end, those who cannot be.
const HOLD: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Shortage {
    /// Clients that have been accepted and wait for resources. They are tried one by one, and nobody is accepted before.
    held: VecDeque<UnixStream>,
    /// How long the one that is tried does. Once nobody new is let in: all of them together, until a PROG can be started.
    hold_until: Option<Instant>,
    /// How long those are waited for who cannot be accepted, once nobody new is let in, until a PROG can be started.
    accept_until: Option<Instant>,
    /// Nobody new is let in.
    closing: bool,
    /// Nobody is accepted, or tried, until then.
    paused: Option<Instant>,
    complaint: Complaint,
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
            self.has_settled_one();
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

    /// The one that was tried waits no longer: it has gone, or is to get no PROG.
    pub(super) fn has_settled_one(&mut self) {
        if !self.closing {
            self.hold_until = None;
        }
    }

    /// A PROG could be started.
    pub(super) fn has_passed(&mut self) {
        (self.hold_until, self.accept_until) = (None, None);
    }

    /// Nobody new is let in. An end that gave each of those who are queued a time of its own would take for ever.
    pub(super) fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            self.hold_until = self.hold_until.map(|_| Instant::now() + HOLD); // for all, also if one has waited already
        }
    }

    /// accept() has failed. True if nobody new is let in, and it has for so long that it is not to be tried again: it says
    /// that something is lacking also where nobody is queued.
    pub(super) fn accept_has_failed(&mut self) -> bool {
        self.closing && Instant::now() >= *self.accept_until.get_or_insert_with(|| Instant::now() + HOLD)
    }

    /// Hangs up on those who are held: nobody is tried any more.
    pub(super) fn give_up(&mut self) {
        self.held.clear();
        self.paused = None;
    }

    /// Waiting, where trying again at once would spin.
    pub(super) fn pause(&mut self, why: Arguments<'_>) {
        self.paused = Some(Instant::now() + PAUSE);
        if self.complaint.is_due() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(count: usize) -> VecDeque<UnixStream> {
        (0..count).map(|_| UnixStream::pair().expect("a pair").0).collect()
    }

    /// How many of these are still held when the time of the first one is over and the others have been tried once.
    fn still_held(shortage: &mut Shortage, count: usize) -> usize {
        let error = io::Error::from_raw_os_error(11);
        shortage.hold(clients(count), "PROG", &error);
        shortage.hold_until = Some(Instant::now());
        for _ in 0..count {
            let client = shortage.take().into_iter().collect();
            shortage.hold(client, "PROG", &error);
        }
        shortage.held.len()
    }

    #[test]
    fn the_time_at_the_end_begins_with_it() {
        let mut shortage = Shortage::default();
        let error = io::Error::from_raw_os_error(11);
        shortage.hold(clients(1), "PROG", &error);
        shortage.hold_until = Some(Instant::now());
        shortage.close();
        let client = shortage.take().into_iter().collect();
        shortage.hold(client, "PROG", &error);
        assert_eq!(shortage.held.len(), 1);
    }

    #[test]
    fn who_cannot_be_accepted_has_that_time_too_and_only_at_the_end() {
        let mut shortage = Shortage::default();
        assert!(!shortage.accept_has_failed() && shortage.accept_until.is_none());
        shortage.close();
        assert!(!shortage.accept_has_failed());
        shortage.accept_until = Some(Instant::now());
        assert!(shortage.accept_has_failed());
        shortage.has_passed();
        assert!(!shortage.accept_has_failed());
    }

    #[test]
    fn that_time_is_not_the_one_of_those_who_are_held() {
        let mut shortage = Shortage::default();
        shortage.close();
        shortage.accept_has_failed();
        assert!(!shortage.tries_one());
        shortage.accept_until = Some(Instant::now());
        shortage.hold(clients(2), "PROG", &io::Error::from_raw_os_error(11));
        assert_eq!(shortage.held.len(), 2);
    }

    #[test]
    fn when_it_is_given_up_nothing_is_waited_for() {
        let mut shortage = Shortage::default();
        shortage.hold(clients(1), "PROG", &io::Error::from_raw_os_error(11));
        assert!(shortage.paused_until().is_some());
        shortage.give_up();
        assert!(shortage.paused_until().is_none());
    }

    #[test]
    fn each_who_is_held_has_a_time_of_its_own_until_nobody_new_is_let_in() {
        let mut shortage = Shortage::default();
        assert_eq!(still_held(&mut shortage, 3), 2);
        shortage.give_up();
        shortage.close();
        assert_eq!(still_held(&mut shortage, 3), 0);
        // Another shortage, which a start of PROG has come before.
        shortage.has_passed();
        shortage.hold(clients(1), "PROG", &io::Error::from_raw_os_error(11));
        assert!(!shortage.holds_nobody());
    }
}
