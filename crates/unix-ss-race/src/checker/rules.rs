//! The rules, each over the events of one site.

use std::collections::HashMap;

use super::hand_over::covered;
use super::owners::{Owner, Parties, Span, owners};
use super::{GRACE, Rule, SiteRules, Violation};
use crate::history::{Event, What, Word};

struct Site<'a> {
    rules: SiteRules,
    parties: &'a Parties,
    /// In the order of their beginnings.
    owners: Vec<Owner>,
    by_token: HashMap<u64, Owner>,
    /// Sure ownerships and whose they are, sorted.
    sure: Vec<(Span, u64)>,
    /// When the path led to one server or another, and who was the first of them; see [`covered`].
    covered: Vec<(Span, u64)>,
    deletions: Vec<Span>,
    /// When something foreign possibly stood at the path, and at the lock.
    at_path: Vec<Span>,
    at_lock: Vec<Span>,
    /// When the first thing happened here: times are shown from then.
    zero: u64,
    found: Vec<Violation>,
}

/// All violations at one site.
pub(super) fn check_site(rules: SiteRules, events: &[Event], parties: &Parties) -> Vec<Violation> {
    let deletions: Vec<Span> = spans(events.iter().filter(|event| event.what == What::Deleted));
    let owners = owners(events, parties, &deletions);
    let mut sure: Vec<_> = owners.iter().filter_map(|owner| Some((owner.sure()?, owner.token))).collect();
    sure.sort_by_key(|(span, _)| span.from);
    let mut site = Site {
        rules,
        parties,
        by_token: owners.iter().map(|owner| (owner.token, *owner)).collect(),
        covered: covered(&owners, &deletions),
        owners,
        sure,
        deletions,
        at_path: planted(events, Word::AtPath).iter().map(|(possible, _)| *possible).collect(),
        at_lock: planted(events, Word::AtLock).iter().map(|(possible, _)| *possible).collect(),
        zero: events.iter().map(|event| event.t[0]).min().unwrap_or(0),
        found: Vec::new(),
    };
    site.two_owners(&planted(events, Word::AtPath));
    site.ends();
    for event in events {
        match event.what {
            What::Client => site.client(event),
            What::Refused | What::Unhealed => site.refusal(event),
            What::Cleaned => site.cleaned(event),
            What::Slept => site.slept(event),
            What::Succeeded if event.word != Word::None => {
                let (word, who) = (event.word.as_str(), site.name(event.token));
                site.found(Rule::SpuriousError, format!("{word} to {who}, which waited for its predecessor"));
            }
            What::Unplanted if event.word == Word::Harmed => {
                site.found(Rule::ForeignFileHarmed, format!("at {}", site.time(event.t[0])));
            }
            _ => {}
        }
    }
    site.found
}

fn spans<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Span> {
    events.map(|event| Span { from: event.t[0], to: event.t[1] }).collect()
}

/// When something foreign stood there: possibly, and surely.
fn planted(events: &[Event], place: Word) -> Vec<(Span, Span)> {
    let mut all = Vec::new();
    let mut since: Option<&Event> = None;
    // One at a time, by one process.
    for event in events {
        match (event.what, since) {
            (What::Planted, _) => since = Some(event),
            (What::Unplanted, Some(begun)) => {
                if begun.word == place {
                    let possibly = Span { from: begun.t[0], to: event.t[1] };
                    all.push((possibly, Span { from: begun.t[1], to: event.t[0].max(begun.t[1]) }));
                }
                since = None;
            }
            _ => {}
        }
    }
    all
}

/// Does one of these, which are sorted and do not overlap, meet the span?
fn any_meets(sorted: &[Span], span: Span) -> bool {
    sorted.get(sorted.partition_point(|other| other.to < span.from)).is_some_and(|other| other.from <= span.to)
}

/// Of these, which are sorted by their beginnings, the last that can hold the span, if it does.
fn that_holds(sorted: &[(Span, u64)], span: Span) -> Option<u64> {
    let (last, token) = sorted.get(sorted.partition_point(|(other, _)| other.from < span.from).checked_sub(1)?)?;
    last.holds(span).then_some(*token)
}

