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
use rustix::process::{Pid, Signal, kill_process};
use rustix::stdio;
use unix_stream_server::{ErrorKind, Ownership, ServerSocket, Status};

use crate::cli::{ACTIVATE_EXEC, ActivateExec, Serve};
use crate::demand::{Demand, Woken};
use crate::detached::{BUSY, Detached, ExecReport, READY, report_exec, take_start_lock};
use crate::ensure::lives;
use crate::identity::Identity;
use crate::leaving::{Leaving, has_clients};
use crate::message::{failed, reason, say};
use crate::program::{must_be_there, split, stale_variables};
use crate::signals::{FORWARDED, Signals};
use crate::socket::{self, Ready};
use crate::{events, exit, fenced, log, lost};

/// SD_LISTEN_FDS_START of sd_listen_fds(3).
const LISTEN_FD: i32 = 3;

/// Serves until PROG ends; the exit status.
pub(crate) fn run(args: &Serve) -> u8 {
    supervise(args).unwrap_or_else(|status| status)
}

fn supervise(args: &Serve) -> Result<u8, u8> {
    let ready = Ready::take(args)?;
    let detached = args.detached.then(|| Detached::enter(args.detached_log.as_deref())).transpose()?;
    let signals = Signals::catch(&[&[Signal::CHILD], &FORWARDED[..]].concat())?;
    let run_as = socket::identity(args)?;
    must_be_there(args, run_as.is_some())?;
    let mut parts = create(args, detached.as_ref())?.into_parts().map_err(failed)?;
    let mut ready = Some(ready);
    // Until PROG listens as itself, clients would take it for us.
    let later = run_as.is_some() && !args.on_demand;
    let announce = |ready: &mut Option<Ready>| ready.take().map_or((), Ready::announce);
    if !later {
        announce(&mut ready);
    }
    let report = lost::reporter(args.replaceable || args.replace);
    let replaceable = args.replaceable || args.replace;
    let mut ending = None;
    if args.replace && !predecessor_ends(&mut parts.1, &signals, || false) {
        let told = end_idle(&mut parts.1, report, replaceable);
        // With the life lock PROG is not to run beside the predecessor, not even for those who are queued.
        if !predecessor_ends(&mut parts.1, &signals, || told.leaving.is_over(&parts.0)) || !has_clients(&parts.0) {
            say_left(count(&parts.0));
            return Ok(told.path_status);
        }
        // PROG has its time from here on.
        ending = Some(Ending { leaving: Leaving::new(), ..told });
    }
    let mut demand = args.on_demand.then(|| Demand::new(replaceable));
    loop {
        let (listener, mut ownership) = parts;
        if let Some(demand) = &mut demand {
            let woken =
                if ending.is_some() { Ok(Woken::ByClient) } else { demand.wait(&listener, &ownership, &signals) };
            match woken {
                Ok(Woken::ByClient) => {}
                Ok(Woken::ToEnd(Some(status))) => {
                    return Ok(end_without_path(listener, ownership, replaceable, status));
                }
                Ok(Woken::ToEnd(None)) => {
                    let told = end_idle(&mut ownership, report, replaceable);
                    if !has_clients(&listener) {
                        say_left(count(&listener));
                        return Ok(told.path_status);
                    }
                    ending = Some(told);
                }
                Err(error) => return Err(failed(format_args!("cannot wait for a client: {}", reason(&error)))),
            }
            if ending.is_some() {
                demand.is_for_head(&listener);
            }
        }
        let child = start(args, &listener, &ownership, detached.as_ref(), run_as.as_ref())
            .map_err(|error| cannot_start(args, &error))?;
        events::prog_started(Pid::from_child(&child));
        if ending.is_none() {
            announce(&mut ready);
        }
        if let Some(detached) = &detached {
            detached.tell(READY);
        }
        let path_status = ending.as_ref().map(|ending: &Ending| ending.path_status);
        let ending_now = ending.take();
        let mut supervised = Supervised {
            child,
            listener,
            ownership,
            replaceable,
            replaced: false,
            retired: false,
            report,
            path_status,
            ending: ending_now,
        };
        let ended = supervised
            .wait(&signals, demand.as_ref())
            .map_err(|error| failed(format_args!("cannot wait for PROG: {}", reason(&error))))?;
        match &demand {
            // It was idle. The next client starts it again.
            Some(demand) if supervised.may_go_on(ended) => {
                if demand.is_unmet(&supervised.listener) {
                    say("PROG ended without having accepted the client that it was started for; not starting it again");
                    let status = supervised.end(ended);
                    return Err(if status == exit::DONE { exit::FAILED } else { status });
                }
                parts = (supervised.listener, supervised.ownership);
            }
            // Told to end, and it does not know yet, but serves one client each time.
            Some(demand) if ended.success() && supervised.is_wanted() && !demand.is_unmet(&supervised.listener) => {
                ending = supervised.ending;
                parts = (supervised.listener, supervised.ownership);
            }
            _ => return Ok(supervised.end(ended)),
        }
    }
}

