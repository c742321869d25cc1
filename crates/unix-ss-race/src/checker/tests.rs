//! The judge judged: for each rule a history that breaks it, and the nearest ones that do not.

mod hand_over;

use super::{Rule, SiteRules, check, killed_from_outside};
use crate::history::{Event, What, Word};

const SITES: [SiteRules; 2] = [SiteRules { name: "a path", life: false }, SiteRules { name: "a life", life: true }];

/// A history, put together a line each.
#[derive(Clone, Default)]
struct Story(Vec<Event>);

impl Story {
    fn new() -> Self {
        let born = |worker, word| Event::new(What::Born, word, 0, worker).peer(1_000 + worker).at([1]);
        Story(vec![
            born(1, Word::Ours),
            born(2, Word::Ours),
            born(3, Word::GitLike),
            born(4, Word::Ours),
            born(9, Word::Visitor),
        ])
    }

    fn tell(mut self, what: What, word: Word, worker: u32, at: [u64; 2]) -> Self {
        self.0.push(Event::new(what, word, 0, worker).token(worker.into()).at(at));
        self
    }

    /// A server (its worker's number is its token) that is created between two times.
    fn owns(self, worker: u32, from: u64, to: u64) -> Self {
        self.tell(What::Try, Word::None, worker, [from - 1, 0]).tell(What::Own, Word::None, worker, [from, to])
    }

    /// The same of one that may be replaced, or takes over, or both.
    fn yields(self, worker: u32, asks: Word, from: u64, to: u64) -> Self {
        self.tell(What::Try, asks, worker, [from - 1, 0]).tell(What::Own, Word::None, worker, [from, to])
    }

    fn ends(self, worker: u32, how: Word, from: u64, to: u64) -> Self {
        self.finds(worker, how, Word::StillOurs, from, to)
    }

    fn finds(self, worker: u32, how: Word, found: Word, from: u64, to: u64) -> Self {
        self.tell(What::Closing, how, worker, [from, 0]).tell(What::Closed, found, worker, [from, to])
    }

    fn refused(self, worker: u32, word: Word, from: u64, to: u64) -> Self {
        self.tell(What::Try, Word::None, worker, [from - 1, 0]).tell(What::Refused, word, worker, [from, to])
    }

    fn client(mut self, word: Word, token: u32, from: u64, to: u64) -> Self {
        let event = Event::new(What::Client, word, 0, 9).token(token.into()).peer(1_000 + token);
        self.0.push(event.at([from, to, to + 1]));
        self
    }

    fn outside(mut self, what: What, word: Word, from: u64, to: u64) -> Self {
        self.0.push(Event::new(what, word, 0, 0).at([from, to]));
        self
    }

    fn deleted(self, from: u64, to: u64) -> Self {
        self.outside(What::Deleted, Word::None, from, to)
    }

    fn kills(self, worker: u32, from: u64, to: u64) -> Self {
        self.tell(What::Kill, Word::None, worker, [from, 0]).tell(What::Reaped, Word::None, worker, [to, 0])
    }

    #[track_caller]
    fn breaks(&self, rules: &[Rule]) {
        let found = check(&self.0, &SITES);
        let which: Vec<Rule> = found.iter().map(|violation| violation.rule).collect();
        assert_eq!(which, rules, "{found:#?}");
    }

    #[track_caller]
    fn is_clean(&self) {
        self.breaks(&[]);
    }
}

#[test]
fn two_sure_owners_at_one_time_are_found() {
    let one = Story::new().owns(1, 10, 20).ends(1, Word::Close, 50, 60);
    one.clone().owns(2, 30, 40).ends(2, Word::Close, 70, 80).breaks(&[Rule::TwoOwners]);
    // The second may have come after the first had gone.
    one.clone().owns(2, 30, 51).ends(2, Word::Close, 70, 80).is_clean();
    // The first was killed before, or deleted.
    Story::new().owns(1, 10, 20).kills(1, 35, 45).owns(2, 30, 40).is_clean();
    Story::new().owns(1, 10, 20).kills(1, 41, 45).owns(2, 30, 40).breaks(&[Rule::TwoOwners]);
    Story::new().owns(1, 10, 20).deleted(25, 26).owns(2, 30, 40).is_clean();
    // A deletion that came later is no excuse.
    Story::new().owns(1, 10, 20).owns(2, 30, 40).deleted(45, 46).breaks(&[Rule::TwoOwners]);
}

