//! The command line of `clean`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{any_path, duration};

pub(super) const ABOUT: &str = "\
Removes dead sockets, and what killed servers and starters left beside them: at each PATH, or in the directory that it is.

A socket goes if the kernel lists no open socket that is bound to it, it has not changed for a second, and, under its \
lock, connecting to it is refused on a file system where that is death. So a live server's socket never goes. The \
kernel lists the sockets of its network namespace; a server of another one is found alive by connecting to it, which it \
notices.

What also goes are PATH.lock, PATH.owner, PATH.start and temporary names, if they have our mark and nobody holds them. Everything \
else stays: other files, other programs' locks, symbolic links (they are not followed). Directories in a directory are \
entered only with --recursive, and not where another file system is mounted.

A directory that ends in a slash is one through a symbolic link too.";

pub(super) const EXAMPLES: &str = "\
Examples:
  unix-ss clean --dry-run --recursive /run/user/1000
  unix-ss clean /run/app/*.sock

One line for each thing removed, or left because it is younger than a second. With --json, one
object a line for each thing found: path (and path_hex if it is not UTF-8), kind (socket,
temporary, lock, life_lock, directory), outcome (removed, would_remove, in_use, young, mount_point,
failed), errno, error. What is not known is null.

Exit status: 0 if nothing dead is left (live servers, and sockets younger than a second, do not
count); 3 if a PATH is that of a live server, or a lock was not had; 4 if something could not be
told dead or alive, or a PATH is neither a socket nor a directory; 1 if something could not be
removed or read. Of several, the highest.
";

#[derive(Debug, Args)]
pub(crate) struct Clean {
    /// Remove nothing; say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Also the directories in a directory
    #[arg(long)]
    pub(crate) recursive: bool,

    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// How long to wait for each lock: a whole number and us, ms, s, m or h; 0: try once
    #[arg(long, value_name = "D", default_value = "0", value_parser = duration)]
    pub(crate) lock_timeout: Duration,

    /// What to clean
    #[arg(required = true, value_name = "PATH|DIR", value_parser = any_path())]
    pub(crate) paths: Vec<PathBuf>,
}
