//! PROG while it runs, from its start to its end.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use unix_stream_server::UntilReplaced;

use super::demand::Demand;
use super::leaving::Leaving;
use super::reap::reap;
use super::service::{Ending, Service};
use crate::clients::has_clients;
use crate::message::{failed, reason, say};
use crate::signals::{Signals, tells_to_end};
use crate::{announce, events, exit, lost};

pub(super) struct Supervised {
    child: Child,
    service: Service,
    /// When to look at the path; `None` once its loss has been seen.
    look: Option<lost::Look>,
    /// It has been replaced, and PROG is to end when it has accepted those who came before.
    leaving: Option<Leaving>,
    /// It has been told to end because it was replaced.
    retired: bool,
    /// It has been told to end as we have been.
    told: bool,
}

impl Supervised {
    pub(super) fn new(child: Child, service: Service) -> Self {
        // Where the loss of the path has been seen already, PROG is for those who came before.
        let look = (!service.lost).then(lost::Look::new);
        let leaving = (service.lost && service.replaceable).then(Leaving::new);
        Supervised { child, service, look, leaving, retired: false, told: false }
    }

    /// Forwards signals until PROG has ended.
    pub(super) fn wait(&mut self, signals: &Signals, demand: Option<&Demand>) -> Result<ExitStatus, u8> {
        let ended = self.follow(signals, demand);
        ended.map_err(|error| failed(format_args!("cannot wait for PROG: {}", reason(&error))))
    }

    fn follow(&mut self, signals: &Signals, demand: Option<&Demand>) -> io::Result<ExitStatus> {
        loop {
            for signal in signals.take() {
                if signal != Signal::CHILD {
                    self.forward(signal, demand);
                }
            }
            self.pass_on_ending();
            if let Some(status) = reap(Pid::from_child(&self.child))? {
                events::prog_exited(self.child.id(), status);
                return Ok(status);
            }
            self.look_at_path();
            self.retire();
            signals.wait(None, self.due())?;
        }
    }

    fn forward(&mut self, signal: Signal, demand: Option<&Demand>) {
        events::signal(signal);
        // PROG is to end, and drains its queue if it can. One on demand that ended would be started again.
        let is_end =
            if demand.is_some() { tells_to_end(signal) } else { [Signal::TERM, Signal::INT].contains(&signal) };
        let ends = is_end && self.service.has_path();
        if ends {
            self.service.unpublish();
        }
        if tells_to_end(signal) {
            // If told once more, it is not to go on.
            self.service.ending = (ends && demand.is_some()).then(|| Ending::by(signal));
        }
        let waits = ends && demand.is_some_and(|demand| !demand.is_met(&self.service.listener));
        if !waits {
            self.told |= tells_to_end(signal);
            self.signal(signal);
        }
        if ends {
            announce::end(self.service.path(), self.service.replaced);
        }
    }

    fn signal(&self, signal: Signal) {
        // Not reaped yet, so the pid is still PROG's.
        match kill_process(Pid::from_child(&self.child), signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => say(format_args!("cannot send a signal to PROG: {}", reason(&errno.into()))),
        }
    }

    fn pass_on_ending(&mut self) {
        let is_due = !self.told && self.service.ending_is_due();
        if let (true, Some(Ending { signal, .. })) = (is_due, &self.service.ending) {
            self.signal(*signal);
            self.told = true;
        }
    }

    fn look_at_path(&mut self) {
        if !self.service.has_path() {
            return;
        }
        let is_due = self.look.as_mut().is_some_and(lost::Look::is_due);
        if !is_due {
            return;
        }
        let Some(status) = self.service.has_lost_path() else { return };
        self.look = None;
        if self.service.replaceable {
            self.leaving = Some(Leaving::new());
        } else {
            let and_now = "; no new clients will come, until PROG is started anew";
            lost::report(false, self.service.path(), Ok(status), and_now);
        }
    }

    /// Its successor has the path, and PROG has accepted all that came before: now it is to end.
    fn retire(&mut self) {
        let listener = &self.service.listener;
        if self.leaving.take_if(|leaving| leaving.is_over(listener)).is_some() {
            Leaving::wake_blocked_clients(listener);
            self.retired = true;
            self.signal(Signal::TERM);
        }
    }

    /// When to look next, if no signal comes.
    fn due(&self) -> Option<Instant> {
        if self.leaving.is_some() || (self.service.ending.is_some() && !self.told) {
            return Some(Leaving::next_look());
        }
        self.look.as_ref().filter(|_| self.service.has_path()).map(lost::Look::due)
    }

    /// PROG has ended: the service goes on if it is on demand, and PROG was idle, or serves one client each time. Otherwise
    /// it ends, with this exit status. One whose path is lost, or given up, goes on for those who came before.
    pub(super) fn go_on(mut self, ended: ExitStatus, demand: Option<&Demand>) -> Result<Service, u8> {
        let Some(demand) = demand.filter(|_| ended.success()) else { return Err(self.end(ended)) };
        let met_nobody = demand.has_met_nobody(&self.service.listener);
        if self.service.has_path() && self.service.has_lost_path().is_none() {
            if met_nobody {
                say("PROG ended without having accepted a client, though one was queued; not starting it again");
                return Err(self.end(ended).max(exit::FAILED));
            }
            return Ok(self.service);
        }
        if !met_nobody && self.is_wanted() { Ok(self.service) } else { Err(self.end(ended)) }
    }

    /// Somebody waits for PROG. If we have been told to end, once, and not too long ago.
    fn is_wanted(&self) -> bool {
        let Service { listener, ending, .. } = &self.service;
        if self.service.has_path() && self.service.replaceable && !has_clients(listener) {
            // Somebody may have found our socket just before a successor took the path, and not be queued yet.
            std::thread::sleep(UntilReplaced::GRACE);
        }
        let may_go_on = self.service.has_path() || (ending.is_some() && !self.service.ending_is_due());
        may_go_on && has_clients(listener)
    }

    /// The path goes, and what has come of it all.
    fn end(self, ended: ExitStatus) -> u8 {
        let path_status = self.service.close(None);
        match (ended.code(), ended.signal()) {
            (Some(0), _) => path_status,
            (Some(code), _) => u8::try_from(code).unwrap_or(exit::FAILED),
            (None, Some(signal)) if self.retired && signal == Signal::TERM.as_raw() => path_status,
            (None, Some(signal)) => exit::of_signal(signal),
            (None, None) => exit::FAILED,
        }
    }
}
