//! How others put a server at a path, and what that saves them.

use std::fs::remove_file;
use std::path::{Path, PathBuf};
use std::process::Command;

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, ListenerOptions};
use unix_stream_server::ServerSocket;

use super::calls::Raw;
use super::{close_server, on_each};
use crate::child;
use crate::harness::{Group, Pace, Result, timed};
use crate::report::Section;

const TEXT: &str = "
Creating a server socket on a free path by what programs use today; closing is not timed. Being faster than some of
them is not the point, since they do less: what each leaves undone stands beside it. The two that are other programs
(libwayland's in C, asyncio's in Python) time themselves.";
const NOTES: &str = "";

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let parts = on_each(pace, dirs, group)?;
    Ok(Section { id: "peers", title: "Create, beside others", text: TEXT.into(), parts, notes: NOTES.into() })
}

fn group(dir: &Path) -> Result<Group> {
    let path = |name: &str| dir.join(name);
    let (git, git_end) = (Raw::new(&path("git"))?, Raw::new(&path("git"))?);
    let ours = path("ours");
    let group = Group::new("create, beside others", 16)
        .add("library", timed(move || Ok(ServerSocket::create(&ours)?), close_server))
        .remark("library", "")
        .add("git's order", timed(move || git.git_order(), move |socket| git_end.git_close(socket)))
        .remark("git's order", "a killed holder's lock stops every later start; any error of connect() is taken for death; a full backlog hangs it; close is unlocked");
    let group = with_std(group, path("std"));
    let group = with_tokio(group, path("tokio"))?;
    let group = with_interprocess(group, path("interprocess"));
    with_asyncio(with_wayland(group, dir)?, dir)
}

fn with_std(group: Group, path: PathBuf) -> Group {
    let end = path.clone();
    let create = move || {
        let _ = remove_file(&path); // the usual line
        Ok(std::os::unix::net::UnixListener::bind(&path)?)
    };
    let close = move |listener| {
        drop(listener);
        Ok(remove_file(&end)?)
    };
    group.add("std, unlink before bind", timed(create, close)).remark(
        "std, unlink before bind",
        "deletes a live server's socket, or any file there; no lock; blind unlink at the end",
    )
}

fn with_tokio(group: Group, path: PathBuf) -> Result<Group> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let end = path.clone();
    let create = move || {
        let _inside = runtime.enter();
        let _ = remove_file(&path);
        Ok(tokio::net::UnixListener::bind(&path)?)
    };
    let close = move |listener| {
        drop(listener);
        Ok(remove_file(&end)?)
    };
    let name = "tokio, unlink before bind";
    Ok(group.add(name, timed(create, close)).remark(name, "the same; its time includes registration with the reactor"))
}

fn with_interprocess(group: Group, path: PathBuf) -> Group {
    let create = move || {
        let name = path.as_path().to_fs_name::<GenericFilePath>()?;
        Ok(ListenerOptions::new().name(name).create_sync()?)
    };
    let close = |listener| {
        drop(listener); // removes its file
        Ok(())
    };
    group
        .add("interprocess", timed(create, close))
        .remark("interprocess", "no lock; a dead server's socket stops it; blind unlink at the end")
}

/// Its sockets stand in XDG_RUNTIME_DIR.
fn with_wayland(group: Group, dir: &Path) -> Result<Group> {
    const NAME: &str = "libwayland's wl_display_add_socket";
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/wayland.c");
    let program = match child::compile(&source, "wayland-server", dir) {
        Ok(program) => program,
        Err(why) => return Ok(group.absent(NAME, why)),
    };
    let run = child::contestant(Command::new(program).env("XDG_RUNTIME_DIR", dir))?;
    Ok(group.add(NAME, run).remark(NAME, "unlinks whatever is at the path, without asking whether somebody who does not share its lock lives there; unlinks its lock file in a race"))
}

fn with_asyncio(group: Group, dir: &Path) -> Result<Group> {
    const NAME: &str = "Python's asyncio";
    let Some(python) = child::find("python3") else { return Ok(group.absent(NAME, "python3 is not installed")) };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/asyncio_server.py");
    let run = child::contestant(Command::new(python).arg(script).arg(dir.join("asyncio")))?;
    Ok(group.add(NAME, run).remark(NAME, "deletes any socket at the path, live or not; no lock"))
}
