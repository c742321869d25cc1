//! What is known of the path before it is judged.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use unix_stream_server::{
    CleanEvent, CleanOptions, Error, ErrorKind, FileKind, Inspection, Leftover, Outcome, PathState, inspect,
};

use super::length::NAME_MAX;
use super::rights::{PASS, Rights, WRITE, Who};
use super::shell::quote;

/// On a socket's file: a successor may take the path over.
const REPLACEABLE: u32 = 0o1000;

/// What a dry run of `clean` says.
#[derive(Default)]
pub(super) struct Swept {
    pub(super) found: Vec<Found>,
    /// `clean` would not touch the socket, and what stands there is somebody's.
    pub(super) in_use: bool,
}

/// Something that the dead have left, or that somebody uses.
#[derive(PartialEq, Eq)]
pub(super) struct Found {
    /// From the root on.
    pub(super) path: PathBuf,
    pub(super) what: Leftover,
    /// The dead have left it, for `clean` to remove if its user may; else it is in use.
    pub(super) is_left: bool,
}

impl Swept {
    fn of(home: &Path, inspection: &Inspection) -> Self {
        let mut swept = Swept::default();
        // A directory would be looked through, and is no socket anyway.
        let is_directory = inspection.state == PathState::NotASocket { kind: FileKind::Directory };
        // One that the kernel does not list would be asked a second time, and be started by that if it is one on demand.
        let was_asked = matches!(inspection.state, PathState::Live { .. }) && inspection.listener_uid.is_none();
        if is_directory || was_asked {
            return swept;
        }
        let ran = CleanOptions::new().dry_run(true).run(home, |event| {
            let CleanEvent::Found { path, what, outcome } = event else { return };
            let is_left = match outcome {
                Outcome::WouldRemove => true,
                // It would be refused to us, and only to us.
                Outcome::Failed(error) if is_permission(&error) => true,
                Outcome::InUse => false,
                _ => return,
            };
            swept.found.push(Found { path: path.to_owned(), what, is_left });
        });
        // Any other error concerns the path itself, of which the others tell.
        swept.in_use = ran.is_err_and(|error| error.is_in_use());
        swept
    }
}

/// Of a lock or a removal, not of a question that could not be asked.
fn is_permission(error: &Error) -> bool {
    let errno = io::Error::from_raw_os_error(error.raw_os_error()).kind();
    matches!(error.kind(), ErrorKind::Locked | ErrorKind::System)
        && matches!(errno, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// The path, and what stands there.
pub(super) struct Patient {
    /// As it was given.
    pub(super) given: PathBuf,
    /// The same, from the root on, links not followed.
    pub(super) path: PathBuf,
    /// Where a server of that name would be: the same, or what a symbolic link at the end leads to.
    pub(super) home: PathBuf,
    pub(super) inspection: Inspection,
    /// What `clean` would say of it.
    pub(super) swept: Swept,
    /// Of the socket's file, where there is one; links followed, as a client would.
    pub(super) socket: Option<Metadata>,
    /// Whose server it is, or is to be: whoever listens, as far as the kernel tells, or the owner of the socket, or ours.
    pub(super) server: u32,
    /// The number that stands for every owner who has none in this user namespace; `None` where all have one.
    unmapped: Option<u32>,
}

impl Patient {
    /// An error for a path that can name no socket.
    pub(super) fn new(given: &Path) -> Result<Self, Error> {
        let inspection = inspect(given)?;
        let path = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
        let parent = path.parent().unwrap_or(Path::new("/"));
        let home = inspection.target.as_ref().map_or_else(|| path.clone(), |target| parent.join(target));
        let swept = Swept::of(&home, &inspection);
        let socket = std::fs::metadata(given).ok().filter(|data| data.file_type().is_socket());
        let owner = socket.as_ref().map_or(geteuid().as_raw(), MetadataExt::uid);
        let server = inspection.listener_uid.unwrap_or(owner);
        Ok(Patient { given: given.to_owned(), path, home, inspection, swept, socket, server, unmapped: unmapped() })
    }

    /// Whose this is cannot be told.
    pub(super) fn is_unknown(&self, owner: u32) -> bool {
        self.unmapped == Some(owner)
    }

    /// Neither root's nor the server's, as far as can be told.
    pub(super) fn is_another(&self, owner: u32) -> bool {
        ![0, self.server].contains(&owner) && !self.is_unknown(owner)
    }

    /// Can the server's user open this one's lock, to take it over?
    pub(super) fn may_open(&self, owner: u32) -> bool {
        self.server == 0 || self.server == owner
    }

    /// May this user make and remove names where the path is, as far as can be told?
    pub(super) fn lets(&self, user: u32) -> bool {
        let directory = self.directory();
        let rights = std::fs::metadata(directory).map(|data| Rights::of(directory, &data));
        rights.is_ok_and(|rights| rights.lets(Who::User(user), WRITE | PASS))
    }

    /// Who has the listening socket open, where a process of another user than that who made it can be seen.
    pub(super) fn heir(&self) -> Option<u32> {
        match self.inspection.state {
            PathState::Live { peer: Some(peer) } if peer.uid != self.server => Some(peer.uid),
            _ => None,
        }
    }

    /// The directory in which a server of that name would be.
    pub(super) fn directory(&self) -> &Path {
        self.home.parent().unwrap_or(Path::new("/"))
    }

    /// The name that the library makes from the server's: with the suffix, and of one that would be too long by its hash.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        if let Some(name) = self.home.file_name().filter(|name| name.len() + suffix.len() > NAME_MAX) {
            return self.home.with_file_name(hashed(name, suffix));
        }
        let mut name = self.home.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    /// The name that a socket has before it gets the path.
    pub(super) fn temporary(&self) -> PathBuf {
        self.home.with_file_name(hashed(self.home.file_name().unwrap_or_default(), ".new"))
    }

    /// The lock's file.
    pub(super) fn lock(&self) -> PathBuf {
        let is_start = |found: &&Found| found.path.extension().is_some_and(|extension| extension == "start");
        let mut locks = self.swept.found.iter().filter(|found| found.what == Leftover::Lock && !is_start(found));
        locks.next().map_or_else(|| self.beside(".lock"), |found| found.path.clone())
    }

    /// The command that removes what the dead have left here.
    pub(super) fn clean(&self) -> String {
        format!("unix-ss clean {}", quote(&self.home))
    }

    /// Nobody listens, and `clean` leaves the socket alone because of its life lock.
    pub(super) fn is_kept_by_life_lock(&self) -> bool {
        self.inspection.state == PathState::Dead && self.swept.in_use && self.beside(".owner").exists()
    }

    pub(super) fn is_replaceable(&self) -> bool {
        self.inspection.mode.is_some_and(|mode| mode & REPLACEABLE != 0)
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(self.inspection.state, PathState::Live { .. } | PathState::Busy)
    }
}

/// Where not all users have a number (user_namespaces(7)).
fn unmapped() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    // The initial namespace, or one in which all have the number that they have there.
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?.trim().parse().ok()
}

/// As DESIGN.md of `unix_stream_server` has it, for all versions: the digits of 128 bits of FNV-1a.
fn hashed(name: &OsStr, suffix: &str) -> String {
    const BEGIN: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = name.as_bytes().iter().fold(BEGIN, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!(".{hash:032x}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_name_is_that_of_fnv_1a() {
        assert_eq!(hashed(OsStr::new("foobar"), ".lock"), ".343e1662793c64bf6f0d3597ba446f18.lock");
    }
}
