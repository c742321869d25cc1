//! Signals as something that can be polled.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, SigSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use signal_hook::{flag, low_level::pipe};

use crate::message::{failed, reason};

/// What a supervisor passes on to PROG.
pub(crate) const FORWARDED: [Signal; 6] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Those by which somebody tells a program to end.
pub(crate) const ENDING: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::QUIT];

pub(crate) fn tells_to_end(signal: Signal) -> bool {
    ENDING.contains(&signal)
}

/// How long to wait instead of polling when the kernel has no memory for that.
pub(crate) const NO_MEMORY: Duration = Duration::from_millis(100);

/// The signals that have come in since the last look, behind a descriptor that is readable when there are any.
///
/// As with the kernel's own pending signals, two of a kind that come before anybody looks count as one.
pub(crate) struct Signals {
    wake: UnixStream,
    handler_end: UnixStream,
    flags: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Signals {
    /// Catches these signals from now on, even if whoever has started us blocks them. Programs started later have them at
    /// their default again (exec resets them).
    ///
    /// One that was ignored when we were started stays so, where ignoring has a meaning by convention: `nohup` for
    /// SIGHUP, and a shell without job control that starts us in the background for SIGINT and SIGQUIT.
    pub(crate) fn catch(signals: &[Signal]) -> Result<Self, u8> {
        Self::register(signals).map_err(cannot_catch)
    }

    fn register(signals: &[Signal]) -> io::Result<Self> {
        let (wake, handler_end) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let ignored = ignored();
        let stays_ignored = |signal: Signal| {
            let by_convention = [Signal::HUP, Signal::INT, Signal::QUIT].contains(&signal);
            by_convention && ignored & (1 << (signal.as_raw() - 1)) != 0
        };
        let caught: Vec<Signal> = signals.iter().copied().filter(|&signal| !stays_ignored(signal)).collect();
        let mask: SigSet = caught.iter().filter_map(|signal| signal::Signal::try_from(signal.as_raw()).ok()).collect();
        // Else one that comes when its handler is there, and what that is to do is not yet, is lost.
        mask.thread_block()?;
        let mut flags = Vec::new();
        for signal in caught {
            let flag = Arc::new(AtomicBool::new(false));
            // The flag first: actions run in this order, so whoever is woken finds it set.
            flag::register(signal.as_raw(), Arc::clone(&flag))?;
            pipe::register(signal.as_raw(), handler_end.try_clone()?)?;
            flags.push((signal, flag));
        }
        // To be done before there are threads, which have their maker's mask.
        mask.thread_unblock()?;
        Ok(Signals { wake, handler_end, flags })
    }

    /// Becomes true when one of these comes, for the library to look at; and stays so.
    pub(crate) fn flag(&self, signals: &[Signal]) -> Result<Arc<AtomicBool>, u8> {
        let flag = Arc::new(AtomicBool::new(false));
        for (signal, came) in self.flags.iter().filter(|(signal, _)| signals.contains(signal)) {
            flag::register(signal.as_raw(), Arc::clone(&flag)).map_err(cannot_catch)?;
            flag.fetch_or(came.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        Ok(flag)
    }

    /// A byte sent here makes the descriptor readable as a signal does.
    pub(crate) fn waker(&self) -> Result<UnixStream, u8> {
        self.handler_end.try_clone().map_err(cannot_catch)
    }

    /// Sleeps until a signal comes, somebody is at the listener `also`, or it is time; or for less, so that whoever waits
    /// is to look what it was.
    pub(crate) fn wait(&self, also: Option<BorrowedFd<'_>>, due: Option<Instant>) -> io::Result<()> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        fds.extend(also.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // Rounded up by a millisecond, lest the last one be spent in a hundred polls.
        let left = due.map(|due| due.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        match poll(&mut fds, left.and_then(|left| Timespec::try_from(left).ok()).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            // No memory for it: that passes.
            Err(Errno::NOMEM | Errno::AGAIN) => {
                std::thread::sleep(NO_MEMORY);
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes what has come in: is it one that ends us? The others are for PROG, and there is none.
    pub(crate) fn tell_to_end(&self) -> bool {
        self.take().into_iter().any(tells_to_end)
    }

    /// Takes what has come in.
    pub(crate) fn take(&self) -> Vec<Signal> {
        // The pipe before the flags: a signal between the two leaves a byte behind, and is looked for once more.
        while matches!((&self.wake).read(&mut [0; 64]), Ok(1..)) {}
        let came = self.flags.iter().filter(|(_, flag)| flag.swap(false, Ordering::SeqCst));
        came.map(|(signal, _)| *signal).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn cannot_catch(error: io::Error) -> u8 {
    failed(format_args!("cannot catch signals: {}", reason(&error)))
}

/// The mask of ignored signals, as proc(5) shows it; none where there is no /proc.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
