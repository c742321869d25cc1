//! Clients that start their server where nobody serves yet.

mod activated;
mod job;
mod waiting;

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::StartLock;
use crate::connect::connect_until;
use crate::error::{Error, ErrorKind, Result, describe};
use crate::sys::job::Report;
use crate::sys::spawn::{self, Starting};
use crate::sys::{Sys, System};

pub(crate) const START: &str = "start the server of";

/// How a server is started on demand: the program, what it finds, and how long a start may take.
///
/// ```no_run
/// # fn main() -> Result<(), unix_stream_server::Error> {
/// use std::time::Duration;
/// use unix_stream_server::{StartCommand, connect_or_start};
///
/// let server = StartCommand::new("my-cache-daemon")
///     .arg("--idle-timeout=10m")
///     .log_file("/home/me/.cache/my-cache-daemon.log")
///     .timeout(Duration::from_secs(10));
/// let stream = connect_or_start("/run/user/1000/my-cache", &server)?;
/// # drop(stream); Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until `connect_or_start`"]
pub struct StartCommand {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    env_clear: bool,
    log_file: Option<PathBuf>,
    timeout: Duration,
    wait_listen: bool,
    mode: u32,
    backlog: Option<u32>,
    fd_name: String,
}

impl StartCommand {
    /// A program, by its path or by a name that is looked for in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        StartCommand {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            env_clear: false,
            log_file: None,
            timeout: Duration::from_secs(30),
            wait_listen: false,
            mode: 0o600,
            backlog: None,
            fd_name: "unix-ss".to_owned(),
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A variable of its environment, which is otherwise ours without `LISTEN_*`, `NOTIFY_SOCKET` and
    /// `UNIX_SS_OWNED_PATH`: those would say something untrue, and cannot be set here.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// A variable of ours that it is not to have.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// Nothing of our environment, and nothing that was set here so far.
    pub fn env_clear(mut self) -> Self {
        self.env.clear();
        self.env_clear = true;
        self
    }

    /// Where its standard output and error go, at the end of the file, which is made if it is missing. Default:
    /// `/dev/null`. A server that fails to start says why there.
    pub fn log_file(mut self, path: impl AsRef<Path>) -> Self {
        self.log_file = Some(path.as_ref().to_owned());
        self
    }

    /// How long everything may take: waiting for the lock, the start, the connection. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For a program that knows nothing of `LISTEN_FDS` and creates its socket itself. Default: no.
    ///
    /// Then nobody can queue before it listens, so everybody waits until it does: by looking again and again, from a tenth
    /// of a millisecond to 50 ms apart. That one of many clients starts it is seen to by `<path>.start`, a lock
    /// file like `<path>.lock`, which the program needs. A dead socket is removed first, under the path's lock, since many
    /// programs cannot start over one.
    pub fn wait_listen(mut self, yes: bool) -> Self {
        self.wait_listen = yes;
        self
    }

    /// The permission bits of the socket's file, as of [`Builder::mode`](crate::Builder::mode). Default: `0o600`. Not used
    /// with [`wait_listen`](Self::wait_listen).
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// How many clients may wait to be accepted, as of [`Builder::backlog`](crate::Builder::backlog).
    pub fn backlog(mut self, clients: u32) -> Self {
        self.backlog = Some(clients);
        self
    }

    /// What `LISTEN_FDNAMES` calls the socket: 1 to 255 printable ASCII characters without a colon. Default: `unix-ss`.
    pub fn fd_name(mut self, name: impl Into<String>) -> Self {
        self.fd_name = name.into();
        self
    }
}

