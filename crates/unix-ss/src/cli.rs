//! The command line: what can be said, and how it is explained.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_STATUSES: &str = "\
Exit statuses:
    0  done
    1  failed
    2  wrong usage
    3  serve: the path is in use, or its lock was not had in time
       connect, status: nobody lives there (absent, dead, not a socket)
    4  serve: something that is no socket is at the path; all: cannot tell
    5  served, but the path was deleted or taken by somebody meanwhile
  126  PROG cannot be run     127  PROG is not found     (serve --activate)";

const EXAMPLES: &str = "\
Examples:
  unix-ss serve /run/me/echo -- cat                     one `cat` for each client
  unix-ss serve --activate /run/me/web -- my-server     one server, given the socket
  echo hello | unix-ss connect /run/me/echo             be a client
  unix-ss status /run/me/*                              who has which path?
  unix-ss race                                          why not just unlink and bind?
";

const SERVE: &str = "\
Creates a server socket at PATH and runs PROG for each client, with the client on its standard input and output.

A socket that a dead server left at PATH is replaced. A live server is never robbed of it: the second one ends with \
status 3 and says who is there. Anything else at PATH is left alone (status 4).

PROG finds in its environment PROTO=UNIX, UNIXLOCALPATH (PATH, made absolute), and UNIXREMOTEPID, UNIXREMOTEEUID and \
UNIXREMOTEEGID: who the client is, where the kernel knows.

The first SIGTERM or SIGINT ends the server gracefully: PATH is removed, clients that are queued are still served, and \
the PROGs are waited for. The second sends SIGTERM to the PROGs.

With --activate, PROG is started once and accepts the clients itself, from descriptor 3: the socket-activation \
convention of systemd (LISTEN_FDS=1, LISTEN_PID, LISTEN_FDNAMES). Its standard input is /dev/null. Signals are \
forwarded to it, PATH is removed when it ends, and its exit status is passed on (128+N for signal N).";

const SERVE_EXAMPLES: &str = "\
Examples:
  unix-ss serve /run/me/date -- date
  unix-ss serve --mode 660 --group www-data /run/app/sock -- ./handler --verbose
  unix-ss serve --max-connections 1 ./one-at-a-time -- ./handler
  unix-ss serve --activate /run/me/web -- python3 my-server.py
";

const CONNECT: &str = "\
Connects to the server at PATH; sends it standard input, and writes its answers to standard output.

The end of standard input is passed on to the server, whose answer is still read to its end. The server's end of file \
closes standard output; sending goes on until standard input ends or the server hangs up.";

const CONNECT_EXAMPLES: &str = "\
Examples:
  echo hello | unix-ss connect /run/me/echo
  unix-ss connect --wait 5s /run/me/db < query > answer     for a server that is still starting
  ssh -o ProxyCommand='unix-ss connect /run/me/ssh' host
";

const STATUS: &str = "\
Says what stands at each PATH: absent, dead (a socket that nobody listens on), live, busy (live, with a full backlog), \
other_type (a datagram or seqpacket socket), not_a_socket, or cannot_tell; and who owns it, where the kernel knows.

Changes nothing. It asks the kernel for its list of listeners, and connects only to what is not on it: a listener of \
another network namespace, which a connection may start if it is an on-demand program.";

const STATUS_EXAMPLES: &str = "\
Examples:
  unix-ss status /run/me/echo
  unix-ss status --json /run/*/*.sock | jq -r 'select(.state == \"dead\").path'

With --json, one object a line: path (and path_hex if it is not UTF-8), state, kind, errno, error,
peer {pid, uid, gid, program}, mode, inode, lock {state: none|held|left|foreign, pid, uid}.
What is not known is null.

With several paths, the exit status is the highest.
";

const RACE: &str = "\
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

const RACE_EXAMPLES: &str = "\
Examples:
  unix-ss race
  unix-ss race --strategy probe,ours --processes 64 --rounds 50 --seed 7
  unix-ss race --dir /dev/shm --plot race.svg --json > race.json

The columns:
  servers orphaned       run and take the path for theirs, but no client can reach them
  foreign files deleted  a file with data stood at the path
  clients lost           waited in the queue of a server that was told to end, and were not served
  spurious errors        a start failed, and not because the path was in use
  stuck starts           gave no answer within --patience, or gave up on a lock that nobody alive needed
  time to answer         of a start, be it that it serves or that it may not: the median, and the longest

With --json, one object a line, a strategy each: strategy, starts, owners, servers_orphaned,
foreign_files_deleted, clients, clients_lost, spurious_errors, stuck_starts, answer_median_us,
answer_longest_us, processes, rounds, seed, file_system.
";

