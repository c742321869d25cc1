//! A path, taken apart once: the directory as a descriptor, the name in it, and the names of its locks.
//!
//! Everything later is relative to the descriptor, so that chdir, chroot and renames above do not matter.

mod names;

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs;
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Handle, LONGEST_PATH, NAME_BEHIND_DESCRIPTOR_MAX, PATH_MAX, open_directory, way_around};

pub(crate) use crate::sys::ADDRESS_MAX;
use names::{LIFE, LOCK, START, TEMPORARY, hash_in, hashed, is_temporary, join, suffixed, with_hash};
pub(crate) use names::{Role, hash_for, hash_of_name, name_of_hash, role};

const NAME_MAX: usize = 255;

/// Where a socket goes, and how to get there.
#[derive(Debug)]
pub(crate) struct Place<Fd> {
    /// For people and messages: absolute where that is known.
    pub(crate) shown: PathBuf,
    /// The absolute path, to look at the name the way clients will; `None` where the working directory has none.
    pub(crate) path: Option<CString>,
    /// The directory, opened `O_PATH`.
    pub(crate) dir: Fd,
    /// The last component.
    pub(crate) name: CString,
    /// `<name>.lock`, held while the name changes.
    pub(crate) lock: CString,
    /// The lock by its path.
    pub(crate) lock_path: Option<CString>,
    /// `<name>.owner`, held as long as a server of `LockScope::Lifetime` lives.
    pub(crate) life: CString,
    /// The temporary name, for names that cannot be bound to and for taking over.
    pub(crate) beside: CString,
    pub(crate) route: Route,
}

/// How the name gets into the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// bind(2) to the path itself. The common one: tmp cleaners, `ss` and `lsof` know a live socket by this name.
    Path,
    /// The path is too long for an address: bind through the directory's descriptor.
    Descriptor,
    /// The name is too long even for that: bind to a short name beside it, then rename.
    Beside,
}

impl<Fd> Place<Fd> {
    /// The route by which bind(2) is told of a name in the directory.
    pub(crate) fn bind_path(&self) -> Option<&CStr> {
        match self.route {
            Route::Path => self.path.as_deref(),
            Route::Descriptor | Route::Beside => None,
        }
    }

    /// The same for the temporary name: by its path where that fits, since that is what `ss` and `lsof` will show.
    pub(crate) fn bind_path_beside(&self) -> Option<CString> {
        let path = Path::new(OsStr::from_bytes(self.bind_path()?.to_bytes()));
        let name = OsStr::from_bytes(self.name.as_bytes());
        beside(path, name, &self.beside).filter(|path| path.as_bytes().len() <= ADDRESS_MAX)
    }
}

impl Place<Handle> {
    /// A name in a directory that is open already, to remove what the dead left there. Nothing is bound by way of it.
    pub(crate) fn within(dir: Handle, shown: PathBuf, name: &CStr) -> Self {
        let mut place = Place {
            shown: shown.join("x"),
            path: None,
            dir,
            name: CString::default(),
            lock: CString::default(),
            lock_path: None,
            life: CString::default(),
            beside: CString::default(),
            route: Route::Descriptor,
        };
        place.turn_to(name);
        place
    }

    /// The same for another name in the directory.
    pub(crate) fn turn_to(&mut self, name: &CStr) {
        let bytes = OsStr::from_bytes(name.to_bytes());
        self.shown.set_file_name(bytes);
        self.lock = suffixed(bytes, LOCK);
        self.life = suffixed(bytes, LIFE);
        // A hash stands for the name that has it: one of which nothing else is known.
        self.beside =
            hash_in(name.to_bytes()).map_or_else(|| hashed(bytes, TEMPORARY), |hash| with_hash(hash, TEMPORARY));
        self.name = name.to_owned();
    }

    /// Checks the path and opens its directory. Nothing on disk is changed.
    pub(crate) fn open(path: &Path, operation: &'static str) -> Result<Self> {
        let parts = split(path).map_err(|fault| fault.into_error(path, operation))?;
        Self::open_parts(path, parts, operation)
    }

