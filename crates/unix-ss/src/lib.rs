//! `unix-ss`: run any program behind a Unix domain socket, without races, thefts, stale files or lost clients.
//!
//! The rules are the library's, `unix-stream-server`; here is only what turns them into a command. It is a library for the
//! sake of those who write about the command line, in man pages and completions: programs use `unix-stream-server`, and
//! nothing here is kept for them.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "unix-ss, the command, is for Linux alone: its supervisors stand on subreapers and on /proc. The library and the C \
     library have code for other systems: see PLATFORM.md"
);

mod activate;
mod announce;
mod clean;
mod cli;
mod clients;
mod complaint;
mod connect;
mod doctor;
mod ensure;
mod events;
mod exit;
mod identity;
mod inherited;
mod json;
mod log;
mod lost;
mod message;
mod output;
mod prog;
mod race;
mod retry;
mod serve;
mod signals;
mod socket;
mod status;
mod users;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

/// The command line: what man pages and completions are made from.
#[doc(hidden)]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The command, from its arguments to its exit status.
#[doc(hidden)]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Also the way of --help and --version. Not `error.exit()`: a reader that has gone is no reason to panic.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    log::start(cli.verbose, cli.log_format);
    ExitCode::from(match cli.command {
        Command::Serve(args) if args.activate => activate::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Connect(args) => connect::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Clean(args) => clean::run(&args),
        Command::Ensure(args) => ensure::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Race(args) => race::run(&args),
        Command::RaceWorker(args) => unix_ss_race::worker(args.arguments),
        Command::ActivateExec(args) => activate::become_program(&args),
        Command::RunAsExec(args) => identity::become_program(&args),
        Command::WaitListen(args) => ensure::wait_listen::run(&args),
    })
}
