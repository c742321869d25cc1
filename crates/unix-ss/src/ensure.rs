//! `ensure`: something lives at the path, and if not, PROG is started there.
//!
//! PROG is started by a supervisor in the background: we again, as `serve --activate`, or as `__wait-listen`. Of several
//! that are started at once, the path's lock (or the start lock) lets one through; the others say so, and we look again.

pub(crate) mod detached;
pub(crate) mod wait_listen;

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use unix_stream_server::{PathState, inspect};

use crate::cli::{Ensure, SocketOptions, WAIT_LISTEN};
use crate::message::{About, failed, reason, say};
use crate::prog::{cannot_run_ourselves, ourselves, remove_stale_variables};
use crate::retry::Retry;
use crate::signals::Signals;
use crate::{exit, inherited};
use detached::{BUSY, LATE, READY};

/// How long a supervisor waits for the path's lock, at most.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Sees to it that something lives there; the exit status.
pub(crate) fn run(args: &Ensure) -> u8 {
    ensure(args).unwrap_or_else(|status| status)
}

fn ensure(args: &Ensure) -> Result<u8, u8> {
    // What we were started with is nothing for a daemon: the pipe of a `$(...)`, a lock.
    inherited::close_on_exec_from(3);
    // Caught, it is not ignored any more, as some starters have it: the kernel would throw the supervisor's status away.
    let _signals = Signals::catch(&[Signal::CHILD])?;
    let mut retry = Retry::within(args.timeout);
    let mut others = false;
    loop {
        if lives(&args.path)? {
            return Ok(exit::DONE);
        }
        match start(args, &retry)? {
            Started::Ready => return Ok(exit::DONE),
            Started::Busy => others = true,
            Started::Late => {}
        }
        let Some(pause) = retry.pause() else {
            let (path, name) = (&args.path, args.path.display());
            if others {
                let why = "another start of it went on all the time";
                say(About(path, None, format_args!("cannot start the server of {name}: {why}")));
                return Err(exit::IN_USE);
            }
            let why = "within the time; it may still come";
            return Err(failed(About(path, None, format_args!("cannot start the server of {name} {why}"))));
        };
        std::thread::sleep(pause);
    }
}

/// Does something live there that clients can use? An error for what will never be, or cannot be told.
fn lives(path: &Path) -> Result<bool, u8> {
    let inspection = inspect(path).map_err(|error| {
        say(&error);
        exit::of_server(&error)
    })?;
    let name = path.display();
    match inspection.state {
        PathState::Live { .. } | PathState::Busy => Ok(true),
        PathState::OtherType => {
            let why = "in use by a datagram or seqpacket socket";
            say(About(path, None, format_args!("cannot start the server of {name}: {why}")));
            Err(exit::IN_USE)
        }
        PathState::NotASocket { kind } => {
            let why = format!("a {kind} is there, and it was not touched");
            say(About(path, None, format_args!("cannot start the server of {name}: {why}")));
            Err(exit::CANNOT_TELL)
        }
        PathState::CannotTell { errno } => {
            let why = reason(&io::Error::from_raw_os_error(errno));
            say(About(path, Some(errno), format_args!("cannot tell whether a server lives at {name}: {why}")));
            Err(exit::CANNOT_TELL)
        }
        // Absent, or dead.
        _ => Ok(false),
    }
}

enum Started {
    Ready,
    /// Somebody else is at it.
    Busy,
    /// There was no word in time, or the supervisor was killed.
    Late,
}

fn start(args: &Ensure, retry: &Retry) -> Result<Started, u8> {
    let mut supervisor = command(args, retry.left()).spawn().map_err(|error| cannot_run_ourselves(&error))?;
    match hear(&mut supervisor, retry) {
        Ok(Some(READY)) => Ok(Started::Ready),
        Ok(Some(BUSY)) => {
            let _ = supervisor.wait();
            Ok(Started::Busy)
        }
        Ok(Some(LATE)) => Ok(Started::Late),
        // It ends, and has said why.
        Ok(_) => {
            match supervisor.wait().ok().map(|status| status.code()) {
                // Somebody has killed it, and so it said nothing.
                Some(None) => Ok(Started::Late),
                status => Err(status
                    .flatten()
                    .and_then(|status| u8::try_from(status).ok())
                    .filter(|&status| status != 0)
                    .unwrap_or(exit::FAILED)),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Started::Late),
        Err(error) => Err(failed(format_args!("cannot wait for the supervisor of PROG: {}", reason(&error)))),
    }
}

fn command(args: &Ensure, left: Duration) -> Command {
    let mut command = ourselves(if args.wait_listen { WAIT_LISTEN } else { "serve" });
    // Not only PROG's: the supervisor is not the service that a manager waits for either.
    remove_stale_variables(&mut command);
    if args.wait_listen {
        command.arg("--timeout").arg(time(left));
    } else {
        command.args(["--activate", "--detached", "--lock-timeout"]).arg(time(left.min(LOCK_TIMEOUT)));
        let SocketOptions { mode, owner, group, backlog } = &args.socket;
        command.arg("--mode").arg(format!("{mode:o}"));
        let options = [("--owner", owner), ("--group", group), ("--fd-name", &args.fd_name)];
        for (option, value) in options {
            // In one word, since a value may begin with a hyphen.
            command.args(value.as_ref().map(|value| format!("{option}={value}")));
        }
        command.args(backlog.map(|clients| format!("--backlog={clients}")));
    }
    if let Some(log) = &args.log {
        let mut option = std::ffi::OsString::from("--detached-log=");
        option.push(log);
        command.arg(option);
    }
    // A path may begin with a hyphen as well.
    if args.path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        command.arg(Path::new(".").join(&args.path));
    } else {
        command.arg(&args.path);
    }
    command.arg("--").args(&args.program);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// As the command line takes it.
fn time(time: Duration) -> String {
    format!("{}us", u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// The supervisor's word; `None` if it ends without one.
fn hear(supervisor: &mut Child, retry: &Retry) -> io::Result<Option<u8>> {
    let Some(pipe) = &mut supervisor.stdout else { return Ok(None) };
    loop {
        let left = Timespec::try_from(retry.left()).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(Errno::TIMEDOUT.into()),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut word = [0];
    Ok((pipe.read(&mut word)? == 1).then_some(word[0]))
}