    /// The same for the name that a socket was bound to, which may be a temporary one: then it has taken over.
    pub(crate) fn open_bound(path: &Path, operation: &'static str) -> Result<Self> {
        let parts = take_apart(path).map_err(|fault| fault.into_error(path, operation))?;
        Self::open_parts(path, parts, operation)
    }

    fn open_parts(path: &Path, (parent, name): (&Path, &OsStr), operation: &'static str) -> Result<Self> {
        let (absolute, dir) = open_parent(path, parent, name)
            .map_err(|errno| Error::system(operation, path, "open its directory", errno))?;
        let nul = |_| Fault::Nul.into_error(path, operation);
        let absolute_c = absolute.as_ref().map(|path| CString::new(path.as_os_str().as_bytes())).transpose();
        let (route, lock) = (route(absolute.as_deref(), name), suffixed(name, LOCK));
        let lock_path = absolute.as_deref().and_then(|path| beside(path, name, &lock));
        let place = Place {
            shown: absolute.clone().unwrap_or_else(|| path.to_owned()),
            route,
            path: absolute_c.map_err(nul)?,
            dir,
            lock,
            lock_path,
            life: suffixed(name, LIFE),
            beside: hashed(name, TEMPORARY),
            name: CString::new(name.as_bytes()).map_err(nul)?,
        };
        if place.route != Route::Path {
            place.require_way_around(operation)?;
        }
        Ok(place)
    }

    /// The same place with `<name>.start` for its lock.
    pub(crate) fn of_start(mut self) -> Self {
        self.turn_to_start();
        self
    }

    pub(crate) fn turn_to_start(&mut self) {
        self.lock = suffixed(OsStr::from_bytes(self.name.as_bytes()), START);
        self.lock_path = None; // nothing is bound under this lock
    }

    /// A path that is too long for an address needs a way around it. Found out before anything is created.
    fn require_way_around(&self, operation: &'static str) -> Result<()> {
        let Err(missing) = way_around(&self.dir) else { return Ok(()) };
        let why = format!(
            "a path of {} bytes is longer than the {ADDRESS_MAX} of a socket address, and the way around {missing}",
            self.shown.as_os_str().len(),
        );
        Err(Error::new(ErrorKind::PathTooLong, operation, &self.shown, Errno::NAMETOOLONG, why))
    }
}

/// Refuses a path that can name no socket, before the system is asked.
pub(crate) fn check(path: &Path, operation: &'static str) -> Result<()> {
    split(path).map(|_| ()).map_err(|fault| fault.into_error(path, operation))
}

/// What is wrong with a path before the system is asked.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Empty,
    Nul,
    NoName,
    Temporary,
    Path(usize),
    Name(usize),
}

impl Fault {
    fn into_error(self, path: &Path, operation: &'static str) -> Error {
        let invalid = |why: &str| Error::new(ErrorKind::Invalid, operation, path, Errno::INVAL, why);
        let too_long = |what, length, limit| {
            let why = format!("the {what} has {length} bytes, of at most {limit}; shorten it");
            Error::new(ErrorKind::PathTooLong, operation, path, Errno::NAMETOOLONG, why)
        };
        match self {
            Fault::Empty => invalid("the path is empty; give the name of a socket"),
            Fault::Nul => invalid("the path has a NUL byte in it; remove it"),
            Fault::NoName => invalid("the path ends in `/`, `.` or `..`; end it with the name of a socket"),
            Fault::Temporary => invalid(
                "names like its last component, `.<32 hex digits>.new`, are where take-overs of other sockets put theirs \
                 for a moment, and clear away what is there; choose another name",
            ),
            Fault::Path(length) => too_long("path", length, LONGEST_PATH),
            Fault::Name(length) => too_long("last component", length, NAME_MAX),
        }
    }
}

/// The directory part (empty for the working directory) and the name, which is no temporary name of ours: a server
/// there could be replaced by a take-over at another path.
fn split(path: &Path) -> Result<(&Path, &OsStr), Fault> {
    let (parent, name) = take_apart(path)?;
    if is_temporary(name.as_bytes()) { Err(Fault::Temporary) } else { Ok((parent, name)) }
}

