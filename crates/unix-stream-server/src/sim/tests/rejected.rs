//! A check that finds nothing proves nothing: what is known to be wrong must be found, by the harm that it does.
//!
//! The shortest schedule that does it is found breadth first, and its length recorded.

use super::super::rejected::Rejected;
use super::*;

/// The design, the rest of its company, where it begins, and what it breaks after how many steps.
fn is_caught(design: Rejected, company: &[Party], beginning: &str, bounds: Bounds, promise: &str, steps: usize) {
    let parties = [&[Party::Rejected(design)], company].concat();
    let mut automaton = Automaton::default();
    let found = Explorer::new(scenario(&parties, beginning).within(bounds), &mut automaton)
        .shortest()
        .expect_err("it went unnoticed");
    println!("{design:?}, {} steps: {found}", found.steps.len());
    assert!(found.fault.contains(promise), "{found}");
    assert_eq!(found.steps.len(), steps, "{found}");
    // The search that leaves out what makes no difference sees it as well.
    let again = Explorer::new(scenario(&parties, beginning).within(bounds), &mut automaton).explore();
    assert!(again.is_err(), "the reduced search does not see it");
}

const FAILURE: Bounds = Bounds { failures: 1, ..NONE };

#[test]
fn p2_any_connect_error_as_death_robs_a_live_server() {
    is_caught(Rejected::AnyErrorIsDeath, &[Party::Create], "nothing", FAILURE, "P2", 13);
}

#[test]
fn p2_unlinking_the_flock_file_of_a_lifetime_makes_two_servers() {
    let others = [Party::Rejected(Rejected::UnlinksFlockFile); 2];
    is_caught(Rejected::UnlinksFlockFile, &others, "nothing", NONE, "P2", 22);
}

#[test]
fn p2_without_a_second_look_at_the_lock_there_are_two_holders() {
    let others = [Party::Rejected(Rejected::NoSecondLook); 2];
    is_caught(Rejected::NoSecondLook, &others, "dead", NONE, "P2", 28);
}

#[test]
fn p5_a_lock_that_is_judged_by_its_name_and_then_opened_is_gits() {
    is_caught(Rejected::JudgesThenOpens, &[Party::Create, Party::Git], "lock", NONE, "P5", 28);
}

#[test]
fn p2_clearing_without_the_question_of_identity_robs_a_stranger() {
    is_caught(Rejected::ClearsWithoutIdentity, &[Party::Rebinder], "dead", NONE, "P2", 8);
}

#[test]
fn p2_closing_without_the_lock_removes_the_successors_socket() {
    is_caught(Rejected::ClosesWithoutLock, &[Party::Create], "nothing", NONE, "P2", 31);
}

#[test]
fn p2_giving_the_lock_back_before_the_socket_is_gone_removes_the_successors() {
    is_caught(Rejected::UnlocksTooEarly, &[Party::Create], "nothing", NONE, "P2", 36);
}

#[test]
fn p2_looking_after_the_listener_is_closed_takes_a_reused_inode_for_ours() {
    is_caught(Rejected::LooksAfterClosing, &[Party::Create], "nothing", NONE, "P2", 38);
}

#[test]
fn p2_clearing_before_the_lock_is_had_robs_whoever_came_between() {
    is_caught(Rejected::ClearsBeforeLock, &[Party::Create], "dead", NONE, "P2", 18);
}

#[test]
fn p7_shutdown_alone_leaves_clients_asleep_while_a_copy_is_open() {
    let others = [Party::KeepsCopy, Party::Client, Party::Client, Party::Client];
    is_caught(Rejected::ShutsOnly, &others, "nothing", NONE, "P7", 28);
}

#[test]
fn p7_a_successor_that_does_not_knock_leaves_its_predecessor_asleep() {
    is_caught(Rejected::DoesNotKnock, &[Party::Replaceable], "nothing", NONE, "P7", 26);
}

#[test]
fn p7_a_server_that_ends_as_soon_as_it_is_replaced_turns_clients_away() {
    is_caught(Rejected::EndsWithoutGrace, &[Party::TakeOver, Party::Client], "nothing", NONE, "P7", 39);
}

#[test]
fn p7_a_server_that_looks_for_its_successor_misses_one_that_has_gone() {
    is_caught(Rejected::LooksForASuccessor, &[Party::TakeOverDrain], "nothing", NONE, "P7", 59);
}

#[test]
fn p2_taking_over_without_being_allowed_to_orphans_a_live_server() {
    is_caught(Rejected::AsksNobody, &[Party::Create], "nothing", NONE, "P2", 18);
}

#[test]
fn p2_healing_by_a_rename_without_the_lock_robs_whoever_came_between() {
    is_caught(Rejected::HealsByRename, &[Party::Create], "nothing", NONE, "P2", 22);
}

#[test]
fn p7_healing_without_the_old_queue_resets_who_is_in_it() {
    is_caught(Rejected::HealsAndForgets, &[Party::Client], "nothing", NONE, "P7", 34);
}
