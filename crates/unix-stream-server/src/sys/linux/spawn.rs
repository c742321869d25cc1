//! Starting a server that outlives its starter: in a session of its own, no child of ours, with nothing of ours open.
//!
//! ```text
//! we ── clone ──> the watcher ── clone ──> the server, which becomes the program by exec
//! ```
//!
//! The watcher is the server's parent as long as we wait for the start, so that its end is seen with its status; then
//! it leaves, and the server is the init process's. It is a clone without an exit signal, which neither sends us a
//! SIGCHLD nor shows up in a wait() of the program that we are part of.
//!
//! # Safety
//!
//! A forked child of a process with several threads has only the thread that forked; whatever lock another thread held
//! (the allocator's, standard output's) stays held for ever. So between clone and exec, and in the watcher for all its
//! life, nothing is done but system calls that need no lock (signal-safety(7)), and arithmetic on memory that was
//! allocated before. In detail:
//!
//! - Everything the children use is in [`Job`], made before the clone: nul-terminated strings, arrays of pointers to them
//!   that end in null, and descriptors. Both children work on copies of this memory (the clone does not share it), so
//!   nothing that they write is seen by anybody else.
//! - The children never return from [`watch`] and [`become_program`]: both end by `_exit` or exec, so no destructor runs
//!   and no descriptor is closed twice. They contain nothing that panics: no indexing, no arithmetic that overflows.
//! - The clone is a bare system call, since the C library's fork() would run the handlers of pthread_atfork(3), of
//!   libraries we know nothing of. That skips the C library's own care for its locks and for the thread's cached id,
//!   which matter only to functions that are not called here.
//! - All signals are blocked before the clone, so that no handler of the program runs in a child; there they are set to
//!   their defaults, and unblocked only after that, right before exec. Our own mask is put back.
//! - Descriptors are borrowed for the call; in the children they are plain numbers in tables of their own.
#![expect(
    unsafe_code,
    reason = "starting a program with a descriptor, its own process id and a session has no safe wrapper"
)]

use std::ffi::{CString, c_char, c_int, c_long, c_ulong};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use std::{io, ptr};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::sys::job::{Descriptors, Job, Report};

/// Whether servers can be started here. A bare clone() on SPARC returns a process id in the child too, and says by another
/// register which of the two it is: the watcher would go on as its caller.
pub(crate) const IS_SUPPORTED: bool = cfg!(not(any(target_arch = "sparc", target_arch = "sparc64")));

/// SD_LISTEN_FDS_START of sd_listen_fds(3).
const LISTENER: c_int = 3;
/// Where the server's end of the channel waits for exec to close it.
const CHANNEL: c_int = 4;
/// Descriptors are moved out of the way of the numbers above.
const FIRST_FREE: c_int = 10;
/// The highest descriptor that is looked for where the kernel cannot close a range (before Linux 5.9, and on Android).
const HIGHEST: libc::rlim_t = 65_536;

// The words of the channel; one datagram each, with a number.
const EXITED: i32 = 1;
const NOT_RUN: i32 = 2;
const NOT_STARTED: i32 = 3;
const LET_GO: u8 = b'G';

/// A server that is being started. Dropping it lets go of the server, which goes on.
#[derive(Debug)]
pub(crate) struct Starting {
    channel: OwnedFd,
    watcher: libc::pid_t,
}

/// All that the children need, as plain numbers and pointers.
struct Child {
    candidates: *const *const c_char,
    args: *const *const c_char,
    env: *const *const c_char,
    /// Behind the `=` of `LISTEN_PID=`, with room for any number.
    listen_pid: *mut u8,
    input: c_int,
    output: c_int,
    listener: c_int,
    channel: c_int,
    keep: c_int,
    /// When the watcher gives the lock back at the latest, on the monotonic clock.
    keep_until: libc::timespec,
}

