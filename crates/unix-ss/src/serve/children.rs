//! The PROGs that run.

use std::collections::HashSet;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpgid, kill_process, kill_process_group, wait};

use crate::events;
use crate::message::{reason, say};

/// By pid, which stays theirs until they are reaped, so that no signal goes to somebody else.
///
/// # Race condition
///
/// A PROG that another thread starts may end, and be reaped here, before that thread has said its pid. So whoever is
/// reaped while a start is under way is remembered until the starts that were under way then are over: their pid is not
/// added any more. Otherwise a PROG that is long gone would be counted, and be sent signals, for ever.
#[derive(Default)]
pub(super) struct Children {
    running: HashSet<Pid>,
    /// The starts under way, by number.
    starts: Vec<u64>,
    /// The number of the next start.
    next: u64,
    /// Reaped without being known: each with the number that the next start had then.
    early: Vec<(Pid, u64)>,
    /// What they have been told last; who is started later is told so too.
    signalled: Option<Signal>,
}

/// A start under way.
#[must_use]
pub(super) struct Start(u64);

impl Children {
    /// To be called before the start, and to be followed by `started` or `failed`.
    pub(super) fn begin(&mut self) -> Start {
        self.next += 1;
        self.starts.push(self.next - 1);
        Start(self.next - 1)
    }

    /// True if it still runs; false if it has been reaped already.
    pub(super) fn started(&mut self, start: Start, pid: Pid) -> bool {
        events::prog_started(pid);
        let known = self.early.iter().position(|&(early, next)| early == pid && start.0 < next);
        match known {
            Some(index) => drop(self.early.swap_remove(index)),
            None => {
                self.running.insert(pid);
                if let Some(signal) = self.signalled {
                    send(pid, signal);
                }
            }
        }
        self.failed(start);
        known.is_none()
    }

    pub(super) fn failed(&mut self, start: Start) {
        self.starts.retain(|&number| number != start.0);
        let starts = &self.starts;
        self.early.retain(|&(_, next)| starts.iter().any(|&number| number < next));
    }

    /// Those that run, and those that are being started.
    pub(super) fn count(&self) -> usize {
        self.running.len() + self.starts.len()
    }

    /// Those that are being started.
    pub(super) fn starting(&self) -> usize {
        self.starts.len()
    }

    /// Forgets those that have ended; whether there were any. Children that are not ours but the predecessor's, who
    /// became us by exec, are reaped too.
    pub(super) fn reap(&mut self) -> bool {
        let mut any = false;
        // ECHILD, the only error, says that there are none left.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            events::prog_ended(pid, status);
            any |= self.ended(pid);
        }
        any
    }

    fn ended(&mut self, pid: Pid) -> bool {
        let known = self.running.remove(&pid);
        if !known && !self.starts.is_empty() {
            self.early.push((pid, self.next));
        }
        known
    }

    /// To each of them and to what it has started: every PROG leads a process group, unless it leaves it. And to those
    /// that come late.
    pub(super) fn signal(&mut self, signal: Signal) {
        self.signalled = Some(signal);
        for &pid in &self.running {
            send(pid, signal);
        }
    }
}

fn send(pid: Pid, signal: Signal) {
    let to_group = kill_process_group(pid, signal);
    // It may have gone to another group, and need not have left anybody in its own. Not reaped, so the pid is still its.
    let has_left = getpgid(Some(pid)).is_ok_and(|group| group != pid);
    match if has_left { kill_process(pid, signal) } else { to_group } {
        Ok(()) | Err(Errno::SRCH) => {} // it may have ended and wait to be reaped
        // It has become another user by itself, or our rights have gone.
        Err(errno) => {
            let pid = pid.as_raw_nonzero();
            say(format_args!("cannot send a signal to PROG, process {pid}: {}", reason(&errno.into())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).expect("not 0")
    }

    #[test]
    fn a_program_that_was_reaped_before_its_pid_was_known_does_not_count() {
        let mut children = Children::default();
        let (first, second) = (children.begin(), children.begin());
        assert_eq!(children.count(), 2);
        assert!(!children.ended(pid(7)));
        assert!(!children.started(second, pid(7)));
        assert!(children.started(first, pid(8)));
        assert_eq!(children.count(), 1);
        assert!(children.ended(pid(8)));
        assert_eq!(children.count(), 0);
    }

    #[test]
    fn a_strangers_pid_that_was_reaped_is_remembered_no_longer_than_it_may_be_a_starts() {
        let mut children = Children::default();
        assert!(!children.ended(pid(7)));
        let first = children.begin();
        assert!(!children.ended(pid(9)));
        let second = children.begin();
        // Begun after 9 was reaped: another process of that pid, while a start is always under way.
        assert!(children.started(second, pid(9)));
        children.failed(first);
        let third = children.begin();
        assert!(children.started(third, pid(7)));
        assert_eq!(children.count(), 2);
        assert!(children.early.is_empty());
    }
}
