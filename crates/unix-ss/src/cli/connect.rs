//! The command line of `connect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ExpectPeer;
use super::values::{any_path, duration};

pub(super) const ABOUT: &str = "\
Connects to the server at PATH; sends it standard input, and writes its answers to standard output.

The end of standard input is passed on to the server, whose answer is still read to its end. The server's end of file \
closes standard output; sending goes on until standard input ends or the server hangs up.

In a directory that others may write, such as /tmp, anybody may have put a server at PATH first: --expect-uid says whose \
it must be, before a byte is sent. The kernel shows who listened last. For a server that was handed its socket, that may be \
who created it, root say.";

pub(super) const EXAMPLES: &str = "\
Examples:
  echo hello | unix-ss connect /run/me/echo
  unix-ss connect --wait 5s /run/me/db < query > answer     for a server that is still starting
  unix-ss connect --expect-uid root /tmp/service < request
  ssh -o ProxyCommand='unix-ss connect /run/me/ssh' host
";

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Try for so long while nobody listens yet, or the backlog is full: a whole number and us, ms, s, m or h
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) wait: Option<Duration>,

    #[command(flatten)]
    pub(crate) expect: ExpectPeer,

    /// Where the server is
    #[arg(value_parser = any_path())]
    pub(crate) path: PathBuf,
}
