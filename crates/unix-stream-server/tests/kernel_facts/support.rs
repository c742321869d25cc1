//! What the facts share: a directory and a turn, sockets, processes of their own, and threads asleep in the kernel.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that must come to an end; only a failure takes that long.
const LONG: Duration = Duration::from_secs(30);

/// The ordinary user that root's tests become, and another one.
pub(crate) const NOBODY: u32 = 65534;
pub(crate) const SOMEBODY_ELSE: u32 = 65533;

/// Closing a descriptor has no effect while a child between fork and exec holds a copy of it. So a test that starts
/// processes has the turn alone, and all others share it.
static TURN: RwLock<()> = RwLock::new(());

#[expect(dead_code, reason = "held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// An empty directory that goes away with the test.
pub(crate) struct Scratch {
    dir: TempDir,
    _turn: Turn,
}

impl Scratch {
    /// For a test that starts no process.
    pub(crate) fn shared() -> Self {
        Self::with(Turn::Shared(TURN.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// For a test that starts processes.
    pub(crate) fn alone() -> Self {
        Self::with(Turn::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with(turn: Turn) -> Self {
        Self { dir: tempfile::tempdir().expect("temporary directory"), _turn: turn }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

// ---- sockets ----

pub(crate) fn address(path: impl AsRef<Path>) -> SocketAddrUnix {
    SocketAddrUnix::new(path.as_ref()).expect("a path short enough for a socket address")
}

pub(crate) fn socket(kind: SocketType) -> OwnedFd {
    net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("socket")
}

/// A stream socket bound to `path` that does not listen.
pub(crate) fn bound(path: impl AsRef<Path>) -> OwnedFd {
    let socket = socket(SocketType::STREAM);
    net::bind(&socket, &address(path)).expect("bind");
    socket
}

/// A live server at `path`.
pub(crate) fn listening(path: impl AsRef<Path>) -> OwnedFd {
    let socket = bound(path);
    net::listen(&socket, 64).expect("listen");
    socket
}

/// A live server whose backlog is full, and the clients that fill it.
pub(crate) fn busy(path: impl AsRef<Path>) -> (OwnedFd, Vec<OwnedFd>) {
    let server = bound(&path);
    net::listen(&server, 0).expect("listen");
    let mut clients = Vec::new();
    loop {
        match connect_nonblocking(&path) {
            (client, Ok(())) => clients.push(client),
            (_, Err(Errno::AGAIN)) => return (server, clients),
            (_, Err(errno)) => panic!("failed to fill a backlog: {errno}"),
        }
        assert!(clients.len() < 1000, "a backlog of 0 took a thousand clients");
    }
}

/// What a server that was killed leaves behind.
pub(crate) fn leave_dead(path: impl AsRef<Path>) {
    drop(listening(path));
}

pub(crate) fn connect_nonblocking(path: impl AsRef<Path>) -> (OwnedFd, Result<(), Errno>) {
    let socket = socket(SocketType::STREAM);
    rustix::io::ioctl_fionbio(&socket, true).expect("FIONBIO");
    let result = net::connect(&socket, &address(path));
    (socket, result)
}

/// What a non-blocking connect says. On a thread, because what should not block might.
pub(crate) fn probe(path: impl AsRef<Path>) -> Result<(), Errno> {
    let path = path.as_ref().to_owned();
    in_time(move || connect_nonblocking(path).1)
}

/// A connected client of the server at `path`.
pub(crate) fn client(path: impl AsRef<Path>) -> OwnedFd {
    let (socket, result) = connect_nonblocking(path);
    result.expect("connect");
    rustix::io::ioctl_fionbio(&socket, false).expect("FIONBIO");
    socket
}

// ---- files ----

pub(crate) fn open(path: impl AsRef<Path>, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
    fs::open(path.as_ref(), flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))
}

/// A descriptor of the file itself, whatever it is, that gives no access to what is in it.
pub(crate) fn pin(path: impl AsRef<Path>) -> OwnedFd {
    open(path, OFlags::PATH | OFlags::NOFOLLOW, 0).expect("open O_PATH")
}

/// The name through which a descriptor's file is reached.
pub(crate) fn through(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// Type and permissions as they are at `path`, symlinks not followed.
pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::lstat(path.as_ref()).expect("lstat").st_mode
}

pub(crate) fn ino(path: impl AsRef<Path>) -> u64 {
    fs::lstat(path.as_ref()).expect("lstat").st_ino
}

// ---- processes ----

const CHILD: &str = "KERNEL_FACTS_CHILD";
const ARGUMENT: &str = "KERNEL_FACTS_ARGUMENT";

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process was started by [`again`] for `test`.
pub(crate) fn is_child(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == test)
}

/// What [`again`] was given for the child.
pub(crate) fn argument() -> PathBuf {
    std::env::var_os(ARGUMENT).expect("the child's argument").into()
}

/// This very program with only `test` to run. Through /proc, so that a user who cannot walk to it can run it.
pub(crate) fn again(test: &str, argument: impl AsRef<Path>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    ask(&mut command, test, argument);
    command
}

/// As [`again`], for a `command` that ends in the name of the program.
pub(crate) fn ask(command: &mut Command, test: &str, argument: impl AsRef<Path>) {
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env(ARGUMENT, argument.as_ref())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Waits for a child of [`again`], and fails if its test did, or if there is no test of that name.
pub(crate) fn expect_passed(child: Child) {
    let output = child.wait_with_output().expect("wait");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "the child's {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `body` in a process of its own, which is never root's: what it changes of itself disturbs no other test.
pub(crate) fn in_own_process(test: &str, body: impl FnOnce()) {
    if is_child(test) {
        return body();
    }
    let scratch = Scratch::alone();
    let mut command = again(test, scratch.dir());
    command.env("TMPDIR", scratch.dir());
    if is_root() {
        std::os::unix::fs::chown(scratch.dir(), Some(NOBODY), Some(NOBODY)).expect("chown");
        command.uid(NOBODY).gid(NOBODY);
    }
    expect_passed(command.spawn().expect("spawn"));
}

/// Runs `body` as a user to whom permissions apply.
pub(crate) fn as_ordinary_user(test: &str, body: impl FnOnce()) {
    if is_root() { in_own_process(test, body) } else { body() }
}

/// A process that holds `stdin` and `stdout` and does nothing else until SIGKILL, which is how it is dropped.
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn of(stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("600").stdin(stdin).stdout(stdout).spawn().expect("spawn sleep"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- threads ----

/// The result of `body`, which must not take for ever.
pub(crate) fn in_time<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    Asleep::start(body).result()
}

/// A thread in a system call that may block.
pub(crate) struct Asleep<T> {
    tid: u32,
    result: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Asleep<T> {
    fn start(body: impl FnOnce() -> T + Send + 'static) -> Self {
        let (tell_tid, tid) = mpsc::channel();
        let (tell, result) = mpsc::channel();
        thread::spawn(move || {
            let _ = tell_tid.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
            let _ = tell.send(body());
        });
        Self { tid: tid.recv().expect("a thread's id"), result }
    }

    /// Starts `body` and returns once the kernel shows its thread asleep in the call it makes.
    pub(crate) fn in_call(body: impl FnOnce() -> T + Send + 'static) -> Self {
        let this = Self::start(body);
        let deadline = Instant::now() + LONG;
        while !this.is_asleep() {
            assert!(Instant::now() < deadline, "a thread that should block does not");
            thread::sleep(Duration::from_millis(1));
        }
        this
    }

    fn is_asleep(&self) -> bool {
        let task = format!("/proc/self/task/{}", self.tid);
        let stat = std::fs::read_to_string(format!("{task}/stat")).expect("a thread still in its call");
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        // Asleep, but not in a futex of the allocator on the way.
        // A kernel may not show system calls; then asleep has to do.
        let futex = libc::SYS_futex.to_string();
        let in_futex = std::fs::read_to_string(format!("{task}/syscall"))
            .is_ok_and(|line| line.split(' ').next() == Some(futex.as_str()));
        state == Some('S') && !in_futex
    }

    /// What the call came to, once it ends.
    pub(crate) fn result(self) -> T {
        self.result.recv_timeout(LONG).expect("a call that comes to an end")
    }
}

/// A client asleep in connect() to the full backlog at `path`.
pub(crate) fn waiting_client(path: &Path) -> Asleep<Result<OwnedFd, Errno>> {
    let (socket, address) = (socket(SocketType::STREAM), address(path));
    Asleep::in_call(move || net::connect(&socket, &address).map(|()| socket))
}

/// Everybody in the queue of `server`.
pub(crate) fn accept_all(server: &OwnedFd) -> Vec<OwnedFd> {
    rustix::io::ioctl_fionbio(server, true).unwrap();
    std::iter::from_fn(|| net::accept(server).ok()).collect()
}

/// What is ready now.
pub(crate) fn polled(socket: &OwnedFd) -> PollFlags {
    let mut sockets = [PollFd::new(socket, PollFlags::IN | PollFlags::OUT)];
    poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    sockets[0].revents()
}

/// The name that the kernel shows for a socket.
pub(crate) fn bound_name(socket: impl AsFd) -> PathBuf {
    let name = net::SocketAddrUnix::try_from(net::getsockname(socket).unwrap()).unwrap();
    std::ffi::OsStr::from_bytes(name.path_bytes().unwrap()).into()
}

pub(crate) fn make_fifo(path: &Path, mode: u32) {
    fs::mknodat(CWD, path, fs::FileType::Fifo, Mode::from_raw_mode(mode), 0).unwrap();
}
