//! A start in a directory where thousands of sockets stand already.

use std::path::{Path, PathBuf};
use std::time::Duration;

use unix_stream_server::ServerSocket;

use super::calls::Raw;
use super::close_server;
use crate::harness::{Group, Pace, Result, timed};
use crate::machine::{file_system, raise_descriptor_limit};
use crate::report::{Part, Section};

const TEXT: &str = "
`create` on a free path in a directory with so many other sockets in it; closing is not timed. The cost is meant to grow
by less than a third from 1,000 of them to 50,000. `bare calls` are socket, bind and listen: what the file system itself
takes more for a name in a full directory. ";

const NOTES: &str = "
Nothing in the library reads a directory: a start makes, finds and removes names of its own, three changes of the
directory where the bare calls make one. On tmpfs these cost the same however full it is. On ext4 the first step is the
dear one, from a directory that is a single block to one with a hash tree: by that the cost in an empty directory is
exceeded by more than a third, but that of the bare calls grows by more still; from there on it hardly grows at all.";

/// Beside the live servers: standard streams, what is timed, and whatever the harness has open.
const OTHER_DESCRIPTORS: u64 = 64;
/// A server's: the listener and the directory.
const DESCRIPTORS: u64 = 2;
const LIMIT: f64 = 1.33;

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let sizes: &[usize] = pace.choose(&[10, 500], &[1_000, 10_000], &[1_000, 10_000, 50_000]);
    let room = raise_descriptor_limit()?.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS;
    let each = usize::try_from(room)? / sizes.len();
    let mut parts = Vec::new();
    for dir in dirs {
        let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(dir)?;
        let mut servers = Vec::new(); // they live until all is measured
        for &size in sizes {
            servers.extend(fill(&place(scratch.path(), size)?, size, each.min(size))?);
        }
        let report = group(scratch.path(), sizes)?.measure(pace)?;
        parts.push(Part::Timed { place: file_system(dir)?, report });
        servers.into_iter().try_for_each(close_server)?;
        scratch.close()?;
    }
    let live: Vec<String> = sizes.iter().map(|&size| format!("{} of {size}", each.min(size))).collect();
    let text = format!(
        "{TEXT}Of the sockets {} were those of live servers, as many as the limit of descriptors lets one process have, and the \
         others of servers that had ended.",
        live.join(", ")
    );
    Ok(Section { id: "scale", title: "Many sockets in a directory", text, parts, notes: NOTES.into() })
}

/// The directory for so many.
fn place(scratch: &Path, size: usize) -> Result<PathBuf> {
    let dir = scratch.join(size.to_string());
    std::fs::create_dir(&dir)?;
    Ok(dir)
}

/// So many sockets, the live ones spread among those of the dead.
fn fill(dir: &Path, size: usize, live: usize) -> Result<Vec<ServerSocket>> {
    let mut servers = Vec::new();
    for number in 0..size {
        let path = dir.join(format!("server-{number:05}"));
        if number * live / size < (number + 1) * live / size {
            servers.push(ServerSocket::create(&path)?);
        } else {
            drop(Raw::new(&path)?.bare()?);
        }
    }
    Ok(servers)
}

fn group(scratch: &Path, sizes: &[usize]) -> Result<Group> {
    let empty = place(scratch, 0)?;
    let mut dirs = vec![("empty".to_owned(), empty)];
    dirs.extend(sizes.iter().map(|&size| (size.to_string(), scratch.join(size.to_string()))));
    let first = format!("library, {}", sizes[0]);
    let mut group = Group::new("create in a directory, by its sockets", 16)
        .time(Duration::from_millis(500), Duration::from_secs(6))
        .and_relative_to(&first)
        .and_relative_to("bare calls, empty");
    for (name, dir) in &dirs {
        let ours = dir.join("ours");
        let library = format!("library, {name}");
        group = group.add(&library, timed(move || Ok(ServerSocket::create(&ours)?), close_server));
        if *dir != dirs[0].1 && library != first {
            group = group.target(&library, &first, LIMIT);
        }
    }
    for (name, dir) in &dirs {
        let (bare, end) = (Raw::new(&dir.join("bare"))?, Raw::new(&dir.join("bare"))?);
        group = group.add(format!("bare calls, {name}"), timed(move || bare.bare(), move |socket| end.close(socket)));
    }
    Ok(group)
}
