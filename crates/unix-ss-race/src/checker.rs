//! The judge of a history.
//!
//! It is sound: it knows each event only as an interval of time, and calls a violation only what is one wherever in
//! those intervals everything happened. So it may miss something; [`crate::recipe::Defect`] measures what it finds.
//!
//! A server **surely** owns its path from the end of its creation to the beginning of its end, of its death, or of the
//! first deletion from outside that may have hit it. It **possibly** lives there from the beginning of its creation to
//! the end of its end, or until it is reaped.
//!
//! A **hand-over** ends the sure ownership of a server that may be replaced at the beginning of the first take-over that
//! may have hit it. Who has the path then cannot be told for each moment; but that somebody has it can: from the end of
//! its creation until one of those who may have it since may be about to end otherwise than by being replaced in turn.
//! So long the path is **covered**.

mod hand_over;
mod owners;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::history::{Event, What, Word};

/// How long servers under torture go on accepting when they have been replaced. A client that takes no longer than that
/// from its first look at the path to its place in the queue is not to be refused.
pub(crate) const GRACE: Duration = Duration::from_millis(20);

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Two servers surely owned one path at one time, or a server a path where a foreign file stood.
    TwoOwners,
    /// A client was answered by a server that did not have the path.
    AnswerByANonOwner,
    /// A client whose connect lay inside one sure ownership, or inside a row of hand-overs, did not get in.
    ClientTurnedAway,
    /// A client that was in the queue of a graceful server was not served.
    ClientLost,
    /// A client waited, to get in or to be served, for longer than any server is there.
    ClientLeftWaiting,
    /// A start said "in use" though nobody can have lived there.
    InUseByNobody,
    /// A start failed without a reason.
    SpuriousError,
    /// A server lost its path though nobody deleted it from outside.
    PathLost,
    /// A server whose socket was deleted said that the path led to it.
    TheftNotNoticed,
    /// The end of a server failed without a reason.
    SpuriousCloseError,
    /// A server that had been replaced was not told, and slept on.
    NotTold,
    /// A cleaner found a dead socket, or nothing, where a server surely lived.
    LiveTakenForDead,
    /// A file that is none of theirs was deleted or changed.
    ForeignFileHarmed,
    /// Something was left over at the end.
    LeftOver,
    /// The last start, with nobody alive, failed.
    Blocked,
    /// A process did not come to an end.
    Stuck,
    /// A worker ended as none should.
    Crashed,
}

impl Rule {
    /// As in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rule::TwoOwners => "two-owners",
            Rule::AnswerByANonOwner => "answer-by-a-non-owner",
            Rule::ClientTurnedAway => "client-turned-away",
            Rule::ClientLost => "client-lost",
            Rule::ClientLeftWaiting => "client-left-waiting",
            Rule::InUseByNobody => "in-use-by-nobody",
            Rule::SpuriousError => "spurious-error",
            Rule::PathLost => "path-lost",
            Rule::TheftNotNoticed => "theft-not-noticed",
            Rule::SpuriousCloseError => "spurious-close-error",
            Rule::NotTold => "not-told",
            Rule::LiveTakenForDead => "live-taken-for-dead",
            Rule::ForeignFileHarmed => "foreign-file-harmed",
            Rule::LeftOver => "left-over",
            Rule::Blocked => "blocked",
            Rule::Stuck => "stuck",
            Rule::Crashed => "crashed",
        }
    }
}

/// A violation, with what shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// What must not be.
    pub rule: Rule,
    /// At which of the run's paths.
    pub site: &'static str,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.rule.name(), self.site, self.seen)
    }
}

/// What a path of the run is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SiteRules {
    pub(crate) name: &'static str,
    /// A life lock is held for longer than the socket has its name.
    pub(crate) life: bool,
}

/// Judges a complete history. Everybody who was born has been reaped.
pub(crate) fn check(events: &[Event], sites: &[SiteRules]) -> Vec<Violation> {
    let parties = owners::parties(events);
    let mut by_site: BTreeMap<u8, Vec<Event>> = BTreeMap::new();
    for event in events.iter().filter(|event| !matches!(event.what, What::Born | What::Kill | What::Reaped)) {
        // A death is at no site, or at all: of the server that its worker has.
        by_site.entry(event.site).or_default().push(*event);
    }
    by_site.iter().flat_map(|(site, events)| rules::check_site(sites[usize::from(*site)], events, &parties)).collect()
}

/// A worker that neither the conductor nor itself has killed, but somebody else, such as a kernel that is out of memory.
pub(crate) fn killed_from_outside(events: &[Event]) -> Option<u32> {
    let announced = |dead: &Event| events.iter().any(|event| event.what == What::Dying && event.worker == dead.worker);
    let mut killed = events.iter().filter(|event| event.what == What::Reaped && event.word == Word::Killed);
    killed.find(|dead| !announced(dead)).map(|dead| dead.worker)
}

/// How many events there are of a kind, and of a word.
pub(crate) fn counts(events: &[Event]) -> BTreeMap<(What, Word), u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry((event.what, event.word)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
