//! Children that have ended: PROG, and those of whoever was this process before its exec, or of all who have died, if we
//! are the init of a container. They are waited for as well, or each would stay as a zombie.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait};

use crate::signals::Signals;

/// The status of PROG, if it has ended. An error if it is no child of ours any more.
pub(super) fn reap(prog: Pid) -> io::Result<Option<ExitStatus>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == prog => return Ok(Some(ExitStatus::from_raw(status.as_raw()))),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// While no PROG runs: takes what signals have come in, and whoever has ended.
pub(super) fn told_to_end(signals: &Signals) -> bool {
    let told = signals.tell_to_end();
    // Until there is nobody; after the signals, so that the next one to end is heard of.
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_)) | Err(Errno::INTR)) {}
    told
}
