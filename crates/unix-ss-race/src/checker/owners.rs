//! Who owned a path, for sure and possibly.

use std::collections::HashMap;

use super::hand_over;
use crate::history::{Event, What, Word};

/// A span of time: both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn meets(self, other: Span) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    pub(super) fn holds(self, other: Span) -> bool {
        self.from < other.from && other.to < self.to
    }
}

/// A worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worker {
    pub(super) party: Word,
    pub(super) pid: u32,
    /// When the conductor set out to kill it.
    killed: u64,
    reaped: u64,
}

/// All workers, by number.
pub(super) type Parties = HashMap<u32, Worker>;

pub(super) fn parties(events: &[Event]) -> Parties {
    let mut parties = Parties::new();
    for event in events {
        if event.what == What::Born {
            let worker = Worker { party: event.word, pid: event.peer, killed: u64::MAX, reaped: u64::MAX };
            parties.insert(event.worker, worker);
        }
    }
    for event in events {
        let Some(worker) = parties.get_mut(&event.worker) else { continue };
        match event.what {
            What::Kill => worker.killed = worker.killed.min(event.t[0]),
            What::Reaped => worker.reaped = event.t[0],
            _ => {}
        }
    }
    parties
}

/// A server, as far as its lines tell. One that was killed may have owned the path without having said so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) token: u64,
    pub(super) worker: Worker,
    pub(super) tried: u64,
    /// A successor may take over from it; it takes over from a predecessor that allows it.
    pub(super) yields: bool,
    pub(super) takes_over: bool,
    refused: bool,
    pub(super) own: Option<Span>,
    /// How it set out to end, and when.
    pub(super) closing: Option<(Word, u64)>,
    /// What it found, and when it had ended.
    pub(super) closed: Option<(Word, u64)>,
    dying: u64,
    /// The first deletion that may have hit it, and the first that has.
    pub(super) maybe_deleted: u64,
    deleted: u64,
    /// The first take-over that may have hit it, and when somebody else surely had come after it.
    pub(super) maybe_taken: u64,
    pub(super) followed: u64,
}

impl Owner {
    /// When it surely owned the path.
    pub(super) fn sure(&self) -> Option<Span> {
        let from = self.own?.to;
        let to = self.ending().min(self.maybe_deleted).min(self.maybe_taken);
        (from < to).then_some(Span { from, to })
    }

    /// The moment from which on it may have been about to end, by itself or by a signal.
    pub(super) fn ending(&self) -> u64 {
        self.closing.map_or(u64::MAX, |(_, at)| at).min(self.dying).min(self.worker.killed)
    }

    /// When it possibly lived, with or without the path.
    pub(super) fn alive(&self) -> Span {
        Span { from: self.tried, to: self.closed.map_or(self.worker.reaped, |(_, at)| at) }
    }

    /// When the path possibly led to it.
    pub(super) fn reachable(&self) -> Span {
        let Span { from, to } = self.alive();
        Span { from, to: to.min(self.deleted).min(self.followed) }
    }

    /// Its end was graceful, and came to its end.
    pub(super) fn drained(&self) -> bool {
        matches!((self.closing, self.closed), (Some((Word::Drain | Word::HandedOver | Word::Healed, _)), Some(_)))
    }

    /// It ended because it had been replaced, with a grace time: the path was another's, before and after.
    pub(super) fn handed_over(&self) -> bool {
        matches!((self.closing, self.closed), (Some((Word::HandedOver, _)), Some(_)))
    }

    /// When it surely had the path, if it was to get it.
    pub(super) fn created(&self) -> u64 {
        self.own.map_or(self.worker.reaped, |own| own.to)
    }
}

/// The servers of a site, in the order in which they were begun. `deletions`: from outside, there.
pub(super) fn owners(events: &[Event], parties: &Parties, deletions: &[Span]) -> Vec<Owner> {
    let mut all: HashMap<u64, Owner> = HashMap::new();
    for event in events.iter().filter(|event| event.what == What::Try) {
        if let Some(&worker) = parties.get(&event.worker) {
            all.insert(
                event.token,
                Owner {
                    token: event.token,
                    worker,
                    tried: event.t[0],
                    yields: matches!(event.word, Word::Replaceable | Word::Both),
                    takes_over: matches!(event.word, Word::TakesOver | Word::Both),
                    refused: false,
                    own: None,
                    closing: None,
                    closed: None,
                    dying: u64::MAX,
                    maybe_deleted: u64::MAX,
                    deleted: u64::MAX,
                    maybe_taken: u64::MAX,
                    followed: u64::MAX,
                },
            );
        }
    }
    for event in events {
        let Some(owner) = all.get_mut(&event.token) else { continue };
        match event.what {
            What::Refused | What::Unhealed => owner.refused = true,
            What::Own => owner.own = Some(Span { from: event.t[0], to: event.t[1] }),
            What::Closing => owner.closing = Some((event.word, event.t[0])),
            What::Closed => owner.closed = Some((event.word, event.t[1])),
            What::Dying => owner.dying = owner.dying.min(event.t[0]),
            _ => {}
        }
    }
    // Who was refused never listened: that is the last step.
    let mut owners: Vec<Owner> = all.into_values().filter(|owner| !owner.refused).collect();
    for owner in &mut owners {
        let Some(own) = owner.own else { continue };
        let first = |least: u64, end: fn(&Span) -> u64| {
            // Deletions are by one process, one after the other, so both their ends are sorted.
            deletions.get(deletions.partition_point(|deletion| end(deletion) <= least)).copied()
        };
        owner.maybe_deleted = first(own.from, |deletion| deletion.to).map_or(u64::MAX, |deletion| deletion.from);
        owner.deleted = first(own.to, |deletion| deletion.from).map_or(u64::MAX, |deletion| deletion.to);
    }
    owners.sort_by_key(|owner| owner.tried);
    hand_over::note(&mut owners);
    owners
}
