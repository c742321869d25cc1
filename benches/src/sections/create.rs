//! A server socket at a path that is free.

use std::path::{Path, PathBuf};

use unix_stream_server::ServerSocket;

use super::calls::Raw;
use super::{close_server, on_each};
use crate::harness::{Group, Pace, Result, timed};
use crate::report::Section;

const TEXT: &str = "
From nothing to a socket that listens at its path; closing it is not timed. `limit` is what no lock file can be cheaper
than: socket, bind, listen, between an `O_EXCL` file that is made and one that is removed. `limit, again` is the same
once more: what its ratio is off 1 is noise. `git's order` is the calls that git's unix-stream-server makes. Both get
their addresses ready made, check nothing, and are as unsafe as they look. `library` makes the socket with mode 0600 as
the default is; `library, umask's mode` leaves that to the umask, as the other contestants do.";

const NOTES: &str = "";

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let parts = on_each(pace, dirs, group)?;
    Ok(Section { id: "create", title: "Create on a free path", text: TEXT.into(), parts, notes: NOTES.into() })
}

fn group(dir: &Path) -> Result<Group> {
    let raw = |name: &str| Raw::new(&dir.join(name));
    let limit = |name: &str| -> Result<_> {
        let (start, end) = (raw(name)?, raw(name)?);
        Ok(timed(move || start.limit(), move |socket| end.close(socket)))
    };
    let (git, git_end) = (raw("git")?, raw("git")?);
    let (ours, by_umask) = (dir.join("ours"), dir.join("umask"));
    let builder = ServerSocket::builder().mode_from_umask();
    Ok(Group::new("create on a free path", 16)
        .add("limit", limit("limit")?)
        .add("limit, again", limit("again")?)
        .add("git's order", timed(move || git.git_order(), move |socket| git_end.git_close(socket)))
        .add("library", timed(move || Ok(ServerSocket::create(&ours)?), close_server))
        .add("library, umask's mode", timed(move || Ok(builder.create(&by_umask)?), close_server))
        .and_relative_to("git's order"))
}
