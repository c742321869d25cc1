//! A process that goes from system call to system call, as its tracer lets it.

use std::fmt;
use std::process::{ChildStdout, Command};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::{How, call, name};
use crate::marker::{Marker, marker};
use crate::raw::{self, Info};

/// A traced child. It is killed, and waited for, when it is dropped.
#[derive(Debug)]
pub struct Victim {
    pid: Pid,
    /// How many stops have been counted.
    stops: usize,
    /// The call that it is in.
    number: i64,
    /// To be delivered when it goes on.
    signal: Option<Signal>,
    end: Option<End>,
    /// What a program writes, if that was asked for.
    pub stdout: Option<ChildStdout>,
}

/// A place between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Counted from 0.
    pub index: usize,
    /// Before or after the call.
    pub side: Side,
    /// The number of the system call.
    pub number: i64,
}

/// The two sides of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It has not been carried out.
    Entry,
    /// It has, and its caller does not know yet.
    Exit,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Entry => "entry",
            Side::Exit => "exit",
        };
        write!(f, "stop {} ({side} of {})", self.index, name(self.number))
    }
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an exit status.
    Exited(i32),
    /// By a signal.
    Killed(i32),
}

impl Victim {
    /// A forked child that runs `work` up to the beginning of its [`operation`](crate::operation). To be called in a
    /// process that runs one test and nothing beside it.
    #[track_caller]
    pub fn fork(work: impl FnOnce()) -> Victim {
        let mut victim = Victim::stopped(raw::fork(work), None);
        while let Some(info) = victim.resume() {
            if let Info::Entry { number, arguments } = info {
                if marker(number, &arguments) == Some(Marker::Begin) {
                    assert!(matches!(victim.resume(), Some(Info::Exit)), "the marker's own exit");
                    return victim;
                }
            }
        }
        panic!("it ended before its operation began: {:?}", victim.end);
    }

    /// A program, stopped before its first instruction.
    #[track_caller]
    #[expect(clippy::zombie_processes, reason = "the victim is waited for by its pid, as a tracer has to")]
    pub fn exec(command: &mut Command) -> Victim {
        let child = raw::traced(command).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} cannot be traced: {error}; {WHY}"));
        let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
        Victim::stopped(pid, child.stdout.take())
    }

    #[track_caller]
    fn stopped(pid: Pid, stdout: Option<ChildStdout>) -> Victim {
        let mut victim = Victim { pid, stops: 0, number: -1, signal: None, end: None, stdout };
        match wait(pid) {
            WaitStatus::Stopped(..) => {}
            WaitStatus::Exited(_, raw::REFUSED) => {
                victim.end = Some(End::Exited(raw::REFUSED));
                panic!("a child cannot be traced; {WHY}");
            }
            other => {
                victim.end = end(other);
                panic!("a child did not stop but {other:?}");
            }
        }
        ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).expect("ptrace");
        victim
    }

    /// Lets it go on to the next stop. `None`: the operation is over, or the process has ended.
    #[track_caller]
    pub fn step(&mut self) -> Option<Stop> {
        let side = match self.resume()? {
            Info::Entry { number, arguments } => {
                if marker(number, &arguments) == Some(Marker::End) {
                    return None;
                }
                self.number = number;
                Side::Entry
            }
            Info::Exit => Side::Exit,
        };
        let stop = Stop { index: self.stops, side, number: self.number };
        self.stops += 1;
        Some(stop)
    }

    /// Counts its stops from 0 again.
    pub fn recount(&mut self) {
        self.stops = 0;
    }

    /// Lets it go on to a stop. `None`: it has no such stop.
    #[track_caller]
    pub fn step_to(&mut self, index: usize) -> Option<Stop> {
        loop {
            let stop = self.step()?;
            if stop.index == index {
                return Some(stop);
            }
        }
    }

    /// Lets it go on to the next stop of this side of this call, by its name in [`call`].
    #[track_caller]
    pub fn step_to_call(&mut self, side: Side, wanted: &str) {
        while let Some(stop) = self.step() {
            if stop.side == side && call(stop.number).is_some_and(|call| call.name == wanted) {
                return;
            }
        }
        panic!("it ended before the {side:?} of {wanted}");
    }

    /// At an entry: makes the call fail, and goes on to its exit.
    #[track_caller]
    pub fn fail(&mut self, errno: i32) {
        let before = self.stops;
        if call(self.number).is_none_or(|call| call.how == How::Instead) {
            raw::skip_call(self.pid).expect("ptrace");
        }
        let exit = self.step().expect("a call that fails has an exit");
        assert!(exit.side == Side::Exit && exit.index == before, "not at an entry, but {exit}");
        raw::set_result(self.pid, -i64::from(errno)).expect("ptrace");
    }

    /// Kills it where it stands.
    pub fn kill(mut self) {
        self.finish();
    }

    /// Lets it run free from here on.
    #[track_caller]
    pub fn release(&mut self) {
        assert_eq!(self.end, None, "it has ended: by SIGALRM if it hung");
        ptrace::detach(self.pid, self.signal.take()).expect("ptrace");
    }

    /// Waits for the end of one that runs free.
    #[track_caller]
    pub fn wait(mut self) -> End {
        let status = wait(self.pid);
        self.end = end(status);
        self.end.unwrap_or_else(|| panic!("it did not end but {status:?}"))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// To the next entry or exit of a call. `None`: it has ended.
    #[track_caller]
    fn resume(&mut self) -> Option<Info> {
        loop {
            ptrace::syscall(self.pid, self.signal.take()).expect("ptrace");
            match wait(self.pid) {
                WaitStatus::PtraceSyscall(_) => return Some(raw::info(self.pid).expect("ptrace")),
                WaitStatus::Stopped(_, signal) => self.signal = Some(signal), // it is about to get it
                status => {
                    self.end = end(status);
                    assert!(self.end.is_some(), "unexpected: {status:?}");
                    return None;
                }
            }
        }
    }

    fn finish(&mut self) {
        if self.end.is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
            while self.end.is_none() {
                self.end = end(wait(self.pid));
            }
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.finish();
    }
}

const WHY: &str =
    "ptrace of a child of one's own is refused by yama's ptrace_scope 3, by a seccomp filter, or under a debugger";

fn wait(pid: Pid) -> WaitStatus {
    loop {
        match waitpid(pid, None) {
            Err(Errno::EINTR) => {}
            status => return status.expect("a child"),
        }
    }
}

fn end(status: WaitStatus) -> Option<End> {
    match status {
        WaitStatus::Exited(_, code) => Some(End::Exited(code)),
        WaitStatus::Signaled(_, signal, _) => Some(End::Killed(signal as i32)),
        _ => None,
    }
}