/// Connects to the server at a path; where nobody lives there, starts it, once however many clients come.
///
/// The socket is created *here*, under the path's lock, and the program gets it as descriptor 3 by the convention of
/// socket activation (`LISTEN_FDS=1`, `LISTEN_PID`, `LISTEN_FDNAMES`; sd_listen_fds(3)). So the socket is there before the
/// server is: other clients queue on it instead of racing, and nobody asks again and again whether it is ready. A program
/// without support for that: [`StartCommand::wait_listen`].
///
/// The server is no child of this process and survives it: it has a session of its own, the default signals, an empty
/// signal mask, `/dev/null` or a log file for standard input, output and error, and no other descriptor of ours, whether
/// close-on-exec or not (a daemon that holds its starter's pipes open hangs whoever waits for their end). Working
/// directory, umask, limits, user and control group are ours. No signal is sent to this process, SIGCHLD among them, and
/// no `wait` of it sees anybody, unless orphans become its children: see the hazards.
///
/// # Who removes the socket
///
/// This function, if the server ends before it has accepted its first client: everybody who is queued is reset at once.
/// From then on the server: it is told so by `UNIX_SS_OWNED_PATH`, the socket's absolute path, beside its own
/// `LISTEN_PID`. A program that does not know the variable leaves a dead socket, which the next start replaces. Where
/// that is not good enough, the command `unix-ss ensure` starts a supervisor that outlives the program.
///
/// # Errors
///
/// | [`ErrorKind`] | errno | when |
/// |---|---|---|
/// | `StartFailed` | `ECONNRESET` | the server ended before it let us in; [`Error::exit_status`] says how |
/// | `StartFailed` | `ENOENT`, `EACCES`, ... | the program could not be run |
/// | `TimedOut` | `ETIMEDOUT` | it let nobody in within [`timeout`](StartCommand::timeout); it may still, and keeps the path |
/// | `Locked` | `EEXIST`, `EACCES` | the path's lock, or `<path>.start`, was not had in time |
/// | `Invalid` | `EINVAL` | a NUL in an argument, a bad name for the descriptor, and as for [`Builder::create`](crate::Builder::create) |
/// | `System` | `ENOSYS` | nobody lives there, and this is not Linux, the only system on which servers are started so far, or it is Linux on SPARC |
/// | `System` | `EINVAL` | this process has called unshare(2) with `CLONE_NEWPID` and has no child yet: the server's starter would be the first process of that namespace, and take the server with it when it leaves. Fork, and start it from the child |
/// | others | | as for [`connect()`](crate::connect()) and [`Builder::create`](crate::Builder::create) |
///
/// A client that finds the socket of a server which is being started is queued there and returns at once, as of
/// [`connect()`](crate::connect()). If that server ends before it has accepted it, its stream says `ECONNRESET`.
///
/// So is the one who starts the server where the kernel does not list who is queued (no `unix_diag`, a sandbox, no
/// descriptors, some 1,900 clients and more) and the queue is not empty: after a second, or at the end of the time if that
/// is sooner, he returns, accepted or not, since a server that serves one after the other may be waiting for his request.
/// If it ends before it has accepted him, his stream says so, and it leaves a dead socket, which the next start replaces.
///
/// # Hazards
///
/// - **The server's user is ours.** Where several users share a path, whoever comes first starts it as himself.
/// - **`SO_PEERCRED`** of clients that came before the server called listen() again names the process that called here.
/// - **Process 1 and subreapers** (`PR_SET_CHILD_SUBREAPER`): where this process is one, or the nearest one above the
///   server, the server becomes its child when its starter ends: SIGCHLD and `wait` tell of the server's end, and a
///   zombie stays until somebody waits.
/// - **A control group or service manager** may end all processes of a session or unit; to it, the server is ours.
/// - **`<path>.start`** is given back at the latest after the timeout if this process is killed while a server is being
///   started; the server may be slower.
pub fn connect_or_start(path: impl AsRef<Path>, server: &StartCommand) -> Result<UnixStream> {
    let path = path.as_ref();
    let begin = Instant::now();
    let deadline = begin.checked_add(server.timeout);
    loop {
        if let Some(stream) = connect_if_alive(path, deadline)? {
            return Ok(stream);
        }
        if !spawn::IS_SUPPORTED {
            let why = "nobody serves there, and no server is started on this system; start it by other means";
            return Err(Error::new(ErrorKind::System, START, path, Errno::NOSYS, why));
        }
        let attempt = if server.wait_listen {
            waiting::start(path, server, deadline)?
        } else {
            activated::start(path, server, deadline)?
        };
        match attempt {
            Ok(stream) => return Ok(stream),
            // Somebody else is at it: to his server, once it is there.
            Err(busy) if is_over(deadline) => return Err(busy),
            Err(_) => System.pause(pause_after(begin, Duration::from_millis(50))),
        }
    }
}

