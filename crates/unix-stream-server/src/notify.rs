//! Telling a service manager how this process is doing: sd_notify(3).
//!
//! A manager that wants to be told sets NOTIFY_SOCKET, the address of a datagram socket of its own. Without it every
//! function here does nothing and says so (`Ok(false)`), so that they can be called whether there is a manager or not.
//! The environment is never changed: take NOTIFY_SOCKET out of that of programs you start, unless they are to speak for
//! you.
//!
//! ```
//! use unix_stream_server::notify;
//!
//! # fn main() -> unix_stream_server::Result<()> {
//! notify::ready()?; // once listening
//! notify::status("serving 3 clients")?;
//! notify::stopping()?; // as soon as no new clients are let in
//! # Ok(()) }
//! ```
//!
//! # Who speaks when a server replaces another
//!
//! systemd listens only to those that `NotifyAccess=` of the unit lets speak: `main` (the default of `Type=notify`), the
//! main process alone; `exec`, also what an `Exec...=` line has started; `all`, every process of the unit. And it believes
//! a new [`MainPid`](State::MainPid) only if that process is one of the unit's (unless a privileged process says so).
//!
//! - **With `NotifyAccess=all`** (or `exec`, if `ExecReload=` itself becomes the successor) the *successor* speaks, once it
//!   has the path: [`State::Ready`] and [`State::MainPid`] of itself, in one message. The predecessor then ends without
//!   a [`stopping`], which would be heard as the end of the service.
//! - **With `NotifyAccess=main`** the successor is not heard. The *predecessor* speaks, while it still is the main
//!   process: as soon as it sees itself replaced, `MainPid` with the successor's process id, and nothing more. It knows
//!   the id as that of whoever serves the path ([`probe`](crate::probe()), [`connect`](crate::connect()) and
//!   [`peer_credentials`](crate::peer_credentials)).
//!
//! It does no harm if both speak. A predecessor that ends before either was heard is taken for the service's end.
//!
//! # Hazard
//!
//! A message is a datagram that the manager reads later, and it must find out whose it is. One from a process that is
//! no longer there, and that the manager has not started itself, may be dropped.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, SocketAddrUnix, SocketType, sockopt};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{SEND_QUIETLY, abstract_address, new_socket};

const NOTIFY: &str = "notify the service manager at";
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// How long a message waits for room in the manager's queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that a service manager may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State<'a> {
    /// It serves; the manager goes on with what was to come after (`READY=1`). Also the end of [`Reloading`](Self::Reloading).
    Ready,
    /// It reads its configuration again (`RELOADING=1`, with the time of now, which `Type=notify-reload` asks for).
    Reloading,
    /// It is about to end, and lets no new clients in (`STOPPING=1`).
    Stopping,
    /// One line for people (`STATUS=`). Control characters are replaced by spaces, since a line feed would begin another
    /// assignment.
    Status(&'a str),
    /// The process that is the service from now on (`MAINPID=`): see the [module](self) for whom the manager believes.
    MainPid(u32),
}

/// `READY=1`: to be said once the socket listens.
///
/// # Errors
///
/// As for [`send`].
pub fn ready() -> Result<bool> {
    send(&[State::Ready])
}

/// `STOPPING=1`: to be said when the end begins, before the last clients are served.
///
/// # Errors
///
/// As for [`send`].
pub fn stopping() -> Result<bool> {
    send(&[State::Stopping])
}

/// `RELOADING=1`; [`ready`] when that is done.
///
/// # Errors
///
/// As for [`send`].
pub fn reloading() -> Result<bool> {
    send(&[State::Reloading])
}

/// `STATUS=`, one line for people.
///
/// # Errors
///
/// As for [`send`].
pub fn status(line: &str) -> Result<bool> {
    send(&[State::Status(line)])
}

/// `MAINPID=`: see the [module](self) for who is believed.
///
/// # Errors
///
/// As for [`send`].
pub fn main_pid(pid: u32) -> Result<bool> {
    send(&[State::MainPid(pid)])
}