/// Starts it. The program may have failed to run nevertheless: see [`Starting::report`].
pub(crate) fn spawn(job: &Job, with: &Descriptors<'_>) -> Result<Starting, Errno> {
    if !IS_SUPPORTED {
        return Err(Errno::NOSYS);
    }
    let (ours, theirs) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let out_of_the_way = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, FIRST_FREE);
    let channel = out_of_the_way(theirs.as_fd())?;
    drop(theirs);
    let (input, output) = (out_of_the_way(with.input)?, out_of_the_way(with.output)?);
    let listener = with.listener.map(out_of_the_way).transpose()?;
    let keep = with.keep.map(|(lock, _)| out_of_the_way(lock)).transpose()?;
    let number = |fd: &Option<OwnedFd>| fd.as_ref().map_or(-1, AsRawFd::as_raw_fd);

    let candidates = pointers(&job.candidates);
    let args = pointers(&job.args);
    let mut listen_pid = *b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut env = pointers(&job.env);
    let digits = listen_pid.as_mut_ptr();
    if job.listen_pid {
        env.insert(0, digits.cast_const().cast());
    }
    let child = Child {
        candidates: candidates.as_ptr(),
        args: args.as_ptr(),
        env: env.as_ptr(),
        // SAFETY: inside the array.
        listen_pid: unsafe { digits.add("LISTEN_PID=".len()) },
        input: input.as_raw_fd(),
        output: output.as_raw_fd(),
        listener: number(&listener),
        channel: channel.as_raw_fd(),
        keep: number(&keep),
        keep_until: with.keep.map_or_else(|| monotonic(Instant::now()), |(_, until)| monotonic(until)),
    };

    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are written before they are read; and see the head of this file for what the clone does.
    let watcher = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let watcher = clone(0);
        if watcher == 0 {
            watch(&child);
        }
        let result = if watcher < 0 { Err(last_errno()) } else { Ok(watcher) };
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut());
        result
    }?;
    let watcher = libc::pid_t::try_from(watcher).unwrap_or(-1);
    Ok(Starting { channel: ours, watcher })
}

