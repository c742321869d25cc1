//! The command line of `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::values::any_path;

pub(super) const ABOUT: &str = "\
Says all that is wrong or risky about each PATH, whether or not a server is there: its length, the directories and \
symbolic links on the way to it, who may put something else in its place, who can connect, what stands there, locks and \
sockets that the dead have left, servers that have lost the path, cleaners of old files, the file system, and what cannot be \
seen from this container. Each finding comes with its remedy.

A server that has lost the path is found by the name that it was bound by: not one that was bound by a relative name (as other \
programs do), by another way through symbolic links, by a path over 107 bytes, or in another network namespace.

The directories are judged for the user whose server it is: whoever listens, as far as the kernel tells; else the owner of the \
socket; where there is none, you.

Changes nothing. As `status`, it asks the kernel for its lists, and connects only to a socket that is not on them: one of \
another network namespace, which the connection may start if it is an on-demand program, or a dead one.";

pub(super) const EXAMPLES: &str = "\
Examples:
  unix-ss doctor /run/me/echo
  unix-ss doctor --json /tmp/*.sock | jq -r 'select(.severity == \"error\") | .path + \": \" + .remedy'

A finding is an error (it does not work, or not for long), a warning (it works by luck, or others
can harm it), or a note (good to know).

With --json, one object a line for each finding: path (and path_hex if it is not UTF-8), severity
(error, warning, note), finding (its name, which is kept), about (the file that it is about), why,
remedy. Keys and findings are only ever added.

Exit status: 0 if there is no finding but notes; 1 if there is a warning or an error; 4 if what
stands at PATH could not be told. Of several, the highest.
";

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// What to examine
    #[arg(required = true, value_name = "PATH", value_parser = any_path())]
    pub(crate) paths: Vec<PathBuf>,
}
