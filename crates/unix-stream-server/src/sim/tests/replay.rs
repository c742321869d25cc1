//! A schedule that was found comes with a string by which it is told again, step by step.

use super::super::rejected::Rejected;
use super::super::schedule::replay;
use super::*;

#[test]
fn a_schedule_is_replayed_from_its_string() {
    if let Ok(text) = std::env::var("UNIX_SS_SIM_REPLAY") {
        let (steps, fault) = replay(&text).expect("a replay string");
        println!("{steps}{}", fault.unwrap_or_else(|| "every promise holds".to_owned()));
        return;
    }
    let parties = [Party::Rejected(Rejected::ClearsBeforeLock), Party::Create];
    let mut automaton = Automaton::default();
    let found = Explorer::new(scenario(&parties, "dead").within(CRASH), &mut automaton)
        .explore()
        .expect_err("a design that is known to be wrong");
    let (steps, fault) = replay(&found.replay).expect("its replay string");
    assert_eq!(fault.as_ref(), Some(&found.fault));
    assert_eq!(steps.lines().count(), found.steps.len());
    assert!(found.to_string().contains(&steps), "{steps}");
    assert!(replay("Create@nothing#0.0x").is_err() && replay("Nobody@nothing#").is_err());
}