/// Sends all of these in one message, which the manager takes as one. `false`: there is no manager to be told.
///
/// It waits at most 5 seconds for a manager whose queue is full.
///
/// # Errors
///
/// They are for the log rather than a reason to end: the clients can be served all the same.
///
/// | [`ErrorKind`] | errno | when |
/// |---|---|---|
/// | `Invalid` | `EAFNOSUPPORT` | NOTIFY_SOCKET is neither an absolute path nor `@` and an abstract name; so `vsock:` addresses, by which virtual machines report to their host; and abstract names where the system has none |
/// | `Invalid` | `ENAMETOOLONG` | it is longer than a socket address |
/// | `TimedOut` | `ETIMEDOUT` | the manager's queue was full all the time |
/// | `System` | its own | the manager is not there (`ENOENT`, `ECONNREFUSED`), may not be spoken to (`EACCES`), ... |
pub fn send(states: &[State<'_>]) -> Result<bool> {
    // As sd_notify does, an empty one is none.
    match env::var_os(NOTIFY_SOCKET).filter(|address| !address.is_empty()) {
        Some(address) => send_to(&address, states).map(|()| true),
        None => Ok(false),
    }
}

fn send_to(address: &OsStr, states: &[State<'_>]) -> Result<()> {
    let failed = |call: &str, errno| Error::system(NOTIFY, address, call, errno);
    let to = parse(address)?;
    let socket = new_socket(SocketType::DGRAM, true).map_err(|errno| failed("socket", errno))?;
    let text = message(states);
    let begin = Instant::now();
    loop {
        // SO_SNDTIMEO counts anew after each signal, so it gets what is left.
        let left = PATIENCE.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(full(address));
        }
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left))
            .map_err(|errno| failed("setsockopt", errno))?;
        match net::sendto(&socket, text.as_bytes(), SEND_QUIETLY, &to) {
            Ok(_) => return Ok(()), // a datagram is sent whole or not at all
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(full(address)),
            Err(errno) => return Err(failed("sendto", errno)),
        }
    }
}

fn full(address: &OsStr) -> Error {
    let why = format!("its queue was full for {PATIENCE:?}; the manager may be stuck");
    Error::new(ErrorKind::TimedOut, NOTIFY, address, Errno::TIMEDOUT, why)
}

fn parse(address: &OsStr) -> Result<SocketAddrUnix> {
    let bytes = address.as_bytes();
    let invalid = |errno, why: &str| Error::new(ErrorKind::Invalid, NOTIFY, address, errno, why);
    let parsed = match bytes.first() {
        Some(b'/') => SocketAddrUnix::new(Path::new(address)),
        Some(b'@') if bytes.len() > 1 => abstract_address(bytes.get(1..).unwrap_or_default()),
        _ => {
            let why = "NOTIFY_SOCKET is neither an absolute path nor an abstract name (`@...`), which is all that is spoken here";
            return Err(invalid(Errno::AFNOSUPPORT, why));
        }
    };
    parsed.map_err(|errno| match errno {
        Errno::AFNOSUPPORT => {
            let why = "NOTIFY_SOCKET is an abstract name (`@...`), which only Linux has; give an absolute path";
            invalid(Errno::AFNOSUPPORT, why)
        }
        _ => invalid(Errno::NAMETOOLONG, "NOTIFY_SOCKET is longer than a socket address; shorten it"),
    })
}

fn message(states: &[State<'_>]) -> String {
    let lines: Vec<String> = states.iter().map(line).collect();
    lines.join("\n")
}

fn line(state: &State<'_>) -> String {
    match state {
        State::Ready => "READY=1".to_owned(),
        State::Stopping => "STOPPING=1".to_owned(),
        State::Status(text) => {
            let one_line = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
            format!("STATUS={}", one_line.collect::<String>())
        }
        State::MainPid(pid) => format!("MAINPID={pid}"),
        State::Reloading => {
            let now = clock_gettime(ClockId::Monotonic);
            format!(
                "RELOADING=1\nMONOTONIC_USEC={}",
                i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec / 1000)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HAS_ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));

    #[test]
    fn a_message_is_assignments_in_lines() {
        let all = [State::Ready, State::MainPid(12), State::Status("two\nlines\0"), State::Stopping];
        assert_eq!(message(&all), "READY=1\nMAINPID=12\nSTATUS=two lines \nSTOPPING=1");
        let reloading = message(&[State::Reloading]);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
        assert!(matches!(time, Some(Ok(1..))), "{reloading}");
    }

    #[test]
    fn only_paths_and_abstract_names_are_addresses() {
        assert!(parse(OsStr::new("/run/notify")).is_ok());
        assert_eq!(parse(OsStr::new("@abstract")).is_ok(), HAS_ABSTRACT_NAMES);
        let nowhere = if HAS_ABSTRACT_NAMES { "@" } else { "@abstract" };
        for address in [nowhere, "@", "run/notify", "vsock:2:1234", "vsock-stream:2:1", "unix:/x"] {
            let error = parse(OsStr::new(address)).expect_err(address);
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Invalid, libc::EAFNOSUPPORT));
        }
        for first in ["/", "@"].into_iter().filter(|&first| first == "/" || HAS_ABSTRACT_NAMES) {
            let error = parse(OsStr::new(&first.repeat(200))).expect_err("too long");
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Invalid, libc::ENAMETOOLONG));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_status_becomes_another_assignment_and_no_address_makes_it_panic(
            text in any::<String>(), address in proptest::collection::vec(any::<u8>(), 0..130),
        ) {
            prop_assert_eq!(message(&[State::Ready, State::Status(&text)]).lines().count(), 2);
            let _ = parse(OsStr::from_bytes(&address));
        }
    }
}
