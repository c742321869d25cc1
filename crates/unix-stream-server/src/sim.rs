//! The second implementation of the seam: a simulated kernel, and an explorer that runs the shipping protocol on it
//! under every schedule of its parties, with a crash anywhere.
//!
//! No threads are needed. A party is a function that is run from its start on the replies recorded so far; at its
//! first call without a reply it is given an error, and unwinds through its own `?`. The explorer then lets the
//! simulated kernel answer that call and records the reply: one step of one schedule. Since a party is deterministic,
//! what it was told is all that it can know: its states are few, and are found once ([`automaton`]). The kernel and
//! where each party stands are the whole state, and each state is visited once ([`explorer`]).

mod automaton;
mod calls;
mod errnos;
mod explorer;
mod faults;
mod heals;
mod inode;
mod kernel;
mod others;
mod parties;
mod process;
mod rejected;
mod schedule;
mod seen;
mod sockets;
mod symmetry;
mod tests;
mod verdict;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::PeerCredentials;
use crate::sys::{FileId, FlockHolder, Reach, Stat, Sys};
use calls::{Call, FdNumber, Name, Reply};
use kernel::{Kernel, Pid};

/// What a party is told when its call has no reply yet. No real call gives it, so no protocol can handle it.
const UNANSWERED: Errno = Errno::from_raw_os_error(4095);

/// What a party has called so far, and what it was told.
type Log = Rc<Vec<(Call, Reply)>>;

/// One party's view of the kernel.
#[derive(Clone)]
pub(crate) struct Sim {
    run: Rc<Run>,
    user: u8,
    epoch: Instant,
}

enum Run {
    /// On recorded replies, up to the first call that has none.
    Replay(Replay),
    /// Straight on a kernel, alone.
    Direct(Box<Direct>),
}

struct Replay {
    log: Log,
    next: Cell<usize>,
    pending: RefCell<Option<Pending>>,
    clock: Cell<Duration>,
    /// Where in the log the party last looked at the clock.
    looked: Cell<usize>,
    /// Where in the log its last wait for the lock began: with a look at the clock right before the first attempt.
    wait: Cell<usize>,
    /// How many waits there were since the last note.
    waits: Cell<usize>,
}

/// The first call without a reply.
struct Pending {
    call: Call,
    /// What the party says that it remembers.
    memory: String,
}

struct Direct {
    kernel: RefCell<Kernel>,
    party: Pid,
    /// How many pauses there were. Alone, nobody ever gives a lock back, so each is as long as it can be.
    pauses: Cell<u32>,
    /// The calls made so far, and which of them fail.
    calls: RefCell<Vec<Call>>,
    failure: Option<Failure>,
    /// Before the call of this number somebody else does something.
    meanwhile: RefCell<Option<(usize, Meanwhile)>>,
}

type Meanwhile = Box<dyn FnOnce(&mut Kernel)>;

/// A call that is made to fail, by its number.
#[derive(Clone, Copy, Debug)]
struct Failure {
    at: usize,
    errno: Errno,
    /// And every later call of the same kind.
    from_then_on: bool,
}

impl Sim {
    fn replay(log: Log, user: u8) -> Self {
        let replay = Replay {
            log,
            next: Cell::new(0),
            pending: RefCell::new(None),
            clock: Cell::new(Duration::ZERO),
            looked: Cell::new(usize::MAX),
            wait: Cell::new(0),
            waits: Cell::new(0),
        };
        Sim { run: Rc::new(Run::Replay(replay)), user, epoch: Instant::now() }
    }

    fn direct(kernel: Kernel, party: Pid, failure: Option<Failure>) -> Self {
        let user = kernel.processes[usize::from(party)].user;
        let direct = Direct {
            kernel: RefCell::new(kernel),
            party,
            pauses: Cell::new(0),
            calls: RefCell::new(Vec::new()),
            failure,
            meanwhile: RefCell::default(),
        };
        Sim { run: Rc::new(Run::Direct(Box::new(direct))), user, epoch: Instant::now() }
    }

    /// The same; before its call of this number somebody else does something.
    fn meanwhile(kernel: Kernel, party: Pid, number: usize, act: impl FnOnce(&mut Kernel) + 'static) -> Self {
        let sim = Self::direct(kernel, party, None);
        if let Run::Direct(direct) = &*sim.run {
            direct.meanwhile.replace(Some((number, Box::new(act))));
        }
        sim
    }

