//! `serve`: one PROG for each client.
//!
//! One thread waits in poll(2) for a client or a signal, and decides; a few others start the PROGs: see
//! [`starters`]. It goes through three stages: open; closing, from the first signal (or the loss of the path) on,
//! until the queue is empty and the PROGs have ended; and stopping, from the second signal on, until the PROGs have been
//! made to end.

mod children;
mod gate;
mod program;
mod shortage;
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
use crate::message::{About, failed, reason, say};
use crate::prog::must_be_there;
use crate::signals::Signals;
use crate::{events, exit, lost, socket};
use gate::Gate;
use program::{Accepted, Program};
use shortage::Shortage;
use starters::{AHEAD, Starters};

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
    let signals = Signals::catch(&[Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP])?;
    let wake = signals.waker()?;
    let gate = Gate::new(&args.allow)?;
    let run_as = Identity::of(args)?;
    must_be_there(args, run_as.is_some())?;
    let server = socket::create(args, signals.flag(&[Signal::TERM, Signal::INT, Signal::HUP])?)?;
    let path = server.local_path().to_owned();
    if let Err(error) = server.set_nonblocking(true) {
        let (name, why) = (path.display(), reason(&error));
        return Err(failed(About(&path, error.raw_os_error(), format_args!("cannot serve at {name}: {why}"))));
    }
    let program = Program::new(&args.program, &path, run_as);
    let mut serving = Serving {
        starters: Starters::new(program, wake),
        gate,
        most: usize::try_from(args.max_connections).unwrap_or(usize::MAX),
        queue: Queue::Open(server, lost::Look::new()),
        shortage: Shortage::default(),
        signalled: 0,
        stopping: None,
        status: exit::DONE,
        replaceable: args.is_replaceable(),
        nudged: false,
        leaving: None,
        replaced: false,
        predecessor: args.replace.then(|| Predecessor { look: Instant::now(), complained: false }),
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
    shortage: Shortage,
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
    /// The server that we have replaced, until it has ended. Until then its state is not ours.
    predecessor: Option<Predecessor>,
}

struct Predecessor {
    /// When to look next whether it has ended.
    look: Instant,
    /// That it cannot be told has been reported.
    complained: bool,
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
        let served = matches!(self.queue, Queue::Empty(_)) && self.shortage.holds_nobody();
        self.starters.count() == 0 && (served || self.stopping.is_some())
    }

    fn reap(&mut self) {
        if self.starters.reap() {
            self.shortage.end_pause(); // a PROG that ended gives back what may have been lacking
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
                self.shortage.give_up();
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
            // Who is queued waits until the predecessor has ended, and so do we.
            Some(until) if until <= now && self.predecessor.is_none() => self.close(),
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
        let (Some(predecessor), Queue::Open(server, _)) = (&mut self.predecessor, &mut self.queue) else { return };
        if predecessor.look > Instant::now() {
            return;
        }
        match server.wait_for_predecessor(Duration::ZERO) {
            Ok(()) if self.signalled > 0 => self.close(),
            Ok(()) => self.predecessor = None,
            Err(error) => {
                predecessor.look = Instant::now() + LOOK_AT_PREDECESSOR;
                if ![ErrorKind::InUse, ErrorKind::Locked].contains(&error.kind()) && !predecessor.complained {
                    predecessor.complained = true;
                    say(error);
                }
            }
        }
    }

    /// Removes the path and lets nobody in any more; the queue remains to be served.
    fn close(&mut self) {
        let Queue::Open(server, _) = std::mem::replace(&mut self.queue, Queue::Empty(None)) else { return };
        (self.predecessor, self.leaving) = (None, None);
        self.shortage.close();
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
        let waits = self.shortage.is_paused() || self.predecessor.is_some();
        let ahead = if self.shortage.tries_one() { 1 } else { AHEAD };
        self.stopping.is_none() && !waits && self.starters.count() < self.most && self.starters.has_fewer_than(ahead)
    }

    /// Starts a PROG for each client in the queue, as far as there is room; true if there may be more of them.
    fn admit(&mut self) -> bool {
        for _ in 0..BATCH {
            if !self.may_admit() {
                return false;
            }
            self.shortage.end_pause();
            match self.next() {
                Ok(Some(client)) => self.start(client),
                Ok(None) => return false,
                // Nobody is left who could give back what is lacking.
                Err(error) if self.shortage.accept_has_failed() && self.starters.count() == 0 => {
                    say(format_args!("cannot accept a client: {}; hanging up on all who are queued", reason(&error)));
                    self.end_queue();
                }
                Err(error) => {
                    self.shortage.pause(format_args!("cannot accept a client: {}; trying again", reason(&error)));
                }
            }
        }
        true
    }

    /// The next client; `None` if there is none now.
    fn next(&mut self) -> io::Result<Option<UnixStream>> {
        if let Some(held) = self.shortage.take() {
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
        if client.is_none() && matches!(self.queue, Queue::Closing(_)) {
            events::queue_served(self.starters.count());
            self.end_queue();
        }
        Ok(client)
    }

    /// Nobody is accepted any more.
    fn end_queue(&mut self) {
        self.queue = match std::mem::replace(&mut self.queue, Queue::Empty(None)) {
            Queue::Closing(drain) => Queue::Empty(Some(drain)),
            queue => queue,
        };
    }

    fn start(&mut self, client: UnixStream) {
        // Somebody who only looked whether we are alive, or who gave up while queued, starts no program. A successor that
        // tells us so is no client either, whom a rule could refuse.
        if hung_up(&client) {
            self.nudged = true;
            return self.shortage.has_settled_one();
        }
        if !self.gate.lets_in(&client) {
            return self.shortage.has_settled_one();
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
        if news.started {
            self.shortage.has_passed();
        }
        if news.failed {
            self.shortage.has_settled_one();
        }
        if let (Some(error), None) = (news.why, &self.stopping) {
            self.hold(news.lacking, &error);
        }
    }

    fn hold(&mut self, clients: VecDeque<UnixStream>, error: &io::Error) {
        let name = self.starters.name().to_string();
        self.shortage.hold(clients, &name, error);
    }

    /// Until there is a client, a signal, or something is due.
    fn wait(&self, signals: &Signals) -> io::Result<()> {
        let kill = self.stopping.as_ref().and_then(|stopping| stopping.kill);
        let (look, clients) = match &self.queue {
            // Once the path is lost nobody looks at it any more.
            Queue::Open(server, look) => {
                (self.leaving.is_none().then(|| look.due()), self.may_admit().then(|| server.as_fd()))
            }
            Queue::Closing(_) | Queue::Empty(_) => (None, None),
        };
        let predecessor = self.predecessor.as_ref().map(|predecessor| predecessor.look);
        // One that is past would wake us all the time, while the predecessor is waited for.
        let leaving = self.leaving.filter(|_| predecessor.is_none());
        let due = [self.shortage.paused_until(), kill, look, leaving, predecessor].into_iter().flatten().min();
        signals.wait(clients, due)
    }
}
