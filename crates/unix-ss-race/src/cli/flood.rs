//! `unix-ss-torture flood`.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use unix_ss_race::flood::{self, GRACE, Options, Outcome};

use super::{duration, print};

/// Clients connect without pause while the server is replaced again and again: nobody may be lost
///
/// Each client is a process that connects, asks, reads the answer, and begins anew; each server is one that takes the
/// path over from the one before, serves until it is replaced in turn, and ends. Exit status 0: everybody was answered,
/// none was reset, refused or met an absent path, and nothing is left; 1 otherwise. With a grace time below the
/// library's 100 ms, those who are refused are counted and not judged: that is what the grace is for.
#[derive(Debug, Args)]
pub(crate) struct Flood {
    /// For how long, at least, in whole seconds
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,

    /// How many client processes
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..=128))]
    clients: u8,

    /// How often the server is replaced, at least
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    take_overs: u64,

    /// The servers' backlog [default: the library's, which is the kernel's largest]
    #[arg(long, value_name = "N")]
    backlog: Option<u32>,

    /// How long a server that has been replaced goes on accepting: a whole number and ms or s, or 0
    #[arg(long, value_name = "D", default_value = "100ms", value_parser = duration)]
    grace: Duration,

    /// With a life lock: a successor serves only when its predecessor has drained
    #[arg(long)]
    life: bool,

    /// Where to work, repeatable [default: the directory for temporary files]
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,

    /// One JSON object a directory on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Flood) -> io::Result<bool> {
    let mut options = Options {
        time: Duration::from_secs(arguments.seconds),
        clients: arguments.clients.into(),
        take_overs: arguments.take_overs,
        backlog: arguments.backlog,
        grace: arguments.grace,
        life: arguments.life,
        ..Options::default()
    };
    if !arguments.dirs.is_empty() {
        options.dirs.clone_from(&arguments.dirs);
    }
    let mut good = true;
    for outcome in flood::run(&options)? {
        good &= outcome.is_good(&options);
        print(&if arguments.json { serde_json::to_string(&outcome)? + "\n" } else { text(&options, &outcome) })?;
    }
    Ok(good)
}

fn text(options: &Options, outcome: &Outcome) -> String {
    let Outcome { requests, answered, reset, absent, refused, unanswered, failed, .. } = outcome;
    let time = |microseconds| format!("{:?}", Duration::from_micros(microseconds));
    let verdict = match (outcome.is_good(options), options.grace < GRACE) {
        (true, false) => "nobody lost",
        (true, true) => "nobody lost, refusals not judged",
        (false, _) => "CLIENTS LOST, or something left",
    };
    let backlog = options.backlog.map_or_else(|| "default".to_owned(), |backlog| backlog.to_string());
    let mut text = format!(
        "{}, {} clients, backlog {backlog}, grace {:?}{}, {:.1} s: {verdict}\n  \
         {requests} requests, {answered} answered; ECONNRESET {reset}, ENOENT {absent}, ECONNREFUSED {refused}, \
         unanswered {unanswered}, other {failed}\n  \
         a client waited {} at the median, {} at the longest\n  \
         {} take-overs, each {} at the median, {} at the longest\n",
        outcome.file_system,
        options.clients,
        options.grace,
        if options.life { ", life lock" } else { "" },
        outcome.seconds,
        time(outcome.wait_median_us),
        time(outcome.wait_longest_us),
        outcome.take_overs,
        time(outcome.take_over_median_us),
        time(outcome.take_over_longest_us),
    );
    if options.life {
        let _ =
            writeln!(text, "  a predecessor had drained {} later at the latest", time(outcome.succession_longest_us));
    }
    if !outcome.left.is_empty() {
        let _ = writeln!(text, "  left: {}", outcome.left.join(", "));
    }
    text
}
