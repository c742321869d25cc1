//! What unix-stream-server costs, beside the system calls that it cannot do without and beside its peers.
//!
//! ```text
//! cargo run --release -p unix-ss-bench                      # everything, some minutes, to the terminal
//! cargo run --release -p unix-ss-bench -- --write docs      # and to docs/performance.md, with its pictures
//! cargo run --release -p unix-ss-bench -- --quick --only create
//! ```
//!
//! # Why not criterion or divan
//!
//! The quantities here are ratios. Those harnesses measure one contestant to the end and then the next, so whatever
//! happens to the machine in between (a journal commit, a clock that drops, a noisy neighbour) is counted as a
//! difference between the two. Here every round runs all contestants, in an order shuffled anew, and each is divided by
//! the reference *of its round*; what is told is the median of those ratios and their quartiles. Whether that works is
//! shown by a contestant that is the reference again: its ratio is 1, and its quartiles are the noise. They also time a
//! closure as a whole, while here the closing of what was created has to stay out.

mod c;
mod child;
mod command;
mod document;
mod harness;
mod machine;
mod plot;
mod report;
mod sections;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use harness::{Pace, Result};
use unix_ss_race::{Counted, WORKER};

/// Measures unix-stream-server beside the system calls it needs and beside its peers
///
/// Each figure is a ratio within a round in which all contestants ran, in an order of its own: the median over the
/// rounds, and the quartiles. Everything that is started is ended, and everything that is made is removed.
#[derive(Debug, Parser)]
#[command(name = "unix-ss-bench", version)]
struct Options {
    /// Seconds instead of minutes: for a glance
    #[arg(long)]
    quick: bool,

    /// Do everything once, to see that it works; the figures mean nothing
    #[arg(long, conflicts_with = "quick")]
    test: bool,

    /// Only these sections, by their ids
    #[arg(long, value_name = "ID", num_args = 1.., value_parser = sections::known)]
    only: Vec<String>,

    /// Where to work, repeatable [default: the directory for temporary files and, where there is one, /dev/shm]
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,

    /// Also write DIR/performance.md and its pictures; with --only, those sections of it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "test"])]
    write: Option<PathBuf>,
}

/// For what is told of memory.
#[global_allocator]
static HEAP: Counted = Counted;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == WORKER) {
        return ExitCode::from(unix_ss_race::worker(arguments));
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("unix-ss-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let pace = match options {
        Options { test: true, .. } => Pace::Test,
        Options { quick: true, .. } => Pace::Quick,
        _ => Pace::Full,
    };
    let mut dirs = options.dirs.clone();
    if dirs.is_empty() {
        dirs.push(std::env::temp_dir());
        dirs.extend(Some(PathBuf::from("/dev/shm")).filter(|dir| dir.is_dir() && *dir != dirs[0]));
    }
    let mut places = Vec::new();
    for dir in &dirs {
        places.push(format!("{} ({})", machine::file_system(dir)?, dir.display()));
    }
    let machine = format!("{}; {}", machine::describe(), places.join(", "));
    println!("{machine}\n");
    let mut document = match &options.write {
        Some(dir) => Some(document::Document::open(dir, &machine, options.only.is_empty())?),
        None => None,
    };
    for (id, make) in sections::ALL {
        if !options.only.is_empty() && !options.only.iter().any(|wanted| wanted == id) {
            continue;
        }
        let section = make(pace, &dirs)?;
        println!("{}", section.markdown(&[]));
        if let Some(document) = &mut document {
            document.put(&section)?;
        }
    }
    Ok(())
}
