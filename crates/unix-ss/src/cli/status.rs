//! The command line of `status`.

use std::path::PathBuf;

use clap::Args;

use super::values::any_path;

pub(super) const ABOUT: &str = "\
Says what stands at each PATH: absent, dead (a socket that nobody listens on), live, busy (live, with a full backlog), \
other_type (a datagram or seqpacket socket), not_a_socket, or cannot_tell; and who owns it, where the kernel knows.

Changes nothing. It asks the kernel for its list of listeners, and connects only to what is not on it: a listener of \
another network namespace, which a connection may start if it is an on-demand program.";

pub(super) const EXAMPLES: &str = "\
Examples:
  unix-ss status /run/me/echo
  unix-ss status --json /run/*/*.sock | jq -r 'select(.state == \"dead\").path'

With --json, one object a line: path (and path_hex if it is not UTF-8), state, kind, errno, error,
peer {pid, uid, gid, program}, mode, inode, lock {state: none|held|left|foreign, pid, uid}.
What is not known is null.

With several paths, the exit status is the highest.
";

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Where to look
    #[arg(required = true, value_name = "PATH", value_parser = any_path())]
    pub(crate) paths: Vec<PathBuf>,
}
