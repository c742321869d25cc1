//! A server's whole life, with nobody in it.

use std::path::{Path, PathBuf};

use unix_stream_server::ServerSocket;

use super::calls::Raw;
use super::{close_server, on_each};
use crate::harness::{Group, Pace, Result, whole};
use crate::report::Section;

const TEXT: &str = "";
const NOTES: &str = "";

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
