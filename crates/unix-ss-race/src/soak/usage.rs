//! What a process has, as /proc tells.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::heap;

/// At one moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: u64,
    /// `RssAnon`: memory in RAM that is of no file, in KiB.
    pub anonymous_kib: u64,
    /// Bytes allocated and not freed, where the process counts them itself.
    pub heap: Option<u64>,
}

impl Usage {
    /// Ours, with the heap. The descriptor by which it is looked is among them, each time.
    pub(super) fn here() -> io::Result<Usage> {
        let heap = heap::live();
        Ok(Usage { heap, ..Usage::of("self")? })
    }

    pub(super) fn of(pid: &str) -> io::Result<Usage> {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let anonymous = field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "RssAnon:");
        let anonymous_kib = anonymous.ok_or_else(|| io::Error::other("/proc does not tell RssAnon"))?;
        Ok(Usage { descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX), anonymous_kib, heap: None })
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The children of a process: their pids, and whether each is a zombie.
pub(super) fn children(parent: u32) -> io::Result<Vec<(u32, bool)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue }; // gone meanwhile
        // Behind the name, which may have anything in it: the state, and the parent.
        let mut words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (state, of) = (words.next(), words.next());
        if of.and_then(|of| of.parse().ok()) == Some(parent) {
            children.push((pid, state == Some("Z")));
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_descriptors_its_memory_and_its_children() {
        let now = Usage::here().expect("/proc");
        assert!(now.descriptors > 0 && now.anonymous_kib > 0);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let is_there = children(std::process::id()).expect("/proc").contains(&(child.id(), false));
        child.kill().expect("it is alive");
        let mut tries = 0;
        while !children(std::process::id()).expect("/proc").contains(&(child.id(), true)) && tries < 10_000 {
            std::thread::sleep(std::time::Duration::from_millis(1));
            tries += 1;
        }
        child.wait().expect("a child");
        assert!(is_there && tries < 10_000);
    }
}