    /// The kernel as it is now, for who runs straight on it.
    fn kernel(&self) -> Kernel {
        match &*self.run {
            Run::Direct(direct) => *direct.kernel.borrow(),
            Run::Replay(_) => panic!("it does not run straight on a kernel"),
        }
    }

    fn call(&self, call: Call) -> Result<Reply, Errno> {
        self.call_with(call, String::new())
    }

    fn call_with(&self, call: Call, memory: String) -> Result<Reply, Errno> {
        let reply = match &*self.run {
            Run::Direct(direct) => direct.answer(call),
            Run::Replay(replay) => replay.answer(call, memory).ok_or(UNANSWERED)?,
        };
        match reply {
            Reply::Err(errno) => Err(Errno::from_raw_os_error(errno)),
            reply => Ok(reply),
        }
    }

    fn fd(&self, call: Call) -> Result<Fd, Errno> {
        match self.call(call)? {
            Reply::Fd(number) => Ok(Fd { number: Some(number), sim: self.clone() }),
            reply => panic!("a descriptor was expected, not {reply:?}"),
        }
    }

    fn stat_reply(&self, call: Call) -> Result<Stat, Errno> {
        match self.call(call)? {
            Reply::Stat(stat) => Ok(stat),
            reply => panic!("a stat was expected, not {reply:?}"),
        }
    }

    /// The directory, which every party has open.
    fn directory(&self) -> Fd {
        Fd { number: None, sim: self.clone() }
    }

    /// From here on nothing is a call any more: the party stays alive as it is, descriptors and all.
    fn stay(&self) {
        let _ = self.call(Call::Stay);
    }
}

impl Replay {
    fn answer(&self, call: Call, memory: String) -> Option<Reply> {
        if self.pending.borrow().is_some() {
            return None;
        }
        let at = self.next.get();
        if matches!(call, Call::CreateLock(Name::Lock) | Call::CreateGitLock) && self.looked.get() == at {
            self.wait.set(at);
            self.waits.set(self.waits.get() + 1);
        }
        let Some(&(_, reply)) = self.log.get(at) else {
            *self.pending.borrow_mut() = Some(Pending { call, memory });
            return None;
        };
        self.next.set(at + 1);
        if matches!(call, Call::Note(_)) {
            self.waits.set(0);
        }
        if reply == Reply::Late {
            self.clock.set(self.clock.get() + Duration::from_secs(3_600));
        }
        Some(reply)
    }
}

impl Direct {
    fn answer(&self, call: Call) -> Reply {
        self.pauses.set(self.pauses.get() + u32::from(call == Call::Pause));
        let mut calls = self.calls.borrow_mut();
        let number = calls.len();
        calls.push(call);
        if let Some((_, act)) = self.meanwhile.borrow_mut().take_if(|(at, _)| *at == number) {
            act(&mut self.kernel.borrow_mut());
        }
        let like = |first: Call| std::mem::discriminant(&first) == std::mem::discriminant(&call);
        if let Some(Failure { at, errno, from_then_on }) = self.failure {
            if at == number || from_then_on && number > at && like(calls[at]) {
                return Reply::Err(errno.raw_os_error());
            }
        }
        match self.kernel.borrow_mut().apply(self.party, call) {
            // Alone, nobody ever wakes it.
            Reply::Blocked => Reply::Err(Errno::INTR.raw_os_error()),
            reply => reply,
        }
    }
}

/// A descriptor. Dropping it is a call like any other.
pub(crate) struct Fd {
    number: Option<FdNumber>,
    sim: Sim,
}

impl Fd {
    fn number(&self) -> FdNumber {
        self.number.expect("the directory is only ever named, never operated on")
    }
}

impl std::fmt::Debug for Fd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "fd {:?}", self.number)
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let _ = self.sim.call(Call::Close(number));
        }
    }
}

impl Sys for Sim {
    type Fd = Fd;

