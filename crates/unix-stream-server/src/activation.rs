//! Sockets handed in by the environment.

mod variables;

use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::adopted::{ADOPT, AdoptedSocket, Fault, check, failed, refresh, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::bound::Bound;
use crate::sys::inherited::{self, Number};
use crate::sys::own_pidfd_id;

use variables::{Handed, Variables};

/// The sockets that were handed in, each with its name: from [`from_env`].
///
/// Those not taken are dropped with it, as an [`AdoptedSocket`] is: that takes nothing from whoever made them, but with a
/// duty to remove the path it is removed.
#[derive(Debug, Default)]
#[must_use = "the sockets in it are closed when it is dropped"]
pub struct Activation {
    sockets: Vec<AdoptedSocket>,
}

/// A descriptor that was handed in beside ours, and is none: from [`from_env_with_others`].
#[derive(Debug)]
#[non_exhaustive]
pub struct OtherDescriptor {
    /// It, close-on-exec from now on.
    pub fd: OwnedFd,
    /// What the manager calls it; `unknown` if it gave no names.
    pub name: String,
    /// Why it is none of ours.
    pub why: Error,
}

/// One call at a time, and only one that takes something. The second guard, beside the close-on-exec flag.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The listening sockets that a service manager, or another starter, has handed to this process: the convention of
/// sd_listen_fds(3), with LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES and LISTEN_PIDFDID.
///
/// Without these variables, or if they are meant for another process (they are inherited), the list is empty, and that is
/// no error: create the socket yourself then. The environment is never changed. What is taken is made close-on-exec, and
/// refreshed: see [`AdoptedSocket`].
///
/// # When to call it
///
/// At the start, before the program opens descriptors by code that does not set close-on-exec, and once. Descriptors are
/// known by their number only: a number that is close-on-exec was not inherited, or has been taken already, and is
/// refused; one that is not is believed to be what the variables say. It may be called in any thread.
///
/// A program that becomes another one by exec, under the same process id, should take these variables out of that one's
/// environment.
///
/// # Handing it over
///
/// Whoever made the socket keeps the duty to remove its path, unless it starts us with
///
/// ```text
/// UNIX_SS_OWNED_PATH=<absolute path of the socket>
/// ```
///
/// beside LISTEN_PID (ours) and LISTEN_FDS. Then the socket that is bound to that path [owns](AdoptedSocket::owns_path)
/// it: dropping, closing or draining it ends the server and removes the path, under the path's lock and only if it still
/// leads there. If the path is not that of a socket handed in, or that cannot be proven, there is no duty, and no error.
/// (At the worst a dead socket stays, for the next start to replace.)
///
/// Whoever starts a server like this must, for its part, not remove the path from the moment that exec has succeeded and as
/// long as the server lives: [`ServerSocket::into_listener`](crate::ServerSocket::into_listener) before the start, and
/// [`adopt`](crate::adopt()) with [`own_path`](AdoptedSocket::own_path) to have the duty back if the start came to
/// nothing. Two that both think they have it delete nothing foreign, since both look under the lock; but the first to end
/// takes the name from the other. [`connect_or_start`](crate::connect_or_start()) does all that.
///
/// # Errors
///
/// All or nothing: on an error every descriptor is as it was (open, not ours, to be had by other means), and a later
/// call starts anew.
///
/// | [`ErrorKind`] | errno | when |
/// |---|---|---|
/// | `Invalid` | `EINVAL` | a variable is malformed; the message says which |
/// | `NotAListener` | see there | a descriptor is closed, or no listening stream Unix socket; the message names it |
/// | `AlreadyTaken` | `EALREADY` | an earlier call took them; a descriptor is close-on-exec, so another library did, or it is none that was handed in |
/// | `System` | its own | listen(2) was refused |
///
/// Where other descriptors beside ours are to be expected, [`from_env_with_others`] hands them over as well.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use unix_stream_server::{AdoptedSocket, ServerSocket, from_env};
///
/// let socket: AdoptedSocket = match from_env()?.take_first() {
///     Some(socket) => socket,                                    // started by a manager
///     None => ServerSocket::create("/run/user/1000/s")?.into(),  // by hand
/// };
/// for client in socket.incoming() {
///     drop(client?);
/// }
/// # Ok(()) }
/// ```
pub fn from_env() -> Result<Activation> {
    let (activation, others) = take(&Variables::read(), Others::Refused)?;
    debug_assert!(others.is_empty());
    Ok(activation)
}

/// Like [`from_env`], for a program that is handed other descriptors as well: TCP listeners, datagram sockets, fifos,
/// stored files. They are handed over in their order, so that none is lost.
///
/// # Errors
///
/// As for [`from_env`], but [`NotAListener`](ErrorKind::NotAListener) only of a number that is closed.
pub fn from_env_with_others() -> Result<(Activation, Vec<OtherDescriptor>)> {
    take(&Variables::read(), Others::Kept)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Refused,
    Kept,
}

fn take(variables: &Variables, others: Others) -> Result<(Activation, Vec<OtherDescriptor>)> {
    let handed = variables.handed_to(std::process::id(), own_pidfd_id);
    let handed = match handed.map_err(|why| of_environment(ErrorKind::Invalid, Errno::INVAL, why))? {
        Some(handed) if handed.count > 0 => handed,
        _ => return Ok((Activation::default(), Vec::new())),
    };
    if TAKEN.swap(true, Ordering::AcqRel) {
        let why = "they have been taken by an earlier call; hand on what that one returned";
        return Err(of_environment(ErrorKind::AlreadyTaken, Errno::ALREADY, why));
    }
    let taken = look_at_all(&handed, others).and_then(|verdicts| take_all(&handed, verdicts));
    if taken.is_err() {
        TAKEN.store(false, Ordering::Release);
    }
    taken
}

fn of_environment(kind: ErrorKind, errno: Errno, why: impl Into<String>) -> Error {
    Error::new(kind, "take the sockets handed in by", "/proc/self/environ", errno, why)
}

/// What a descriptor is: a socket of ours and where it is bound, or another thing.
type Verdict = Result<Result<Bound, Errno>, Error>;

/// Everything that can fail is tried before anything is taken.
fn look_at_all(handed: &Handed, others: Others) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for (number, name) in handed.descriptors() {
        verdicts.push(match look_at(number, name)? {
            Ok(()) => Ok(Err(Errno::INVAL)),
            Err(why) if others == Others::Kept && why.kind() == ErrorKind::NotAListener => Err(why),
            Err(why) => return Err(why),
        });
    }
    // Only now, when nobody is refused any more, is something changed: the credentials.
    for ((number, _), verdict) in handed.descriptors().zip(&mut verdicts) {
        if let Ok(bound) = verdict {
            *bound = inherited::look(number, refresh).map_err(|errno| failed(number, "listen", errno))?;
        }
    }
    Ok(verdicts)
}