/// Unix domain sockets without races, thefts, stale files or lost clients.
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
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Own PATH and run PROG behind it, for each client or once
    #[command(long_about = SERVE, after_long_help = format!("{SERVE_EXAMPLES}\n{EXIT_STATUSES}"))]
    Serve(Serve),
    /// Standard input and output to the server at PATH
    #[command(long_about = CONNECT, after_long_help = format!("{CONNECT_EXAMPLES}\n{EXIT_STATUSES}"))]
    Connect(Connect),
    /// Say what stands at each PATH, and who owns it
    #[command(long_about = STATUS, after_long_help = format!("{STATUS_EXAMPLES}\n{EXIT_STATUSES}"))]
    Status(Status),
    /// Show which ways to start a server lose servers, files or clients
    #[command(long_about = RACE, after_long_help = format!("{RACE_EXAMPLES}\n{EXIT_STATUSES}"))]
    Race(Race),
    /// A process of `race`
    #[command(name = unix_ss_race::WORKER, hide = true)]
    RaceWorker(RaceWorker),
    /// The other half of `serve --activate`: the listener is standard input
    #[command(name = ACTIVATE_EXEC, hide = true)]
    ActivateExec(ActivateExec),
}

pub(crate) const ACTIVATE_EXEC: &str = "__activate-exec";

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Start PROG once and give it the listening socket
    #[arg(long)]
    pub(crate) activate: bool,

    /// Permission bits of the socket, octal; whoever may write may connect
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    pub(crate) mode: u32,

    /// Owner of the socket, by name or number
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,

    /// Group of the socket, by name or number
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// How many clients may wait to be accepted [default: the kernel's most]
    #[arg(long, value_name = "N")]
    pub(crate) backlog: Option<u32>,

    /// How long to wait for the path's lock: a whole number and us, ms, s, m or h; 0: try once
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration)]
    pub(crate) lock_timeout: Duration,

    /// Hold a lock only while starting and ending, or as long as the server lives
    #[arg(long, value_name = "SCOPE", value_enum, default_value_t = Scope::Startup)]
    pub(crate) lock_scope: Scope,

    /// How many PROGs may run at the same time; further clients wait in the backlog
    #[arg(
        long,
        value_name = "N",
        default_value = "100",
        conflicts_with = "activate",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) max_connections: u32,

    /// Once listening, write a newline to this descriptor and close it
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(3..))]
    pub(crate) ready_fd: Option<i32>,

    /// What LISTEN_FDNAMES calls the socket [default: unix-ss]
    #[arg(long, value_name = "NAME", requires = "activate", value_parser = fd_name)]
    pub(crate) fd_name: Option<String>,

    /// Where to serve
    #[arg(value_parser = any_path())]
    pub(crate) path: PathBuf,

    /// What to run, after `--`
    #[arg(last = true, required = true, value_name = "PROG")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Scope {
    /// PATH.lock, for microseconds at the start and at the end
    Startup,
    /// Beside it PATH.owner, held for the server's life
    Lifetime,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Try for so long while nobody listens yet, or the backlog is full: a whole number and us, ms, s, m or h
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) wait: Option<Duration>,

    /// Where the server is
    #[arg(value_parser = any_path())]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Where to look
    #[arg(required = true, value_name = "PATH", value_parser = any_path())]
    pub(crate) paths: Vec<PathBuf>,
}

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

#[derive(Debug, Args)]
pub(crate) struct ActivateExec {
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) fd_name: String,
    #[arg(last = true, required = true)]
    pub(crate) program: Vec<OsString>,
}

/// Also an empty one, which clap would call missing: the library says what is wrong with it.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A whole number and its unit, or 0.
fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().map_err(|_| "give a whole number and a unit, such as 500ms or 5s")?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs).ok_or("that is too long");
    Ok(match unit {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => seconds(1)?,
        "m" => seconds(60)?,
        "h" => seconds(3600)?,
        _ => return Err("give the unit: us, ms, s, m or h".to_owned()),
    })
}

fn mode(text: &str) -> Result<u32, String> {
    let octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) if octal => Ok(mode),
        _ => Err("give octal permission bits, from 0 to 777".to_owned()),
    }
}

/// What sd_listen_fds_with_names(3) takes: LISTEN_FDNAMES is a list with colons between.
fn fd_name(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b':');
    if fits { Ok(text.to_owned()) } else { Err("give 1 to 255 printable ASCII characters, no colon".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn times_are_a_whole_number_and_a_unit_or_0() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("7ms"), Ok(Duration::from_millis(7)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in
            ["", "5", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "5sec", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_are_octal_permission_bits() {
        assert_eq!(mode("600"), Ok(0o600));
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("0"), Ok(0));
        for wrong in ["", "8", "+7", "1777", "0o600", "rw", "-1"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_for_the_descriptor_has_no_colon() {
        assert!(fd_name("http").is_ok());
        for wrong in ["", "a:b", "a\nb", "\u{e9}"] {
            assert!(fd_name(wrong).is_err(), "{wrong}");
        }
    }
}
