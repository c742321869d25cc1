//! The files of the simulated kernel.

use std::hash::{Hash, Hasher};

use super::calls::FdNumber;
use super::kernel::Pid;
use super::process::FDS;
use crate::FileKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Ours,
    Git(Pid),
    /// It was there before, and is nobody's to remove unless it is a dead socket or a dead mark.
    Before,
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) kind: FileKind,
    pub(super) mode: u16,
    pub(super) size: u8,
    pub(super) links: u8,
    pub(super) uid: u8,
    pub(super) origin: Origin,
    pub(super) flock: Option<(Pid, FdNumber)>,
}

// What a state is hashed by: everything, packed into a word.

impl Hash for Inode {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let origin = match self.origin {
            Origin::Ours => 0,
            Origin::Before => 1,
            Origin::Foreign => 2,
            Origin::Git(party) => 3 + u64::from(party),
        };
        let flock = self.flock.map_or(0, |(party, fd)| 1 + u64::from(party) * FDS as u64 + u64::from(fd));
        hasher.write_u64(
            self.kind as u64
                | u64::from(self.mode) << 8
                | u64::from(self.size) << 24
                | u64::from(self.links) << 32
                | u64::from(self.uid) << 40
                | origin << 48
                | flock << 56,
        );
    }
}
