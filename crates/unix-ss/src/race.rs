//! `race`: many servers start at once by several strategies, and what each does to the others.

use std::path::Path;
use std::time::Duration;

use unix_ss_race::Strategy;
use unix_ss_race::race::{self, Options, Report};

use crate::cli::{self, RaceStrategy};
use crate::exit;
use crate::message::{failed, reason};
use crate::output::print;

/// Runs the race and prints what came of it; the exit status.
pub(crate) fn run(args: &cli::Race) -> u8 {
    let seed = args.seed.unwrap_or_else(random_seed);
    let options = Options {
        strategies: strategies(&args.strategy),
        processes: args.processes.into(),
        rounds: args.rounds.into(),
        seed,
        dir: args.dir.clone().unwrap_or_else(std::env::temp_dir),
        patience: if args.patience.is_zero() { Duration::from_millis(1) } else { args.patience },
    };
    let report = match race::run(&options) {
        Ok(report) => report,
        Err(error) => {
            return failed(format_args!("cannot race in {}: {}", options.dir.display(), reason(&error)));
        }
    };
    let printed = print(&if args.json { json(&report) } else { text(&report) });
    let printed = printed.map_or_else(|status| status, |_| exit::DONE);
    let drawn = args.plot.as_deref().map_or(exit::DONE, |file| draw(&report, file));
    printed.max(drawn)
}

/// The best-known trap first; `all`, or none said: all.
fn strategies(chosen: &[RaceStrategy]) -> Vec<Strategy> {
    if chosen.is_empty() || chosen.contains(&RaceStrategy::All) {
        return Strategy::ALL.to_vec();
    }
    let is_chosen = |strategy: &Strategy| chosen.iter().any(|chosen| chosen.strategy() == Some(*strategy));
    Strategy::ALL.into_iter().filter(is_chosen).collect()
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // A fresh RandomState has fresh random keys. Short, to be typed again.
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000
}

fn text(report: &Report) -> String {
    format!(
        "{}\n{} processes, {} rounds of {} scenarios, on {}, seed {}\n",
        race::table(report),
        report.processes,
        report.rounds,
        race::Scenario::ALL.len(),
        report.file_system,
        report.seed
    )
}

/// One object a line, each a strategy.
fn json(report: &Report) -> String {
    let mut lines = String::new();
    for outcome in &report.outcomes {
        // Only maps with keys that are no strings, and failing writers, make this fail.
        let mut value = serde_json::to_value(outcome).unwrap_or_default();
        value["processes"] = report.processes.into();
        value["rounds"] = report.rounds.into();
        value["seed"] = report.seed.into();
        value["file_system"] = report.file_system.clone().into();
        lines.push_str(&format!("{value}\n"));
    }
    lines
}

fn draw(report: &Report, file: &Path) -> u8 {
    match std::fs::write(file, race::svg(report)) {
        Ok(()) => exit::DONE,
        Err(error) => failed(format_args!("cannot write {}: {}", file.display(), reason(&error))),
    }
}
