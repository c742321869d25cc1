//! From a path to the directories that are to be cleaned.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::directory::{Directory, Ended};
use super::{CLEAN, CleanOptions, Each, Leftover, Outcome, found};
use crate::error::{Error, ErrorKind, Result};
use crate::place::Place;
use crate::sys::diag::BoundFiles;
use crate::sys::{Handle, Stat, Sys, System, directory, open_below, uninterrupted};
use crate::{FileKind, PathState};

/// What is deeper is not looked at: each level costs a descriptor.
const DEEPEST: usize = 100;
/// Sockets that have changed within this time before the kernel was asked are left alone.
const YOUNG: Duration = Duration::from_secs(1);

/// What is known of the whole system, as of one moment.
pub(super) struct World {
    /// `None` where the kernel has no list: then a connection decides.
    pub(super) bound: Option<BoundFiles>,
    /// Whose change lies before this is old enough. Sockets bound later need not be on the list.
    pub(super) changed_before: (i64, u64),
}

impl World {
    fn look() -> Self {
        let now = SystemTime::now().checked_sub(YOUNG).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let old = now.map_or((0, 0), |old| (i64::try_from(old.as_secs()).unwrap_or(0), u64::from(old.subsec_nanos())));
        World { changed_before: old, bound: BoundFiles::list() }
    }
}

pub(super) fn clean(options: &CleanOptions, path: &Path, each: Each<'_>) -> Result<()> {
    let world = World::look();
    let failed = |call: &str, errno| match errno {
        Errno::NOENT => is_missing(path, "it is not there"),
        errno => Error::system(CLEAN, path, call, errno),
    };
    if names_a_directory(path) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = uninterrupted(|| fs::open(path, flags, Mode::empty())).map_err(|errno| failed("open", errno))?;
        return clean_root(options, &world, directory(dir, path), path, each);
    }
    let place =
        Place::open(path, CLEAN).map_err(|error| match error.raw_os_error() == Errno::NOENT.raw_os_error() {
            true => is_missing(path, "its directory is not there"),
            false => error,
        })?;
    match System.stat_at(&place.dir, &place.name) {
        Ok(Stat { kind: FileKind::Directory, .. }) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = uninterrupted(|| fs::openat(&place.dir, &place.name, flags, Mode::empty()))
                .map_err(|errno| failed("open", errno))?;
            clean_root(options, &world, directory(dir, path), path, each)
        }
        Ok(Stat { kind, .. }) if kind != FileKind::Socket => {
            Err(Error::refused(CLEAN, path, PathState::NotASocket { kind }))
        }
        Ok(_) | Err(Errno::NOENT) => {
            let shown = path.parent().unwrap_or(Path::new("")).to_owned();
            Directory::new(options, &world, place.dir, shown).clean_name(&place.name, each)
        }
        Err(errno) => Err(failed("fstatat", errno)),
    }
}

/// Without the advice to make it, as for whoever wants to serve there.
fn is_missing(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::System, CLEAN, path, Errno::NOENT, format!("{what}, so there is nothing to clean"))
}

/// Ends in a slash, or in a dot that stands for a directory.
fn names_a_directory(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let last = bytes.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    !bytes.is_empty() && !bytes.contains(&0) && matches!(last, b"" | b"." | b"..")
}

fn clean_root(options: &CleanOptions, world: &World, dir: Handle, path: &Path, each: Each<'_>) -> Result<()> {
    let gone = || {
        let why = "it was removed while it was cleaned";
        Error::new(ErrorKind::System, CLEAN, path, Errno::NOENT, why)
    };
    let mut directory = Directory::new(options, world, dir, path.to_owned());
    let below = match directory.clean_entries(each) {
        Ok(below) => below,
        Err(Ended::Gone) => return Err(gone()),
        Err(Ended::Unreadable(errno)) => return Err(Error::system(CLEAN, path, "read the directory", errno)),
    };
    descend(options, world, &directory, below, 1, each);
    if directory.is_gone() { Err(gone()) } else { Ok(()) }
}

fn descend(
    options: &CleanOptions,
    world: &World,
    parent: &Directory<'_>,
    names: Vec<CString>,
    depth: usize,
    each: Each<'_>,
) {
    for name in names {
        let path = parent.path_of(&name);
        let failed = |call: &str, errno| Outcome::Failed(Error::system(CLEAN, &path, call, errno));
        if depth > DEEPEST {
            found(each, path.clone(), Leftover::Directory, failed("descend so deep", Errno::MFILE));
            continue;
        }
        match open_below(parent.dir(), &name) {
            Ok(dir) => {
                let mut directory = Directory::new(options, world, dir, path.clone());
                match directory.clean_entries(each) {
                    Ok(below) => descend(options, world, &directory, below, depth + 1, each),
                    Err(Ended::Gone) => {}
                    Err(Ended::Unreadable(errno)) => {
                        found(each, path.clone(), Leftover::Directory, failed("read the directory", errno));
                    }
                }
            }
            Err(Errno::XDEV) => found(each, path, Leftover::Directory, Outcome::MountPoint),
            // It is another thing by now, or nothing.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => found(each, path.clone(), Leftover::Directory, failed("open", errno)),
        }
    }
}
