//! The start of PROG, the hidden half of it: ourselves with the listener as standard input, about to become PROG.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use rustix::io::FdFlags;
use rustix::stdio;

use super::exec_report::{NoProgram, Step};
use crate::cli::ActivateExec;
use crate::{exit, inherited, prog};

/// SD_LISTEN_FDS_START of sd_listen_fds(3).
const LISTEN_FD: i32 = 3;

/// Becomes PROG. Returns the exit status only if that failed.
pub(crate) fn become_program(args: &ActivateExec) -> u8 {
    // First of all, while whatever has these numbers can only be inherited.
    let report = args.report_fd.and_then(|number| inherited::take(number).ok());
    let Err(failure) = exec(args);
    // Else it would be taken for running; and our half, which hears it, says it.
    if failure.report(report) { exit::CANNOT_RUN } else { failure.say(&args.program) }
}

fn exec(args: &ActivateExec) -> Result<Infallible, NoProgram> {
    let at = |step| move |error| NoProgram { step, error };
    let listener = put_in_place().map_err(at(Step::Socket))?;
    if let Some(identity) = &args.identity {
        // Clients see the user who listened last. The queue stays as it is.
        let listens = || Ok(rustix::net::listen(&listener, args.backlog)?);
        identity.assume().and_then(|()| listens()).map_err(at(Step::User))?;
    }
    let _ = listener.into_raw_fd(); // PROG's from here on
    let mut command = prog::command(&args.program);
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", std::process::id().to_string()) // exec keeps it
        .env("LISTEN_FDNAMES", &args.fd_name);
    // Undoes what std does to every Rust program, which is to ignore SIGPIPE, as spawn would.
    Err(at(Step::Exec)(prog::exec(command)))
}

/// The listener to descriptor 3, and /dev/null to standard input.
fn put_in_place() -> io::Result<OwnedFd> {
    let mut target = match inherited::in_the_way(LISTEN_FD) {
        Some(other) => other,
        None => rustix::io::fcntl_dupfd_cloexec(stdio::stdin(), LISTEN_FD)?,
    };
    // dup2 of a descriptor to a free number, or over another; either way to be kept open by exec.
    rustix::io::dup2(stdio::stdin(), &mut target)?;
    rustix::io::fcntl_setfd(&target, FdFlags::empty())?;
    stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(target)
}