impl Site<'_> {
    fn found(&mut self, rule: Rule, seen: String) {
        self.found.push(Violation { rule, site: self.rules.name, seen });
    }

    fn time(&self, at: u64) -> String {
        let nanoseconds = at.saturating_sub(self.zero);
        format!("{}.{:06} s", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1_000)
    }

    fn name(&self, token: u64) -> String {
        match self.by_token.get(&token) {
            Some(owner) => format!("server {token:x} (process {}, {})", owner.worker.pid, owner.worker.party.as_str()),
            None => format!("unknown server {token:x}"),
        }
    }

    fn two_owners(&mut self, foreign: &[(Span, Span)]) {
        let mut last: Option<(Span, u64)> = None;
        let all: Vec<_> = self.sure.clone();
        for (span, token) in all {
            if let Some((before, other)) = last.filter(|(before, _)| span.from < before.to) {
                let until = self.time(before.to.min(span.to));
                let (a, b, from) = (self.name(other), self.name(token), self.time(span.from));
                self.found(Rule::TwoOwners, format!("{a} and {b}, from {from} to {until}"));
            }
            if last.is_none_or(|(before, _)| span.to > before.to) {
                last = Some((span, token));
            }
            let next = foreign.partition_point(|(_, surely)| surely.to <= span.from);
            if let Some((_, surely)) = foreign.get(next).filter(|(_, surely)| surely.from < span.to) {
                let (a, at) = (self.name(token), self.time(surely.from.max(span.from)));
                self.found(Rule::TwoOwners, format!("{a}, and a foreign file, at {at}"));
            }
        }
    }

    /// The sure ownership that holds a span, if there is one.
    fn sure_owner(&self, span: Span) -> Option<u64> {
        // Where there are overlaps (which are told anyway) the latest begun is as good as any.
        that_holds(&self.sure, span)
    }

    fn client(&mut self, event: &Event) {
        let connect = Span { from: event.t[0], to: event.t[1] };
        let at = self.time(connect.from);
        match event.word {
            Word::Answered => {
                let by = event.token;
                let reachable = self.by_token.get(&by).is_some_and(|owner| owner.reachable().meets(connect));
                if !reachable {
                    let who = self.name(by);
                    self.found(Rule::AnswerByANonOwner, format!("{who} answered a client of {at}"));
                }
                if let Some(sure) = self.sure_owner(connect).filter(|sure| *sure != by) {
                    let (who, owner) = (self.name(by), self.name(sure));
                    self.found(
                        Rule::AnswerByANonOwner,
                        format!("{who} answered a client of {at}, when {owner} owned it"),
                    );
                }
            }
            Word::Reset => self.reset(event, connect),
            // No server is there for as long as a client waits. And when one goes, be it by SIGKILL, nobody stays behind:
            // who is in its queue is served or reset, who is blocked in connect() is woken and looks again. So it needs
            // no look at who had the path: somebody kept a queue and did not serve it.
            Word::TimedOut | Word::Unanswered => {
                let (word, until) = (event.word.as_str(), self.time(event.t[2]));
                let whose = if event.peer == 0 { String::new() } else { format!(", let in by process {}", event.peer) };
                self.found(Rule::ClientLeftWaiting, format!("{word} from {at} to {until}{whose}"));
            }
            // A name between two servers, whatever it is: not while somebody owns it.
            word => {
                let late = u64::try_from(GRACE.as_nanos()).unwrap_or(u64::MAX);
                if let Some(owner) = self.sure_owner(connect) {
                    let (owner, until) = (self.name(owner), self.time(connect.to));
                    let word = word.as_str();
                    self.found(Rule::ClientTurnedAway, format!("{word} from {at} to {until}, when {owner} owned it"));
                } else if word == Word::Absent || word == Word::Refused && connect.to - connect.from < late {
                    // Who is longer than the grace time on his way may come too late to a server that was replaced.
                    if let Some(first) = that_holds(&self.covered, connect) {
                        let (first, until) = (self.name(first), self.time(connect.to));
                        let seen = format!("{} from {at} to {until}, in the hand-overs since {first}", word.as_str());
                        self.found(Rule::ClientTurnedAway, seen);
                    }
                }
            }
        }
    }

    fn reset(&mut self, event: &Event, connect: Span) {
        let at = self.time(connect.from);
        // By the pid of whoever listened. Pids may be used again: then all of that pid are asked.
        let listeners: Vec<&Owner> = self
            .owners
            .iter()
            .filter(|owner| owner.worker.pid == event.peer && owner.reachable().meets(connect))
            .collect();
        let Some(first) = listeners.first() else {
            let seen = format!("a client of {at}, reset, got in at process {}, which had no server", event.peer);
            return self.found(Rule::AnswerByANonOwner, seen);
        };
        let graceful = |owner: &&Owner| owner.drained() || owner.ending() > event.t[2];
        if listeners.iter().all(graceful) {
            let who = self.name(first.token);
            self.found(Rule::ClientLost, format!("a client of {at}, reset in the queue of {who}"));
        }
    }

    fn refusal(&mut self, event: &Event) {
        let Some(party) = self.parties.get(&event.worker).map(|worker| worker.party) else { return };
        // A git-like server answers for its own errors.
        if party == Word::GitLike {
            return;
        }
        let span = Span { from: event.t[0], to: event.t[1] };
        let (word, at) = (event.word, self.time(span.from));
        let excused = match word {
            Word::InUse => {
                if !self.anybody_lived(span) {
                    let seen = format!("a start by worker {} ({}) at {at}", event.worker, party.as_str());
                    self.found(Rule::InUseByNobody, seen);
                }
                true
            }
            Word::Locked => any_meets(&self.at_lock, span),
            Word::NotASocket => any_meets(&self.at_path, span),
            // A server that heals may also have been replaced, by one that has gone since, and others have come and died.
            Word::Moved => any_meets(&self.deletions, span) || event.what == What::Unhealed && self.any_taker(span),
            // Another user's leftovers, in a directory where only their owner may remove them: a lock that cannot be
            // opened, a dead socket that cannot be unlinked, or, if its server was killed before it could give back
            // what the umask takes of its mode, not even be asked.
            Word::Denied => party == Word::OtherUser,
            _ => false,
        };
        if !excused {
            let until = self.time(span.to);
            let seen =
                format!("{} to worker {} ({}) from {at} to {until}", word.as_str(), event.worker, party.as_str());
            self.found(Rule::SpuriousError, seen);
        }
    }

    /// What a cleaner says of the path.
    fn cleaned(&mut self, event: &Event) {
        let span = Span { from: event.t[0], to: event.t[1] };
        if !matches!(event.word, Word::Removed | Word::Absent) {
            return self.refusal(event);
        }
        if let Some(owner) = self.sure_owner(span).or_else(|| that_holds(&self.covered, span)) {
            let (word, at, owner) = (event.word.as_str(), self.time(span.from), self.name(owner));
            self.found(
                Rule::LiveTakenForDead,
                format!("{word} to a cleaner at {at}, when {owner}, or its successor, was there"),
            );
        }
    }

    /// One that had been replaced, and that nobody had come to wake.
    fn slept(&mut self, event: &Event) {
        let until = event.t[0];
        let Some(sleeper) = self.by_token.get(&event.token).copied() else { return };
        let Some(own) = sleeper.own else { return };
        if any_meets(&self.deletions, Span { from: own.from, to: until }) {
            return;
        }
        // Whoever may have replaced it has come back from that, with the knock behind it. Who began when somebody else
        // surely had come after it cannot have been the one.
        let begun = self.owners.partition_point(|owner| owner.tried < until.min(sleeper.followed));
        let mut takers = self.owners[..begun]
            .iter()
            .filter(|taker| taker.takes_over && taker.token != sleeper.token && taker.created() > own.from)
            .peekable();
        if takers.peek().is_some() && takers.all(|taker| taker.own.is_some_and(|own| own.to < until)) {
            let (who, at) = (self.name(sleeper.token), self.time(until));
            self.found(Rule::NotTold, format!("{who} had been replaced, and slept until {at}"));
        }
    }

    fn any_taker(&self, span: Span) -> bool {
        self.owners.iter().any(|owner| owner.takes_over && owner.tried <= span.to && owner.created() >= span.from)
    }

    fn anybody_lived(&self, span: Span) -> bool {
        let begun = self.owners.partition_point(|owner| owner.alive().from <= span.to);
        // From the latest begun backwards: nearly always the first or second is it.
        self.owners[..begun].iter().rev().any(|owner| {
            let lived = if self.rules.life { owner.alive() } else { owner.reachable() };
            lived.to >= span.from
        })
    }

    fn ends(&mut self) {
        for owner in self.owners.clone() {
            let (Some(own), Some((how, closing)), Some((word, closed))) = (owner.own, owner.closing, owner.closed)
            else {
                continue;
            };
            if owner.worker.party == Word::GitLike || how == Word::Drop {
                continue;
            }
            let life = Span { from: own.from, to: closed };
            let (who, at) = (self.name(owner.token), self.time(closing));
            match word {
                Word::Gone | Word::Replaced if !any_meets(&self.deletions, life) && owner.maybe_taken > closed => {
                    self.found(Rule::PathLost, format!("{who} found its path {} at {at}", word.as_str()));
                }
                Word::StillOurs
                    if self.deletions.iter().any(|deletion| Span { from: own.to, to: closing }.holds(*deletion)) =>
                {
                    self.found(Rule::TheftNotNoticed, format!("{who}, at {at}"));
                }
                Word::Gone | Word::Replaced | Word::StillOurs | Word::None => {}
                Word::Locked if any_meets(&self.at_lock, Span { from: closing, to: closed }) => {}
                Word::Denied if owner.worker.party == Word::OtherUser => {}
                word => self.found(Rule::SpuriousCloseError, format!("{} to {who} at {at}", word.as_str())),
            }
        }
    }
}
