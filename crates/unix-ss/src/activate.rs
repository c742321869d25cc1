//! `serve --activate`: one PROG that accepts the clients itself; we own the path.

mod demand;
mod exec;
mod exec_report;
mod launch;
mod leaving;
mod reap;
mod replay;
mod service;
mod supervised;

use std::convert::Infallible;
use std::io;
use std::time::Instant;

use rustix::process::Signal;

use crate::announce::Ready;
use crate::cli::Serve;
use crate::clients::has_clients;
use crate::ensure::detached::Detached;
use crate::exit;
use crate::identity::Identity;
use crate::message::{failed, reason, say};
use crate::prog::must_be_there;
use crate::signals::{FORWARDED, Signals};
use demand::{Demand, PAUSE, Woken};
use launch::Launcher;
use reap::told_to_end;
use service::{Ending, Service};
use supervised::Supervised;

pub(crate) use exec::become_program;

/// Serves until PROG ends; the exit status.
pub(crate) fn run(args: &Serve) -> u8 {
    let Err(status) = supervise(args);
    status
}

/// However it ends, the error is the exit status; here and in what it calls.
fn supervise(args: &Serve) -> Result<Infallible, u8> {
    let ready = Ready::take(args)?;
    let detached = args.detached.then(|| Detached::enter(args.detached_log.as_deref())).transpose()?;
    let signals = Signals::catch(&[&[Signal::CHILD], &FORWARDED[..]].concat())?;
    let run_as = Identity::of(args)?;
    must_be_there(args, run_as.is_some())?;
    let mut service = Service::create(args, detached.as_ref(), &signals)?;
    // Until PROG listens as another user, clients would take it for us: it is announced when it does.
    let announce_first = run_as.is_none() || args.on_demand;
    let mut launcher = Launcher::new(args, run_as, detached, ready);
    if announce_first {
        launcher.announce();
    }
    if args.replace {
        service = wait_for_predecessor(service, &signals)?;
    }
    let mut demand = args.on_demand.then(Demand::new);
    loop {
        if let Some(demand) = &mut demand {
            service = wait_for_client(demand, service, &signals)?;
        }
        let prog = match launcher.launch(&service) {
            Ok(Some(prog)) => prog,
            Ok(None) => {
                service = wait_for_resources(service, &signals)?;
                continue;
            }
            Err(status) => {
                service.close(None);
                return Err(status);
            }
        };
        let mut supervised = Supervised::new(prog, service);
        let ended = supervised.wait(&signals, demand.as_ref())?;
        service = supervised.go_on(ended, demand.as_ref())?;
    }
}

/// With a life lock, PROG starts when that of the server that was replaced has ended.
fn wait_for_predecessor(mut service: Service, signals: &Signals) -> Result<Service, u8> {
    if service.predecessor_ends(signals) {
        return Ok(service);
    }
    service.end_idle();
    // PROG is not to run beside the predecessor, not even for those who are queued.
    if !service.predecessor_ends(signals) || !has_clients(&service.listener) {
        return Err(service.end_unserved());
    }
    // It has its time from here on.
    service.ending = Some(Ending::by(Signal::TERM));
    Ok(service)
}

/// A moment, when there are no descriptors, no process or no memory to start PROG. The clients stay in the queue, if we
/// are told to end as long as they would have had PROG.
fn wait_for_resources(mut service: Service, signals: &Signals) -> Result<Service, u8> {
    let until = Instant::now() + PAUSE;
    let mut told = false;
    // What has failed may have left a SIGCHLD, which ends one wait.
    while !told && Instant::now() < until {
        signals.wait(None, Some(until)).map_err(|error| cannot_wait(&error))?;
        told = told_to_end(signals);
    }
    if service.ending.is_none() {
        if told {
            service.end_idle();
        }
        return Ok(service);
    }
    if told || service.ending_is_due() { Err(service.end_unstarted()) } else { Ok(service) }
}

/// Until there is somebody for whom PROG is to be started. If we are told to end, that is who is queued.
fn wait_for_client(demand: &mut Demand, mut service: Service, signals: &Signals) -> Result<Service, u8> {
    if service.ending.is_none() {
        let woken = demand.wait(&mut service, signals);
        match woken.map_err(|error| cannot_wait(&error))? {
            Woken::ByClient => {
                demand.note_head(&service.listener);
                return Ok(service);
            }
            Woken::PathLost(status) => return Err(service.close(Some(status))),
            Woken::ToldToEnd => service.end_idle(),
            Woken::Shut => {
                say("PROG has shut the socket down, and nobody can connect to it any more; not waiting for a client");
                return Err(service.close(None).max(exit::FAILED));
            }
        }
        if !has_clients(&service.listener) {
            return Err(service.end_unstarted());
        }
    }
    demand.note_head(&service.listener);
    demand.is_for_head();
    Ok(service)
}

fn cannot_wait(error: &io::Error) -> u8 {
    failed(format_args!("cannot wait for a client: {}", reason(error)))
}
