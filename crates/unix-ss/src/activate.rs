//! `serve --activate`: one PROG that accepts the clients itself; we own the path.
//!
//! LISTEN_PID must be PROG's own pid, which is not known before the fork, and a closure between fork and exec would not
//! be safe. So we start ourselves first, with the listener as standard input; that process knows its pid, puts
//! everything in its place, and becomes PROG by exec.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use rustix::stdio;
use unix_stream_server::Ownership;

use crate::cli::{ACTIVATE_EXEC, ActivateExec, Serve};
use crate::identity::Identity;
use crate::message::{reason, say};
use crate::program::{split, stale_variables};
use crate::signals::Signals;
use crate::socket::{self, Ready};
use crate::{exit, fenced, lost};

/// SD_LISTEN_FDS_START of sd_listen_fds(3).
const LISTEN_FD: i32 = 3;

/// Serves until PROG ends; the exit status.
pub(crate) fn run(args: &Serve) -> u8 {
    supervise(args).unwrap_or_else(|status| status)
}

fn supervise(args: &Serve) -> Result<u8, u8> {
    let ready = Ready::take(args)?;
    let forwarded = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];
    let signals = Signals::catch(&[&[Signal::CHILD], &forwarded[..]].concat())
        .map_err(|error| failed(format_args!("cannot catch signals: {}", reason(&error))))?;
    let run_as = socket::identity(args)?;
    let (listener, ownership) = socket::create(args)?.into_parts().map_err(|error| {
        say(&error);
        exit::FAILED
    })?;
    let start = |run_as| {
        start(args, &listener, &ownership, run_as).map_err(|error| {
            say(format_args!("cannot start itself again to run PROG: {}; is /proc mounted?", reason(&error)));
            exit::CANNOT_RUN
        })
    };
    let child = match run_as {
        None => {
            ready.announce();
            start(None)?
        }
        Some(identity) => {
            let (started, inherited) = pipe_with(PipeFlags::CLOEXEC)
                .map_err(|errno| failed(format_args!("cannot make a pipe: {}", reason(&errno.into()))))?;
            let child = start(Some((&identity, inherited.as_fd())))?;
            drop(inherited);
            // Until PROG listens as itself, clients would take it for us. Or until there is a signal to see to.
            let mut ends = [PollFd::new(&started, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
            while poll(&mut ends, None) == Err(Errno::INTR) {}
            ready.announce();
            child
        }
    };
    let mut supervised = Supervised { child, listener, ownership, path_status: None };
    let ended =
        supervised.wait(&signals).map_err(|error| failed(format_args!("cannot wait for PROG: {}", reason(&error))))?;
    Ok(supervised.end(ended))
}

fn failed(why: std::fmt::Arguments<'_>) -> u8 {
    say(why);
    exit::FAILED
}

fn start(
    args: &Serve,
    listener: &UnixListener,
    ownership: &Ownership,
    run_as: Option<(&Identity, BorrowedFd<'_>)>,
) -> io::Result<Child> {
    // PROG goes on serving if we are killed, and so the life lock must live as long as PROG. It inherits a copy.
    let _life = ownership.life_lock().map(inheritable).transpose()?;
    let started = run_as.map(|(_, started)| inheritable(started)).transpose()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("unix-ss").arg(ACTIVATE_EXEC).arg("--fd-name").arg(args.fd_name.as_deref().unwrap_or("unix-ss"));
    if let (Some((identity, _)), Some(started)) = (run_as, &started) {
        command.arg("--identity").arg(identity.to_string()).arg("--started-fd").arg(started.as_raw_fd().to_string());
        let backlog = args.backlog.map_or(i32::MAX, |clients| i32::try_from(clients).unwrap_or(i32::MAX));
        command.arg("--backlog").arg(backlog.to_string());
    }
    command
        .arg("--")
        .args(&args.program)
        .stdin(OwnedFd::from(listener.try_clone()?))
        // So that a terminal's ^C reaches PROG once, from us.
        .process_group(0)
        .spawn()
}

/// A copy that is not closed by exec, out of the way of the numbers that PROG knows. Nothing else is started meanwhile.
fn inheritable(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, 10)?;
    rustix::io::fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}

struct Supervised {
    child: Child,
    /// Kept, so that whoever is left in the queue at the end can be counted.
    listener: UnixListener,
    ownership: Ownership,
    /// What came of the path, once it has been removed.
    path_status: Option<u8>,
}

impl Supervised {
    /// Forwards signals until PROG has ended.
    fn wait(&mut self, signals: &Signals) -> io::Result<ExitStatus> {
        let mut look = lost::Look::new();
        let mut told = false;
        loop {
            for signal in signals.take() {
                if signal != Signal::CHILD {
                    self.forward(signal);
                }
            }
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            let watching = self.path_status.is_none() && !told;
            if watching && look.is_due() && self.ownership.was_stolen() {
                told = true;
                let (path, status) = (self.ownership.local_path(), self.ownership.status());
                lost::report(path, Ok(status), "; no new clients will come, until PROG is started anew");
            }
            let watching = watching && !told;
            let left = watching.then(|| look.due().saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());
            match poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::NOMEM | Errno::AGAIN) => std::thread::sleep(Duration::from_millis(100)),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn forward(&mut self, signal: Signal) {
        if [Signal::TERM, Signal::INT].contains(&signal) {
            // PROG is to end, and drains its queue if it can. New clients, and a successor, shall find the path free.
            // The socket itself is left alone, since PROG may go on accepting from it, and so is a life lock.
            if self.path_status.is_none() {
                let status = self.ownership.unpublish();
                self.path_status = Some(lost::report(self.ownership.local_path(), status.as_ref().copied(), ""));
            }
        }
        // Not reaped yet, so the pid is still PROG's.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// PROG has ended: the path goes, and what has come of it all.
    fn end(self, ended: ExitStatus) -> u8 {
        let (path_status, left) = match self.path_status {
            Some(path_status) => (path_status, count(&self.listener)),
            None => {
                let path = self.ownership.local_path().to_owned();
                match self.ownership.drain(self.listener) {
                    Ok(drain) => (lost::report(&path, drain.status(), ""), drain.map_while(Result::ok).count()),
                    Err(error) => (failed(format_args!("{error}")), 0),
                }
            }
        };
        match left {
            0 => {}
            1 => say("1 client was still queued when PROG ended, and was not served"),
            n => say(format_args!("{n} clients were still queued when PROG ended, and were not served")),
        }
        match (ended.code(), ended.signal()) {
            (Some(0), _) => path_status,
            (Some(code), _) => u8::try_from(code).unwrap_or(exit::FAILED),
            (None, Some(signal)) => exit::of_signal(signal),
            (None, None) => exit::FAILED,
        }
    }
}

/// How many clients are still in the queue; they are hung up on.
fn count(listener: &UnixListener) -> usize {
    // Its copies are not accepted from any more, so it may be non-blocking for all of them.
    if listener.set_nonblocking(true).is_err() {
        return 0;
    }
    listener.incoming().map_while(Result::ok).count()
}

/// The hidden half: becomes PROG. Returns the exit status only if that failed.
pub(crate) fn become_program(args: &ActivateExec) -> u8 {
    // First of all, while whatever has the number 3 can only be inherited.
    let started = args.other.started_fd.map(fenced::inherited).transpose();
    let listener = match started.and_then(|started| Ok((started, put_in_place()?))) {
        Ok(places) => places,
        Err(error) => return failed(format_args!("cannot hand the socket to PROG: {}", reason(&error))),
    };
    let (_started, listener) = listener;
    if let Some(identity) = &args.other.identity {
        if let Err(error) = identity.assume() {
            say(format_args!("cannot become the user of --run-as: {}", reason(&error)));
            return exit::CANNOT_RUN;
        }
        // Clients see the user who listened last. The queue stays as it is.
        if let Err(errno) = rustix::net::listen(&listener, args.other.backlog) {
            return failed(format_args!("cannot listen as the user of --run-as: {}", reason(&errno.into())));
        }
    }
    let _ = listener.into_raw_fd(); // PROG's from here on
    let (program, rest) = split(&args.program);
    let mut command = Command::new(program);
    command.args(rest);
    for variable in stale_variables() {
        command.env_remove(variable);
    }
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", std::process::id().to_string()) // exec keeps it
        .env("LISTEN_FDNAMES", &args.fd_name);
    // Undoes what std does to every Rust program, which is to ignore SIGPIPE, as spawn would.
    let error = command.exec();
    say(format_args!("cannot run {}: {}", std::path::Path::new(program).display(), reason(&error)));
    exit::of_start(&error)
}

/// The listener to descriptor 3, and /dev/null to standard input.
fn put_in_place() -> io::Result<OwnedFd> {
    let mut target = match fenced::in_the_way(LISTEN_FD) {
        Some(other) => other,
        None => rustix::io::fcntl_dupfd_cloexec(stdio::stdin(), LISTEN_FD)?,
    };
    // dup2 of a descriptor to a free number, or over another; either way to be kept open by exec.
    rustix::io::dup2(stdio::stdin(), &mut target)?;
    rustix::io::fcntl_setfd(&target, FdFlags::empty())?;
    stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(target)
}
