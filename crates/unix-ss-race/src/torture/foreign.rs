//! Files that are nobody's here, at the path or at its lock: they must stay as they are.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

const DATA: &[u8] = b"somebody's data";

/// One of them.
#[derive(Debug)]
pub(super) struct Foreign {
    path: PathBuf,
    /// Nothing, if it was not what was made when it had been planted.
    seen: Option<Seen>,
}

/// All that its owner may count on, and the time of its last change.
type Seen = ((u64, u64, u32, u64, Vec<u8>), (i64, i64));

impl Foreign {
    /// Makes one of the kinds at a path that nobody else knows, so that it is known before anybody can harm it.
    pub(super) fn make(path: PathBuf, random: &mut fastrand::Rng) -> io::Result<Foreign> {
        let file =
            |mode, data: &[u8]| OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?.write_all(data);
        match random.u8(..7) {
            0 => file(0o644, DATA)?,
            1 => file(0o600, b"")?, // as git's lock
            2 => file(0o400, b"")?,
            3 => fs::DirBuilder::new().mode(0o700).create(&path)?,
            4 => symlink("nowhere", &path)?,
            5 => symlink("/", &path)?,
            _ => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o400), 0)?,
        }
        let seen = Some(look(&path)?);
        Ok(Foreign { path, seen })
    }

    /// Moves it to where others look; an error if something is there.
    pub(super) fn plant(&mut self, path: &Path) -> io::Result<()> {
        renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE)?;
        path.clone_into(&mut self.path);
        // The move changes the time.
        let made = self.seen.take();
        self.seen = look(path).ok().filter(|(now, _)| made.is_some_and(|(made, _)| made == *now));
        Ok(())
    }

    /// Is it still there as it was?
    pub(super) fn is_unharmed(&self) -> bool {
        self.seen.is_some() && look(&self.path).ok() == self.seen
    }

    /// Takes it away.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path).or_else(|_| fs::remove_dir(&self.path));
    }
}

fn look(path: &Path) -> io::Result<Seen> {
    let node = fs::symlink_metadata(path)?;
    let content = match node.file_type() {
        kind if kind.is_file() => fs::read(path)?,
        kind if kind.is_symlink() => fs::read_link(path)?.into_os_string().into_encoded_bytes(),
        _ => Vec::new(),
    };
    Ok(((node.dev(), node.ino(), node.mode(), node.nlink(), content), (node.ctime(), node.ctime_nsec())))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn harm_done_while_it_is_planted_is_noticed() {
        const ROUNDS: u32 = 300;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let end = Instant::now() + Duration::from_secs(60);
        let until = |is_true: &dyn Fn() -> bool| {
            while !is_true() {
                assert!(Instant::now() < end, "it took too long");
                std::hint::spin_loop();
            }
        };
        let remove = || fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).is_ok();
        let mut random = fastrand::Rng::with_seed(1);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..ROUNDS).for_each(|_| until(&remove)));
            for _ in 0..ROUNDS {
                let mut foreign = Foreign::make(dir.path().join("new"), &mut random).expect("a file");
                foreign.plant(&path).expect("nothing is there");
                until(&|| path.symlink_metadata().is_err());
                assert!(!foreign.is_unharmed());
            }
        });
    }
}
