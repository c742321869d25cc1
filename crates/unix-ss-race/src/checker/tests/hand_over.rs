//! Take-overs: who owns the path then, and who must not be turned away.

use super::{Rule, Story, What, Word};

const GRACE: u64 = 20_000_000;

/// One, which may be replaced, and is: the second, from 30 to 40. Both end, the first because of that.
fn replaced() -> Story {
    let first = Story::new().yields(1, Word::Replaceable, 10, 20);
    let second = first.yields(2, Word::Both, 30, 40);
    second.finds(1, Word::HandedOver, Word::Replaced, 45, 60).ends(2, Word::Drain, 80, 90)
}

#[test]
fn a_take_over_ends_the_ownership_of_one_who_allows_it_and_of_nobody_else() {
    replaced().is_clean();
    let robbed = Story::new().owns(1, 10, 20).yields(2, Word::Both, 30, 40);
    let robbed = robbed.finds(1, Word::Close, Word::Replaced, 50, 60).ends(2, Word::Drain, 80, 90);
    robbed.breaks(&[Rule::TwoOwners, Rule::PathLost]);
    // One who did not ask to take over cannot have it either.
    let second = Story::new().yields(1, Word::Replaceable, 10, 20).owns(2, 30, 40);
    second.finds(1, Word::Close, Word::Replaced, 50, 60).breaks(&[Rule::TwoOwners, Rule::PathLost]);
    // One who was refused has taken nothing.
    let refused = Story::new().yields(1, Word::Replaceable, 10, 20).tell(What::Try, Word::Both, 2, [29, 0]);
    let refused = refused.tell(What::Refused, Word::InUse, 2, [30, 40]);
    refused.clone().ends(1, Word::Drain, 50, 60).is_clean();
    refused.finds(1, Word::Drain, Word::Replaced, 50, 60).breaks(&[Rule::PathLost]);
    // One who was killed meanwhile may have.
    let killed = Story::new().yields(1, Word::Replaceable, 10, 20).tell(What::Try, Word::Both, 2, [29, 0]);
    killed.kills(2, 35, 38).finds(1, Word::HandedOver, Word::Replaced, 50, 60).is_clean();
}

#[test]
fn whoever_was_replaced_answers_nobody_who_comes_later() {
    replaced().client(Word::Answered, 1, 39, 50).is_clean();
    replaced().client(Word::Answered, 1, 41, 50).breaks(&[Rule::AnswerByANonOwner, Rule::AnswerByANonOwner]);
    replaced().client(Word::Answered, 2, 29, 50).is_clean();
}

#[test]
fn nobody_is_turned_away_in_a_row_of_hand_overs() {
    for word in [Word::Absent, Word::Refused] {
        replaced().client(word, 0, 25, 50).breaks(&[Rule::ClientTurnedAway]);
        replaced().client(word, 0, 35, 50).breaks(&[Rule::ClientTurnedAway]);
        // The last of them ends.
        replaced().client(word, 0, 25, 80).is_clean();
        // The first may not have been there yet.
        replaced().client(word, 0, 20, 50).is_clean();
    }
    // Another who may have been in between was killed, or ended without a grace time, or has come from outside.
    let other = || replaced().tell(What::Try, Word::Both, 4, [29, 0]);
    other().kills(4, 35, 38).client(Word::Refused, 0, 25, 50).is_clean();
    other().kills(4, 51, 55).client(Word::Refused, 0, 25, 50).breaks(&[Rule::ClientTurnedAway]);
    let own = other().tell(What::Own, Word::None, 4, [30, 41]);
    own.clone().finds(4, Word::Close, Word::Replaced, 42, 44).client(Word::Refused, 0, 25, 50).is_clean();
    let handed_over = own.finds(4, Word::HandedOver, Word::Replaced, 42, 44);
    handed_over.client(Word::Refused, 0, 25, 50).breaks(&[Rule::ClientTurnedAway]);
    let deleted = Story::new().yields(1, Word::Replaceable, 10, 20).yields(2, Word::Both, 30, 40).deleted(41, 42);
    let deleted = deleted.finds(1, Word::HandedOver, Word::Replaced, 45, 60);
    deleted.client(Word::Absent, 0, 25, 50).is_clean();
}

