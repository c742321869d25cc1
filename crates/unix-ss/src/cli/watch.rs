//! The command line of `watch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{any_path, duration};

pub(super) const ABOUT: &str = "\
Prints what stands at PATH now, and then a line for each change of owner or state as it happens, until it is told to end \
(SIGINT, SIGTERM), nobody reads it any more, or the time is over: all with exit status 0.

PATH need not exist yet; its directory must. Changes nothing, and disturbs no server that the kernel lists.";

pub(super) const EXAMPLES: &str = "\
Each line has an event, which compares with the first server that was seen:
  ours      a server is here: the first one, with which the later ones are compared; again, if
            another process owns it
  gone      no server is here: nothing at all, or a socket that nobody listens on any more (the
            state says which)
  replaced  something else is here than the first server: another server's socket, or no socket.
            A service that was restarted has a new socket, and is replaced: peer says by whom
  back      the very socket of the first server is here again

Examples:
  unix-ss watch /run/me/db
  unix-ss watch --json /run/me/db | jq --unbuffered -r 'select(.event == \"replaced\").peer'
  unix-ss watch --timeout 30s /run/me/db | grep -qm1 ' live'     does it come up in half a minute?

How soon: what is done to the name, at once, and so the end of the owner's process. A server that
closes its socket and lives on, one whose process cannot be seen from here, and changes behind a
symbolic link or of a directory above: within a second. The end of a server that the kernel does
not list (of another network namespace) and whose process cannot be seen is not noticed before its
socket is removed: to ask it would be to connect to it. A chmod, and how full a backlog is, are no
changes.

With --json, one object a line: time (RFC 3339, UTC) and event, and the keys of
`unix-ss status --json`.
";

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// End after so long: a whole number and us, ms, s, m or h
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// What to watch
    #[arg(value_parser = any_path())]
    pub(crate) path: PathBuf,
}
