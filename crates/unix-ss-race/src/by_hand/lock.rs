//! The lock of a recipe: none, a file's existence, or a flock, with or without a second look at the name.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, open, statat};
use rustix::io::Errno;

use super::{Refusal, beside};
use crate::recipe::{LockFile, Pauses};

/// The library's mark, so that careful recipes and the library know each other's locks.
const MARK: u32 = 0o1400;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) enum Lock {
    None,
    Existence(PathBuf),
    Flock { file: OwnedFd, path: PathBuf, second_look: bool },
}

impl Lock {
    pub(super) fn take(path: &Path, kind: LockFile, timeout: Duration) -> Result<Lock, Refusal> {
        let path = beside(path, ".lock");
        let end = Instant::now() + timeout;
        let pause = || {
            std::thread::sleep(Duration::from_micros(fastrand::u64(10..200)));
            if Instant::now() < end { Ok(()) } else { Err(Refusal::Locked) }
        };
        let make = |mode| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            open(&path, flags, Mode::from_raw_mode(mode))
        };
        match kind {
            LockFile::None => Ok(Lock::None),
            LockFile::Existence(pauses) => {
                for tries in 1_u32.. {
                    match make(0o600) {
                        Ok(_) => return Ok(Lock::Existence(path)),
                        Err(Errno::EXIST) if pauses == Pauses::Short => pause()?,
                        // It gives up only before a pause, so that it may last a pause longer than it was to.
                        Err(Errno::EXIST) if Instant::now() >= end => break,
                        Err(Errno::EXIST) => std::thread::sleep(quadratic(tries)),
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(Refusal::Locked)
            }
            LockFile::Flock { second_look } => loop {
                let file = match make(MARK) {
                    Err(Errno::EXIST) => {
                        open(&path, OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
                    }
                    result => result,
                };
                let file = match file {
                    Ok(file) => file,
                    Err(Errno::NOENT) => continue, // given back between the two calls
                    Err(Errno::LOOP | Errno::NXIO) => {
                        pause()?; // a link, a socket: not ours
                        continue;
                    }
                    Err(errno) => return Err(errno.into()),
                };
                let stat = fstat(&file)?;
                if stat.st_mode != 0o100_000 | MARK || stat.st_size != 0 {
                    pause()?; // another program's
                    continue;
                }
                while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                    pause()?;
                }
                let now = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
                if !second_look || now.is_ok_and(|now| (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino)) {
                    return Ok(Lock::Flock { file, path, second_look });
                }
            },
        }
    }
}

fn quadratic(tries: u32) -> Duration {
    let longest = Duration::from_secs(1);
    Duration::from_millis(1)
        .saturating_mul(tries.saturating_mul(tries))
        .min(longest)
        .mul_f64(0.75 + fastrand::f64() / 2.0)
}

impl Drop for Lock {
    fn drop(&mut self) {
        match self {
            Lock::None => {}
            Lock::Existence(path) => drop(fs::remove_file(path)),
            Lock::Flock { file, path, second_look } => {
                let still = || match (fstat(&*file), statat(CWD, &*path, AtFlags::SYMLINK_NOFOLLOW)) {
                    (Ok(ours), Ok(now)) => (ours.st_dev, ours.st_ino) == (now.st_dev, now.st_ino),
                    _ => false,
                };
                if !*second_look || still() {
                    let _ = fs::remove_file(path);
                }
            }
        }
    }
}