    fn create_lock(&self, _: &Fd, name: &CStr) -> Result<Fd, Errno> {
        self.fd(Call::CreateLock(Name::of(name)))
    }
    fn open_lock(&self, _: &Fd, name: &CStr) -> Result<Fd, Errno> {
        self.fd(Call::OpenLock(Name::of(name)))
    }
    fn flock(&self, file: &Fd) -> Result<(), Errno> {
        self.call(Call::Flock(file.number())).map(drop)
    }
    fn stat(&self, file: &Fd) -> Result<Stat, Errno> {
        self.stat_reply(Call::Stat(file.number()))
    }
    fn stat_at(&self, _: &Fd, name: &CStr) -> Result<Stat, Errno> {
        self.stat_reply(Call::StatAt(Name::of(name)))
    }
    fn stat_path(&self, path: &CStr) -> Result<Stat, Errno> {
        self.stat_reply(Call::StatPath(Name::of(path)))
    }
    fn unlink(&self, _: &Fd, name: &CStr) -> Result<(), Errno> {
        self.call(Call::Unlink(Name::of(name))).map(drop)
    }
    fn rename(&self, _: &Fd, from: &CStr, to: &CStr) -> Result<(), Errno> {
        self.call(Call::Rename(Name::of(from), Name::of(to))).map(drop)
    }
    fn exchange(&self, _: &Fd, one: &CStr, other: &CStr) -> Result<(), Errno> {
        self.call(Call::Exchange(Name::of(one), Name::of(other))).map(drop)
    }
    fn rename_over(&self, _: &Fd, from: &CStr, to: &CStr) -> Result<(), Errno> {
        self.call(Call::RenameOver(Name::of(from), Name::of(to))).map(drop)
    }
    fn pin(&self, _: &Fd, name: &CStr) -> Result<Fd, Errno> {
        self.fd(Call::Pin(Name::of(name)))
    }
    fn chmod(&self, pin: &Fd, mode: u32) -> Result<(), Errno> {
        self.call(Call::Chmod(pin.number(), mode)).map(drop)
    }
    fn chown(&self, pin: &Fd, owner: Option<u32>, _: Option<u32>) -> Result<(), Errno> {
        self.call(Call::Chown(pin.number(), owner)).map(drop)
    }
    fn reach(&self, file: &Fd) -> Result<Reach, Errno> {
        match self.call(Call::Reach(file.number()))? {
            Reply::Reach(reach) => Ok(reach),
            reply => panic!("a file system was expected, not {reply:?}"),
        }
    }
    fn socket(&self) -> Result<Fd, Errno> {
        self.fd(Call::Socket)
    }
    fn fchmod(&self, file: &Fd, mode: u32) -> Result<(), Errno> {
        self.call(Call::Fchmod(file.number(), mode)).map(drop)
    }
    fn bind(&self, socket: &Fd, _: &Fd, name: &CStr, _: Option<&CStr>) -> Result<(), Errno> {
        self.call(Call::Bind(socket.number(), Name::of(name))).map(drop)
    }
    fn listen(&self, socket: &Fd, backlog: i32) -> Result<(), Errno> {
        self.call(Call::Listen(socket.number(), backlog)).map(drop)
    }
    fn shut(&self, socket: &Fd) -> Result<(), Errno> {
        self.call(Call::Shut(socket.number())).map(drop)
    }
    fn connect(&self, pin: &Fd) -> Result<Fd, Errno> {
        self.fd(Call::Connect(pin.number()))
    }
    fn connect_path(&self, _: &CStr) -> Result<Fd, Errno> {
        self.fd(Call::ConnectPath)
    }
    fn peer(&self, _: &Fd) -> Option<PeerCredentials> {
        None
    }
    fn euid(&self) -> u32 {
        u32::from(self.user)
    }
    fn flock_holder(&self, file: FileId) -> FlockHolder {
        match self.call(Call::FlockHolder(file.ino)) {
            Ok(Reply::Yes) => FlockHolder::Process(1),
            Ok(_) => FlockHolder::Nobody,
            Err(_) => FlockHolder::Unknown,
        }
    }
    fn now(&self) -> Instant {
        match &*self.run {
            Run::Replay(replay) => {
                replay.looked.set(replay.next.get());
                self.epoch + replay.clock.get()
            }
            Run::Direct(direct) => self.epoch + Duration::from_secs(3_600) * direct.pauses.get(),
        }
    }
    fn pause(&self, _: Duration) {
        let _ = self.call(Call::Pause);
    }
}
