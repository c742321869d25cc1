//! `ensure --wait-listen`: the supervisor of a PROG that creates its socket itself.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};
use unix_stream_server::{PathState, ServerSocket, StartLock, inspect};

use super::detached::{Detached, LATE, READY};
use crate::cli::WaitListen;
use crate::exit;
use crate::message::{About, failed};
use crate::prog::{self, cannot_run};
use crate::retry::Retry;
use crate::signals::{FORWARDED, NO_MEMORY, Signals};

/// Starts PROG, and stays until it has ended; the exit status.
pub(crate) fn run(args: &WaitListen) -> u8 {
    supervise(args).unwrap_or_else(|status| status)
}

fn supervise(args: &WaitListen) -> Result<u8, u8> {
    let detached = Detached::enter(args.detached_log.as_deref())?;
    let signals = Signals::catch(&[&[Signal::CHILD], &FORWARDED[..]].concat())?;
    // A PROG that puts itself into the background is ours to wait for all the same.
    let _ = set_child_subreaper(Some(getpid()));
    let lock = take_lock(args, &detached)?;
    let child = start(args, &detached)?;
    let mut supervised = Supervised { group: Pid::from_child(&child), status: None, nobody_left: false };
    let listens = supervised.follow(args, &signals).inspect_err(|_| clear_up(args))?;
    // If it took too long, `ensure` says so, and its output is not kept open. PROG may still come, and is looked after.
    detached.tell(if listens { READY } else { LATE });
    drop(lock);
    supervised.wait(&signals);
    clear_up(args);
    Ok(exit::DONE)
}

/// PROG may have left its socket there, also one that nobody has seen alive. A live one is somebody else's by now.
fn clear_up(args: &WaitListen) {
    let _ = ServerSocket::builder().remove_dead(&args.path);
}

/// The start lock, with nobody living at the path and nothing dead in PROG's way.
fn take_lock(args: &WaitListen, detached: &Detached) -> Result<StartLock, u8> {
    let lock = detached.take_start_lock(&args.path)?;
    ServerSocket::builder().remove_dead(&args.path).map_err(|error| detached.refused(&error))?;
    Ok(lock)
}

fn start(args: &WaitListen, detached: &Detached) -> Result<Child, u8> {
    let furnish = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(detached.output()?).stderr(detached.output()?).process_group(0);
        Ok(())
    };
    prog::spawn(prog::command(&args.program), furnish).map_err(|error| cannot_run(&args.program, &error))
}

/// What else stands there than a live server, or cannot be told, may yet become one: PROG is at work.
fn lives(path: &Path) -> bool {
    inspect(path).is_ok_and(|inspection| matches!(inspection.state, PathState::Live { .. } | PathState::Busy))
}

/// PROG and all that it has started.
struct Supervised {
    group: Pid,
    /// PROG's, once it has ended.
    status: Option<WaitStatus>,
    nobody_left: bool,
}

impl Supervised {
    /// Until somebody listens; false if nobody did in time.
    fn follow(&mut self, args: &WaitListen, signals: &Signals) -> Result<bool, u8> {
        let mut retry = Retry::within(args.timeout);
        loop {
            // Before the look at the path: who goes into the background listens before that.
            self.reap();
            if lives(&args.path) {
                return Ok(true);
            }
            if self.nobody_left || self.status.is_some_and(|status| status.exit_status() != Some(0)) {
                let (name, how) = (args.path.display(), self.status.map_or_else(String::new, how_it_ended));
                let why = format!("PROG ended{how} before it listened there");
                return Err(failed(About(&args.path, None, format_args!("cannot start the server of {name}: {why}"))));
            }
            let Some(pause) = retry.pause() else { return Ok(false) };
            self.sleep(signals, Some(pause));
        }
    }

    /// Until nobody is left.
    fn wait(&mut self, signals: &Signals) {
        while !self.nobody_left {
            self.reap();
            if !self.nobody_left {
                self.sleep(signals, None);
            }
        }
    }

    /// Passes signals on, which end the sleep.
    fn sleep(&mut self, signals: &Signals, time: Option<Duration>) {
        let time = time.and_then(|time| Timespec::try_from(time + Duration::from_micros(100)).ok());
        if let Err(Errno::NOMEM | Errno::AGAIN) =
            poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], time.as_ref())
        {
            std::thread::sleep(NO_MEMORY);
        }
        let mut came = signals.take();
        came.retain(|&signal| signal != Signal::CHILD);
        if came.is_empty() {
            return;
        }
        // PROG may have put another in its place just before, who is to hear of it.
        self.reap();
        for signal in came {
            if self.status.is_none() {
                let _ = kill_process_group(self.group, signal); // its leader is not reaped
                continue;
            }
            // The group may be a stranger's by now, and who has gone into the background has left it. No one of ours is
            // reaped meanwhile.
            for child in children() {
                let _ = kill_process(child, signal);
            }
        }
    }

    /// Keeps no zombie.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if pid == self.group {
                        self.status = Some(status);
                    }
                }
                Ok(None) | Err(Errno::INTR) => return,
                Err(_) => {
                    self.nobody_left = true;
                    return;
                }
            }
        }
    }
}

fn how_it_ended(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!(" with exit status {code}"),
        (_, Some(signal)) => format!(" by signal {signal}"),
        _ => String::new(),
    }
}

/// Ours as a subreaper as well; none where the kernel does not list them (`CONFIG_PROC_CHILDREN`).
fn children() -> Vec<Pid> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let pids = |list: String| list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
    lists.flat_map(pids as fn(String) -> Vec<Pid>).collect()
}
