//! The race: many servers start at once at one path, by one strategy after the other, and what comes of it is counted.

mod herd;
mod plot;
mod scenarios;
mod stampede;
mod table;
mod worker;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::file_system;
use crate::recipe::Strategy;

pub use herd::Answer;
pub use plot::svg;
pub use scenarios::Scenario;
pub use stampede::{Stampede, Started};
pub use table::table;
pub use worker::Starter;
pub(crate) use worker::work;

/// What a race is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which, in this order.
    pub strategies: Vec<Strategy>,
    /// How many processes start at once: at least 2.
    pub processes: usize,
    /// How often each scenario is played.
    pub rounds: usize,
    /// Who is killed when follows from it; not what the scheduler does.
    pub seed: u64,
    /// Where: a directory of its own is made there, and removed.
    pub dir: PathBuf,
    /// A start that has not answered by then is stuck.
    pub patience: Duration,
}

/// What a strategy did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Which.
    pub strategy: &'static str,
    /// How often a server was started, all scenarios together.
    pub starts: u64,
    /// How many of the starts took the path for theirs.
    pub owners: u64,
    /// Servers that run and take the path for theirs, though it does not lead to them.
    pub servers_orphaned: u64,
    /// Somebody's files that stood at the path.
    pub foreign_files_deleted: u64,
    /// Clients that waited in a server's queue when it was told to end.
    pub clients: u64,
    /// Those of them that were never served.
    pub clients_lost: u64,
    /// Starts that failed by something else than that the path was in use, without a reason.
    pub spurious_errors: u64,
    /// Starts that did not answer in time, or gave up on a lock that no living server needed.
    pub stuck_starts: u64,
    /// From the call to its answer, in microseconds.
    pub answer_median_us: u64,
    /// The longest of those that answered.
    pub answer_longest_us: u64,
}

/// All of a race.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many processes.
    pub processes: usize,
    /// How many rounds.
    pub rounds: usize,
    /// The seed.
    pub seed: u64,
    /// The kind of file system it was run on.
    pub file_system: String,
    /// A strategy each.
    pub outcomes: Vec<Outcome>,
}

/// Runs it. The progress is shown on standard error, if that is a terminal.
///
/// # Errors
///
/// Those of the file system and of starting processes.
pub fn run(options: &Options) -> io::Result<Report> {
    let dir = tempfile::Builder::new().prefix("unix-ss-race.").tempdir_in(&options.dir)?;
    let steps = options.strategies.len() * options.rounds * Scenario::ALL.len();
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {percent:>3} %  {msg}");
    let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut outcomes = Vec::new();
    for &strategy in &options.strategies {
        let own = dir.path().join(strategy.name());
        std::fs::create_dir(&own)?;
        outcomes.push(scenarios::play(options, strategy, &own, &|scenario| {
            bar.set_message(format!("{strategy}: {}", scenario.name()));
            bar.inc(1);
        })?);
    }
    bar.finish_and_clear();
    Ok(Report {
        processes: options.processes,
        rounds: options.rounds,
        seed: options.seed,
        file_system: file_system(dir.path())?,
        outcomes,
    })
}
