//! A directory for sockets that is ours alone, by the rules of the XDG base directories.

use std::ffi::{CString, OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::FileKind;
use crate::error::{Error, ErrorKind, Result, describe};
use crate::sys::{Handle, RUNTIME_BASE, Stat, Sys, System, open_directory, open_directory_at};

const MAKE: &str = "make a runtime directory";
/// Between mkdir and open somebody may remove what was there: that can be ourselves, at the end of another process.
const ATTEMPTS: usize = 16;
const NAME_MAX: usize = 255;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;
const OWNER_ALL: u32 = 0o700;
const OTHERS_ALL: u32 = 0o077;

/// A directory for the sockets of the program `name`, which nobody else can enter: made, if it is not there, with mode
/// 0700, whatever the umask. One of this user's that is there is given that mode, if others may read it or enter it; one
/// that they may write to is refused, since what is in it may be theirs. (For sockets that others are to reach, use a
/// directory of your own making.) The same user gets the same directory each time; clients call it too.
///
/// | for | directory |
/// |---|---|
/// | a user | `$XDG_RUNTIME_DIR/name`, if that is set, absolute, a directory of this user's, and nobody else may write there |
/// | | otherwise `/run/user/UID/name`, under the same conditions |
/// | root | `$XDG_RUNTIME_DIR/name`, as above, unless it is that of root's login, `/run/user/0` |
/// | | otherwise `/run/name`, as daemons do |
/// | anybody else | `name-UID` in the directory for temporary files (`$TMPDIR`, or `/tmp`), if that is sticky or not writable by others |
///
/// What is under `/run/user` goes when the user's last session ends. Root's servers are no part of a session, and their
/// clients may come from none: hence `/run`. A variable that names an unfit directory (another user's, after `sudo` or
/// `su`; or a relative path) is passed over, as the XDG rules ask.
///
/// The user is the effective one. It is no help to a set-user-id program, whose environment is its caller's.
///
/// # Errors
///
/// The message names the directory and what is wrong with it.
///
/// | [`ErrorKind`] | errno | when |
/// |---|---|---|
/// | `Invalid` | `EINVAL` | `name` is empty, `.` or `..`, or has a slash or a NUL; |
/// | `PathTooLong` | `ENAMETOOLONG` | it has more than 255 bytes (in the temporary directory, with the uid) |
/// | `NotPrivate` | `EPERM` | the directory is there, and another user's, or others may write to it; or no base is fit |
/// | `System` | `ENOTDIR` | something that is no directory is there, a symbolic link included |
/// | `System` | its own | it cannot be made: a full or read-only file system |
/// | `Moved` | `ESTALE` | a directory above it changed meanwhile |
///
/// # Race condition
///
/// In a shared directory somebody may put a link, or a directory of his own, at the name first. So it is made, then
/// opened without following a link, and it is the *opened* directory whose owner and mode are asked for; only its owner
/// can rename it in a sticky directory. Its mode is set by way of what was opened, never by its name.
///
/// ```no_run
/// # fn main() -> Result<(), unix_stream_server::Error> {
/// let path = unix_stream_server::runtime_dir("greeter")?.join("socket");
/// let server = unix_stream_server::ServerSocket::create(path)?;
/// # drop(server); Ok(()) }
/// ```
pub fn runtime_dir(name: impl AsRef<OsStr>) -> Result<PathBuf> {
    let name = name.as_ref();
    check(name)?;
    let uid = geteuid().as_raw();
    let mut passed_over = String::new();
    for base in bases(uid) {
        match base.open(uid) {
            Ok(dir) => return make(&base, &dir, name, uid),
            Err(why) => {
                let _ = write!(passed_over, "{} {why}; ", base.path.display()); // a String takes everything
            }
        }
    }
    let why = format!("{passed_over}make one with mode 700, and set XDG_RUNTIME_DIR to it");
    Err(Error::new(ErrorKind::NotPrivate, MAKE, name, Errno::PERM, why))
}

fn check(name: &OsStr) -> Result<()> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
        let why = "its name is to be that of a program: not empty, and no slash in it";
        return Err(Error::new(ErrorKind::Invalid, MAKE, name, Errno::INVAL, why));
    }
    Ok(())
}

/// A directory in which ours may be.
struct Base {
    path: PathBuf,
    is_shared: bool,
}

