//! A server's whole life, with nobody in it.

use std::path::{Path, PathBuf};

use unix_stream_server::ServerSocket;

use super::calls::Raw;
use super::{close_server, on_each};
use crate::harness::{Group, Pace, Result, whole};
use crate::report::Section;

const TEXT: &str = "
A server that is created and closed, beside git's 15 calls. git's close checks the name and then unlinks it, without the lock:
what has come between the two is deleted. `bare calls` are socket, bind, listen, unlink and close.";
const NOTES: &str = "
The close takes the lock once more, and so makes and removes a second file. On tmpfs that is cheap; on ext4 a file is an inode
from the journal, and is nearly all of the difference. By leaving out calls of the same sequence in C, in parts of git's
(ext4, tmpfs): as it is 1.43, 1.23; without the lock 0.99, 0.91.

Tried, and left, since the name would be open to a theft:

- Without the lock: 0.99, 0.91. The simulated kernel finds a successor's live socket deleted after 31 steps.
- A second link of the socket's own file as the lock, which is a directory entry and no inode: 1.13, 1.09. It is recovered after a
  kill like any dead socket. But a server whose listener somebody else has shut, who has a copy of it, looks dead while it
  closes: its lock is taken from it, and the name under its hands.
- The name itself renamed to the lock's name: 1.11, 1.06. If a successor's socket is there by then, it is away for a moment, and
  for good if the closing server is killed just then.
- flock on the directory instead of a file: anybody who may read the directory can hold it.
- `O_TMPFILE` and link: an inode all the same, and one more call.";

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let parts = on_each(pace, dirs, group)?;
    Ok(Section { id: "close", title: "Create and close", text: TEXT.into(), parts, notes: NOTES.into() })
}

fn group(dir: &Path) -> Result<Group> {
    let (bare, git) = (Raw::new(&dir.join("bare"))?, Raw::new(&dir.join("git"))?);
    let ours = dir.join("ours");
    Ok(Group::new("create and close", 16)
        .add("git's order", whole(move || git.git_close(git.git_order()?)))
        .add("bare calls", whole(move || bare.close(bare.bare()?)))
        .add("library", whole(move || close_server(ServerSocket::create(&ours)?)))
        .target("library", "git's order", 1.25))
}
