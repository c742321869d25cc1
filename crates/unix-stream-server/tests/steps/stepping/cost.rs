//! What each operation costs: its system calls, in their order, are those that DESIGN.md lists. One that is added by
//! accident fails here; one that is added on purpose is added there.

use std::fs;
use std::path::Path;

use stepper::{Side, name};

use super::operations::{Before, OPERATIONS, Operation};
use super::scene::Scene;
use super::tell;
use crate::support::child::whole_process;
use crate::this_test;

/// With this in the environment the list is written anew.
const BLESS: &str = "UNIX_STREAM_SERVER_BLESS";

/// The list stands between these lines.
const BEGIN: &str = "## Cost in system calls\n";
const FENCE: &str = "```";

#[test]
fn the_system_calls_of_each_operation_are_those_that_the_design_lists() {
    let design = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../DESIGN.md");
    if !design.exists() {
        return tell("no DESIGN.md here: the crate stands alone"); // as it comes from a registry
    }
    whole_process(&this_test!(), || {
        let text = fs::read_to_string(&design).expect("DESIGN.md");
        let (head, rest) = text.split_once(BEGIN).expect("a section on the cost");
        let (introduction, rest) = rest.split_once(FENCE).expect("a list");
        let (language, rest) = rest.split_once('\n').expect("lines");
        let (listed, tail) = rest.split_once(FENCE).expect("an end of the list");
        let traced: String = OPERATIONS.iter().filter(|operation| is_steady(operation)).map(line).collect();
        if std::env::var_os(BLESS).is_some() {
            let all = [head, BEGIN, introduction, FENCE, language, "\n", &traced, FENCE, tail].concat();
            fs::write(&design, all).expect("DESIGN.md");
        } else {
            for (listed, traced) in listed.lines().zip(traced.lines()) {
                assert_eq!(traced, listed, "with {BLESS}=1 in the environment DESIGN.md is written anew");
            }
            assert_eq!(traced.lines().count(), listed.lines().count(), "each operation has a line");
        }
        tell(&format!("cost: {} operations", traced.lines().count()));
    });
}

/// Its calls are the same each time, from its beginning on.
fn is_steady(operation: &Operation) -> bool {
    !operation.varies && operation.before != Before::LiveLate
}

/// `create: 15: newfstatat, openat, ...`
fn line(operation: &Operation) -> String {
    let mut scene = Scene::new(operation);
    let mut actor = scene.actor();
    let mut calls = Vec::new();
    while let Some(stop) = actor.victim.step() {
        if stop.side == Side::Entry {
            calls.extend(told(&name(stop.number)));
        }
    }
    without_debug_assertions(&mut calls);
    actor.report();
    actor.end();
    scene.recover(&operation.name);
    format!("{}: {}: {}\n", operation.name, calls.len(), grouped(&calls).join(", "))
}

/// By the names of section 2 of the manual. Not the allocator's: those depend on what was freed before.
fn told(name: &str) -> Option<String> {
    let name = match name {
        "brk" | "mmap" | "munmap" | "mremap" | "mprotect" => return None,
        "open" => "openat", // which of the two is for the C library's port to say
        "newfstatat" => "fstatat",
        "renameat2" => "renameat",
        name => name,
    };
    Some(name.to_owned())
}

/// With debug assertions std asks of each descriptor whether it is open (fcntl) before it closes it.
fn without_debug_assertions(calls: &mut Vec<String>) {
    let is_question =
        |place: usize| calls[place] == "fcntl" && calls.get(place + 1).is_some_and(|next| next == "close");
    let questions: Vec<bool> = (0..calls.len()).map(is_question).collect();
    let mut questions = questions.into_iter();
    calls.retain(|_| questions.next() == Some(false));
}

/// `listen, listen` as `listen 2x`.
fn grouped(calls: &[String]) -> Vec<String> {
    let runs = calls.chunk_by(|one, next| one == next);
    runs.map(|run| if run.len() == 1 { run[0].clone() } else { format!("{} {}x", run[0], run.len()) }).collect()
}
