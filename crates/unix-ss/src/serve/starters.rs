//! Threads that start the PROGs, beside the one that accepts.
//!
//! Whoever starts a program sleeps until the kernel has loaded it: posix_spawn(3), which std uses, has the semantics of
//! vfork(2). A server with one thread then loses its processor with each client, and waits for its turn among the very
//! PROGs it starts; on two busy processors it serves less than half as many as with these threads, and fewer than a
//! server that forks. Forking would copy our page tables for each client, and the child of a process with threads may do
//! little. So: one thread that accepts and decides, and a few that start what it says. They come with the first clients.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};
use rustix::process::Signal;

use super::children::Children;
use super::program::{Accepted, Program};
use crate::message::{reason, say};
use crate::prog::lacks_resources;

/// Clients that have been accepted and whose PROG has not been loaded yet, at most. The rest is better off in the kernel's
/// queue: there it needs no descriptors, and whoever gives up costs no PROG.
pub(super) const AHEAD: usize = 8;
/// More threads would only wait for the processors; fewer than two, and one program that loads slowly holds up all.
const THREADS: std::ops::RangeInclusive<usize> = 2..=8;
/// How long to do without threads after a start failed for want of resources. Where the limit is one of processes,
/// each thread takes the place of a PROG.
const ALONE: Duration = Duration::from_secs(60);
/// They need little: a command's environment is on the heap.
const STACK: usize = 128 * 1024;

/// Starts PROG for each client it is given.
pub(super) struct Starters {
    shared: Arc<Shared>,
    most_threads: Option<usize>,
}

struct Shared {
    program: Program,
    state: Mutex<State>,
    /// There is a client, for a thread that has none.
    work: Condvar,
    /// Wakes the one who accepts out of its poll.
    wake: UnixStream,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Accepted>,
    threads: usize,
    /// Threads without a client.
    idle: usize,
    /// Until then there are to be no threads.
    alone_until: Option<Instant>,
    children: Children,
    /// Those whose PROG could not be started for want of resources, in their order, and the last reason.
    lacking: VecDeque<UnixStream>,
    why: Option<io::Error>,
    /// A PROG has been started since somebody asked, or could not be for good.
    started: bool,
    failed: bool,
    /// The one who accepts waits until there are fewer than so many ahead.
    wanted: Option<usize>,
}

/// What has happened since the last look.
pub(super) struct News {
    pub(super) started: bool,
    pub(super) failed: bool,
    /// Clients whose PROG could not be started for want of resources, and why.
    pub(super) lacking: VecDeque<UnixStream>,
    pub(super) why: Option<io::Error>,
}

impl Starters {
    /// `wake` is written to when a start has come to something that its child's end does not tell.
    pub(super) fn new(program: Program, wake: UnixStream) -> Self {
        let shared = Shared { program, state: Mutex::default(), work: Condvar::new(), wake };
        Starters { shared: Arc::new(shared), most_threads: None }
    }

    pub(super) fn name(&self) -> std::path::Display<'_> {
        self.shared.program.name()
    }

    /// To be given no more than there is room for.
    pub(super) fn start(&mut self, client: Accepted) {
        let mut state = self.shared.lock();
        state.waiting.push_back(client);
        let busy = state.idle < state.waiting.len();
        let mut threads = state.threads;
        let most = if state.is_alone() { 0 } else { *self.most_threads.get_or_insert_with(most_threads) };
        if busy && threads < most {
            state.threads += 1;
            drop(state);
            threads += self.add_thread();
        } else {
            drop(state);
        }
        match threads {
            // They are not wanted, or there is no memory, or no process, for any. Then here, as long as it takes.
            0 => while self.shared.start_one(self.shared.lock()) {},
            _ => self.shared.work.notify_one(),
        }
    }

    /// How many have been added: one, or none.
    fn add_thread(&self) -> usize {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("starter".to_owned()).stack_size(STACK);
        let added = thread.spawn(move || shared.run()).is_ok();
        if !added {
            self.shared.lock().threads -= 1;
        }
        usize::from(added)
    }

    /// Are fewer than so many starts ahead? If not, the one who asks is woken once it is so.
    pub(super) fn has_fewer_than(&self, most: usize) -> bool {
        let mut state = self.shared.lock();
        state.wanted = (state.ahead() >= most).then_some(most);
        state.wanted.is_none()
    }

    /// PROGs that run, are being started, or wait for that; and clients that [`Starters::news`] would hand back.
    pub(super) fn count(&self) -> usize {
        let state = self.shared.lock();
        state.children.count() + state.waiting.len() + state.lacking.len()
    }

    pub(super) fn news(&self) -> News {
        let mut state = self.shared.lock();
        let (lacking, why) = (std::mem::take(&mut state.lacking), state.why.take());
        let (started, failed) = (std::mem::take(&mut state.started), std::mem::take(&mut state.failed));
        News { started, failed, lacking, why }
    }

    /// Whether a PROG has ended.
    pub(super) fn reap(&self) -> bool {
        self.shared.lock().children.reap()
    }

    /// To all PROGs, those included that are being started. Who waits for a start is hung up on.
    pub(super) fn signal(&self, signal: Signal) {
        let mut state = self.shared.lock();
        state.waiting.clear();
        state.lacking.clear();
        state.children.signal(signal);
    }
}

fn most_threads() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    processors.clamp(*THREADS.start(), *THREADS.end())
}

impl State {
    fn ahead(&self) -> usize {
        self.waiting.len() + self.children.starting()
    }

    fn is_alone(&self) -> bool {
        self.alone_until.is_some_and(|until| Instant::now() < until)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves it in pieces.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut state = self.lock();
            state.idle += 1;
            while state.waiting.is_empty() {
                if state.is_alone() {
                    state.idle -= 1;
                    state.threads -= 1;
                    return;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle -= 1;
            self.start_one(state);
        }
    }

    /// False if there was none.
    fn start_one(&self, mut state: MutexGuard<'_, State>) -> bool {
        let Some(Accepted { client, stdin, stdout }) = state.waiting.pop_front() else { return false };
        let start = state.children.begin();
        drop(state);
        let result = self.program.start(&client, stdin, stdout);
        let mut wake = true;
        let mut lacking = None;
        match &result {
            // PROG is now the client's only owner, so that it sees an end of file when PROG ends.
            Ok(_) => drop(client),
            Err(error) if lacks_resources(error) => lacking = Some(client),
            Err(error) => {
                say(format_args!("cannot run {}: {}; closing its client", self.program.name(), reason(error)));
            }
        }
        let mut state = self.lock();
        match result {
            Ok(pid) => {
                state.started = true;
                // Its end wakes us, unless that has been already.
                wake = !state.children.started(start, pid);
            }
            Err(error) => {
                state.children.failed(start);
                match lacking {
                    Some(client) => {
                        state.lacking.push_back(client);
                        state.why = Some(error);
                        state.alone_until = Some(Instant::now() + ALONE);
                        self.work.notify_all();
                    }
                    None => state.failed = true,
                }
            }
        }
        if wake || state.wanted.is_some_and(|most| state.ahead() < most) {
            state.wanted = None;
            drop(state);
            // If it is full, the one who accepts is awake anyway.
            let _ = send(&self.wake, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        true
    }
}