/// `None` if nobody lives there.
fn connect_if_alive(path: &Path, deadline: Option<Instant>) -> Result<Option<UnixStream>> {
    match connect_until(path, deadline) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if is_nobody(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does it say that nobody lives there? Of a missing directory as well: creating the socket will say so.
fn is_nobody(error: &Error) -> bool {
    let errno = Errno::from_raw_os_error(error.raw_os_error());
    error.kind() == ErrorKind::System && [Errno::NOENT, Errno::CONNREFUSED].contains(&errno)
}

/// The start lock, for one who has found nobody at the path. Or the end of this attempt: a client of the server that was
/// started in between, or the error that says who is at it.
fn lock_if_nobody_lives(path: &Path) -> Result<ControlFlow<Result<UnixStream>, StartLock>> {
    let lock = match StartLock::try_take_if_free(path)? {
        Ok(lock) => lock,
        Err(busy) => return Ok(ControlFlow::Break(Err(busy))),
    };
    // Between our look and the lock somebody may have started one, and given the lock back.
    match connect_if_alive(path, Some(Instant::now())) {
        Ok(None) => Ok(ControlFlow::Continue(lock)),
        Ok(Some(stream)) => Ok(ControlFlow::Break(Ok(stream))),
        // Its backlog is full: to be waited for without the lock.
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(ControlFlow::Break(Err(error))),
        Err(error) => Err(error),
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// How long the path's lock is waited for, at most.
fn lock_timeout(deadline: Option<Instant>) -> Duration {
    const MOST: Duration = Duration::from_secs(5);
    deadline.map_or(MOST, |deadline| deadline.saturating_duration_since(Instant::now()).min(MOST))
}

/// Between two looks at what has no event: a small part of the time that it took so far.
fn pause_after(begin: Instant, most: Duration) -> Duration {
    (begin.elapsed() / 16).clamp(Duration::from_micros(100), most)
}

/// Waits for a report of the server, or a while.
fn wait(starting: Option<&Starting>, begin: Instant, deadline: Option<Instant>) {
    let mut pause = pause_after(begin, Duration::from_millis(10));
    if let Some(deadline) = deadline {
        pause = pause.min(deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(1));
    }
    let Some(starting) = starting else { return std::thread::sleep(pause) };
    let time = Timespec::try_from(pause).ok();
    // An interruption, or no memory: then this look comes early.
    let _ = poll(&mut [PollFd::from_borrowed_fd(starting.as_fd(), PollFlags::IN)], time.as_ref());
}

/// The error for a start that is over.
fn failed(path: &Path, server: &StartCommand, report: Report) -> Error {
    let program = Path::new(&server.program).display();
    match report {
        Report::NotRun(errno) => {
            let why = format!("cannot run {program}: {}", describe(errno));
            Error::new(ErrorKind::StartFailed, START, path, errno, why)
        }
        Report::NotStarted(errno) => Error::system(START, path, "clone", errno),
        Report::Exited(status) => {
            let status = ExitStatus::from_raw(status);
            let see = match &server.log_file {
                Some(file) => format!("see {}", file.display()),
                None => "give it a log file to see why".to_owned(),
            };
            let why = format!("{program} ended ({status}) before it let a client in; {see}");
            Error::new(ErrorKind::StartFailed, START, path, Errno::CONNRESET, why).with_exit_status(status)
        }
        Report::Lost => not_in_time(path, server), // not reached: a lost watcher is no verdict
    }
}

fn not_in_time(path: &Path, server: &StartCommand) -> Error {
    let program = Path::new(&server.program).display();
    let why = format!("{program} was started and let nobody in within {:?}; it may be stuck, or slow", server.timeout);
    Error::new(ErrorKind::TimedOut, START, path, Errno::TIMEDOUT, why)
}

fn invalid(path: &Path, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, START, path, Errno::INVAL, why)
}

/// Standard input and output of a server.
struct Stdio {
    null: OwnedFd,
    log: Option<OwnedFd>,
}

impl Stdio {
    fn open(path: &Path, server: &StartCommand) -> Result<Self> {
        use rustix::fs::{Mode, OFlags, open};
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::system(START, path, "open /dev/null", errno))?;
        let log = server.log_file.as_ref().map(|file| {
            // NONBLOCK: a fifo that nobody reads would hang us. NOCTTY: a terminal would become the server's.
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK;
            open(file, flags | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))
                .and_then(|log| rustix::io::ioctl_fionbio(&log, false).map(|()| log))
                .map_err(|errno| Error::system(START, path, &format!("open the log file {}", file.display()), errno))
        });
        Ok(Stdio { null, log: log.transpose()? })
    }

    fn output(&self) -> &OwnedFd {
        self.log.as_ref().unwrap_or(&self.null)
    }
}
