//! What take-overs do to ownership.

use super::owners::{Owner, Span};

/// The least of some numbers over all who come late enough in an order.
struct LeastFrom {
    /// When each comes, ascending, and the two least numbers from there on, with whose they are.
    rows: Vec<(u64, [(u64, u64); 2])>,
}

impl LeastFrom {
    /// Of each: when it comes, its number, and who it is.
    fn new(mut all: Vec<(u64, u64, u64)>) -> Self {
        all.sort_unstable_by_key(|(when, ..)| std::cmp::Reverse(*when));
        let mut least = [(u64::MAX, 0); 2];
        let mut rows = Vec::new();
        for (when, number, who) in all {
            if number < least[0].0 {
                least = [(number, who), least[0]];
            } else if number < least[1].0 {
                least[1] = (number, who);
            }
            rows.push((when, least));
        }
        rows.reverse();
        LeastFrom { rows }
    }

    /// Over all who come later than this, but for one.
    fn after(&self, when: u64, but: u64) -> u64 {
        let row = self.rows.get(self.rows.partition_point(|(other, _)| *other <= when));
        row.map_or(u64::MAX, |(_, [least, next])| if least.1 == but { next.0 } else { least.0 })
    }
}

/// Who may have taken over from whom, and who has come after whom.
pub(super) fn note(owners: &mut [Owner]) {
    let takers = owners.iter().filter(|owner| owner.takes_over);
    let takers = LeastFrom::new(takers.map(|owner| (owner.created(), owner.tried, owner.token)).collect());
    let followers = owners.iter().filter_map(|owner| Some((owner.own?.from, owner.own?.to, owner.token)));
    let followers = LeastFrom::new(followers.collect());
    for owner in owners {
        let Some(own) = owner.own else { continue };
        if owner.yields {
            owner.maybe_taken = takers.after(own.from, owner.token);
        }
        // Nobody gets the same socket twice: once another had it, it does not lead here any more.
        owner.followed = followers.after(own.to, owner.token);
    }
}

/// When the path surely led to one server or another: sorted by their beginnings, each with whose creation began it.
pub(super) fn covered(owners: &[Owner], deletions: &[Span]) -> Vec<(Span, u64)> {
    // When the path is let go by who may have it; never, by who was replaced and has ended for that.
    let leaves = |owner: &Owner| if owner.handed_over() { u64::MAX } else { owner.ending() };
    let takers = owners.iter().filter(|owner| owner.takes_over);
    let takers = LeastFrom::new(takers.map(|owner| (owner.alive().to, leaves(owner), owner.token)).collect());
    let mut covered = Vec::new();
    for owner in owners {
        let Some(own) = owner.own else { continue };
        let by_takers = if owner.yields { takers.after(own.from.saturating_sub(1), owner.token) } else { u64::MAX };
        let deletion = deletions.get(deletions.partition_point(|deletion| deletion.to <= own.from));
        let to = leaves(owner).min(by_takers).min(deletion.map_or(u64::MAX, |deletion| deletion.from));
        // Who says that it was replaced, though nobody can have done it, covers nothing.
        let is_told_rightly = owner.yields && owner.maybe_taken < u64::MAX || !owner.handed_over();
        if own.to < to && is_told_rightly {
            covered.push((Span { from: own.to, to }, owner.token));
        }
    }
    covered.sort_by_key(|(span, _)| span.from);
    // Of those that have begun by then, the one that goes furthest.
    let mut furthest: Option<(u64, u64)> = None;
    for (span, token) in &mut covered {
        match furthest {
            Some((to, whose)) if to > span.to => (span.to, *token) = (to, whose),
            _ => furthest = Some((span.to, *token)),
        }
    }
    covered
}