fn take_apart(path: &Path) -> Result<(&Path, &OsStr), Fault> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    if bytes.contains(&0) {
        return Err(Fault::Nul);
    }
    if bytes.len() > LONGEST_PATH {
        return Err(Fault::Path(bytes.len()));
    }
    let cut = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = bytes.split_at(cut);
    match name {
        b"" | b"." | b".." => Err(Fault::NoName),
        name if name.len() > NAME_MAX => Err(Fault::Name(name.len())),
        name => Ok((Path::new(OsStr::from_bytes(parent)), OsStr::from_bytes(name))),
    }
}

/// Opens the directory, and says the absolute path where it has one that leads there.
fn open_parent(path: &Path, parent: &Path, name: &OsStr) -> Result<(Option<PathBuf>, Handle), Errno> {
    if path.is_absolute() {
        return Ok((Some(path.to_owned()), open_directory(parent)?));
    }
    let relative = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    // The absolute path first, and the directory from it: so the two agree even if another thread calls chdir. Unless
    // something was mounted over the working directory: then the absolute path is another directory's.
    if let Ok(working_directory) = rustix::process::getcwd(Vec::new()) {
        let absolute = PathBuf::from(std::ffi::OsString::from_vec(working_directory.into_bytes())).join(parent);
        let full = absolute.join(name);
        if absolute.is_absolute() && full.as_os_str().len() <= PATH_MAX {
            if let Ok(dir) = open_directory(&absolute) {
                let opened = fs::fstat(&dir)?;
                if fs::stat(relative).is_ok_and(|now| (now.st_dev, now.st_ino) == (opened.st_dev, opened.st_ino)) {
                    return Ok((Some(full), dir));
                }
            }
        }
    }
    // No absolute path leads here: an ancestor that may not be searched, one too deep, a mount in the way.
    Ok((None, open_directory(relative)?))
}

fn route(absolute: Option<&Path>, name: &OsStr) -> Route {
    match absolute {
        Some(path) if path.as_os_str().len() <= ADDRESS_MAX => Route::Path,
        _ if name.len() <= NAME_BEHIND_DESCRIPTOR_MAX => Route::Descriptor,
        _ => Route::Beside,
    }
}

/// The path with its last component, `name`, exchanged for another.
fn beside(path: &Path, name: &OsStr, other: &CStr) -> Option<CString> {
    let directory = path.as_os_str().as_bytes().strip_suffix(name.as_bytes())?;
    Some(join(directory, other.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_its_last_slash() {
        let split = |path| split(Path::new(path)).map(|(dir, name)| (dir.to_str(), name.to_str()));
        assert_eq!(split("/run/a"), Ok((Some("/run/"), Some("a"))));
        assert_eq!(split("a"), Ok((Some(""), Some("a"))));
        assert_eq!(split("//a"), Ok((Some("//"), Some("a"))));
        assert_eq!(split("./a/../b"), Ok((Some("./a/../"), Some("b"))));
    }

    #[test]
    fn a_path_without_a_name_is_invalid() {
        assert_eq!(split(Path::new("")), Err(Fault::Empty));
        assert_eq!(split(Path::new("a\0b")), Err(Fault::Nul));
        for path in ["/", "a/", "/run/.", "/run/..", ".", ".."] {
            assert_eq!(split(Path::new(path)), Err(Fault::NoName), "{path}");
        }
        let hash = "0123456789abcdef".repeat(2);
        assert_eq!(split(Path::new(&format!("/run/.{hash}.new"))), Err(Fault::Temporary));
        for other in [format!("{hash}.new"), format!(".{hash}"), format!(".{hash}.new.new"), format!(".{hash}a.new")] {
            assert!(split(Path::new(&other)).is_ok(), "{other}");
        }
        assert!(split(Path::new(&format!(".{}.new", hash.to_uppercase()))).is_ok());
        assert_eq!(split(Path::new(&"x".repeat(256))), Err(Fault::Name(256)));
        assert_eq!(split(Path::new(&"/x".repeat(2048))), Err(Fault::Path(4096)));
    }
}