/// The socket; `ensure`, who looks at the path again, is told in a word if somebody has it.
fn create(args: &Serve, detached: Option<&Detached>) -> Result<ServerSocket, u8> {
    let Some(detached) = detached else { return socket::create(args) };
    // Without it, each of many supervisors would look who has the path by connecting, which PROG would see.
    let _lock = take_start_lock(&args.path, detached)?;
    if lives(&args.path)? {
        detached.tell(BUSY);
        return Err(exit::IN_USE);
    }
    socket::builder(args)?.create(&args.path).map_err(|error| {
        if error.kind() == ErrorKind::InUse {
            detached.tell(BUSY);
        } else {
            say(&error);
        }
        exit::of_server(&error)
    })
}

fn cannot_start(args: &Serve, error: &StartError) -> u8 {
    match error {
        StartError::Ourselves(error) => {
            say(format_args!("cannot start itself again to run PROG: {}; is /proc mounted?", reason(error)));
            exit::CANNOT_RUN
        }
        StartError::Program(error) => cannot_run(&args.program, error),
    }
}

fn cannot_run(program: &[std::ffi::OsString], error: &io::Error) -> u8 {
    let (program, _) = split(program);
    say(format_args!("cannot run {}: {}", std::path::Path::new(program).display(), reason(error)));
    exit::of_start(error)
}

/// With a life lock, PROG starts when that of the server that was replaced has ended. False if we are told to end first,
/// or give up.
fn predecessor_ends(ownership: &mut Ownership, signals: &Signals, gives_up: impl Fn() -> bool) -> bool {
    const INTERVAL: Duration = Duration::from_millis(20);
    let mut told = false;
    loop {
        match ownership.wait_for_predecessor(INTERVAL) {
            Ok(()) => return true,
            Err(error) if [ErrorKind::InUse, ErrorKind::Locked].contains(&error.kind()) => {}
            Err(error) => {
                if !told {
                    say(format_args!("{error}; trying again"));
                }
                told = true;
                std::thread::sleep(INTERVAL);
            }
        }
        let told = signals.take().iter().any(|signal| [Signal::TERM, Signal::INT, Signal::QUIT].contains(signal));
        if told || gives_up() {
            return false;
        }
    }
}

/// Told to end; PROG, which may not have accepted the client that it is started for, is told when it has.
struct Ending {
    leaving: Leaving,
    /// What PROG is told by.
    signal: Signal,
    path_status: u8,
}

/// Told to end while no PROG runs: new clients, and a successor, shall find the path free. PROG is still to serve those
/// who are queued.
fn end_idle(ownership: &mut Ownership, report: lost::Report, replaceable: bool) -> Ending {
    let status = ownership.unpublish();
    let path_status = report(ownership.local_path(), status.as_ref().copied(), "");
    announce_going(ownership.local_path(), lost::is_replaced(replaceable, status.as_ref().copied()));
    Ending { leaving: Leaving::new(), signal: Signal::TERM, path_status }
}

/// The path was lost, or somebody else has it, while no PROG ran.
fn end_without_path(listener: UnixListener, ownership: Ownership, replaceable: bool, status: u8) -> u8 {
    let path = ownership.local_path().to_owned();
    match ownership.drain(listener) {
        Ok(drain) => {
            announce_going(&path, lost::is_replaced(replaceable, drain.status()));
            say_left(drain.map_while(Result::ok).count());
            status
        }
        Err(error) => failed(format_args!("{error}")),
    }
}