/// In the order of preference.
fn bases(uid: u32) -> Vec<Base> {
    let session = PathBuf::from(format!("/run/user/{uid}"));
    let own = |path| Base { path, is_shared: false };
    let mut bases = Vec::new();
    let set = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    match set {
        Some(path) if uid == 0 && is_same(&path, &session) => {}
        Some(path) => bases.push(own(path)),
        None => {}
    }
    bases.push(own(if uid == 0 { PathBuf::from(RUNTIME_BASE) } else { session }));
    bases.push(Base { path: std::env::temp_dir(), is_shared: true });
    bases
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path| fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    one == other || matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

impl Base {
    /// The directory, if it is fit; otherwise what is wrong with it, as what follows its name.
    fn open(&self, uid: u32) -> Result<Handle, String> {
        if !self.path.is_absolute() {
            return Err("is no absolute path".to_owned());
        }
        let dir = open_directory(&self.path).map_err(|errno| format!("cannot be used: {}", describe(errno)))?;
        let stat = System.stat(&dir).map_err(|errno| format!("cannot be used: {}", describe(errno)))?;
        let is_sticky = stat.mode & STICKY != 0;
        if stat.uid != uid && !(self.is_shared && stat.uid == 0) {
            return Err(format!("is of uid {}, not {uid}", stat.uid));
        }
        if stat.mode & OTHERS_WRITE != 0 && !(self.is_shared && is_sticky) {
            let and = if self.is_shared { " and is not sticky" } else { "" };
            return Err(format!("may be written by others (mode {:04o}){and}", stat.mode));
        }
        Ok(dir)
    }
}

/// The directory `name` in a base that is fit.
fn make(base: &Base, dir: &Handle, name: &OsStr, uid: u32) -> Result<PathBuf> {
    let mut own_name = OsString::from(name);
    if base.is_shared {
        own_name.push(format!("-{uid}"));
    }
    let path = base.path.join(&own_name);
    if own_name.len() > NAME_MAX {
        let why = format!("its name has {} bytes, of at most {NAME_MAX}; shorten it", own_name.len());
        return Err(Error::new(ErrorKind::PathTooLong, MAKE, path, Errno::NAMETOOLONG, why));
    }
    let failed = |call: &str, errno| Error::system(MAKE, &path, call, errno);
    let own_name = CString::new(own_name.as_bytes()).map_err(|_| failed("mkdir", Errno::INVAL))?;
    for _ in 0..ATTEMPTS {
        match fs::mkdirat(dir, &own_name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("mkdir", errno)),
        }
        // A pin: the directory may be one that we cannot read yet, made under a umask that takes that right from us.
        let pin = match open_directory_at(dir, &own_name) {
            Ok(pin) => pin,
            Err(Errno::NOENT) => continue,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let kind = System.stat_at(dir, &own_name).map_or(FileKind::Unknown, |stat| stat.kind);
                let why = format!("a {kind} is there, and it was not touched; move it away");
                return Err(Error::new(ErrorKind::System, MAKE, path, Errno::NOTDIR, why));
            }
            Err(errno) => return Err(failed("open", errno)),
        };
        let stat = System.stat(&pin).map_err(|errno| failed("fstat", errno))?;
        require_private(&path, &stat, uid)?;
        let private = stat.mode & !OTHERS_ALL | OWNER_ALL;
        if stat.mode != private {
            System.chmod(&pin, private).map_err(|errno| failed("chmod", errno))?;
        }
        // Where the path leads now is where its sockets would go.
        let led = fs::statat(fs::CWD, &path, AtFlags::empty()).map(|stat| Stat::from(&stat).id);
        if led != Ok(stat.id) {
            let why = "a directory or symbolic link above it changed meanwhile; try again when that has settled";
            return Err(Error::new(ErrorKind::Moved, MAKE, path, Errno::STALE, why));
        }
        return Ok(path);
    }
    Err(failed("open", Errno::NOENT))
}

fn require_private(path: &Path, stat: &Stat, uid: u32) -> Result<()> {
    let why = if stat.uid != uid {
        format!("it is there, and of uid {}, not {uid}; that user or root can remove it", stat.uid)
    } else if stat.mode & OTHERS_WRITE != 0 {
        format!(
            "it is there, and others may write to it (mode {:04o}); chmod 700, if what is in it is yours",
            stat.mode
        )
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::NotPrivate, MAKE, path, Errno::PERM, why))
}