impl Starting {
    /// Becomes readable when there is a report.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// What there is to be known, if there is.
    pub(crate) fn report(&self) -> Option<Report> {
        let mut word = [0; 8];
        match crate::sys::uninterrupted(|| net::recv(&self.channel, &mut word[..], RecvFlags::DONTWAIT)) {
            Err(Errno::AGAIN) => None,
            Ok((8, _)) => {
                let [a, b, c, d, e, f, g, h] = word;
                let number = i32::from_ne_bytes([e, f, g, h]);
                Some(match i32::from_ne_bytes([a, b, c, d]) {
                    EXITED => Report::Exited(number),
                    NOT_RUN => Report::NotRun(Errno::from_raw_os_error(number)),
                    NOT_STARTED => Report::NotStarted(Errno::from_raw_os_error(number)),
                    _ => Report::Lost,
                })
            }
            _ => Some(Report::Lost),
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // So that a watcher with a lock does not take it for our death; and if it has left already, so much the better.
        let _ = net::send(&self.channel, &[LET_GO], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        // It leaves at once. Should it be paused by somebody, it is not waited for: then it stays, once it has ended,
        // as a zombie that no wait() of this program meets, until this process ends.
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            // SAFETY: no pointers. `__WALL`, since it has no exit signal.
            let reaped = unsafe { libc::waitpid(self.watcher, ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
            let interrupted = reaped < 0 && last_errno() == Errno::INTR;
            if (reaped != 0 && !interrupted) || Instant::now() >= end {
                return;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Pointers to the strings, and a null at the end.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// A moment of the clock that `Instant` is made of, which has no door.
#[cfg_attr(target_env = "musl", expect(deprecated, reason = "its width will change, and any is good here"))]
fn monotonic(at: Instant) -> libc::timespec {
    let left = at.saturating_duration_since(Instant::now());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Rounded up, so that it is never early.
    let nanoseconds = u64::from(left.subsec_nanos()).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0));
    let seconds = left.as_secs().saturating_add(nanoseconds.div_ceil(1_000_000_000));
    let seconds = now.tv_sec.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    time.tv_sec = libc::time_t::try_from(seconds).unwrap_or(libc::time_t::MAX);
    time
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// clone(2) with nothing shared. The architectures differ in the order of its arguments, of which all but the exit signal
/// are zero here; s390 has the signal second. What is returned is not the same on all either: see [`IS_SUPPORTED`].
///
/// # Safety
///
/// As of fork in a process with several threads: see the head of this file.
unsafe fn clone(exit_signal: c_int) -> c_long {
    const NONE: c_long = 0;
    let signal = c_long::from(exit_signal);
    let (first, second) = if cfg!(target_arch = "s390x") { (NONE, signal) } else { (signal, NONE) };
    // SAFETY: by the caller's word.
    unsafe { libc::syscall(libc::SYS_clone, first, second, NONE, NONE, NONE) }
}

/// The watcher: starts the server, and stays until it has ended, we let go, or we die.
///
/// # Safety
///
/// Only in a freshly cloned child, with all signals blocked, and a `child` whose pointers are good.
unsafe fn watch(child: &Child) -> ! {
    // SAFETY: see the head of this file: system calls on numbers and on local memory.
    unsafe {
        // The first process of a pid namespace takes all others with it when it leaves, the server among them. Not
        // getpid(), as below.
        if libc::syscall(libc::SYS_getpid) == 1 {
            tell(child.channel, NOT_STARTED, Errno::INVAL.raw_os_error());
            libc::_exit(1);
        }
        libc::setsid(); // what is sent to our process group, by a terminal's ^C for one, is not for us
        // What a server that puts itself into the background leaves behind is ours to wait for as well.
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong);
        libc::prctl(libc::PR_SET_NAME, c"unix-ss starter".as_ptr(), 0 as c_ulong, 0 as c_ulong, 0 as c_ulong); // for ps(1)
        default_signals(); // among them SIGCHLD: were it ignored, there would be no status
        let server = clone(libc::SIGCHLD);
        if server == 0 {
            become_program(child);
        }
        if server < 0 {
            tell(child.channel, NOT_STARTED, last_errno().raw_os_error());
            libc::_exit(1);
        }
        // Nothing else: whoever waits for the end of a pipe that we were born with shall not wait for us.
        libc::dup2(child.channel, 0);
        if child.keep >= 0 {
            libc::dup2(child.keep, 1);
        } else {
            libc::close(1);
        }
        close_from(2);
        let mut chld = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(chld.as_mut_ptr());
        libc::sigaddset(chld.as_mut_ptr(), libc::SIGCHLD);
        // All signals are blocked since before the clone, so none has been missed.
        let signals = libc::signalfd(-1, chld.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        let mut alone = false; // we have died, and the lock is kept
        let mut status = 0;
        loop {
            let mut fds = [
                libc::pollfd { fd: if alone { -1 } else { 0 }, events: libc::POLLIN, revents: 0 },
                libc::pollfd { fd: signals, events: libc::POLLIN, revents: 0 },
            ];
            let wait = if alone { milliseconds_until(&child.keep_until) } else { -1 };
            // Without a signalfd (no memory for it) by looking again and again.
            let wait = if signals < 0 { 50 } else { wait };
            libc::poll(fds.as_mut_ptr(), 2, wait);
            let [channel, _] = fds;
            if channel.revents != 0 {
                let mut word = 0_u8;
                let read = libc::recv(0, (&raw mut word).cast(), 1, libc::MSG_DONTWAIT);
                if read == 1 || (read == 0 && child.keep < 0) {
                    libc::_exit(0);
                }
                alone = read == 0;
            }
            if alone && milliseconds_until(&child.keep_until) == 0 {
                libc::_exit(0);
            }
            let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
            libc::read(signals, info.as_mut_ptr().cast(), size_of::<libc::signalfd_siginfo>());
            loop {
                let mut ended = 0;
                let pid = libc::waitpid(-1, &raw mut ended, libc::WNOHANG);
                if pid == 0 {
                    break;
                }
                let last = pid < 0; // ECHILD: nobody is left
                if c_long::from(pid) == server {
                    status = ended;
                }
                if last || (c_long::from(pid) == server && ended != 0) {
                    tell(0, EXITED, status);
                    libc::_exit(0);
                }
            }
        }
    }
}

/// The server: puts everything in its place and becomes the program.
///
/// # Safety
///
/// As for [`watch`].
unsafe fn become_program(child: &Child) -> ! {
    // SAFETY: see the head of this file: system calls on numbers, on local memory, and on what `Child` points to.
    unsafe {
        libc::setsid();
        let mut placed = libc::dup2(child.input, 0) | libc::dup2(child.output, 1) | libc::dup2(child.output, 2);
        if child.listener >= 0 {
            placed |= libc::dup2(child.listener, LISTENER);
        } else {
            libc::close(LISTENER);
        }
        // Not dup3(), which Android's C library is not known to have.
        let (channel, to, flags) = (c_long::from(child.channel), c_long::from(CHANNEL), c_long::from(libc::O_CLOEXEC));
        placed |= libc::syscall(libc::SYS_dup3, channel, to, flags) as c_int;
        if placed < 0 {
            tell(child.channel, NOT_STARTED, last_errno().raw_os_error());
            libc::_exit(127);
        }
        close_from(CHANNEL + 1);
        // Not getpid(), which an old C library remembers from before the clone.
        put_decimal(child.listen_pid, libc::syscall(libc::SYS_getpid) as libc::pid_t);
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        // As execvp(3) does: what cannot be run is passed over for a later one, and remembered. Unlike there, what has no
        // format that the kernel knows (ENOEXEC) is not given to /bin/sh.
        let mut errno = Errno::NOENT;
        let mut candidate = child.candidates;
        while !(*candidate).is_null() {
            libc::execve(*candidate, child.args, child.env);
            match last_errno() {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => errno = Errno::ACCESS,
                other => {
                    errno = other;
                    break;
                }
            }
            candidate = candidate.add(1);
        }
        tell(CHANNEL, NOT_RUN, errno.raw_os_error());
        libc::_exit(127)
    }
}

/// # Safety
///
/// Only in a cloned child.
unsafe fn tell(channel: c_int, what: i32, number: i32) {
    let word = [what, number];
    // SAFETY: eight bytes of a local array.
    unsafe { libc::send(channel, word.as_ptr().cast(), size_of_val(&word), libc::MSG_NOSIGNAL) };
}

/// Every signal to its default, ignored ones too: a server begins anew.
///
/// # Safety
///
/// Only in a cloned child.
unsafe fn default_signals() {
    // A `struct sigaction` of the kernel, whatever its layout: SIG_DFL is zero, and so is everything else.
    let default = [0_u64; 8];
    let size: c_long = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 16 } else { 8 }; // of a set of signals
    for signal in 1..=64 as c_long {
        // SAFETY: it sets no handler, and reads less than the array. By the bare call, since the C library would keep the
        // signals of its own from us, whose being ignored is inherited too. SIGKILL and SIGSTOP say that they cannot be set.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<u64>(), size) };
    }
}

/// Closes every descriptor from `first` on.
///
/// # Safety
///
/// Only in a cloned child, which owns nothing.
unsafe fn close_from(first: c_int) {
    // SAFETY: by the caller's word.
    unsafe {
        // Android puts a filter before its apps that kills whoever makes this call (SIGSYS).
        if !cfg!(target_os = "android")
            && libc::syscall(libc::SYS_close_range, c_long::from(first), u32::MAX as c_long, 0 as c_long) == 0
        {
            return;
        }
        let mut limit = libc::rlimit { rlim_cur: HIGHEST, rlim_max: HIGHEST };
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let highest = if limit.rlim_cur < HIGHEST { limit.rlim_cur } else { HIGHEST };
        let mut fd = first;
        while (fd as libc::rlim_t) < highest {
            libc::close(fd);
            fd = fd.wrapping_add(1);
        }
    }
}

/// The digits of a process id, and a nul.
///
/// # Safety
///
/// There are eleven bytes at `to`.
unsafe fn put_decimal(to: *mut u8, number: libc::pid_t) {
    let mut rest = number.unsigned_abs();
    let mut length = 1;
    let mut left = rest / 10;
    while left > 0 {
        length += 1;
        left /= 10;
    }
    // SAFETY: at most ten digits, and the nul.
    unsafe {
        to.add(length).write(0);
        while length > 0 {
            length -= 1;
            to.add(length).write(b'0' | (rest % 10) as u8);
            rest /= 10;
        }
    }
}

/// For poll(2), rounded up; 0 once it is over.
///
/// # Safety
///
/// None needed; it is a system call that a child may make.
unsafe fn milliseconds_until(until: &libc::timespec) -> c_int {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    match until.tv_sec.wrapping_sub(now.tv_sec) {
        ..=0 => 0,
        seconds @ 1..=60 => (seconds as c_int).wrapping_mul(1000),
        _ => 60_000, // then again
    }
}
