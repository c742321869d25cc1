//! `race` counts what each strategy does to the others: what the library never does, and the others must.
//!
//! Only what is certain is asserted. In the scenario "in turn" a naive server takes the path from the one before, at
//! somebody's file it deletes that, and at a hand-over it drops its queue; a git-like one hangs beside a busy server.

mod common;

use std::process::Stdio;

use common::{Place, run, status_of, text, unix_ss};
use serde_json::Value;

/// For what is not to be stuck however slow the machine is.
const PATIENT: [&str; 2] = ["--patience", "60s"];

#[track_caller]
fn race(place: &Place, strategies: &str, options: &[&str]) -> Vec<Value> {
    let dir = place.name("");
    let output =
        run(unix_ss(&["race", "--json", "--strategy", strategies, "--dir", &dir, "--seed", "1"]).args(options));
    assert_eq!(status_of(&output), 0, "{}", text(&output.stderr));
    assert!(std::fs::read_dir(&dir).expect("a directory").next().is_none(), "something is left behind");
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn number(outcome: &Value, key: &str) -> u64 {
    outcome[key].as_u64().unwrap_or_else(|| panic!("{key} in {outcome}"))
}

#[test]
fn the_library_harms_nobody() {
    let options = [&["--processes", "12", "--rounds", "3"], &PATIENT[..]].concat();
    let outcomes = race(&Place::new(), "ours", &options);
    assert_eq!(outcomes.len(), 1);
    let ours = &outcomes[0];
    for harm in ["servers_orphaned", "foreign_files_deleted", "clients_lost", "spurious_errors", "stuck_starts"] {
        assert_eq!(number(ours, harm), 0, "{harm}: {ours}");
    }
    // Something has happened: seven scenarios, of which one starts all twice and one is ten hand-overs.
    assert_eq!(number(ours, "starts"), 3 * (12 * 7 + 10 * 12));
    assert_eq!(number(ours, "clients"), 3 * 10 * 4);
    // In turn, at once, over a dead one, after the kills, and before each hand-over somebody gets the path.
    assert!(number(ours, "owners") >= 3 * 14, "{ours}");
    assert!(number(ours, "answer_longest_us") >= number(ours, "answer_median_us"), "{ours}");
    assert_eq!(ours["strategy"], "ours");
    assert_eq!((number(ours, "processes"), number(ours, "rounds"), number(ours, "seed")), (12, 3, 1));
    assert!(ours["file_system"].is_string());
}

#[test]
fn naive_servers_orphan_each_other_delete_files_and_drop_their_clients() {
    let options = [&["--processes", "6", "--rounds", "2"], &PATIENT[..]].concat();
    let naive = &race(&Place::new(), "naive", &options)[0];
    // In turn each but the last is robbed.
    assert!(number(naive, "servers_orphaned") >= 2 * 5, "{naive}");
    assert_eq!(number(naive, "foreign_files_deleted"), 2, "{naive}");
    assert_eq!(number(naive, "clients"), 2 * 10 * 4, "{naive}");
    assert_eq!(number(naive, "clients_lost"), 2 * 10 * 4, "{naive}");
}

#[test]
fn git_like_servers_hang_beside_a_busy_one_and_probing_ones_rob_it() {
    let outcomes = race(&Place::new(), "git,probe", &["--processes", "4", "--rounds", "1"]);
    let strategies: Vec<_> = outcomes.iter().map(|outcome| outcome["strategy"].as_str().expect("text")).collect();
    assert_eq!(strategies, ["probe", "git"]);
    let (probe, git) = (&outcomes[0], &outcomes[1]);
    // One hangs in connect with the lock held; the others give up on it, or are not heard of either.
    assert!(number(git, "stuck_starts") >= 4, "{git}");
    assert_eq!(number(git, "foreign_files_deleted"), 1, "{git}");
    assert!(number(probe, "servers_orphaned") >= 1, "{probe}");
    assert_eq!(number(probe, "foreign_files_deleted"), 1, "{probe}");
}

#[test]
fn the_table_has_a_line_each_strategy_and_the_picture_a_bar() {
    let place = Place::new();
    let picture = place.path("race.svg");
    let args = ["race", "--processes", "3", "--rounds", "1", "--seed", "5", "--dir", &place.name(""), "--plot"];
    let output = run(unix_ss(&args).arg(&picture));
    assert_eq!(status_of(&output), 0, "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "a progress bar is for terminals: {}", text(&output.stderr));
    let table = text(&output.stdout);
    let svg = std::fs::read_to_string(&picture).expect("a picture");
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && svg.ends_with("</svg>\n"), "{svg}");
    for strategy in ["naive", "probe", "git", "flock-unlink", "ours"] {
        assert!(table.lines().any(|line| line.starts_with(&format!("{strategy} "))), "{table}");
        assert_eq!(svg.matches(&format!(">{strategy}</text>")).count(), 6, "{strategy}");
    }
    assert!(table.starts_with(" ") && table.contains("time to answer"), "{table}");
    assert!(table.ends_with("seed 5\n") && table.contains("3 processes, 1 rounds of 7 scenarios, on "), "{table}");
    assert_eq!(svg.matches('<').count(), svg.matches('>').count());
}

#[test]
fn wrong_arguments_end_with_2_and_a_place_that_is_none_with_1() {
    for wrong in [
        &["--processes", "1"][..],
        &["--processes", "513"],
        &["--rounds", "0"],
        &["--strategy", "best"],
        &["--patience", "5"],
        &["--seed", "-1"],
        &["a"],
    ] {
        let output = run(unix_ss(&["race"]).args(wrong));
        assert_eq!(status_of(&output), 2, "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
    let place = Place::new();
    let output = run(&mut unix_ss(&["race", "--rounds", "1", "--dir", &place.name("missing")]));
    assert_eq!(status_of(&output), 1);
    let told = text(&output.stderr);
    assert!(told.starts_with("unix-ss: cannot race in ") && told.contains("missing: no such file"), "{told}");
    let args = ["race", "--rounds", "1", "--processes", "2", "--strategy", "ours", "--dir", &place.name(""), "--plot"];
    let output = run(unix_ss(&args).arg(place.path("missing/race.svg")));
    assert_eq!(status_of(&output), 1, "the table was printed, the picture was not drawn");
    assert!(!output.stdout.is_empty());
    assert!(text(&output.stderr).contains("race.svg: no such file"), "{}", text(&output.stderr));
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let place = Place::new();
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    drop(reader);
    let dir = place.name("");
    let mut command = unix_ss(&["race", "--rounds", "1", "--processes", "2", "--strategy", "ours", "--dir", &dir]);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let output = output.expect("it runs");
    assert_eq!((status_of(&output), text(&output.stderr)), (0, String::new()));
}

#[test]
fn the_help_explains_strategies_and_columns() {
    let output = run(&mut unix_ss(&["help", "race"]));
    assert_eq!(status_of(&output), 0);
    let help = text(&output.stdout);
    for word in ["flock-unlink", "servers orphaned", "--plot", "--patience", "Examples:", "Exit statuses:"] {
        assert!(help.contains(word), "{word} in\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
    assert!(!help.contains("__race-worker"));
    let overview = run(&mut unix_ss(&["--help"]));
    assert!(text(&overview.stdout).contains("  race ") && !text(&overview.stdout).contains("__race-worker"));
}
