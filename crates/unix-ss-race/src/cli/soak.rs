//! `unix-ss-torture soak`.

use std::io;
use std::path::PathBuf;

use clap::Args;
use unix_ss_race::soak::{self, Life, Options, Usage};

use super::print;

/// Long lives of servers: do they leak descriptors or memory?
///
/// A server of the library lives through connections and take-overs within its process, two processes take over from
/// each other, and `unix-ss serve` runs PROGs. Each is measured after a twentieth of it and at its end. Exit status 0:
/// no more descriptors, memory or zombies than before; 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Clients of the library's server
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,

    /// How often it is replaced by another in its process
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(2..))]
    take_overs: u64,

    /// How often each of two processes takes over from the other
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..))]
    returns: u64,

    /// How many PROGs `unix-ss serve` runs; 0: without it
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    progs: u64,

    /// All four divided by this
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    divide: u64,

    /// The command `unix-ss` [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Where to work [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// One JSON object a life on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Soak) -> io::Result<bool> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("unix-ss"),
    };
    let part = |number: u64| (number / arguments.divide).max(2);
    let lives = soak::run(&Options {
        dir: arguments.dir.clone().unwrap_or_else(std::env::temp_dir),
        connections: part(arguments.connections),
        take_overs: part(arguments.take_overs),
        returns: part(arguments.returns),
        progs: if arguments.progs == 0 { 0 } else { part(arguments.progs) },
        program,
    })?;
    for life in &lives {
        print(&if arguments.json { serde_json::to_string(life)? + "\n" } else { text(life) })?;
    }
    Ok(lives.iter().all(Life::is_good))
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn text(life: &Life) -> String {
    let Life { what, before, after, failures, zombies, seconds } = life;
    let verdict = if life.is_good() { "no leak" } else { "LEAKS, or clients lost" };
    let ratio = after.anonymous_kib as f64 / before.anonymous_kib.max(1) as f64;
    let heap = match (before, after) {
        (Usage { heap: Some(before), .. }, Usage { heap: Some(after), .. }) => {
            format!("heap {before} bytes, then {after}; ")
        }
        _ => String::new(),
    };
    format!(
        "{what}, {seconds:.1} s: {verdict}\n  descriptors {}, then {}; {heap}RssAnon {} KiB, then {}: {ratio:.2}; \
         {failures} not served, {zombies} zombies\n",
        before.descriptors, after.descriptors, before.anonymous_kib, after.anonymous_kib,
    )
}
