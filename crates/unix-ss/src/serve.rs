//! `serve`: one PROG for each client.
//!
//! One thread waits in poll(2) for a client or a signal, and decides; a few others start the PROGs: see
//! [`starters`]. It goes through three stages: open; closing, from the first signal (or the loss of the path) on,
//! until the queue is empty and the PROGs have ended; and stopping, from the second signal on, until the PROGs have been
//! made to end.

mod children;
mod gate;
mod program;
mod starters;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use unix_stream_server::{Drain, ErrorKind, ServerSocket, Status, UntilReplaced};

use crate::announce::{self, Ready};
use crate::cli::Serve;
use crate::clients::hung_up;
use crate::identity::Identity;
use crate::message::{failed, reason, say};
use crate::prog::must_be_there;
use crate::signals::Signals;
use crate::{events, exit, lost, socket};
use gate::Gate;
use program::{Accepted, Program};
use starters::{AHEAD, Starters};

/// How long to leave the queue alone when there are no descriptors, or no processes, for another client.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client that has been accepted waits for resources to start its PROG.
const HOLD: Duration = Duration::from_secs(10);
/// What PROGs get between SIGTERM and SIGKILL.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often to look whether the server that was replaced has ended.
const LOOK_AT_PREDECESSOR: Duration = Duration::from_millis(20);
/// Clients accepted in a row before the signals are looked at again.
const BATCH: usize = 64;

/// Serves until told to end; the exit status.
pub(crate) fn run(args: &Serve) -> u8 {
    serve(args).unwrap_or_else(|status| status)
}

fn serve(args: &Serve) -> Result<u8, u8> {
    let ready = Ready::take(args)?;
    // Caught before the socket is there, so that no signal can end us between and leave it behind.
    let signals = Signals::catch(&[Signal::CHILD, Signal::TERM, Signal::INT])?;
    let wake = signals.waker()?;
    let gate = Gate::new(&args.allow)?;
    let run_as = Identity::of(args)?;
    must_be_there(args, run_as.is_some())?;
    let server = socket::create(args)?;
    let path = server.local_path().to_owned();
    if let Err(error) = server.set_nonblocking(true) {
        return Err(failed(format_args!("cannot serve at {}: {}", path.display(), reason(&error))));
    }
    let program = Program::new(&args.program, &path, run_as);
    let mut serving = Serving {
        starters: Starters::new(program, wake),
        gate,
        most: usize::try_from(args.max_connections).unwrap_or(usize::MAX),
        queue: Queue::Open(server, lost::Look::new()),
        held: VecDeque::new(),
        hold_until: None,
        paused: None,
        complained: false,
        signalled: 0,
        stopping: None,
        status: exit::DONE,
        replaceable: args.is_replaceable(),
        nudged: false,
        leaving: None,
        replaced: false,
        predecessor: args.replace.then(Instant::now),
    };
    ready.announce();
    Ok(serving.run(&signals))
}

struct Serving {
    /// They start the PROGs, and know them.
    starters: Starters,
    /// Who is let in.
    gate: Gate,
    /// How many PROGs may run.
    most: usize,
    queue: Queue,
    /// Clients that have been accepted and wait for resources. They are tried one by one, and nobody is accepted before.
    held: VecDeque<UnixStream>,
    /// How long the one that is tried does.
    hold_until: Option<Instant>,
    /// Nobody is accepted until then.
    paused: Option<Instant>,
    /// The pause that lasts has been reported.
    complained: bool,
    /// How often we have been told to end.
    signalled: u32,
    stopping: Option<Stopping>,
    /// What has come of it so far.
    status: u8,
    /// Whether a successor may take the path over.
    replaceable: bool,
    /// Somebody came only to look, or to tell that the path is another's now.
    nudged: bool,
    /// We have been replaced, and go on accepting until then.
    leaving: Option<Instant>,
    /// By a successor, as is allowed.
    replaced: bool,
    /// When to look next whether the server that we have replaced has ended. Until it has, its state is not ours.
    predecessor: Option<Instant>,
}

