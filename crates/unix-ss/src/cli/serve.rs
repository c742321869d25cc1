//! The command line of `serve`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{any_path, duration, fd_name};
use super::{AllowPeers, SocketOptions};
use crate::identity::Identity;

pub(super) const ABOUT: &str = "\
Creates a server socket at PATH and runs PROG for each client, with the client on its standard input and output.

A socket that a dead server left at PATH is replaced. A live server is never robbed of it: the second one ends with \
status 3 and says who is there. Anything else at PATH is left alone (status 4).

PROG finds in its environment PROTO=UNIX, UNIXLOCALPATH (PATH, made absolute), and UNIXREMOTEPID, UNIXREMOTEEUID and \
UNIXREMOTEEGID: who the client is, where the kernel knows. A script without a first line of #! is run by sh, as \
by execvp(3).

The first SIGTERM, SIGINT or SIGHUP ends the server gracefully: PATH is removed, clients that are queued are still served, and \
the PROGs are waited for. The second sends SIGTERM to the PROGs. Told to end while it still waits for the path's lock, it \
ends at once with status 0 (with --activate by SIGTERM, SIGINT and SIGQUIT).

With --replace it takes PATH over from a live server that was started with --replaceable or --replace, in one step: PATH \
is never absent, and each client is served by one of the two. The old server serves those who have come to it, and \
ends with status 0. Its PROG under --activate gets SIGTERM once it has accepted all of them.

With --activate, PROG is started once and accepts the clients itself, from descriptor 3: the socket-activation \
convention of systemd (LISTEN_FDS=1, LISTEN_PID, LISTEN_FDNAMES). Its standard input is /dev/null. Signals are \
forwarded to it, PATH is removed when it ends, and its exit status is passed on (128+N for signal N).

--allow-uid and --allow-gid say who is served, of those whom --mode lets connect: whoever is of one of the users, or in \
one of the groups, supplementary ones included. The kernel noted who a client is when it connected. Others are hung up \
on, and no PROG is started. With --activate it is PROG that accepts, and has to ask.

--run-as is for root: the server keeps its rights, to be able to remove PATH, and each PROG is started with the user, the \
group (given, or the user's own) and the user's supplementary groups. HOME, USER and the like are left as they are, as by \
setpriv(1) and s6-setuidgid. With --activate, clients see PROG's user as the server's (--expect-uid), from the moment that \
PROG is started; --ready-fd waits for it, but not with --on-demand.

A service manager that has set NOTIFY_SOCKET (systemd, Type=notify) is told READY=1 once the socket listens, with \
--activate before PROG serves, since clients can queue from then on, and STOPPING=1 when the end begins. PROG does not get \
NOTIFY_SOCKET.

With --activate and --on-demand, PROG is started at the first client that sends a byte or stays, and may end when it is idle: \
if it ends with status 0, the next client starts it again, unless it has shut the socket down (status 1). Whoever \
connects and hangs up without a byte, as those do who only look whether somebody lives here, starts nothing. What \
somebody sends who hangs up before PROG runs still reaches PROG if he is of our user, and is lost otherwise. \
Told to end, by SIGTERM, SIGINT or SIGQUIT, it starts PROG for those who are queued. PROG gets SIGTERM, or the signal that \
came while it ran, when it has accepted them, or after 5 seconds, or when told once more.";

pub(super) const EXAMPLES: &str = "\
Examples:
  unix-ss serve /run/me/date -- date
  unix-ss serve --mode 660 --group www-data /run/app/sock -- ./handler --verbose
  unix-ss serve --max-connections 1 ./one-at-a-time -- ./handler
  unix-ss serve --mode 666 --allow-uid alice --allow-gid wheel /run/app/admin -- ./handler
  unix-ss serve --run-as www-data --mode 666 --activate /run/app/web -- ./httpd
  unix-ss serve --activate /run/me/web -- python3 my-server.py
  unix-ss serve --replace /run/app/sock -- ./handler-2     the next version, for a running one
  unix-ss serve --activate --on-demand /run/me/rare -- my-server --exit-when-idle
";

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Start PROG once and give it the listening socket
    #[arg(long)]
    pub(crate) activate: bool,

    /// With --activate: start PROG only when a client comes who sends a byte or stays, and again after it has ended well
    #[arg(long, requires = "activate")]
    pub(crate) on_demand: bool,

    #[command(flatten)]
    pub(crate) socket: SocketOptions,

    /// How long to wait for the path's lock: a whole number and us, ms, s, m or h; 0: try once
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration)]
    pub(crate) lock_timeout: Duration,

    /// Hold a lock only while starting and ending, or as long as the server lives
    #[arg(long, value_name = "SCOPE", value_enum, default_value_t = Scope::Startup)]
    pub(crate) lock_scope: Scope,

    /// Allow a successor that is started with --replace to take PATH over
    #[arg(long)]
    pub(crate) replaceable: bool,

    /// Take PATH over from a live server that is --replaceable, and be so too
    #[arg(long)]
    pub(crate) replace: bool,

    /// How many PROGs may run at the same time; further clients wait in the backlog
    #[arg(
        long,
        value_name = "N",
        default_value = "100",
        conflicts_with = "activate",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) max_connections: u32,

    #[command(flatten)]
    pub(crate) allow: AllowPeers,

    /// Run PROG, and only PROG, as another user: by name or number, and with another group than his own
    #[arg(long, value_name = "USER[:GROUP]")]
    pub(crate) run_as: Option<String>,

    /// Once listening, write a newline to this descriptor and close it
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(3..))]
    pub(crate) ready_fd: Option<i32>,

    /// What LISTEN_FDNAMES calls the socket [default: unix-ss]
    #[arg(long, value_name = "NAME", requires = "activate", value_parser = fd_name)]
    pub(crate) fd_name: Option<String>,

    /// For `ensure`: a supervisor in the background, with a pipe to it on standard output
    #[arg(long, hide = true, requires = "activate")]
    pub(crate) detached: bool,

    /// Of a detached one: where the output of PROG goes
    #[arg(long, hide = true, requires = "detached", value_name = "FILE")]
    pub(crate) detached_log: Option<PathBuf>,

    /// Where to serve
    #[arg(value_parser = any_path())]
    pub(crate) path: PathBuf,

    /// What to run, after `--`
    #[arg(last = true, required = true, value_name = "PROG")]
    pub(crate) program: Vec<OsString>,
}

impl Serve {
    /// May a successor take PATH over?
    pub(crate) fn is_replaceable(&self) -> bool {
        self.replaceable || self.replace
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Scope {
    /// PATH.lock, for microseconds at the start and at the end
    Startup,
    /// Beside it PATH.owner, held for the server's life
    Lifetime,
}

pub(crate) const ACTIVATE_EXEC: &str = "__activate-exec";

#[derive(Debug, Args)]
pub(crate) struct ActivateExec {
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) fd_name: String,
    /// PROG is to be this user, who then listens once more
    #[arg(long)]
    pub(crate) identity: Option<Identity>,
    #[arg(long, default_value_t = i32::MAX)]
    pub(crate) backlog: i32,
    /// Where to tell why PROG cannot be run; closed by its exec
    #[arg(long)]
    pub(crate) report_fd: Option<i32>,
    #[arg(last = true, required = true)]
    pub(crate) program: Vec<OsString>,
}

pub(crate) const RUN_AS_EXEC: &str = "__run-as-exec";

#[derive(Debug, Args)]
pub(crate) struct RunAsExec {
    #[arg(long)]
    pub(crate) identity: Identity,
    #[arg(last = true, required = true)]
    pub(crate) program: Vec<OsString>,
}
