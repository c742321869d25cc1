//! illumos: the clock alone (timerfd). Its file events name a path and not a descriptor, and may not be asked again by a
//! forked child; nothing here uses them.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::source::{Heard, Source};
use crate::sys::Handle;

pub(super) struct Native {
    timer: OwnedFd,
}

impl Source for Native {
    fn new() -> Result<Self, Errno> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Native { timer })
    }

    fn hear_file(&mut self, _pin: &Handle) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn hear_name(&mut self, _dir: &Handle, _name: &CStr) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn leave_name(&mut self) {}

    fn hear_end(&mut self, _pid: u32) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn leave_process(&mut self) {}

    fn tick(&mut self, first: Duration, every: Duration) -> Result<(), Errno> {
        let spec = |time: Duration| Timespec::try_from(time).map_err(|_| Errno::INVAL);
        let times = Itimerspec { it_interval: spec(every)?, it_value: spec(first)? };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times).map(drop)
    }

    fn take(&mut self) -> Heard {
        Heard { tick: rustix::io::read(&self.timer, &mut [0; 8]).is_ok(), ..Heard::default() }
    }
}

impl AsFd for Native {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
