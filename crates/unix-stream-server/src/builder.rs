//! What a server socket is to be like, chosen before it exists.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::place::{self, Place};
use crate::protocol::{Found, Options, Protocol, glance};
use crate::sys::{BUSY_LOOKS_DEAD, Handle, System};
use crate::{Claim, PathState, ServerSocket, trace};

pub(crate) const CREATE: &str = "create a server socket at";

/// How long the path's lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LockScope {
    /// `<path>.lock`, while the name changes: microseconds. The kernel answers for the server's life. The default on Linux.
    ///
    /// Elsewhere the kernel cannot answer: a live server whose backlog is full refuses (`ECONNREFUSED`) like a dead one. So
    /// there a dead socket that such a server left is [`CannotTell`](crate::ErrorKind::CannotTell), and stays.
    Startup,
    /// Beside it `<path>.owner`, flocked as long as the server lives and drains. The default everywhere but on Linux, since
    /// there nothing else tells a dead server from a busy one.
    ///
    /// For servers whose state must not be touched by a second one while the first still drains, and for file systems
    /// on which a refused connection does not prove death but a flock is seen by all hosts: NFSv3 (without the mount option
    /// `local_lock`), Ceph, GFS2, OCFS2. On SMB, FUSE, 9p and virtiofs each kernel may keep flocks of its own, and a
    /// refusal stays [`CannotTell`](crate::ErrorKind::CannotTell). All servers of one path should use the same scope: those of
    /// [`Startup`](LockScope::Startup) do not look at this lock.
    Lifetime,
}

impl Default for LockScope {
    /// That with which the death of a server can be told here.
    fn default() -> Self {
        if BUSY_LOOKS_DEAD { LockScope::Lifetime } else { LockScope::Startup }
    }
}