enum Queue {
    Open(ServerSocket, lost::Look),
    Closing(Drain),
    /// The drain is kept, since it has the life lock of `--lock-scope lifetime`: no successor may start while a PROG
    /// still runs. `None`: the library would not close (never seen).
    Empty(#[expect(dead_code, reason = "for its drop")] Option<Drain>),
}

struct Stopping {
    by: Signal,
    /// When SIGKILL is due, until it has been sent.
    kill: Option<Instant>,
}

impl Serving {
    fn run(&mut self, signals: &Signals) -> u8 {
        loop {
            for signal in signals.take() {
                if signal == Signal::CHILD { self.reap() } else { self.end_by(signal) }
            }
            self.look_at_starters();
            self.look_at_predecessor();
            self.look_at_path();
            self.kill_if_due();
            let more = self.admit() || self.nudged;
            if self.is_done() {
                break;
            }
            if more {
                continue;
            }
            if let Err(error) = self.wait(signals) {
                return failed(format_args!("cannot wait for clients: {}", reason(&error)));
            }
        }
        self.stopping.as_ref().map_or(self.status, |stopping| exit::of_signal(stopping.by.as_raw()))
    }

    fn is_done(&self) -> bool {
        let served = matches!(self.queue, Queue::Empty(_)) && self.held.is_empty();
        self.starters.count() == 0 && (served || self.stopping.is_some())
    }

    fn reap(&mut self) {
        if self.starters.reap() {
            self.paused = None; // a PROG that ended gives back what may have been lacking
        }
    }

    /// The first signal closes, the second ends the PROGs, the third kills them.
    fn end_by(&mut self, signal: Signal) {
        events::signal(signal);
        self.signalled += 1;
        match (self.signalled, &mut self.stopping) {
            // Its clients wait until the predecessor has ended, and so do we.
            (1, _) if self.predecessor.is_some() => {}
            (1, _) => self.close(),
            (_, None) => {
                self.held.clear();
                self.starters.signal(Signal::TERM);
                self.stopping = Some(Stopping { by: signal, kill: Some(Instant::now() + LAST_WORDS) });
            }
            (_, Some(stopping)) => stopping.kill = stopping.kill.map(|_| Instant::now()),
        }
    }

    fn kill_if_due(&mut self) {
        if let Some(Stopping { kill: kill @ Some(_), .. }) = &mut self.stopping {
            if kill.is_some_and(|due| due <= Instant::now()) {
                *kill = None;
                self.starters.signal(Signal::KILL);
            }
        }
    }

    /// A server that has lost its path gets no new clients. It serves those it has, and ends.
    fn look_at_path(&mut self) {
        // Taken whatever comes of it: a nudge that stayed would keep us from sleeping.
        let nudged = std::mem::take(&mut self.nudged);
        let Queue::Open(server, look) = &mut self.queue else { return };
        let now = Instant::now();
        match self.leaving {
            Some(until) if until <= now => self.close(),
            Some(_) => {}
            None if look.is_due() || nudged => {
                let status = server.status();
                if status.is_stolen() {
                    // The successor may have gone as well by the time that we do.
                    self.replaced = self.replaceable && status == Status::Replaced;
                    // A client may have found our socket just before a successor took the path, and not be queued yet.
                    self.leaving = Some(if self.replaceable { now + UntilReplaced::GRACE } else { now });
                }
            }
            None => {}
        }
    }

    /// With `--lock-scope lifetime` a server that has been replaced ends before PROG runs for us. Without, at once.
    fn look_at_predecessor(&mut self) {
        let (Some(due), Queue::Open(server, _)) = (self.predecessor, &mut self.queue) else { return };
        if due > Instant::now() {
            return;
        }
        self.predecessor = match server.wait_for_predecessor(Duration::ZERO) {
            Ok(()) if self.signalled > 0 => return self.close(),
            Ok(()) => None,
            Err(error) => {
                if ![ErrorKind::InUse, ErrorKind::Locked].contains(&error.kind()) && !self.complained {
                    self.complained = true;
                    say(error);
                }
                Some(Instant::now() + LOOK_AT_PREDECESSOR)
            }
        };
    }

    /// Removes the path and lets nobody in any more; the queue remains to be served.
    fn close(&mut self) {
        let Queue::Open(server, _) = std::mem::replace(&mut self.queue, Queue::Empty(None)) else { return };
        (self.predecessor, self.leaving) = (None, None);
        let path = server.local_path().to_owned();
        match server.drain() {
            Ok(drain) => {
                self.replaced |= lost::is_replaced(self.replaceable, drain.status());
                let status = if self.replaced { Ok(Status::Replaced) } else { drain.status() };
                let and_now = "; serving the clients that are here, then ending";
                self.status = lost::report(self.replaceable, &path, status, and_now);
                self.queue = Queue::Closing(drain);
            }
            Err(error) => self.status = failed(error),
        }
        announce::end(&path, self.replaced);
    }

