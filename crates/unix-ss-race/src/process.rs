//! Workers: this very program again, as a process that ends with the one that started it.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The hidden subcommand by which a program that embeds this crate becomes a worker: see [`worker`](crate::worker).
pub const WORKER: &str = "__race-worker";

/// The name of a process that ends with its parent.
const BOUND: &CStr = c"race-worker";

/// A user who is nobody in particular.
pub(crate) const NOBODY: u32 = 65_534;

/// Are we root, who can start workers of another user?
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A worker, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts one in the mode `mode`, with `job`. Its standard input is a pipe from us.
    pub(crate) fn start(mode: &str, job: &impl Serialize, stdout: Stdio, as_nobody: bool) -> io::Result<Worker> {
        // Not by its path, which may lie where another user may not go.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("unix-ss").args([WORKER, mode, &parent()]).arg(serde_json::to_string(job)?);
        command.stdin(Stdio::piped()).stdout(stdout);
        if as_nobody {
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
        command.spawn().map(Worker)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Not reaped yet, so the pid is still its own.
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    /// It is sure to end with us. One that is stopped before could stay so for ever, if we were killed meanwhile.
    pub(crate) fn may_be_paused(&self) -> bool {
        std::fs::read(format!("/proc/{}/comm", self.pid())).is_ok_and(|name| name.trim_ascii_end() == BOUND.to_bytes())
    }

    pub(crate) fn say(&mut self, words: &str) -> io::Result<()> {
        use io::Write;
        match &mut self.0.stdin {
            Some(stdin) => stdin.write_all(words.as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The end of its input is the word to end.
    pub(crate) fn tell_to_end(&mut self) {
        self.0.stdin = None;
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<std::process::ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// May nobody in particular go into this directory? To be asked as root.
pub(crate) fn nobody_may_enter(dir: &Path) -> io::Result<bool> {
    let mut asks = Worker::start("enter", &std::path::absolute(dir)?, Stdio::null(), true)?;
    Ok(asks.0.wait()?.success())
}

/// In a worker that asks: the exit status.
pub(crate) fn enter(dir: &str) -> u8 {
    u8::from(job::<PathBuf>(dir).is_none_or(|dir| std::env::set_current_dir(dir).is_err()))
}

fn parent() -> String {
    getpid().as_raw_nonzero().to_string()
}

/// In a worker: its mode and its job, once it is sure to end with its parent. `arguments`: those after [`WORKER`].
pub(crate) fn begin(arguments: impl Iterator<Item = OsString>) -> Option<(String, String)> {
    let mut arguments = arguments.map(|argument| argument.into_string().ok());
    let (mode, parent, job) = (arguments.next()??, arguments.next()??, arguments.next()??);
    set_parent_process_death_signal(Some(Signal::KILL)).ok()?;
    // It may have ended before that was said.
    let is_there = getppid().is_some_and(|now| now.as_raw_nonzero().to_string() == parent);
    // For our parent to see: `Worker::may_be_paused`.
    let _ = rustix::thread::set_name(BOUND);
    is_there.then_some((mode, job))
}

pub(crate) fn job<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// In a worker: has it been told to end? Waits for it for a time.
pub(crate) fn is_told_to_end(wait: Duration) -> bool {
    let time = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
    matches!(poll(&mut [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)], Some(&time)), Ok(1..))
}

/// Nothing more of this process happens.
pub(crate) fn kill_self() -> ! {
    loop {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// Somewhere in what follows, this process ends.
pub(crate) fn light_fuse(after: Duration) {
    std::thread::spawn(move || {
        let end = Instant::now() + after;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        kill_self();
    });
}
