//! What a server has: descriptors and memory, counted.

use std::fs;
use std::path::{Path, PathBuf};

use unix_ss_race::heap;
use unix_stream_server::{LockScope, ServerSocket};

use crate::harness::{Pace, Result};
use crate::machine::raise_descriptor_limit;
use crate::report::{Part, Section, Table};

const TEXT: &str = "
What a value of each type has open, as /proc/self/fd shows it before and after, and how many bytes: its own size and what
it has allocated, counted by the program's allocator; of each there are 30. The path is in it a few times over; the last
column is without that, found by means of paths of two lengths. What the kernel keeps is not in it.";

const NOTES: &str = "
The two of a server are the listener and its directory, by which its name is looked at and removed, whatever becomes of the
path above it. A life lock is its file. Parted from its listener, a server pins the socket's inode.

A watch does not make do with one. It had five: epoll, timer, inotify, and a directory and a pin of its own. The latter two
it now shares with the server, but for the pin of a server that has none yet, since a server pins its inode by the listener,
which a watch outlives. What was found for the other three:

- *No timer until it is needed.* It is needed where the system does not tell (a directory that may not be read, a status that
  is unknown for a while). If no descriptor is to be had in that moment, the watch is deaf from then on, and nobody hears of
  it. So it is made when that is still an error that can be told.
- *inotify's descriptor for that of the watch, without epoll.* The same cases again: an event loop waits for the one
  descriptor that it was given, and behind that must be both the events and the clock.
- *No pin, since inotify keeps the inode as well.* Only until its last name is gone: then the number is free for the next
  file, of which the watch learns in an event, which the queue's overflow may swallow. A thief would be taken for ours.";

/// So many of each.
const NUMBER: usize = 30;
/// Bytes, besides the path.
const MEMORY: i64 = 1024;

/// Whose, how many descriptors it is meant to have, and has by its documentation.
const ALL: [(&str, i64, i64); 5] = [
    ("a ServerSocket, with its listener", 2, 2),
    ("a life lock, beside that", 1, 1),
    ("an Ownership and its listener, beside that", 1, 1),
    ("a Watch of a ServerSocket", 1, 4),
    ("a Watch of an Ownership", 1, 3),
];

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    raise_descriptor_limit()?;
    // What is counted is the same everywhere.
    let dir = dirs.first().ok_or("no directory")?;
    let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(dir)?;
    let (short, long) = (count(scratch.path(), 8)?, count(scratch.path(), 40)?);
    let length = i64::try_from(path(scratch.path(), 8, 0).as_os_str().len())?;
    let mut is_small = true;
    let (mut rows, mut verdicts) = (Vec::new(), Vec::new());
    for ((what, meant, documented), (at_short, at_long)) in ALL.into_iter().zip(short.into_iter().zip(long)) {
        let Usage { descriptors, bytes } = at_short;
        let besides_path = bytes - (at_long.bytes - bytes) / (40 - 8) * length;
        is_small &= besides_path < MEMORY;
        if pace == Pace::Test && !(descriptors == documented && is_small) {
            return Err(format!("{what}: {descriptors} descriptors and {besides_path} bytes besides the path").into());
        }
        let counts = [descriptors, bytes, besides_path].map(|count| count.to_string());
        rows.push([&[what.to_owned()], &counts[..]].concat());
        let found = format!("{what}: descriptors: {descriptors}, meant to be {meant}");
        verdicts.push(Part::Verdict { found, is_met: descriptors <= meant });
    }
    let found = format!("all of them: bytes besides the path under {MEMORY}");
    verdicts.push(Part::Verdict { found, is_met: is_small });
    let head = ["", "descriptors", "bytes", "besides the path"].map(str::to_owned).to_vec();
    let title = format!("what it has [{NUMBER} of each]");
    let parts = std::iter::once(Part::Counted(Table { title, head, rows })).chain(verdicts).collect();
    Ok(Section { id: "per_server", title: "What a server has", text: TEXT.into(), parts, notes: NOTES.into() })
}

/// Of a name of this length.
fn path(dir: &Path, length: usize, number: usize) -> PathBuf {
    dir.join(format!("{number:0length$}"))
}

/// In the order of [`ALL`].
fn count(dir: &Path, length: usize) -> Result<[Usage; ALL.len()]> {
    let paths: Vec<PathBuf> = (0..NUMBER).map(|number| path(dir, length, number)).collect();
    let (mut servers, server) = made(paths.iter(), |path| Ok(ServerSocket::create(path)?))?;
    let (watches, watch) = made(servers.iter(), |server| Ok(server.watch()?))?;
    drop(watches);
    // Drained, so that where they stood is not given back while they are counted.
    let (parts, more) = made(servers.drain(..), |server| Ok(server.into_parts()?))?;
    let parted = Usage { bytes: more.bytes - i64::try_from(size_of::<ServerSocket>())?, ..more };
    let (watches, watch_of_parts) = made(parts.iter(), |(_, ownership)| Ok(ownership.watch()?))?;
    drop(watches);
    for (listener, ownership) in parts {
        ownership.close()?;
        drop(listener);
    }
    let builder = ServerSocket::builder().lock_scope(LockScope::Lifetime);
    let (servers, with_life) = made(paths.iter(), |path| Ok(builder.create(path)?))?;
    drop(servers);
    Ok([server, with_life.less(server), parted, watch, watch_of_parts])
}

#[derive(Clone, Copy)]
struct Usage {
    descriptors: i64,
    bytes: i64,
}

impl Usage {
    fn now() -> Result<Usage> {
        let bytes = heap::live().ok_or("the allocator does not count")?;
        // The descriptor by which it is looked is among them, each time.
        let descriptors = fs::read_dir("/proc/self/fd")?.count();
        Ok(Usage { descriptors: i64::try_from(descriptors)?, bytes: i64::try_from(bytes)? })
    }

    fn less(self, other: Usage) -> Usage {
        Usage { descriptors: self.descriptors - other.descriptors, bytes: self.bytes - other.bytes }
    }
}

/// All of them, and what one has more than what it was made from: descriptors, its own size, what it has allocated.
fn made<F, T>(from: impl ExactSizeIterator<Item = F>, make: impl Fn(F) -> Result<T>) -> Result<(Vec<T>, Usage)> {
    let number = i64::try_from(from.len())?;
    let mut all = Vec::with_capacity(from.len());
    let before = Usage::now()?;
    for from in from {
        all.push(make(from)?);
    }
    let Usage { descriptors, bytes } = Usage::now()?.less(before);
    if descriptors % number != 0 {
        return Err(format!("{descriptors} descriptors of {number} of them").into());
    }
    let size = i64::try_from(size_of::<T>())?;
    Ok((all, Usage { descriptors: descriptors / number, bytes: bytes / number + size }))
}