#[test]
fn an_answer_by_one_who_cannot_have_had_the_path_is_found() {
    let one = Story::new().owns(1, 10, 20).ends(1, Word::Drain, 50, 60);
    one.clone().client(Word::Answered, 1, 30, 31).is_clean();
    one.clone().client(Word::Answered, 1, 59, 70).is_clean();
    one.clone().client(Word::Answered, 1, 61, 70).breaks(&[Rule::AnswerByANonOwner]);
    one.clone().client(Word::Answered, 7, 30, 31).breaks(&[Rule::AnswerByANonOwner, Rule::AnswerByANonOwner]);
    // Deleted, it is not to be reached any more, though it lives.
    let deleted = Story::new().owns(1, 10, 20).deleted(25, 30);
    deleted.clone().client(Word::Answered, 1, 29, 40).is_clean();
    deleted.client(Word::Answered, 1, 31, 40).breaks(&[Rule::AnswerByANonOwner]);
}

#[test]
fn a_client_that_is_turned_away_inside_a_sure_ownership_is_found() {
    let one = Story::new().owns(1, 10, 20).ends(1, Word::Close, 50, 60);
    for word in [Word::Absent, Word::Refused, Word::Failed, Word::NotASocket] {
        one.clone().client(word, 0, 21, 49).breaks(&[Rule::ClientTurnedAway]);
        one.clone().client(word, 0, 20, 49).is_clean();
        one.clone().client(word, 0, 21, 50).is_clean();
    }
    one.clone().deleted(30, 31).client(Word::Absent, 0, 32, 33).ends(1, Word::Drop, 50, 60).is_clean();
}

#[test]
fn a_client_that_a_graceful_server_left_unserved_is_found() {
    let served = |how| Story::new().owns(1, 10, 20).client(Word::Reset, 1, 30, 31).ends(1, how, 50, 60);
    served(Word::Drain).breaks(&[Rule::ClientLost]);
    // Before its end, it loses nobody either, whatever that end is to be.
    served(Word::Close).breaks(&[Rule::ClientLost]);
    let at_the_end = |how| Story::new().owns(1, 10, 20).client(Word::Reset, 1, 30, 55).ends(1, how, 50, 60);
    at_the_end(Word::Drain).breaks(&[Rule::ClientLost]);
    at_the_end(Word::Close).is_clean();
    at_the_end(Word::Free).is_clean();
    Story::new().owns(1, 10, 20).client(Word::Reset, 1, 30, 31).kills(1, 25, 40).is_clean();
    // Got in where nobody can have been.
    Story::new().client(Word::Reset, 1, 30, 31).breaks(&[Rule::AnswerByANonOwner]);
}

#[test]
fn a_client_that_waited_for_longer_than_any_server_lives_is_found_whoever_it_waited_for() {
    for word in [Word::TimedOut, Word::Unanswered] {
        let waited = |story: Story| story.client(word, 1, 30, 900).breaks(&[Rule::ClientLeftWaiting]);
        waited(Story::new());
        waited(Story::new().owns(1, 10, 20).ends(1, Word::Drain, 50, 60));
        waited(Story::new().owns(1, 10, 20).ends(1, Word::Drop, 50, 60));
        waited(Story::new().owns(1, 10, 20).kills(1, 40, 50));
        waited(Story::new().owns(1, 10, 20).deleted(31, 32).finds(1, Word::Close, Word::Gone, 1_000, 1_010));
    }
    // Who was told in time that nobody is there any more was not left.
    let ended = Story::new().owns(1, 10, 20).ends(1, Word::Drain, 50, 60);
    ended.client(Word::Refused, 0, 30, 900).is_clean();
}

