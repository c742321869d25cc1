//! A path, taken apart once: the directory as a descriptor, the name in it, and the names of its locks.
//!
//! Everything later is relative to the descriptor, so that chdir, chroot and renames above do not matter.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs;
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{Handle, LONGEST_PATH, NAME_BEHIND_DESCRIPTOR_MAX, PATH_MAX, open_directory, way_around};

pub(crate) use crate::sys::ADDRESS_MAX;

const NAME_MAX: usize = 255;

const LOCK: &str = ".lock";
const LIFE: &str = ".owner";
const START: &str = ".start";
const TEMPORARY: &str = ".new";

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
    /// The lock by its path, where the socket is bound by its own.
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
        let (parent, name) = split(path).map_err(|fault| fault.into_error(path, operation))?;
        let (absolute, dir) = open_parent(path, parent, name)
            .map_err(|errno| Error::system(operation, path, "open its directory", errno))?;
        let nul = |_| Fault::Nul.into_error(path, operation);
        let absolute_c = absolute.as_ref().map(|path| CString::new(path.as_os_str().as_bytes())).transpose();
        let (route, lock) = (route(absolute.as_deref(), name), suffixed(name, LOCK));
        let lock_path = absolute.as_deref().filter(|_| route == Route::Path).and_then(|path| beside(path, name, &lock));
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
            Fault::Path(length) => too_long("path", length, LONGEST_PATH),
            Fault::Name(length) => too_long("last component", length, NAME_MAX),
        }
    }
}

/// The directory part (empty for the working directory) and the name.
fn split(path: &Path) -> Result<(&Path, &OsStr), Fault> {
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

/// `<name><suffix>`: appended, never "with extension", which would give `a.0` and `a.1` one lock. Hashed where the
/// result would pass NAME_MAX; git's protocol cannot lock such names at all.
fn suffixed(name: &OsStr, suffix: &str) -> CString {
    if name.len() + suffix.len() > NAME_MAX {
        return hashed(name, suffix);
    }
    join(name.as_bytes(), suffix.as_bytes())
}

/// A short name made from a long one: hidden, the same in every version of this library, since two versions may meet
/// at one path.
fn hashed(name: &OsStr, suffix: &str) -> CString {
    with_hash(fnv1a(name.as_bytes()), suffix)
}

fn with_hash(hash: u128, suffix: &str) -> CString {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = [b'.'; 33];
    for (place, digit) in name.iter_mut().skip(1).enumerate() {
        *digit = DIGITS[(hash >> (124 - 4 * place)) as usize % DIGITS.len()];
    }
    join(&name, suffix.as_bytes())
}

/// Of two without a NUL, in one allocation with room for it: this is done for each name of each server.
fn join(one: &[u8], other: &[u8]) -> CString {
    let mut both = Vec::with_capacity(one.len() + other.len() + 1);
    both.extend_from_slice(one);
    both.extend_from_slice(other);
    CString::new(both).unwrap_or_default()
}

/// What a name in a directory may be to us, by the name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The lock, or the life lock, of this name; or of the name that [`hash_of_name`] knows it for.
    LockOf(CString),
    /// The lock of those who start its server, likewise.
    StartLockOf(CString),
    /// The temporary name for sockets that are bound beside the name: its hash.
    TemporaryOf(u128),
    Other,
}

pub(crate) fn role(name: &CStr) -> Role {
    let bytes = name.to_bytes();
    for (suffix, role) in
        [(LOCK, Role::LockOf as fn(CString) -> Role), (LIFE, Role::LockOf), (START, Role::StartLockOf)]
    {
        if let Some(of @ [_, ..]) = bytes.strip_suffix(suffix.as_bytes()) {
            return CString::new(of).map_or(Role::Other, role);
        }
    }
    match bytes.strip_suffix(TEMPORARY.as_bytes()).and_then(hash_in) {
        Some(hash) => Role::TemporaryOf(hash),
        None => Role::Other,
    }
}

/// The hash of another name, where the name is `.<hash>` and stands for it.
pub(crate) fn hash_of_name(name: &CStr) -> Option<u128> {
    hash_in(name.to_bytes())
}

/// The hash by which the temporary name of a name goes.
pub(crate) fn hash_for(name: &CStr) -> u128 {
    fnv1a(name.to_bytes())
}

/// The name that stands for one of which only the hash is known.
pub(crate) fn name_of_hash(hash: u128) -> CString {
    with_hash(hash, "")
}

fn hash_in(bytes: &[u8]) -> Option<u128> {
    let digits = bytes.strip_prefix(b".").filter(|digits| digits.len() == 32)?;
    let is_hash = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| std::str::from_utf8(digits).ok().and_then(|digits| u128::from_str_radix(digits, 16).ok()))?
}

/// FNV-1a, 128 bits (RFC 9923).
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
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
        assert_eq!(split(Path::new(&"x".repeat(256))), Err(Fault::Name(256)));
        assert_eq!(split(Path::new(&"/x".repeat(2048))), Err(Fault::Path(4096)));
    }

    #[test]
    fn names_that_differ_have_locks_that_differ() {
        assert_eq!(suffixed(OsStr::new("a.0"), ".lock").to_bytes(), b"a.0.lock");
        let long = |letter: &str| letter.repeat(251);
        let (x, y) = (suffixed(OsStr::new(&long("x")), ".lock"), suffixed(OsStr::new(&long("y")), ".lock"));
        assert!(x.as_bytes().len() < NAME_MAX && x != y);
        assert_eq!(suffixed(OsStr::new(&"x".repeat(250)), ".lock").as_bytes().len(), 255);
    }

    #[test]
    fn what_a_name_is_to_us_can_be_told_from_it() {
        let of = |name: &str| CString::new(name).expect("no NUL");
        assert_eq!(role(c"a.lock"), Role::LockOf(of("a")));
        assert_eq!(role(c"a.b.owner"), Role::LockOf(of("a.b")));
        for other in [c"a", c".lock", c"lock", c"a.locks", c".0.new", c"a.new"] {
            assert_eq!(role(other), Role::Other, "{other:?}");
        }
        let long = "x".repeat(252);
        let hash = fnv1a(long.as_bytes());
        assert_eq!(role(&hashed(OsStr::new(&long), TEMPORARY)), Role::TemporaryOf(hash));
        // The lock of so long a name is a hash, whose own locks and temporary name are the very same.
        let lock = suffixed(OsStr::new(&long), LOCK);
        assert_eq!(role(&lock), Role::LockOf(name_of_hash(hash)));
        assert_eq!(suffixed(OsStr::from_bytes(name_of_hash(hash).to_bytes()), LOCK), lock);
        assert_eq!((hash_of_name(&name_of_hash(hash)), hash_of_name(c"a")), (Some(hash), None));
        assert_eq!(hash_for(&of(&long)), hash);
        assert_eq!(role(c"a.start"), Role::StartLockOf(of("a")));
    }

    #[test]
    fn the_hash_is_fnv1a_and_never_changes() {
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}
