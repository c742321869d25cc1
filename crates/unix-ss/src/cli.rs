//! The command line: what can be said, and how it is explained. One file a command.

mod clean;
mod connect;
mod doctor;
mod ensure;
mod peers;
mod race;
mod serve;
mod socket;
mod status;
mod values;
mod watch;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub(crate) use clean::Clean;
pub(crate) use connect::Connect;
pub(crate) use doctor::Doctor;
pub(crate) use ensure::{Ensure, WAIT_LISTEN, WaitListen};
pub(crate) use peers::{AllowPeers, ExpectPeer};
pub(crate) use race::{Race, RaceStrategy, RaceWorker};
pub(crate) use serve::{ACTIVATE_EXEC, ActivateExec, RUN_AS_EXEC, RunAsExec, Scope, Serve};
pub(crate) use socket::SocketOptions;
pub(crate) use status::Status;
pub(crate) use watch::Watch;

const EXIT_STATUSES: &str = "\
Exit statuses:
    0  done
    1  failed; doctor: something is wrong, or risky
    2  wrong usage
    3  serve, ensure: the path is in use, or its lock was not had in time
       connect, status: nobody lives there (absent, dead, not a socket)
       clean: a live server is at the path, or a lock was not had
    4  serve, ensure, clean: something that is no socket is at the path
       connect: the server is of another user than expected; all: cannot tell
    5  served, but the path was deleted or taken by somebody meanwhile
  126  PROG cannot be run     127  PROG is not found     (serve --activate or --replace, ensure)";

const EXAMPLES: &str = "\
Examples:
  unix-ss serve /run/me/echo -- cat                     one `cat` for each client
  unix-ss serve --activate /run/me/web -- my-server     one server, given the socket
  echo hello | unix-ss connect /run/me/echo             be a client
  unix-ss ensure /run/me/web -- my-server               start it, unless it lives
  unix-ss status /run/me/*                              who has which path?
  unix-ss doctor /run/me/web                            what is wrong there, and what helps?
  unix-ss clean --dry-run /run/me                       what did the dead leave?
  unix-ss watch /run/me/web                             who comes, who goes?
  unix-ss race                                          why not just unlink and bind?
";

/// Unix domain sockets without races, thefts, stale files or lost clients
///
/// A Unix domain socket stays in the file system after its server is gone, so that a new server cannot tell a live one from
/// cruft; deleting the file to bind again robs a live server of its path. These commands hold PATH.lock while they find out,
/// replace only a socket that is proven dead, never touch what is no socket, and leave nothing behind.
#[derive(Debug, Parser)]
#[command(
    name = "unix-ss",
    version,
    after_help = "See `unix-ss help COMMAND` for a command's options, examples and exit statuses.",
    after_long_help = format!("{EXAMPLES}\n{EXIT_STATUSES}\n\nSee `unix-ss help COMMAND` for each command."),
    disable_help_subcommand = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Tell on standard error what happens: servers, clients, PROGs, signals, waits for locks. Twice: each look at a path too
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// How errors, but for those of usage, and what --verbose tells are written on standard error
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people, which begin with `unix-ss: `
    Text,
    /// One JSON object a line: time, level, target, message, path (path_hex too if it is not UTF-8), fields (of an error:
    /// errno, where there is one); keys are only ever added
    Json,
}

// Only the command that is asked for is built: the others would take half the time of a start, and pages that stay.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Own PATH and run PROG behind it, for each client or once
    #[command(long_about = serve::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", serve::EXAMPLES))]
    Serve(Serve),
    /// Standard input and output to the server at PATH
    #[command(long_about = connect::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", connect::EXAMPLES))]
    Connect(Connect),
    /// Say what stands at each PATH, and who owns it
    #[command(long_about = status::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", status::EXAMPLES))]
    Status(Status),
    /// Say what is wrong or risky about each PATH, and what helps
    #[command(long_about = doctor::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", doctor::EXAMPLES))]
    Doctor(Doctor),
    /// Remove dead sockets, and what killed starters left
    #[command(long_about = clean::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", clean::EXAMPLES))]
    Clean(Clean),
    /// Start PROG behind PATH, unless something lives there
    #[command(long_about = ensure::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", ensure::EXAMPLES))]
    Ensure(Ensure),
    /// Print each change of owner or state at PATH as it happens
    #[command(long_about = watch::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", watch::EXAMPLES))]
    Watch(Watch),
    /// Show which ways to start a server lose servers, files or clients
    #[command(long_about = race::ABOUT, after_long_help = format!("{}\n{EXIT_STATUSES}", race::EXAMPLES))]
    Race(Race),
    /// A process of `race`
    #[command(name = unix_ss_race::WORKER, hide = true)]
    RaceWorker(RaceWorker),
    /// The other half of `serve --activate`: the listener is standard input
    #[command(name = ACTIVATE_EXEC, hide = true)]
    ActivateExec(ActivateExec),
    /// The other half of `serve --run-as`
    #[command(name = RUN_AS_EXEC, hide = true)]
    RunAsExec(RunAsExec),
    /// The supervisor of `ensure --wait-listen`
    #[command(name = WAIT_LISTEN, hide = true)]
    WaitListen(WaitListen),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    /// What is laid out by hand is not to be wrapped a second time.
    #[test]
    fn no_line_of_examples_and_tables_is_wider_than_the_help() {
        let mut command = <Cli as clap::CommandFactory>::command();
        command.build();
        for told in command.get_subcommands() {
            let text = told.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            for line in text.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", told.get_name());
            }
        }
    }

    /// Doc comments of a group of options would take its place.
    #[test]
    fn each_subcommand_describes_itself() {
        let mut command = <Cli as clap::CommandFactory>::command();
        command.build();
        let texts = [
            ("serve", "Own PATH", serve::ABOUT),
            ("connect", "Standard input", connect::ABOUT),
            ("status", "Say what stands", status::ABOUT),
            ("doctor", "Say what is wrong", doctor::ABOUT),
            ("clean", "Remove dead sockets", clean::ABOUT),
            ("ensure", "Start PROG", ensure::ABOUT),
            ("watch", "Print each change", watch::ABOUT),
            ("race", "Show which ways", race::ABOUT),
        ];
        for (name, begins, long) in texts {
            let told = command.find_subcommand(name).expect("a subcommand");
            let about = told.get_about().expect("a line").to_string();
            assert!(about.starts_with(begins), "{name}: {about}");
            assert_eq!(told.get_long_about().expect("a text").to_string(), long, "{name}");
        }
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help").count();
        assert_eq!(shown, texts.len());
    }
}