/// Options for a new server socket; from [`ServerSocket::builder`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
/// use std::time::Duration;
/// use unix_stream_server::ServerSocket;
///
/// let server = ServerSocket::builder()
///     .mode(0o660)
///     .lock_timeout(Duration::from_millis(500))
///     .create(&path)?;
/// # server.close()?; Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `create` or `claim`"]
pub struct Builder {
    options: Options,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder {
            options: Options {
                backlog: i32::MAX,
                mode: Some(0o600),
                owner: None,
                group: None,
                lock_timeout: Duration::from_secs(5),
                lock_interrupt: None,
                scope: LockScope::default(),
                assume_local: false,
                replaceable: false,
                take_over: false,
            },
        }
    }

    /// How many clients may wait to be accepted. Default: as many as the kernel allows (`net.core.somaxconn`), to
    /// which it cuts every larger number.
    pub fn backlog(mut self, clients: u32) -> Self {
        self.options.backlog = i32::try_from(clients).unwrap_or(i32::MAX);
        self
    }

    /// The permission bits of the socket's file, at most `0o777`. Default: `0o600`, the owner alone.
    ///
    /// They are the bits given, whatever the umask, and the umask is not changed. There is no moment in which a client
    /// gets in by other bits. To connect, a client needs the write bit (unix(7)).
    pub fn mode(mut self, mode: u32) -> Self {
        self.options.mode = Some(mode);
        self
    }

    /// The permission bits that bind(2) gives of itself: `0o777` less the umask.
    pub fn mode_from_umask(mut self) -> Self {
        self.options.mode = None;
        self
    }

    /// The owner of the socket's file, as a uid. Needs privileges (`EPERM`). Default: whoever creates it.
    pub fn owner(mut self, uid: u32) -> Self {
        self.options.owner = Some(uid);
        self
    }

    /// The group of the socket's file, as a gid: one that the process is in, or any with privileges (`EPERM`).
    pub fn group(mut self, gid: u32) -> Self {
        self.options.group = Some(gid);
        self
    }

    /// How long to wait for the path's lock, here and again when the server is closed (there at least 100 ms). Default:
    /// 5 seconds; zero: try once. The lock is held for microseconds, so only a paused holder or another program's lock
    /// file uses it up.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.options.lock_timeout = timeout;
        self
    }

    /// Gives the wait for the path's lock up, within 20 ms, once this is true: [`Locked`](crate::ErrorKind::Locked),
    /// `EINTR`. For servers that catch signals before their socket is there, so that none leaves it behind: without it, one
    /// that comes during the wait has to wait as well.
    ///
    /// Nothing else heeds it. A lock that is free is taken, and a server removes its path whatever is true by then.
    pub fn lock_interrupt(mut self, flag: Arc<AtomicBool>) -> Self {
        self.options.lock_interrupt = Some(flag);
        self
    }

    /// How long the lock is held. Default: [`LockScope::Startup`] on Linux, [`LockScope::Lifetime`] elsewhere.
    pub fn lock_scope(mut self, scope: LockScope) -> Self {
        self.options.scope = scope;
        self
    }

    /// Takes a refused connection for death on every file system, also on one that is not known to be local.
    ///
    /// # Hazard
    ///
    /// Through NFS, 9p, virtiofs, FUSE and the like a *live* socket of another kernel refuses just like a dead one.
    /// Say this only of a directory that no other host, container layer or virtual machine puts servers in.
    pub fn assume_local(mut self, yes: bool) -> Self {
        self.options.assume_local = yes;
        self
    }

    /// Allows a successor that asks for it ([`take_over`](Self::take_over)) to take the path over from this server while
    /// it lives. Default: no; then nobody of ours ever does.
    ///
    /// The socket's file says so by its sticky bit (`srw------T`). With [`LockScope::Lifetime`] it does so once the life
    /// lock is had.
    ///
    /// Away from Linux only root can mark a file so; for others creation fails ([`System`](crate::ErrorKind::System),
    /// `EFTYPE` or `EPERM`).
    ///
    /// A server that allows it must look out for it, and must then go on accepting for a moment and drain:
    /// [`ServerSocket::until_replaced`] does so. One that drains for another reason, and is replaced in just that moment,
    /// gives no such time: a client that was on its way to it is refused (`ECONNREFUSED`).
    pub fn replaceable(mut self, yes: bool) -> Self {
        self.options.replaceable = yes;
        self
    }

    /// Takes the path over from a live server that is [`replaceable`](Self::replaceable), where one lives there; any
    /// other is `InUse` as ever. The path is never absent on the way, and each client is served by one of the two.
    ///
    /// For [`create`](Self::create); a [`claim`](Self::claim) does not take over. Where the predecessor has a life lock
    /// and this server wants one, this server first publishes, and gets it later:
    /// [`ServerSocket::wait_for_predecessor`].
    ///
    /// # Hazard
    ///
    /// The new socket is bound under a temporary name beside the path and then takes the path by a rename, so that `ss`,
    /// `lsof` and systemd-tmpfiles know it by the temporary name: a tmp cleaner cannot see that it is live.
    pub fn take_over(mut self, yes: bool) -> Self {
        self.options.take_over = yes;
        self
    }

    /// Creates the socket: takes the lock, replaces a dead socket, listens, gives the lock back.
    ///
    /// Where a socket is at the path already, its server is asked by connecting to it: a live server accepts one client
    /// that leaves without a word.
    ///
    /// # Errors
    ///
    /// Whatever the error, no live server and nothing foreign has been touched; at the worst a socket that was proven
    /// dead is gone.
    ///
    /// | [`ErrorKind`] | errno | when |
    /// |---|---|---|
    /// | `InUse` | `EADDRINUSE` | a server of any socket type lives at the path |
    /// | `Locked` | `EEXIST`, `EACCES`, `EINTR` | the lock was not had in time; another user left it behind; [`lock_interrupt`](Self::lock_interrupt) |
    /// | `NotASocket` | `ENOTSOCK` | something else is at the path, a symbolic link included |
    /// | `CannotTell` | that of the attempt | the server there could not be reached, nor proven dead |
    /// | `PathTooLong` | `ENAMETOOLONG` | beyond 4,095 bytes (away from Linux 103, on illumos 107), or 255 in the last component |
    /// | `Invalid` | `EINVAL` | an empty path, a NUL, a trailing slash, `.` or `..` last, or `.<32 hex digits>.new`, a temporary name of take-overs; a mode over `0o777`; an id of -1 |
    /// | `Moved` | `ESTALE` | the path led elsewhere in the middle of it, or somebody deleted the new socket or its lock at once |
    /// | `System` | its own | the directory is missing, not writable, full; no descriptors left |
    pub fn create(&self, path: impl AsRef<Path>) -> Result<ServerSocket> {
        let (place, found) = self.place(path.as_ref())?;
        let published = self.protocol(&place).create(found)?;
        Ok(ServerSocket::new(place, self.options.clone(), published))
    }

    /// Takes the path without putting a socket there yet: the lock is held and what stands there is known.
    ///
    /// For servers that must prepare state (open a database, replay a log) that a second server must not touch.
    /// Nothing is removed or bound until [`Claim::listen`]. With [`LockScope::Lifetime`] the preparation may take as
    /// long as it likes; with [`LockScope::Startup`] everybody else at this path, closing servers included, waits for
    /// it up to their timeout.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub fn claim(&self, path: impl AsRef<Path>) -> Result<Claim> {
        let (place, _) = self.place(path.as_ref())?;
        // Whoever takes over publishes first and prepares later.
        let options = Options { take_over: false, ..self.options.clone() };
        let claimed = Protocol { sys: &System, place: &place, options: &options, operation: CREATE }.claim()?;
        Ok(Claim::new(place, options, claimed))
    }

    /// Removes a socket that is proven dead, and nothing else: [`PathState::Dead`] if there was one and it is gone,
    /// [`PathState::Absent`] if nothing was there.
    ///
    /// As careful as [`create`](Self::create), under the same lock: for those who tidy up and do not want to serve.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create): a live server is `InUse`, what is not a socket `NotASocket`, and so on; nothing
    /// was changed.
    pub fn remove_dead(&self, path: impl AsRef<Path>) -> Result<PathState> {
        const CLEAN: &str = "remove a dead socket at";
        let (place, _) = self.begin(path.as_ref(), CLEAN)?;
        Protocol { sys: &System, place: &place, options: &self.options, operation: CLEAN }.remove_dead()
    }

    pub(crate) fn into_options(self) -> Options {
        self.options
    }

    fn place(&self, path: &Path) -> Result<(Place<Handle>, Found)> {
        if let Some(mode @ 0o1000..) = self.options.mode {
            let why = format!("mode {mode:o} has bits beyond 777; give permission bits only");
            return Err(Error::new(ErrorKind::Invalid, CREATE, path, Errno::INVAL, why));
        }
        for id in [self.options.owner, self.options.group] {
            if id == Some(u32::MAX) {
                let why = "4294967295 is no user or group: to the system it means none";
                return Err(Error::new(ErrorKind::Invalid, CREATE, path, Errno::INVAL, why));
            }
        }
        self.begin(path, CREATE)
    }

    /// Step 0, and the directory. Paths that fit an address are looked at before anything is opened.
    fn begin(&self, path: &Path, operation: &'static str) -> Result<(Place<Handle>, Found)> {
        place::check(path, operation)?;
        let bytes = path.as_os_str().as_bytes();
        match CString::new(bytes) {
            Ok(short) if bytes.len() <= place::ADDRESS_MAX => {
                let found = glance(&System, &short, &self.options).map_err(|state| {
                    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                    trace::judged(&shown, c"", &state);
                    Error::refused(operation, &shown, state)
                })?;
                Ok((Place::open(path, operation)?, found))
            }
            _ => {
                let place = Place::open(path, operation)?;
                let found = Protocol { sys: &System, place: &place, options: &self.options, operation }.look()?;
                Ok((place, found))
            }
        }
    }

    fn protocol<'a>(&'a self, place: &'a Place<Handle>) -> Protocol<'a, System> {
        Protocol { sys: &System, place, options: &self.options, operation: CREATE }
    }
}
