//! The command line of `race`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::duration;

pub(super) const ABOUT: &str = "\
Starts many servers at one path, by one strategy after the other, and counts what they do to each other.

A round is seven scenarios: all start in turn; at once; over a dead server's socket; beside a server with a full \
backlog; at somebody's file; while a third of them is killed; and, ten times, while the old server ends with clients in its queue. \
The processes are real, the directory is a new one that is removed, and nothing else is touched.

The strategies:
  naive         unlink whatever is there, bind
  probe         connect; if that fails in any way, unlink and bind
  git           a lock file that exists or not; any error of connect is death; ends without a lock
  flock-unlink  careful under a flock, whose file is unlinked at the end without a second look
  ours          as `unix-ss serve`";

pub(super) const EXAMPLES: &str = "\
Examples:
  unix-ss race
  unix-ss race --strategy probe,ours --processes 64 --rounds 50 --seed 7
  unix-ss race --dir /dev/shm --plot race.svg --json > race.json

The columns:
  servers orphaned       run and take the path for theirs, but no client can reach them
  foreign files deleted  a file with data stood at the path
  clients lost           waited in the queue of a server that was told to end, and were not served
  spurious errors        a start failed, and not because the path was in use
  stuck starts           gave no answer within --patience, or gave up on a lock that nobody alive
                         needed
  time to answer         of a start, be it that it serves or that it may not: the median, and the
                         longest

With --json, one object a line, a strategy each: strategy, starts, owners, servers_orphaned,
foreign_files_deleted, clients, clients_lost, spurious_errors, stuck_starts, answer_median_us,
answer_longest_us, processes, rounds, seed, file_system.
";

#[derive(Debug, Args)]
pub(crate) struct Race {
    /// Which, separated by commas or given again
    #[arg(long, value_name = "STRATEGY", value_enum, value_delimiter = ',', default_value = "all")]
    pub(crate) strategy: Vec<RaceStrategy>,

    /// How many servers start at once, from 2 to 512
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(2..=512))]
    pub(crate) processes: u16,

    /// How often the scenarios are played, from 1 to 10000
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) rounds: u16,

    /// When processes are killed follows from it [default: random, and printed]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// In which directory, and so on which file system [default: that for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// When a start without an answer counts as stuck: a whole number and us, ms, s, m or h
    #[arg(long, value_name = "D", default_value = "500ms", value_parser = duration)]
    pub(crate) patience: Duration,

    /// Draw the result as an SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// One JSON object a line instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RaceStrategy {
    Naive,
    Probe,
    Git,
    FlockUnlink,
    Ours,
    All,
}

impl RaceStrategy {
    pub(crate) fn strategy(self) -> Option<unix_ss_race::Strategy> {
        use unix_ss_race::Strategy;
        Some(match self {
            RaceStrategy::Naive => Strategy::Naive,
            RaceStrategy::Probe => Strategy::Probe,
            RaceStrategy::Git => Strategy::Git,
            RaceStrategy::FlockUnlink => Strategy::FlockUnlink,
            RaceStrategy::Ours => Strategy::Ours,
            RaceStrategy::All => return None,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct RaceWorker {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}