#[test]
fn in_use_is_believed_only_if_somebody_may_have_lived() {
    Story::new().refused(2, Word::InUse, 30, 40).breaks(&[Rule::InUseByNobody]);
    let one = Story::new().owns(1, 10, 20).ends(1, Word::Close, 50, 60);
    one.clone().refused(2, Word::InUse, 30, 40).is_clean();
    one.clone().refused(2, Word::InUse, 59, 70).is_clean();
    one.clone().refused(2, Word::InUse, 61, 70).breaks(&[Rule::InUseByNobody]);
    // Killed in the middle of its creation: it may have lived until it was reaped.
    let killed = Story::new().tell(What::Try, Word::None, 1, [10, 0]).kills(1, 20, 30);
    killed.clone().refused(2, Word::InUse, 29, 40).is_clean();
    killed.refused(2, Word::InUse, 31, 40).breaks(&[Rule::InUseByNobody]);
    // Who was refused itself was never alive.
    Story::new()
        .refused(1, Word::NotASocket, 10, 20)
        .refused(2, Word::InUse, 12, 14)
        .breaks(&[Rule::SpuriousError, Rule::InUseByNobody]);
}

#[test]
fn errors_need_a_reason() {
    for word in [Word::Locked, Word::NotASocket, Word::CannotTell, Word::Moved, Word::Denied, Word::Failed] {
        Story::new().refused(1, word, 10, 20).breaks(&[Rule::SpuriousError]);
        // A git-like server answers for its own.
        Story::new().refused(3, word, 10, 20).is_clean();
    }
    let planted = |word, from, to| {
        Story::new().outside(What::Planted, word, from, from + 1).outside(What::Unplanted, Word::Unharmed, to - 1, to)
    };
    planted(Word::AtPath, 5, 12).refused(1, Word::NotASocket, 10, 20).is_clean();
    planted(Word::AtPath, 5, 9).refused(1, Word::NotASocket, 10, 20).breaks(&[Rule::SpuriousError]);
    planted(Word::AtLock, 5, 12).refused(1, Word::NotASocket, 10, 20).breaks(&[Rule::SpuriousError]);
    planted(Word::AtLock, 5, 12).refused(1, Word::Locked, 10, 20).is_clean();
    Story::new().deleted(12, 13).refused(1, Word::Moved, 10, 20).is_clean();
}

#[test]
fn a_path_is_lost_only_to_a_deletion_and_never_unnoticed() {
    let lost = |story: Story| story.finds(1, Word::Close, Word::Gone, 50, 60);
    lost(Story::new().owns(1, 10, 20)).breaks(&[Rule::PathLost]);
    lost(Story::new().owns(1, 10, 20).deleted(30, 31)).is_clean();
    lost(Story::new().owns(1, 10, 20).deleted(5, 6)).breaks(&[Rule::PathLost]);
    Story::new().owns(1, 10, 20).deleted(30, 31).ends(1, Word::Close, 50, 60).breaks(&[Rule::TheftNotNoticed]);
    // Perhaps before its birth, perhaps after its end.
    Story::new().owns(1, 10, 20).deleted(15, 25).ends(1, Word::Close, 50, 60).is_clean();
    Story::new().owns(1, 10, 20).deleted(45, 55).ends(1, Word::Close, 50, 60).is_clean();
    Story::new().owns(1, 10, 20).finds(1, Word::Close, Word::Locked, 50, 60).breaks(&[Rule::SpuriousCloseError]);
}

#[test]
fn a_worker_that_was_killed_by_somebody_else_is_told_from_one_that_killed_itself() {
    let dead = |story: Story, word| story.tell(What::Reaped, word, 1, [50, 0]);
    let found = |story: Story| killed_from_outside(&story.0);
    let one = Story::new().owns(1, 10, 20);
    assert_eq!(found(dead(one.clone(), Word::Killed)), Some(1));
    assert_eq!(found(dead(one.clone().tell(What::Dying, Word::None, 2, [30, 0]), Word::Killed)), Some(1));
    assert_eq!(found(dead(one.clone().tell(What::Dying, Word::None, 1, [30, 0]), Word::Killed)), None);
    assert_eq!(found(dead(one.clone(), Word::None)), None);
    assert_eq!(found(one.kills(1, 30, 40)), None);
}

#[test]
fn foreign_files_stay_and_nobody_owns_their_place() {
    let planted = Story::new().outside(What::Planted, Word::AtPath, 10, 11);
    planted.clone().outside(What::Unplanted, Word::Harmed, 50, 51).breaks(&[Rule::ForeignFileHarmed]);
    let unharmed = |story: Story| story.outside(What::Unplanted, Word::Unharmed, 50, 51);
    unharmed(planted.clone()).is_clean();
    unharmed(planted).owns(1, 20, 30).ends(1, Word::Close, 60, 70).breaks(&[Rule::TwoOwners]);
}
