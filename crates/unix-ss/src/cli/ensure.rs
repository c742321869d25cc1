//! The command line of `ensure`, and of the supervisor that it starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::SocketOptions;
use super::values::{any_path, duration, fd_name};

pub(super) const ABOUT: &str = "\
Starts PROG behind PATH, unless something lives there already; ends with 0 as soon as something does. Of many at the same \
moment one starts it.

PROG gets the listening socket as descriptor 3, as of `serve --activate`, so that clients may connect at once: they are \
queued until PROG accepts them. With --wait-listen, for programs that cannot do that, PROG creates the socket at PATH by \
itself, and is waited for.

A supervisor stays with PROG, and removes the socket when PROG ends; a signal to it is passed on to PROG. Both live on \
when this command, its terminal or its session has ended. Standard input of PROG is /dev/null, output and errors go to \
the --log, or nowhere; the directory and the environment are those of this command, less what is only for itself \
(LISTEN_*, NOTIFY_SOCKET). PROG gets no other descriptor.

That PROG could be run is seen; whether it does its work is seen by its first client: if PROG ends, all who are queued \
are reset at once.";

pub(super) const EXAMPLES: &str = "\
Examples:
  unix-ss ensure --log cache.log /run/me/cache -- my-cache-daemon && unix-ss connect /run/me/cache
  unix-ss ensure --wait-listen /run/me/agent -- ssh-agent -D -a /run/me/agent
  unix-ss ensure --timeout 5s /run/me/web -- my-server
";

#[derive(Debug, Args)]
pub(crate) struct Ensure {
    /// PROG creates the socket itself; wait until it listens
    #[arg(long, conflicts_with_all = ["mode", "owner", "group", "backlog", "fd_name"])]
    pub(crate) wait_listen: bool,

    /// Where the standard output and errors of PROG go, at the end of the file
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// How long all of it may take: a whole number and us, ms, s, m or h
    #[arg(long, value_name = "D", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) socket: SocketOptions,

    /// What LISTEN_FDNAMES calls the socket [default: unix-ss]
    #[arg(long, value_name = "NAME", value_parser = fd_name)]
    pub(crate) fd_name: Option<String>,

    /// Where something is to live
    #[arg(value_parser = any_path())]
    pub(crate) path: PathBuf,

    /// What to run, after `--`
    #[arg(last = true, required = true, value_name = "PROG")]
    pub(crate) program: Vec<OsString>,
}

pub(crate) const WAIT_LISTEN: &str = "__wait-listen";

/// The supervisor of a PROG that creates its socket itself.
#[derive(Debug, Args)]
pub(crate) struct WaitListen {
    #[arg(long)]
    pub(crate) detached_log: Option<PathBuf>,
    #[arg(long, value_parser = duration)]
    pub(crate) timeout: Duration,
    #[arg(value_parser = any_path())]
    pub(crate) path: PathBuf,
    #[arg(last = true, required = true)]
    pub(crate) program: Vec<OsString>,
}