#[test]
fn who_is_on_the_way_for_longer_than_the_grace_time_may_be_refused_but_never_meets_nothing() {
    let long = |word| {
        let second = Story::new().yields(1, Word::Replaceable, 10, 20).yields(2, Word::Both, 30, 40);
        let ended = second.finds(1, Word::HandedOver, Word::Replaced, 45, GRACE + 50);
        ended.client(word, 0, 25, GRACE + 25)
    };
    long(Word::Refused).is_clean();
    long(Word::Absent).breaks(&[Rule::ClientTurnedAway]);
}

#[test]
fn who_was_replaced_serves_whoever_got_in() {
    replaced().client(Word::Reset, 1, 29, 42).breaks(&[Rule::ClientLost]);
    let closed = Story::new().yields(1, Word::Replaceable, 10, 20).yields(2, Word::Both, 30, 40);
    closed.finds(1, Word::Close, Word::Replaced, 41, 60).client(Word::Reset, 1, 29, 42).is_clean();
}

#[test]
fn who_was_replaced_is_told_unless_the_successor_was_killed_before_it_could() {
    let slept = |story: Story, until| story.tell(What::Slept, Word::None, 1, [until, 0]);
    let story = || Story::new().yields(1, Word::Replaceable, 10, 20).yields(2, Word::Both, 30, 40);
    slept(story(), 41).breaks(&[Rule::NotTold]);
    slept(story(), 40).is_clean();
    slept(story().deleted(35, 36), 41).is_clean();
    let killed = || Story::new().yields(1, Word::Replaceable, 10, 20).tell(What::Try, Word::Both, 2, [29, 0]);
    slept(killed().kills(2, 35, 38), 60).is_clean();
    // It may have been this one that took over.
    slept(story().tell(What::Try, Word::Both, 4, [29, 0]).kills(4, 35, 38), 60).is_clean();
    // It cannot have been this one, which began when the second had the path.
    slept(story().tell(What::Try, Word::Both, 4, [41, 0]).kills(4, 45, 48), 60).breaks(&[Rule::NotTold]);
}

#[test]
fn who_cannot_heal_needs_a_reason() {
    let unhealed = |story: Story, word| story.tell(What::Unhealed, word, 1, [20, 70]);
    unhealed(Story::new(), Word::Moved).breaks(&[Rule::SpuriousError]);
    unhealed(Story::new().deleted(30, 31), Word::Moved).is_clean();
    unhealed(Story::new().yields(2, Word::Both, 30, 40).ends(2, Word::Drain, 50, 60), Word::Moved).is_clean();
    unhealed(Story::new().owns(2, 30, 40).ends(2, Word::Drain, 50, 60), Word::Moved).breaks(&[Rule::SpuriousError]);
    unhealed(Story::new().deleted(30, 31), Word::StillOurs).breaks(&[Rule::SpuriousError]);
}

#[test]
fn who_waits_for_its_predecessor_in_vain_is_told_of() {
    let story = || Story::new().yields(1, Word::Both, 10, 20);
    story().tell(What::Succeeded, Word::None, 1, [21, 22]).is_clean();
    story().tell(What::Succeeded, Word::InUse, 1, [21, 22]).breaks(&[Rule::SpuriousError]);
}

#[test]
fn a_cleaner_never_finds_a_dead_socket_or_nothing_where_somebody_lives() {
    for word in [Word::Removed, Word::Absent] {
        let cleaned = |story: Story, from, to| story.tell(What::Cleaned, word, 2, [from, to]);
        let one = || Story::new().owns(1, 10, 20).ends(1, Word::Drain, 50, 60);
        cleaned(one(), 21, 49).breaks(&[Rule::LiveTakenForDead]);
        cleaned(one(), 20, 49).is_clean();
        cleaned(one(), 21, 50).is_clean();
        cleaned(replaced(), 25, 50).breaks(&[Rule::LiveTakenForDead]);
    }
    let refused = |story: Story, word| story.tell(What::Cleaned, word, 2, [30, 31]);
    refused(Story::new().owns(1, 10, 20), Word::InUse).is_clean();
    refused(Story::new(), Word::InUse).breaks(&[Rule::InUseByNobody]);
    refused(Story::new(), Word::Locked).breaks(&[Rule::SpuriousError]);
}