fn look_at(number: RawFd, name: &str) -> Result<Result<(), Error>> {
    match inherited::number(number) {
        Number::Inherited => {
            let checked = inherited::look(number, |fd| Ok(check(fd)));
            Ok(checked.unwrap_or_else(|_| Err(Fault::closed())).map_err(|fault| fault.into_error(number, Some(name))))
        }
        Number::Closed => Err(Fault::closed().into_error(number, Some(name))),
        Number::TakenOrOpenedHere => {
            let why = format!(
                "descriptor {number} (`{name}`) is close-on-exec: another library has taken it already, or this \
                 process has opened it; take the sockets first of all, and once"
            );
            Err(Error::new(ErrorKind::AlreadyTaken, ADOPT, shown(number), Errno::ALREADY, why))
        }
    }
}

fn take_all(handed: &Handed, verdicts: Vec<Verdict>) -> Result<(Activation, Vec<OtherDescriptor>)> {
    let mut fds = Vec::with_capacity(verdicts.len());
    for (number, _) in handed.descriptors() {
        match inherited::take(number) {
            Ok(fd) => fds.push(fd),
            // Closed by another thread in the middle.
            Err(errno) => {
                fds.into_iter().for_each(inherited::give_back);
                return Err(failed(number, "fcntl", errno));
            }
        }
    }
    let (mut sockets, mut others) = (Vec::new(), Vec::new());
    for (((_, name), fd), verdict) in handed.descriptors().zip(fds).zip(verdicts) {
        let name = name.to_owned();
        match verdict {
            Ok(bound) => sockets.push(AdoptedSocket::new(UnixListener::from(fd), Some(name), bound)),
            Err(why) => others.push(OtherDescriptor { fd, name, why }),
        }
    }
    if let Some(path) = &handed.owned_path {
        hand_duty(&mut sockets, path);
    }
    Ok((Activation { sockets }, others))
}

/// The duty goes to the one socket that is at the path.
fn hand_duty(sockets: &mut [AdoptedSocket], path: &Path) {
    let is_only_one = sockets.len() == 1;
    for socket in sockets {
        socket.own_if_proven(path, is_only_one);
        if socket.owns_path() {
            return;
        }
    }
}

/// For a fuzzer: any five values of the variables, each set or not.
#[cfg(fuzzing)]
pub fn fuzz(values: [Option<std::ffi::OsString>; 5]) {
    let [pid, pidfd_id, fds, fd_names, owned_path] = values;
    let variables = Variables { pid, pidfd_id, fds, fd_names, owned_path };
    match variables.handed_to(77, || Some(5)) {
        Ok(Some(handed)) => {
            assert!((0..=i32::MAX - variables::FIRST).contains(&handed.count));
            assert!(handed.descriptors().take(9).all(|(number, _)| number >= variables::FIRST));
            assert!(handed.owned_path.is_none_or(|path| path.is_absolute()));
        }
        Ok(None) => {}
        Err(why) => assert!(why.contains(" is `")),
    }
}

impl Activation {
    /// True if nothing was handed in: no manager has started this program.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// How many sockets are (still) in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// The sockets, in the order of their numbers.
    pub fn iter(&self) -> std::slice::Iter<'_, AdoptedSocket> {
        self.sockets.iter()
    }

    /// Takes the first socket out that has this name.
    pub fn take(&mut self, name: &str) -> Option<AdoptedSocket> {
        let at = self.sockets.iter().position(|socket| socket.name() == Some(name))?;
        Some(self.sockets.remove(at))
    }

    /// Takes the first socket out, whatever its name: for programs that serve one.
    pub fn take_first(&mut self) -> Option<AdoptedSocket> {
        if self.sockets.is_empty() { None } else { Some(self.sockets.remove(0)) }
    }
}

impl IntoIterator for Activation {
    type Item = AdoptedSocket;
    type IntoIter = std::vec::IntoIter<AdoptedSocket>;

    fn into_iter(self) -> Self::IntoIter {
        self.sockets.into_iter()
    }
}

impl<'a> IntoIterator for &'a Activation {
    type Item = &'a AdoptedSocket;
    type IntoIter = std::slice::Iter<'a, AdoptedSocket>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
