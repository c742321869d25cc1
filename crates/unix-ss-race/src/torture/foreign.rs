//! Files that are nobody's here, at the path or at its lock: they must stay as they are.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

const DATA: &[u8] = b"somebody's data";

/// One of them, standing.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) path: PathBuf,
    seen: Seen,
}

/// All that its owner may count on.
type Seen = (u64, u64, u32, u64, i64, i64, Vec<u8>);

impl Foreign {
    /// Puts one of the kinds at the path; an error if something is there.
    pub(super) fn plant(path: &Path, random: &mut fastrand::Rng) -> io::Result<Foreign> {
        let file =
            |mode, data: &[u8]| OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(data);
        match random.u8(..7) {
            0 => file(0o644, DATA)?,
            1 => file(0o600, b"")?, // as git's lock
            2 => file(0o400, b"")?,
            3 => fs::DirBuilder::new().mode(0o700).create(path)?,
            4 => symlink("nowhere", path)?,
            5 => symlink("/", path)?,
            _ => mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o400), 0)?,
        }
        Ok(Foreign { path: path.to_owned(), seen: look(path)? })
    }

    /// Is it still there as it was?
    pub(super) fn is_unharmed(&self) -> bool {
        look(&self.path).is_ok_and(|now| now == self.seen)
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
    Ok((node.dev(), node.ino(), node.mode(), node.nlink(), node.ctime(), node.ctime_nsec(), content))
}
