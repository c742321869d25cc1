//! The start of PROG, our half of it.
//!
//! LISTEN_PID must be PROG's own pid, which is not known before the fork, and a closure between fork and exec would not
//! be safe. So we start ourselves first, with the listener as standard input; that process knows its pid, puts
//! everything in its place, and becomes PROG by exec: see [`super::exec`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;

use rustix::io::{Errno, FdFlags};
use rustix::process::Pid;

use super::exec_report::{ExecReport, NoProgram};
use super::service::Service;
use crate::announce::Ready;
use crate::cli::{ACTIVATE_EXEC, Serve};
use crate::complaint::Complaint;
use crate::ensure::detached::{Detached, READY};
use crate::events;
use crate::identity::Identity;
use crate::message::{reason, say};
use crate::prog::{cannot_run_ourselves, lacks_resources, ourselves, split};

/// Starts PROG, and says so to those who wait for it.
pub(super) struct Launcher<'a> {
    args: &'a Serve,
    run_as: Option<Identity>,
    detached: Option<Detached>,
    /// Until it has been announced.
    ready: Option<Ready>,
    /// That something is lacking.
    complaint: Complaint,
}

enum StartError {
    /// There was no process of ours.
    Ourselves(io::Error),
    /// PROG cannot be run. Only of one whose hidden half reports; otherwise that says so itself.
    Program(NoProgram),
}

impl StartError {
    fn why(&self) -> &io::Error {
        match self {
            StartError::Ourselves(error) | StartError::Program(NoProgram { error, .. }) => error,
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        StartError::Ourselves(error)
    }
}

impl<'a> Launcher<'a> {
    pub(super) fn new(args: &'a Serve, run_as: Option<Identity>, detached: Option<Detached>, ready: Ready) -> Self {
        Launcher { args, run_as, detached, ready: Some(ready), complaint: Complaint::default() }
    }

    /// Tells once that clients can come.
    pub(super) fn announce(&mut self) {
        if let Some(ready) = self.ready.take() {
            ready.announce();
        }
    }

    /// PROG, or the exit status. `None` for one on demand that something is lacking for: that passes, and its clients wait.
    pub(super) fn launch(&mut self, service: &Service) -> Result<Option<Child>, u8> {
        let child = match self.start(service) {
            Ok(child) => child,
            Err(error) if self.args.on_demand && lacks_resources(error.why()) => {
                self.complain(error.why());
                return Ok(None);
            }
            Err(StartError::Ourselves(error)) => return Err(cannot_run_ourselves(&error)),
            Err(StartError::Program(failure)) => return Err(failure.say(&self.args.program)),
        };
        events::prog_started(Pid::from_child(&child));
        // One that is only for those who are queued is none to announce.
        if service.ending.is_none() {
            self.announce();
        }
        if let Some(detached) = &self.detached {
            detached.tell(READY);
        }
        Ok(Some(child))
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complaint.is_due() {
            let program = Path::new(split(&self.args.program).0).display();
            say(format_args!("cannot run {program} yet: {}; trying again", reason(error)));
        }
    }

    fn start(&self, service: &Service) -> Result<Child, StartError> {
        // PROG goes on serving if we are killed, and so the life lock must live as long as PROG. It inherits a copy.
        let _life = service.ownership.life_lock().map(inheritable).transpose()?;
        let mut command = ourselves(ACTIVATE_EXEC);
        command.arg("--fd-name").arg(self.args.fd_name.as_deref().unwrap_or("unix-ss"));
        command.stdin(OwnedFd::from(service.listener.try_clone()?));
        // So that a terminal's ^C reaches PROG once, from us.
        command.process_group(0);
        if let Some(identity) = &self.run_as {
            let backlog =
                self.args.socket.backlog.map_or(i32::MAX, |clients| i32::try_from(clients).unwrap_or(i32::MAX));
            command.arg("--identity").arg(identity.to_string()).arg("--backlog").arg(backlog.to_string());
        }
        // One on demand goes on where something was lacking, and is to hear of it.
        let reports = self.args.on_demand || self.detached.is_some() || self.run_as.is_some();
        if !reports {
            return Ok(command.arg("--").args(&self.args.program).spawn()?);
        }
        let (report, end) = ExecReport::new()?;
        let inherited = inheritable(end.as_fd())?;
        drop(end);
        command.arg("--report-fd").arg(inherited.as_raw_fd().to_string()).arg("--").args(&self.args.program);
        if let Some(detached) = &self.detached {
            command.stdout(detached.output()?).stderr(detached.output()?);
        }
        let mut child = command.spawn()?;
        drop(inherited);
        match report.wait() {
            Ok(()) => Ok(child),
            Err(failure) => {
                let _ = child.wait();
                Err(StartError::Program(failure))
            }
        }
    }
}

/// A copy that is not closed by exec, out of the way of the numbers that PROG knows. Nothing else is started meanwhile.
fn inheritable(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, 10);
    // As it says where the limit is lower: no such number can be had.
    let copy = copy.map_err(|errno| if errno == Errno::INVAL { Errno::MFILE } else { errno })?;
    rustix::io::fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}