fn announce_going(path: &std::path::Path, replaced: bool) {
    if replaced { socket::announce_successor(path) } else { socket::announce_end() }
}

enum StartError {
    /// There was no process of ours.
    Ourselves(io::Error),
    /// PROG cannot be run. Only of a detached one; otherwise the hidden half says so itself.
    Program(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        StartError::Ourselves(error)
    }
}

fn start(
    args: &Serve,
    listener: &UnixListener,
    ownership: &Ownership,
    detached: Option<&Detached>,
    run_as: Option<&Identity>,
) -> Result<Child, StartError> {
    // PROG goes on serving if we are killed, and so the life lock must live as long as PROG. It inherits a copy.
    let _life = ownership.life_lock().map(inheritable).transpose()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("unix-ss").arg(ACTIVATE_EXEC).arg("--fd-name").arg(args.fd_name.as_deref().unwrap_or("unix-ss"));
    command.args(log::options()).stdin(OwnedFd::from(listener.try_clone()?));
    // So that a terminal's ^C reaches PROG once, from us.
    command.process_group(0);
    if let Some(identity) = run_as {
        let backlog = args.socket.backlog.map_or(i32::MAX, |clients| i32::try_from(clients).unwrap_or(i32::MAX));
        command.arg("--identity").arg(identity.to_string()).arg("--backlog").arg(backlog.to_string());
    }
    if detached.is_none() && run_as.is_none() {
        return Ok(command.arg("--").args(&args.program).spawn()?);
    }
    let (report, end) = ExecReport::new()?;
    let inherited = inheritable(end.as_fd())?;
    drop(end);
    command.arg("--report-fd").arg(inherited.as_raw_fd().to_string()).arg("--").args(&args.program);
    if let Some(detached) = detached {
        command.stdout(detached.output()?).stderr(detached.output()?);
    }
    let mut child = command.spawn()?;
    drop(inherited);
    match report.wait() {
        Ok(()) => Ok(child),
        Err(error) => {
            let _ = child.wait();
            Err(StartError::Program(error))
        }
    }
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
    replaceable: bool,
    /// A successor was seen at the path.
    replaced: bool,
    /// It has been told to end because it was replaced.
    retired: bool,
    report: lost::Report,
    /// What came of the path, once it has been removed.
    path_status: Option<u8>,
    /// A signal that PROG has not been told of yet.
    ending: Option<Ending>,
}

