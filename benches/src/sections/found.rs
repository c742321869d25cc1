//! A start where somebody was before: a dead server, or a live one.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use unix_stream_server::ServerSocket;

use super::calls::Raw;
use super::{close_server, on_each};
use crate::harness::{Group, Pace, Result, timed};
use crate::report::Section;

const TEXT: &str = "
`create`, by what a killed server left behind, beside one on a free path; closing is not timed.
And the answer that a path is in use, beside the calls that any answer takes: a connection made and closed.";
const NOTES: &str = "
Over a dead socket: the server there is asked twice, once without the lock, so that a live one is known at once, and once
under it, through a descriptor that holds just that file, since only then may it be removed. Each question is a socket, a connect
and a close. A failing bind is saved: the first look has said that something is there. To ask again with the first question's
socket would save two calls more, but POSIX leaves a socket whose connect failed in an unspecified state.

In use: lstat, socket, connect, getsockopt (whose it is), close, and the words of the error. No lock is taken, and nothing is
changed: it is safe because a live server's name is nobody else's to take.";

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let mut parts = on_each(pace, dirs, over_the_dead)?;
    parts.extend(on_each(pace, dirs, in_use)?);
    Ok(Section {
        id: "found",
        title: "Over a dead server, beside a live one",
        text: TEXT.into(),
        parts,
        notes: NOTES.into(),
    })
}

fn over_the_dead(dir: &Path) -> Result<Group> {
    let free = dir.join("free");
    let (over, both) = (dir.join("over"), dir.join("both"));
    let dead = Raw::new(&over)?;
    let (dead_too, lock) = (Raw::new(&both)?, dir.join("both.lock"));
    let leave_dead = move |server| {
        close_server(server)?;
        drop(dead.bare()?);
        Ok(())
    };
    let leave_both = move |server| {
        close_server(server)?;
        drop(dead_too.bare()?);
        // The mark of ours, which a killed holder leaves behind.
        open(&lock, OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::from_raw_mode(0o1400))?;
        Ok(())
    };
    leave_dead(ServerSocket::create(&over)?)?;
    leave_both(ServerSocket::create(&both)?)?;
    Ok(Group::new("create, by what is at the path", 16)
        .add("nothing", timed(move || Ok(ServerSocket::create(&free)?), close_server))
        .add("a dead socket", timed(move || Ok(ServerSocket::create(&over)?), leave_dead))
        .add("a dead socket and a killed holder's lock", timed(move || Ok(ServerSocket::create(&both)?), leave_both))
        .target("a dead socket", "nothing", 2.0)
        .target("a dead socket and a killed holder's lock", "nothing", 2.2))
}

fn in_use(dir: &Path) -> Result<Group> {
    // Every attempt leaves a connection that has ended in the queue: taken out again while the clock stands.
    let (bare, ours) = (dir.join("bare"), dir.join("ours"));
    let (bare_server, our_server) = (ServerSocket::create(&bare)?, ServerSocket::create(&ours)?);
    let bare = Raw::new(&bare)?;
    let ask = move || match ServerSocket::create(&ours) {
        Err(error) if error.is_in_use() => Ok(error),
        Err(error) => Err(error.into()),
        Ok(_) => Err("a live server was replaced".into()),
    };
    let take = |server: ServerSocket| move || server.accept().map(drop);
    let (take_bare, take_ours) = (take(bare_server), take(our_server));
    Ok(Group::new("the answer that a path is in use", 64)
        .add("socket, connect, close", timed(move || bare.connect().map(drop), move |()| Ok(take_bare()?)))
        .add("library's create", timed(ask, move |_| Ok(take_ours()?)))
        .target("library's create", "socket, connect, close", 2.0))
}