    fn may_admit(&self) -> bool {
        let paused = self.paused.is_some_and(|until| Instant::now() < until) || self.predecessor.is_some();
        let ahead = if self.hold_until.is_none() { AHEAD } else { 1 };
        self.stopping.is_none() && !paused && self.starters.count() < self.most && self.starters.has_fewer_than(ahead)
    }

    /// Starts a PROG for each client in the queue, as far as there is room; true if there may be more of them.
    fn admit(&mut self) -> bool {
        for _ in 0..BATCH {
            if !self.may_admit() {
                return false;
            }
            self.paused = None;
            match self.next() {
                Ok(Some(client)) => self.start(client),
                Ok(None) => return false,
                Err(error) => self.pause(format_args!("cannot accept a client: {}; trying again", reason(&error))),
            }
        }
        true
    }

    /// The next client; `None` if there is none now.
    fn next(&mut self) -> io::Result<Option<UnixStream>> {
        if let Some(held) = self.held.pop_front() {
            return Ok(Some(held));
        }
        let client = match &mut self.queue {
            Queue::Open(server, _) => match server.accept() {
                Ok((client, _)) => Ok(Some(client)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            },
            Queue::Closing(drain) => drain.next().transpose(),
            Queue::Empty(_) => Ok(None),
        }?;
        if client.is_none() {
            self.queue = match std::mem::replace(&mut self.queue, Queue::Empty(None)) {
                Queue::Closing(drain) => {
                    events::queue_served(self.starters.count());
                    Queue::Empty(Some(drain))
                }
                queue => queue,
            };
        }
        Ok(client)
    }

    fn start(&mut self, client: UnixStream) {
        // Somebody who only looked whether we are alive, or who gave up while queued, starts no program. A successor that
        // tells us so is no client either, whom a rule could refuse.
        if hung_up(&client) {
            (self.nudged, self.hold_until) = (true, None);
            return;
        }
        if !self.gate.lets_in(&client) {
            self.hold_until = None;
            return;
        }
        events::client(&client);
        match Accepted::new(client) {
            Ok(accepted) => self.starters.start(accepted),
            Err((client, error)) => self.hold(VecDeque::from([client]), &error),
        }
    }

    /// What has come of the PROGs that were to be started.
    fn look_at_starters(&mut self) {
        let news = self.starters.news();
        self.complained &= !news.started;
        if news.started || news.failed {
            self.hold_until = None;
        }
        if let (Some(error), None) = (news.why, &self.stopping) {
            self.hold(news.lacking, &error);
        }
    }

    /// Keeps clients for whom something is lacking that will come back, and waits. The first of them not for ever.
    fn hold(&mut self, mut clients: VecDeque<UnixStream>, error: &io::Error) {
        clients.append(&mut self.held); // whoever was tried now has been here longer
        self.held = clients;
        let name = self.starters.name().to_string();
        if Instant::now() < *self.hold_until.get_or_insert_with(|| Instant::now() + HOLD) {
            self.pause(format_args!("cannot run {name} yet: {}; trying again", reason(error)));
        } else {
            self.hold_until = None;
            self.held.pop_front();
            say(format_args!("cannot run {name}: {}; closing its client", reason(error)));
        }
    }

    /// Waiting, where trying again at once would spin. Said once, not each time.
    fn pause(&mut self, why: std::fmt::Arguments<'_>) {
        self.paused = Some(Instant::now() + PAUSE);
        if !self.complained {
            self.complained = true;
            say(why);
        }
    }

    /// Until there is a client, a signal, or something is due.
    fn wait(&self, signals: &Signals) -> io::Result<()> {
        let kill = self.stopping.as_ref().and_then(|stopping| stopping.kill);
        let (look, clients) = match &self.queue {
            Queue::Open(server, look) => (Some(look.due()), self.may_admit().then(|| server.as_fd())),
            Queue::Closing(_) | Queue::Empty(_) => (None, None),
        };
        let due = [self.paused, kill, look, self.leaving, self.predecessor].into_iter().flatten().min();
        signals.wait(clients, due)
    }
}
