//! The second implementation of the seam: a simulated kernel, and an explorer that runs the shipping protocol on it
//! under every schedule of its parties, with a crash anywhere.
//!
//! No threads are needed. A party is a function that is run from its start on the replies recorded so far; at its
//! first call without a reply it is given an error, and unwinds through its own `?`. The explorer then lets the
//! simulated kernel answer that call and records the reply: one step of one schedule. Since a party is deterministic,
//! the kernel and the replies of all parties are the whole state, and each state is visited once.

mod explorer;
mod kernel;
mod parties;
mod tests;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::PeerCredentials;
use crate::sys::{FileId, FlockHolder, Reach, Stat, Sys};
use kernel::{Call, Kernel, Name, Reply};

/// What a party is told when its call has no reply yet. No real call gives it, so no protocol can handle it.
const UNANSWERED: Errno = Errno::from_raw_os_error(4095);

/// What a party has called so far, and what it was told.
type Log = Rc<Vec<(Call, Reply)>>;

/// One party's view of the kernel.
#[derive(Clone)]
pub(crate) struct Sim {
    run: Rc<Run>,
    epoch: Instant,
}

enum Run {
    /// On recorded replies, up to the first call that has none.
    Replay {
        log: Log,
        next: Cell<usize>,
        pending: RefCell<Option<Call>>,
        clock: Cell<Duration>,
        /// Where in the log the party last looked at the clock, and where before that: the first look of a wait is
        /// where its loop begins, the later ones come right before each pause.
        looked: Cell<(usize, usize)>,
    },
    /// Straight on a kernel, alone.
    Direct { kernel: RefCell<Kernel>, party: usize, late: Cell<bool> },
}

impl Sim {
    fn replay(log: Log) -> Self {
        let run = Run::Replay {
            log,
            next: Cell::new(0),
            pending: RefCell::new(None),
            clock: Cell::new(Duration::ZERO),
            looked: Cell::new((0, 0)),
        };
        Sim { run: Rc::new(run), epoch: Instant::now() }
    }

    fn direct(kernel: Kernel, party: usize) -> Self {
        Sim {
            run: Rc::new(Run::Direct { kernel: RefCell::new(kernel), party, late: Cell::new(false) }),
            epoch: Instant::now(),
        }
    }

    fn call(&self, call: Call) -> Result<Reply, Errno> {
        let reply = match &*self.run {
            Run::Direct { kernel, party, late } => {
                late.set(late.get() || call == Call::Pause); // alone, nobody ever gives a lock back
                kernel.borrow_mut().apply(*party, &call)
            }
            Run::Replay { log, next, pending, clock, looked } => {
                if pending.borrow().is_some() {
                    return Err(UNANSWERED);
                }
                if call == Call::Pause {
                    let (first, last) = looked.get();
                    looked.set(if last == next.get() { (first, first) } else { (last, last) });
                }
                let Some((_, reply)) = log.get(next.get()) else {
                    *pending.borrow_mut() = Some(call);
                    return Err(UNANSWERED);
                };
                next.set(next.get() + 1);
                if *reply == Reply::Late {
                    clock.set(clock.get() + Duration::from_secs(3_600));
                }
                reply.clone()
            }
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
        if let Run::Replay { pending, .. } = &*self.run {
            pending.borrow_mut().get_or_insert(Call::Stay);
        }
    }
}

/// A descriptor. Dropping it is a call like any other.
pub(crate) struct Fd {
    number: Option<usize>,
    sim: Sim,
}

impl Fd {
    fn number(&self) -> usize {
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
    fn stat_path(&self, _: &CStr) -> Result<Stat, Errno> {
        self.stat_reply(Call::StatAt(Name::Socket))
    }
    fn unlink(&self, _: &Fd, name: &CStr) -> Result<(), Errno> {
        self.call(Call::Unlink(Name::of(name))).map(drop)
    }
    fn rename(&self, _: &Fd, from: &CStr, to: &CStr) -> Result<(), Errno> {
        self.call(Call::Rename(Name::of(from), Name::of(to))).map(drop)
    }
    fn pin(&self, _: &Fd, name: &CStr) -> Result<Fd, Errno> {
        self.fd(Call::Pin(Name::of(name)))
    }
    fn chmod(&self, pin: &Fd, mode: u32) -> Result<(), Errno> {
        self.call(Call::Chmod(pin.number(), mode)).map(drop)
    }
    fn chown(&self, _: &Fd, _: Option<u32>, _: Option<u32>) -> Result<(), Errno> {
        Ok(())
    }
    fn reach(&self, _: &Fd) -> Result<Reach, Errno> {
        match &*self.run {
            Run::Replay { .. } => Ok(Reach::Local),
            Run::Direct { kernel, .. } => Ok(match kernel.borrow().file_system {
                kernel::FileSystem::Shared => Reach::Unknown,
                kernel::FileSystem::SharedWithLocks => Reach::SharedWithLocks,
                _ => Reach::Local,
            }),
        }
    }
    fn socket(&self) -> Result<Fd, Errno> {
        self.fd(Call::Socket)
    }
    fn fchmod(&self, file: &Fd, mode: u32) -> Result<(), Errno> {
        self.call(Call::Chmod(file.number(), mode)).map(drop)
    }
    fn bind(&self, socket: &Fd, _: &Fd, name: &CStr, _: Option<&CStr>) -> Result<(), Errno> {
        self.call(Call::Bind(socket.number(), Name::of(name))).map(drop)
    }
    fn listen(&self, socket: &Fd, _: i32) -> Result<(), Errno> {
        self.call(Call::Listen(socket.number())).map(drop)
    }
    fn shut(&self, socket: &Fd) -> Result<(), Errno> {
        self.call(Call::Shut(socket.number())).map(drop)
    }
    fn connect(&self, pin: &Fd) -> Result<Fd, Errno> {
        self.fd(Call::Connect(pin.number()))
    }
    fn peer(&self, _: &Fd) -> Option<PeerCredentials> {
        None
    }
    fn euid(&self) -> u32 {
        1000
    }
    fn flock_holder(&self, _: FileId) -> FlockHolder {
        FlockHolder::Unknown
    }
    fn now(&self) -> Instant {
        match &*self.run {
            Run::Replay { clock, next, looked, .. } => {
                looked.set((looked.get().1, next.get()));
                self.epoch + clock.get()
            }
            Run::Direct { late, .. } => self.epoch + Duration::from_secs(if late.get() { 3_600 } else { 0 }),
        }
    }
    fn pause(&self, _: Duration) {
        let _ = self.call(Call::Pause);
    }
}
