//! `unix-ss-torture`: the torture, the flood and the soak on the command line, for CI and for long runs.

mod cli;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cli::print;
use unix_ss_race::torture::{self, Disturbed, Options, Summary};
use unix_ss_race::{Counted, Defect, WORKER};

/// For the soak, which counts to the byte.
#[global_allocator]
static HEAP: Counted = Counted;

/// Torture server sockets with many processes, and judge what happened
///
/// Servers of the library, git-like servers, another user's (if run as root) and clients work on a few paths, are
/// killed and paused, robbed and given foreign files; a checker looks for every broken promise. Exit status 0: nothing
/// found; 1: violations, or it could not be run; 3: disturbed by whoever killed one of its processes, such as a kernel
/// that is out of memory, so that nothing can be said.
#[derive(Debug, Parser)]
#[command(name = "unix-ss-torture", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    instead: Option<Instead>,

    /// How long, in whole seconds; without --operations, 5
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,

    /// Go on until so many operations have been done
    #[arg(long, value_name = "N", default_value_t = 0)]
    operations: u64,

    /// What the processes choose follows from it [default: random, and printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Where to work, repeatable; if root's other user cannot enter it, with one user; they take turns [default: the directory for temporary files]
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,

    /// How many server processes
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(4..=48))]
    servers: u8,

    /// How many client processes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=16))]
    clients: u8,

    /// Plant a defect in half of the servers, or `all` one after the other: each must be found within the time
    #[arg(long, value_name = "DEFECT", value_parser = defects)]
    plant: Option<Planted>,

    /// Keep the history of the first epoch with a violation here
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,

    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Instead {
    Flood(cli::flood::Flood),
    Soak(cli::soak::Soak),
}

/// A list to clap would be a list of arguments.
#[derive(Clone, Debug)]
struct Planted(Vec<Defect>);

fn defects(text: &str) -> Result<Planted, String> {
    if text == "all" {
        return Ok(Planted(Defect::ALL.to_vec()));
    }
    let all = || [Defect::None].into_iter().chain(Defect::ALL);
    let names = || all().map(Defect::name).collect::<Vec<_>>().join(", ");
    let found = all().find(|defect| defect.name() == text);
    found.map(|defect| Planted(vec![defect])).ok_or_else(|| format!("give one of: all, {}", names()))
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == WORKER) {
        return ExitCode::from(unix_ss_race::worker(arguments));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let good = match &arguments.instead {
        None => run(&arguments),
        Some(Instead::Flood(flood)) => cli::flood::run(flood),
        Some(Instead::Soak(soak)) => cli::soak::run(soak),
    };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "unix-ss-torture: {error}");
            let is_disturbed = error.get_ref().is_some_and(|inner| inner.is::<Disturbed>());
            ExitCode::from(if is_disturbed { 3 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let seconds = arguments.seconds.unwrap_or(if arguments.operations == 0 { 5 } else { 0 });
    let mut options = Options {
        time: Duration::from_secs(seconds),
        operations: arguments.operations,
        servers: arguments.servers.into(),
        clients: arguments.clients.into(),
        keep: arguments.keep.clone(),
        ..Options::default()
    };
    if let Some(seed) = arguments.seed {
        options.seed = seed;
    }
    if !arguments.dirs.is_empty() {
        options.dirs.clone_from(&arguments.dirs);
    }
    let Some(Planted(defects)) = &arguments.plant else {
        let summary = torture::run(&options)?;
        print(&if arguments.json { json(&options, &summary)? } else { text(&options, &summary) })?;
        return Ok(summary.violations.is_empty());
    };
    let mut good = true;
    for &defect in defects {
        let summary = torture::run(&Options { defect: Some(defect), ..options.clone() })?;
        let found = summary.finding(Some(defect));
        good &= found.is_some() == (defect != Defect::None);
        let what = found.map_or_else(|| "nothing found".to_owned(), ToString::to_string);
        let line = format!("{defect}: {:.1} s, {} operations: {what}\n", summary.seconds, summary.total());
        print(&if arguments.json {
            json(&Options { defect: Some(defect), ..options.clone() }, &summary)?
        } else {
            line
        })?;
    }
    Ok(good)
}

fn json(options: &Options, summary: &Summary) -> io::Result<String> {
    let mut value = serde_json::to_value(summary)?;
    value["seed"] = options.seed.into();
    value["planted"] = options.defect.map(Defect::name).into();
    value["total"] = summary.total().into();
    Ok(format!("{value}\n"))
}

fn users(summary: &Summary) -> String {
    let closed: Vec<_> = summary.closed.iter().map(|dir| dir.display().to_string()).collect();
    match (summary.two_users, closed.join(", ")) {
        (true, closed) if closed.is_empty() => "two users".to_owned(),
        (true, closed) => format!("two users, but one in {closed}, which the other cannot enter"),
        (false, closed) if closed.is_empty() => "one user (root has two, with 5 servers or more)".to_owned(),
        (false, closed) => format!("one user (another cannot enter {closed})"),
    }
}

fn text(options: &Options, summary: &Summary) -> String {
    let list = |entries: Vec<String>| entries.join(", ");
    let mut lines = vec![
        format!("seed {}, {:.1} s, {} epochs, {}", options.seed, summary.seconds, summary.epochs, users(summary)),
        format!(
            "{} operations: {}",
            summary.total(),
            list(summary.operations.iter().map(|(what, number)| format!("{number} {what}")).collect())
        ),
        format!(
            "owners: {}; {} were healed, {} were replaced",
            list(summary.owners.iter().map(|(who, number)| format!("{number} {who}")).collect()),
            summary.heals,
            summary.hand_overs
        ),
        format!("refused: {}", list(summary.refusals.iter().map(|(why, number)| format!("{number} {why}")).collect())),
        format!("clients: {}", list(summary.clients.iter().map(|(how, number)| format!("{number} {how}")).collect())),
        format!("{} violations", summary.violations.len()),
    ];
    lines.extend(summary.violations.iter().take(20).map(|violation| format!("  {violation}")));
    lines.join("\n") + "\n"
}
