//! Who holds the flock of a file.

use std::fs;
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
    let list = fs::read_to_string("/proc/locks").unwrap_or_default();
    find(&list, (major(data.dev()), minor(data.dev())), data.ino())
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
