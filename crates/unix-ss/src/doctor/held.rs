//! Who holds the flock of a file.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, major, minor, open};
use rustix::io::Errno;

/// Somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The process, where the kernel tells.
    pub(super) pid: Option<u32>,
}

/// Links are not followed. `None`: nobody, as far as can be seen.
pub(super) fn holder(path: &Path) -> Option<Holder> {
    let data = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    for _ in 0..READS {
        let list = locks().ok()?;
        let found = find(&list, (major(data.dev()), minor(data.dev())), data.ino());
        if found.is_some() || list.len() < PAGE {
            return found;
        }
    }
    None
}

/// What is longer than a page comes in pieces, between which the list may shift and an entry fall through.
const PAGE: usize = 4096;
const READS: usize = 8;

/// Reads as long as the kernel gives pieces: std begins with a few bytes, and then even a short list may shift.
fn locks() -> std::io::Result<String> {
    let (mut file, mut list, mut piece) = (File::open("/proc/locks")?, Vec::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(String::from_utf8_lossy(&list).into_owned()),
            Ok(read) => list.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// `1: FLOCK  ADVISORY  WRITE 1234 08:02:12345 0 EOF` (proc_locks(5)).
fn find(list: &str, dev: (u32, u32), ino: u64) -> Option<Holder> {
    let file = format!("{:02x}:{:02x}:{ino}", dev.0, dev.1);
    let mut lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&file.as_str()))?;
    let pid = line.get(4).and_then(|pid| pid.parse().ok()).filter(|&pid| pid != 0);
    Some(Holder { pid })
}

/// The same where the kernel's list may lack it, by trying it: shared, and given back at once. Not for our own locks, whose
/// starters might meet it.
pub(super) fn tried_holder(path: &Path) -> Option<Holder> {
    holder(path).or_else(|| is_locked(path).then_some(Holder { pid: None }))
}

fn is_locked(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty());
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_found_by_device_and_inode() {
        let list = "1: POSIX  ADVISORY  WRITE 7 08:02:55 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 08:02:55 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 9 08:02:56 0 EOF\n3: FLOCK  ADVISORY  WRITE 0 00:1b:55 0 EOF\n";
        assert_eq!(find(list, (8, 2), 55), Some(Holder { pid: Some(8) }));
        assert_eq!(find(list, (8, 2), 56), None, "it only waits");
        assert_eq!(find(list, (0, 27), 55), Some(Holder { pid: None }), "of another pid namespace");
        assert_eq!(find("FLOCK\n\n", (8, 2), 55), None);
    }
}