impl Supervised {
    /// Forwards signals until PROG has ended.
    fn wait(&mut self, signals: &Signals, demand: Option<&Demand>) -> io::Result<ExitStatus> {
        let mut look = lost::Look::new();
        let mut told = false;
        let mut leaving = None;
        loop {
            for signal in signals.take() {
                if signal != Signal::CHILD {
                    self.forward(signal, demand);
                }
            }
            if self.ending.as_ref().is_some_and(|ending| ending.leaving.is_over(&self.listener)) {
                self.tell();
            }
            if let Some(status) = self.child.try_wait()? {
                events::prog_exited(self.child.id(), status);
                return Ok(status);
            }
            let watching = self.path_status.is_none() && !told;
            if watching && look.is_due() && self.ownership.was_stolen() {
                told = true;
                let (path, status) = (self.ownership.local_path(), self.ownership.status());
                if self.replaceable {
                    // It may have gone as well by the time that we do.
                    self.replaced = status == Status::Replaced;
                    leaving = Some(Leaving::new());
                } else {
                    lost::report(path, Ok(status), "; no new clients will come, until PROG is started anew");
                }
            }
            if leaving.as_ref().is_some_and(|leaving| leaving.is_over(&self.listener)) {
                // Its successor has the path, and PROG has accepted all that came before: now it is to end.
                leaving = None;
                Leaving::wake_blocked_clients(&self.listener);
                self.retired = true;
                self.signal(Signal::TERM);
            }
            let watching = watching && !told;
            let due = if leaving.is_some() || self.ending.is_some() {
                Some(Leaving::next_look())
            } else {
                watching.then(|| look.due())
            };
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());
            match poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::NOMEM | Errno::AGAIN) => std::thread::sleep(Duration::from_millis(100)),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // Not reaped yet, so the pid is still PROG's.
        match kill_process(Pid::from_child(&self.child), signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => say(format_args!("cannot send a signal to PROG: {}", reason(&errno.into()))),
        }
    }

    fn forward(&mut self, signal: Signal, demand: Option<&Demand>) {
        events::signal(signal);
        let ends = [Signal::TERM, Signal::INT].contains(&signal) && self.path_status.is_none();
        if ends {
            // PROG is to end, and drains its queue if it can. New clients, and a successor, shall find the path free.
            // The socket itself is left alone, since PROG may go on accepting from it, and so is a life lock.
            let status = self.ownership.unpublish();
            self.path_status = Some((self.report)(self.ownership.local_path(), status.as_ref().copied(), ""));
        }
        // It has just been started, and the signal would end it before it can catch that.
        match (ends, self.path_status, demand) {
            (true, Some(path_status), Some(demand)) if !demand.is_met(&self.listener) => {
                self.ending = Some(Ending { leaving: Leaving::new(), signal, path_status });
            }
            // If told once more, it is not to go on.
            _ => {
                if [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal) {
                    self.ending = None;
                }
                self.signal(signal);
            }
        }
        if ends {
            socket::announce_end();
        }
    }

    /// Passes on what PROG has not been told.
    fn tell(&mut self) {
        if let Some(ending) = self.ending.take() {
            self.signal(ending.signal);
        }
    }

    /// We are told to end, PROG does not know yet, and somebody waits for it.
    fn is_wanted(&self) -> bool {
        has_clients(&self.listener)
            && self.ending.as_ref().is_some_and(|ending| !ending.leaving.is_over(&self.listener))
    }

    /// PROG has ended well, nobody has told us to end, and the path is ours.
    fn may_go_on(&self, ended: ExitStatus) -> bool {
        ended.success() && self.path_status.is_none() && !self.ownership.was_stolen()
    }

    /// PROG has ended: the path goes, and what has come of it all.
    fn end(self, ended: ExitStatus) -> u8 {
        let (path_status, left) = match self.path_status {
            Some(path_status) => (path_status, count(&self.listener)),
            None => {
                let path = self.ownership.local_path().to_owned();
                let mut replaced = self.replaced;
                let drained = match self.ownership.drain(self.listener) {
                    Ok(drain) => {
                        replaced |= lost::is_replaced(self.replaceable, drain.status());
                        let status = if replaced { Ok(Status::Replaced) } else { drain.status() };
                        ((self.report)(&path, status, ""), drain.map_while(Result::ok).count())
                    }
                    Err(error) => (failed(format_args!("{error}")), 0),
                };
                announce_going(&path, replaced);
                drained
            }
        };
        say_left(left);
        match (ended.code(), ended.signal()) {
            (Some(0), _) => path_status,
            (Some(code), _) => u8::try_from(code).unwrap_or(exit::FAILED),
            (None, Some(signal)) if self.retired && signal == Signal::TERM.as_raw() => path_status,
            (None, Some(signal)) => exit::of_signal(signal),
            (None, None) => exit::FAILED,
        }
    }
}

fn say_left(clients: usize) {
    match clients {
        0 => {}
        1 => say("1 client was still queued when PROG ended, and was not served"),
        n => say(format_args!("{n} clients were still queued when PROG ended, and were not served")),
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
    // First of all, while whatever has these numbers can only be inherited.
    let report = args.report_fd.and_then(|number| fenced::inherited(number).ok());
    let listener = match put_in_place() {
        Ok(listener) => listener,
        Err(error) => return failed(format_args!("cannot hand the socket to PROG: {}", reason(&error))),
    };
    if let Some(identity) = &args.identity {
        // Clients see the user who listened last. The queue stays as it is.
        let listens = || rustix::net::listen(&listener, args.backlog);
        if let Err(error) = identity.assume().and_then(|()| Ok(listens()?)) {
            say(format_args!("cannot become the user of --run-as and listen: {}", reason(&error)));
            return exit::CANNOT_RUN;
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
    if report_exec(report, &error) { exit::of_start(&error) } else { cannot_run(&args.program, &error) }
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
