//! What is the same on every platform.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use rustix::fs::{self as sysfs, FileType};
use rustix::io::Errno;

use super::{FileId, Stat};
use crate::FileKind;

/// Calls that a signal can interrupt are tried again this often, so that no storm of signals can hold us for ever.
const INTERRUPTIONS: usize = 1_000;

pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..INTERRUPTIONS {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::INTR)
}

/// A random time of at most `most` and at least half of it.
pub(super) fn jitter(most: Duration) -> Duration {
    // A fresh RandomState has fresh random keys: jitter without a dependency or shared state.
    let chance = RandomState::new().build_hasher().finish();
    let half = most / 2;
    let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
    half + Duration::from_nanos(chance % span)
}

impl From<&sysfs::Stat> for Stat {
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        reason = "the widths of struct stat differ between the platforms; sizes and nanoseconds are never negative"
    )]
    fn from(stat: &sysfs::Stat) -> Self {
        Stat {
            id: FileId {
                dev: stat.st_dev as u64,
                ino: stat.st_ino as u64,
                #[cfg(not(any(target_os = "linux", target_os = "android")))]
                born: super::platform::born(stat),
            },
            kind: kind(FileType::from_raw_mode(stat.st_mode as _)),
            mode: stat.st_mode as u32 & 0o7777,
            links: stat.st_nlink as u64,
            size: stat.st_size as u64,
            uid: stat.st_uid,
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }
}

fn kind(kind: FileType) -> FileKind {
    match kind {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharacterDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => FileKind::Unknown,
    }
}
