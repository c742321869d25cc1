//! What is measured, one file a section.

mod calls;
mod close;
mod connect;
mod create;
mod found;
mod live;
mod peers;
mod per_server;
mod scale;
mod serve;
mod start;
mod starters;
mod take_over;
mod watch;

use std::path::PathBuf;

use unix_stream_server::ServerSocket;

use crate::harness::{Group, Pace, Result};
use crate::machine::file_system;
use crate::report::{Part, Section};

type Make = fn(Pace, &[PathBuf]) -> Result<Section>;

/// In the order of docs/performance.md.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("create", create::section),
    ("close", close::section),
    ("peers", peers::section),
    ("found", found::section),
    ("live", live::section),
    ("starters", starters::section),
    ("watch", watch::section),
    ("take_over", take_over::section),
    ("scale", scale::section),
    ("per_server", per_server::section),
    ("serve", serve::section),
    ("start", start::section),
    ("connect", connect::section),
];

/// For the command line: an id, or what the ids are.
pub(crate) fn known(id: &str) -> Result<String, String> {
    let ids: Vec<&str> = ALL.iter().map(|(id, _)| *id).collect();
    if ids.contains(&id) { Ok(id.to_owned()) } else { Err(format!("the sections are {}", ids.join(", "))) }
}

/// The same group in a scratch directory on each file system.
fn on_each(pace: Pace, dirs: &[PathBuf], make: impl Fn(&std::path::Path) -> Result<Group>) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for dir in dirs {
        let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(dir)?;
        let report = make(scratch.path())?.measure(pace)?;
        parts.push(Part::Timed { place: file_system(dir)?, report });
    }
    Ok(parts)
}

fn close_server(server: ServerSocket) -> Result<()> {
    server.close()?;
    Ok(())
}
