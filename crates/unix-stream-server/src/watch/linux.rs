//! Linux: inotify(7) for names, a pidfd for the end of a process, a timer for what neither tells, all behind one
//! epoll(7) descriptor, so that what is listened to can change without a caller's event loop being told.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::source::{Heard, Source};
use crate::sys::Handle;
use crate::sys::linux::pidfd::pidfd_open;
use crate::sys::linux::proc_path;

/// More than a queue holds (`fs.inotify.max_queued_events` is 16,384): who has taken so many has all that were there.
const MOST_EVENTS: usize = 1 << 16;
/// Some dozens of events; one is 16 bytes and a name of at most 256.
const BUFFER: usize = 4096;

/// Unlinked or renamed over, the file gets `ATTRIB` (its link count), as it does by chmod; renamed away, `MOVE_SELF`.
const FILE: WatchFlags = WatchFlags::ATTRIB.union(WatchFlags::MOVE_SELF).union(WatchFlags::DELETE_SELF);
/// Renamed over, the directory tells of the arrival alone.
const NAME: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

pub(super) struct Native {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// Made when it is first needed: a user has 128 of them.
    inotify: Option<OwnedFd>,
    file: Option<i32>,
    name: Option<(i32, CString)>,
    process: Option<OwnedFd>,
}

impl Native {
    fn inotify(&mut self) -> Result<&OwnedFd, Errno> {
        if self.inotify.is_none() {
            let instance = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            epoll::add(&self.epoll, &instance, EventData::new_u64(0), EventFlags::IN)?;
            self.inotify = Some(instance);
        }
        self.inotify.as_ref().ok_or(Errno::BADF)
    }

    /// Through the descriptor, so that it is that very file, whatever its name leads to by now.
    fn watch(&mut self, file: &Handle, what: WatchFlags) -> Result<i32, Errno> {
        let path = proc_path(file.as_fd(), None)?;
        inotify::add_watch(self.inotify()?, path, what)
    }

    fn take_events(&self, heard: &mut Heard) {
        let Some(instance) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(instance, &mut buffer);
        for _ in 0..MOST_EVENTS {
            match reader.next() {
                Ok(event) => self.judge(&event, heard),
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    heard.ours = true; // no such error is known; whatever it is, a look is never wrong
                    return;
                }
            }
        }
        heard.ours = true;
    }

    fn judge(&self, event: &inotify::Event<'_>, heard: &mut Heard) {
        let gone = ReadFlags::IGNORED | ReadFlags::UNMOUNT | ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF;
        match &self.name {
            // Of the queue's overflow it has none.
            _ if event.wd() < 0 => heard.ours = true,
            Some((wd, _)) if *wd == event.wd() && event.events().intersects(gone) => heard.moved = true,
            Some((wd, name)) if *wd == event.wd() => match event.file_name() == Some(name) {
                true => heard.ours = true,
                false => heard.others = true,
            },
            _ if self.file == Some(event.wd()) => heard.ours = true,
            // Of a name that is left: the last of it was still queued.
            _ => heard.others = true,
        }
    }
}

impl Source for Native {
    fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, EventData::new_u64(0), EventFlags::IN)?;
        Ok(Native { epoll, timer, inotify: None, file: None, name: None, process: None })
    }

    fn hear_file(&mut self, pin: &Handle) -> Result<(), Errno> {
        self.file = Some(self.watch(pin, FILE)?);
        Ok(())
    }

    fn hear_name(&mut self, dir: &Handle, name: &CStr) -> Result<(), Errno> {
        let wd = self.watch(dir, NAME)?;
        self.name = Some((wd, name.to_owned()));
        Ok(())
    }

    fn leave_name(&mut self) {
        if let (Some((wd, _)), Some(instance)) = (self.name.take(), &self.inotify) {
            let _ = inotify::remove_watch(instance, wd); // gone already, with its directory
        }
    }

    fn hear_end(&mut self, pid: u32) -> Result<(), Errno> {
        self.leave_process();
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let process = pidfd_open(pid)?;
        epoll::add(&self.epoll, &process, EventData::new_u64(1), EventFlags::IN)?;
        self.process = Some(process);
        Ok(())
    }

    fn leave_process(&mut self) {
        if let Some(process) = self.process.take() {
            // Not by closing it alone: a forked child may have a copy, and then it would stay.
            let _ = epoll::delete(&self.epoll, process);
        }
    }

    fn tick(&mut self, first: Duration, every: Duration) -> Result<(), Errno> {
        let spec = |time: Duration| Timespec::try_from(time).map_err(|_| Errno::INVAL);
        let times = Itimerspec { it_interval: spec(every)?, it_value: spec(first)? };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times).map(drop)
    }

    fn take(&mut self) -> Heard {
        let mut heard = Heard::default();
        self.take_events(&mut heard);
        heard.tick = rustix::io::read(&self.timer, &mut [0; 8]).is_ok();
        if let Some(process) = &self.process {
            heard.ended = has_ended(process);
        }
        if heard.ended {
            self.leave_process(); // it would be readable for ever
        }
        heard
    }
}

/// A pidfd is readable once its process has ended.
fn has_ended(process: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&at_once)).is_ok_and(|ready| ready > 0)
}

impl AsFd for Native {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
