//! What a server and its clients do all day: a connection, and the question whether the path is still ours.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, open, statat};
use unix_stream_server::{ServerSocket, connect};

use super::calls::Raw;
use super::on_each;
use crate::harness::{Group, Pace, Result, whole};
use crate::report::Section;

const TEXT: &str = "
`was_stolen` beside one lstat(2) of the path, which is how one would ask by hand; and a connection through the library
beside one through std.";
const NOTES: &str = "
`was_stolen` is one fstatat(2) in the directory that is open already, and compares what the kernel says with what is
remembered: it saves the walk along the path. Every line of the first table has two states on a virtual machine, a quarter apart, and
a run may end with one line in either: over several runs on two machines the ratio of the third was 0.55 to 1.26, 0.92 to 1.16 in
the quietest. `connect` and `accept` add no system call to std's; a path that does not
fit an address is what they are for.";

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let mut parts = on_each(pace, dirs, was_stolen)?;
    parts.extend(on_each(pace, dirs, connect_and_accept)?);
    Ok(Section { id: "live", title: "While it lives", text: TEXT.into(), parts, notes: NOTES.into() })
}

fn was_stolen(dir: &Path) -> Result<Group> {
    let path = dir.join("ours");
    let server = ServerSocket::create(&path)?;
    let raw = Raw::new(&path)?;
    let dir = open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let look = move || {
        std::hint::black_box(statat(dir.as_fd(), c"ours", AtFlags::SYMLINK_NOFOLLOW)?);
        Ok(())
    };
    let ask = move || if server.was_stolen() { Err("nobody stole it".into()) } else { Ok(()) };
    Ok(Group::new("does the path still lead to us?", 256)
        .add("lstat of the path", whole(move || raw.lstat()))
        .add("lstat in its directory", whole(look))
        .add("library's was_stolen", whole(ask))
        .target("library's was_stolen", "lstat of the path", 1.05))
}

fn connect_and_accept(dir: &Path) -> Result<Group> {
    let (std_path, path) = (dir.join("std"), dir.join("ours"));
    let (listener, server) = (UnixListener::bind(&std_path)?, ServerSocket::create(&path)?);
    let by_std = move || {
        let client = UnixStream::connect(&std_path)?;
        drop((listener.accept()?, client));
        Ok(())
    };
    let by_library = move || {
        let client = connect(&path)?;
        drop((server.accept()?, client));
        Ok(())
    };
    Ok(Group::new("connect, accept, close both", 64)
        .add("std", whole(by_std))
        .add("library", whole(by_library))
        .target("library", "std", 1.01))
}
