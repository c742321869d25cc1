//! `unix-ss serve -- PROG` beside other servers that run a program for each client: connections, and memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use std::{fs, thread};

use crate::command::{Process, Superserver, ask, superservers};
use crate::harness::{Group, Pace, Result, Run};
use crate::report::{Part, Section, Table};

const TEXT: &str = "
Each server runs `/bin/echo hello` for each client; a client connects, reads to the end of file, and compares. The time is
that of one client, with four at a time and with one at a time, of which most is the kernel's, and the dynamic linker's, for
starting echo. In memory, Rss counts pages that are shared with every other process (the C library) and pages of the
program's file; Private is what would be free without this process.";
const NOTES: &str = include_str!("serve.md");

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(&dirs[0])?;
    let servers = superservers(pace)?;
    let mut parts = Vec::new();
    for (title, at_once, batch) in [("four clients at a time", 4, 100), ("one client at a time", 1, 50)] {
        let report = group(&servers, scratch.path(), title, at_once, batch)?.measure(pace)?;
        parts.push(Part::Timed { place: String::new(), report });
    }
    parts.push(Part::Counted(memory(&servers, scratch.path(), pace.choose(8, 200, 1000))?));
    Ok(Section {
        id: "serve",
        title: "serve: a program for each client",
        text: TEXT.into(),
        parts,
        notes: NOTES.into(),
    })
}

fn group(servers: &[Superserver], dir: &Path, title: &str, at_once: u32, batch: u32) -> Result<Group> {
    use std::time::Duration;
    let mut group = Group::new(title, batch).time(Duration::from_secs(3), Duration::from_secs(20));
    let ours = servers[0].name;
    for (number, server) in servers.iter().enumerate() {
        let path = dir.join(format!("{at_once}-{number}"));
        group = match server.is_there() {
            Err(why) => group.absent(server.name, why),
            Ok(_) => group.add(server.name, clients(server.serve(&path)?, path, at_once)),
        };
        // Those in whose way it is to be: with one at a time no server can be ahead by much, and no target is set.
        if number > 1 && at_once > 1 && server.is_there().is_ok() {
            group = group.target(ours, server.name, 1.0);
        }
    }
    Ok(group)
}

/// So many clients, from as many threads as are to be there at once.
fn clients(server: Process, path: PathBuf, at_once: u32) -> Run {
    Box::new(move |count| {
        let _alive = &server;
        let left = AtomicU32::new(count);
        let start = Instant::now();
        let take = |left: u32| left.checked_sub(1);
        let work = || -> Result<(), String> {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                ask(&path).map_err(|error| error.to_string())?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?)
        })?;
        Ok(start.elapsed())
    })
}

/// Of servers that nobody uses: as started, and after so many clients.
fn memory(servers: &[Superserver], dir: &Path, clients: u32) -> Result<Table> {
    let mut rows = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        let program = match server.is_there() {
            Ok(program) => program,
            Err(why) => {
                rows.push(vec![server.name.to_owned(), format!("not measured: {why}")]);
                continue;
            }
        };
        let path = dir.join(format!("memory-{number}"));
        let process = server.serve(&path)?;
        let before = Usage::of(process.0.id())?;
        for _ in 0..clients {
            ask(&path)?;
        }
        let after = Usage::of(process.0.id())?;
        let mut row = vec![server.name.to_owned()];
        row.extend(before.cells().into_iter().zip(after.cells()).map(|(before, after)| format!("{before}, {after}")));
        row.push(format!("{} KiB", fs::metadata(program)?.len() / 1024));
        rows.push(row);
    }
    let head = ["", "Rss, KiB", "Pss", "Private", "Private, dirty", "file"].map(str::to_owned).to_vec();
    Ok(Table {
        title: format!("memory of the idle server: after its first client, and after {clients} more"),
        head,
        rows,
    })
}

/// KiB, as /proc/PID/smaps_rollup counts them.
struct Usage {
    rss: u64,
    pss: u64,
    private_clean: u64,
    private_dirty: u64,
}

impl Usage {
    fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let of = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("smaps_rollup lacks a line")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        let (private_clean, private_dirty) = (of("Private_Clean:")?, of("Private_Dirty:")?);
        Ok(Usage { rss: of("Rss:")?, pss: of("Pss:")?, private_clean, private_dirty })
    }

    fn cells(&self) -> [String; 4] {
        [self.rss, self.pss, self.private_clean + self.private_dirty, self.private_dirty].map(|kib| kib.to_string())
    }
}
