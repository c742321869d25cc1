//! A server socket at a path that is free.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use unix_stream_server::ServerSocket;

use super::calls::Raw;
use super::{close_server, on_each};
use crate::c;
use crate::harness::{Group, Pace, Result, timed};
use crate::machine::file_system;
use crate::report::Section;

const TEXT: &str = "
From nothing to a socket that listens at its path; closing it is not timed. `limit` is what no lock file can be cheaper
than: socket, bind, listen, between an `O_EXCL` file that is made and one that is removed. `limit, again` is the same
once more: what its ratio is off 1 is noise. `git's order` is the calls that git's unix-stream-server makes. Both get
their addresses ready made, check nothing, and are as unsafe as they look. `library` makes the socket with mode 0600 as
the default is, for one fchmod; `C library` leaves the mode
to the umask, as the other contestants do, but has a `struct stat` to fill, for one statx.";

const NOTES: &str = "
Where the time goes that `limit` does not need, by leaving out one call at a time of the same sequence in C (tmpfs, in
parts of `limit`; on ext4 a file costs twice as much and the rest the same, so the parts are half):

- 0.12: the lstat of the path before anything else, at which a start that finds a live server ends without a lock. It costs more
  than another lstat because nothing is there: the kernel makes a directory entry for the answer.
- 0.12: the directory, opened once for all that comes after, and flock.
- 0.14: what was made, and where: an fstatat for the socket's inode, and an lstat of the lock by its path.
- 0.07: fchmod, so that the socket is born with its mode; not in C.
- 0.04: fstat of the lock, which tells whether another start has taken it for a dead one's just before our flock.
- 0.05: memory and names.

Tried, and kept: one look at the lock by its path for two questions, does the path lead to our directory and is the lock still
ours (two calls before); the process's id from a page that a fork wipes (one call); names joined in one allocation each (7,600
instructions for a create and close, now 4,800). Together 1.65 became 1.50 on tmpfs.

Tried, and left: the same without the first look is at 1.38, but then each start that finds a live server makes a lock, and
256 of them queue for it: the answer that a path is in use would take 4.5 times as long as a connection instead of 1.4 times. A
readlink, a faccessat or an fstatat in the open directory for that look: no difference. No fstat of the lock: a start that
is late for its flock would bind without holding it. Binding through the directory's descriptor, which would make the second
look at the path needless: the walk through /proc costs twice what the look does.";

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let parts = on_each(pace, dirs, group)?;
    Ok(Section { id: "create", title: "Create on a free path", text: TEXT.into(), parts, notes: NOTES.into() })
}

fn group(dir: &Path) -> Result<Group> {
    // A file costs less there, and so the calls that make none weigh more.
    let is_tmpfs = file_system(dir)? == "tmpfs";
    let raw = |name: &str| Raw::new(&dir.join(name));
    let limit = |name: &str| -> Result<_> {
        let (start, end) = (raw(name)?, raw(name)?);
        Ok(timed(move || start.limit(), move |socket| end.close(socket)))
    };
    let (git, git_end) = (raw("git")?, raw("git")?);
    let ours = dir.join("ours");
    let by_c = CString::new(dir.join("c").as_os_str().as_bytes())?;
    Ok(Group::new("create on a free path", 16)
        .add("limit", limit("limit")?)
        .add("limit, again", limit("again")?)
        .add("git's order", timed(move || git.git_order(), move |socket| git_end.git_close(socket)))
        .add("library", timed(move || Ok(ServerSocket::create(&ours)?), close_server))
        .add("C library", timed(move || c::create(&by_c), free))
        .and_relative_to("git's order")
        .target("library", "limit", if is_tmpfs { 1.25 } else { 1.15 })
        .target("C library", "limit", if is_tmpfs { 1.25 } else { 1.15 }))
}

fn free(server: c::Server) -> Result<()> {
    drop(server);
    Ok(())
}
