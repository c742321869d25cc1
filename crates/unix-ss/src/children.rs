//! The PROGs that run.

use std::collections::HashSet;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

use crate::message::{reason, say};

/// By pid, which stays theirs until they are reaped, so that no signal goes to somebody else.
#[derive(Default)]
pub(crate) struct Children(HashSet<Pid>);

impl Children {
    pub(crate) fn add(&mut self, pid: Pid) {
        self.0.insert(pid);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Forgets those that have ended; whether there were any. Children that are not ours but the predecessor's, who
    /// became us by exec, are reaped too.
    pub(crate) fn reap(&mut self) -> bool {
        let before = self.0.len();
        // ECHILD, the only error, says that there are none left.
        while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
            self.0.remove(&pid);
        }
        self.0.len() < before
    }

    /// To each of them and to what it has started: every PROG leads a process group.
    pub(crate) fn signal(&self, signal: Signal) {
        for &pid in &self.0 {
            match kill_process_group(pid, signal) {
                Ok(()) | Err(Errno::SRCH) => {} // it may have ended and wait to be reaped
                // It has become another user by itself, or our rights have gone.
                Err(errno) => {
                    let pid = pid.as_raw_nonzero();
                    say(format_args!("cannot send a signal to PROG, process {pid}: {}", reason(&errno.into())));
                }
            }
        }
    }
}
