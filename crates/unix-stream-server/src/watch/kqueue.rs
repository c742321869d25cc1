//! macOS and the BSDs: kqueue(2) for names, for the end of a process, and for the clock, all of it one descriptor.
//!
//! A socket's file cannot be opened, so it cannot be watched. Its directory can: `NOTE_WRITE` says that some name in it has
//! come or gone, and not which, so that each costs the caller a look.
//!
//! # Safety
//!
//! kevent() goes by numbers: what is registered has to stay open as long as it is meant to be heard. The one descriptor
//! that is registered, the directory's, is a duplicate that [`Native`] owns, and closing it takes the event away as well
//! (kqueue(2)). Processes and timers are no descriptors.
//!
//! A forked child inherits every descriptor but a kqueue (kqueue(2)), whose number is free there and may be anybody's.
//! So the number is used, given out and closed only in the process that made the queue; a child gets [`Native::spare`]
//! instead. Where a forked child is told by its process id alone (macOS) one that is given the number of its ancestor, once
//! that is dead, is taken for it.
#![expect(unsafe_code, reason = "kevent takes descriptors by their numbers")]

use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null_mut;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, VnodeEvents, kevent, kqueue};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::SocketType;
use rustix::process::Pid;

use super::source::{Heard, Source};
use crate::process::Process;
use crate::sys::{Handle, new_socket};

/// Who has taken so many has all that were there: at most three things are registered.
const MOST_EVENTS: usize = 16;
const TIMER: isize = 1;

/// What a directory tells. Moved or deleted it is another one's, or nobody's.
const MOVED: VnodeEvents = VnodeEvents::DELETE.union(VnodeEvents::RENAME).union(VnodeEvents::REVOKE);
const NAMES: VnodeEvents = VnodeEvents::WRITE.union(VnodeEvents::EXTEND).union(VnodeEvents::LINK);

pub(super) struct Native {
    /// Only by [`Native::queue`].
    kqueue: ManuallyDrop<OwnedFd>,
    /// Who made it.
    maker: Process,
    /// What a forked child is given in its place: a socket that nobody is connected to, which poll(2) never waits for.
    spare: OwnedFd,
    name: Option<OwnedFd>,
    process: Option<Pid>,
    /// The rhythm after the first tick; zero: none.
    every: Duration,
}

impl Native {
    /// The queue, where there is one. In a forked child the number is not ours.
    fn queue(&self) -> Result<&OwnedFd, Errno> {
        if self.maker.is_current() { Ok(&self.kqueue) } else { Err(Errno::BADF) }
    }

    fn change(&self, filter: EventFilter, flags: EventFlags) -> Result<(), Errno> {
        let mut none: [Event; 0] = [];
        let change = [Event::new(filter, flags, null_mut())];
        // SAFETY: see the head of this file.
        unsafe { kevent(self.queue()?, &change, &mut none[..], Some(Duration::ZERO)) }.map(drop)
    }

    fn set_timer(&self, time: Duration, flags: EventFlags) -> Result<(), Errno> {
        // Some count in milliseconds, and none of them rounds up.
        let timer = Some(time.max(Duration::from_millis(1)));
        self.change(EventFilter::Timer { ident: TIMER, timer }, flags)
    }
}

impl Source for Native {
    fn new() -> Result<Self, Errno> {
        let spare = new_socket(SocketType::STREAM, false)?;
        let kqueue = kqueue()?;
        rustix::io::fcntl_setfd(&kqueue, rustix::io::FdFlags::CLOEXEC)?;
        let (kqueue, maker) = (ManuallyDrop::new(kqueue), Process::current());
        Ok(Native { kqueue, maker, spare, name: None, process: None, every: Duration::ZERO })
    }

    /// Not to be had: see the head of this file.
    fn hear_file(&mut self, _pin: &Handle) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn hear_name(&mut self, dir: &Handle, _name: &CStr) -> Result<(), Errno> {
        let dir = fcntl_dupfd_cloexec(dir, 3)?;
        let vnode = dir.as_raw_fd();
        // CLEAR: an event that was taken is told again only when there is another.
        self.change(EventFilter::Vnode { vnode, flags: MOVED | NAMES }, EventFlags::ADD | EventFlags::CLEAR)?;
        self.name = Some(dir);
        Ok(())
    }

    fn leave_name(&mut self) {
        self.name = None;
    }

    fn hear_end(&mut self, pid: u32) -> Result<(), Errno> {
        self.leave_process();
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let flags = EventFlags::ADD | EventFlags::ONESHOT;
        self.change(EventFilter::Proc { pid, flags: ProcessEvents::EXIT }, flags)?;
        self.process = Some(pid);
        Ok(())
    }

    fn leave_process(&mut self) {
        if let Some(pid) = self.process.take() {
            let _ = self.change(EventFilter::Proc { pid, flags: ProcessEvents::EXIT }, EventFlags::DELETE); // ended
        }
    }

    fn tick(&mut self, first: Duration, every: Duration) -> Result<(), Errno> {
        // What has been told to come does not come twice.
        match self.change(EventFilter::Timer { ident: TIMER, timer: None }, EventFlags::DELETE) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        self.every = every;
        if first.is_zero() { Ok(()) } else { self.set_timer(first, EventFlags::ADD | EventFlags::ONESHOT) }
    }

    fn take(&mut self) -> Heard {
        let mut heard = Heard::default();
        let mut events: Vec<Event> = Vec::with_capacity(MOST_EVENTS);
        let taken = self.queue().and_then(|queue| {
            // SAFETY: see the head of this file.
            unsafe { kevent(queue, &[], rustix::buffer::spare_capacity(&mut events), Some(Duration::ZERO)) }
        });
        if taken.is_err() {
            heard.ours = true; // whatever it is, a look is never wrong
        }
        for event in &events {
            match event.filter() {
                EventFilter::Vnode { flags, .. } => {
                    heard.moved |= flags.intersects(MOVED);
                    heard.some |= flags.intersects(NAMES);
                }
                EventFilter::Proc { .. } => {
                    heard.ended = true;
                    self.process = None; // it was told once
                }
                EventFilter::Timer { .. } => heard.tick = true,
                _ => heard.ours = true,
            }
        }
        // The first tick has come, and the rhythm begins. Where that cannot be set, the names are still heard.
        if heard.tick && !self.every.is_zero() {
            let _ = self.set_timer(self.every, EventFlags::ADD | EventFlags::ONESHOT);
        }
        heard
    }
}

impl AsFd for Native {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue().unwrap_or(&self.spare).as_fd()
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        if self.maker.is_current() {
            // SAFETY: it is ours, and used no more.
            unsafe { ManuallyDrop::drop(&mut self.kqueue) };
        }
    }
}
