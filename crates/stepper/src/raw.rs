//! What nix has no safe call for: fork, the start of a traced program, and the number and result of a traced call.
//!
//! # Safety
//!
//! - fork: in a process with one thread the child may do all that its parent could; with more, only what is
//!   async-signal-safe, since another thread may hold a lock at that moment. So [`fork`] asks for a process that has no
//!   other thread but the test harness's, asleep until the test ends and holding no lock; that there are no more is
//!   checked. The child leaves by `_exit`: no destructors and no exit handlers of its parent.
//! - [`trace_me`] as a hook before exec makes three system calls and allocates nothing.
//! - The kernel says by `op` which part of `ptrace_syscall_info` it has filled in; no other is read.
//! - ptrace with a register set reads or writes the buffer that it is given, which lives through the call; it concerns
//!   a stopped child and no memory of ours.
#![expect(unsafe_code, reason = "fork, a union, and a register set have no safe wrapper")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::{ForkResult, Pid};
use rustix::process::{Signal, set_parent_process_death_signal};

/// In which a call stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Info {
    Entry { number: i64, arguments: [u64; 6] },
    Exit,
}

/// The exit status of a child that may not be traced.
pub(crate) const REFUSED: i32 = 98;
/// The exit status of a child that panicked.
pub(crate) const PANICKED: i32 = 101;

/// No victim outlives this, whatever it hangs in: SIGALRM ends it.
const SECONDS: u32 = 30;

/// Forks a child that runs `work` and exits.
pub(crate) fn fork(work: impl FnOnce()) -> Pid {
    let threads = std::fs::read_dir("/proc/self/task").expect("/proc").count();
    assert!(threads <= 2, "{threads} threads: a victim is forked only in a process that runs one test");
    // SAFETY: no thread that the child lacks holds a lock: see the head of this file.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let code = match trace_me() {
                Err(_) => REFUSED,
                Ok(()) => std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_or(PANICKED, |()| 0),
            };
            // SAFETY: it only ends the process.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Has a program trace itself: it stops after exec.
pub(crate) fn traced(command: &mut Command) -> &mut Command {
    // SAFETY: only system calls: see the head of this file.
    unsafe { command.pre_exec(|| trace_me().map_err(io::Error::from)) }
}

fn trace_me() -> Result<(), Errno> {
    // Not to be left behind where the tracer has let it go: until then PTRACE_O_EXITKILL does it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    nix::unistd::alarm::set(SECONDS);
    ptrace::traceme()
}

/// The call at which a child has stopped.
pub(crate) fn info(pid: Pid) -> Result<Info, Errno> {
    let info = ptrace::syscall_info(pid)?;
    Ok(match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: `op` says that the entry is filled in.
            let entry = unsafe { info.u.entry };
            Info::Entry { number: i64::from_ne_bytes(entry.nr.to_ne_bytes()), arguments: entry.args }
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => Info::Exit,
        op => panic!("neither entry nor exit of a system call, but {op}"),
    })
}

/// At its entry: the call is not carried out.
#[cfg(target_arch = "x86_64")]
pub(crate) fn skip_call(pid: Pid) -> Result<(), Errno> {
    let mut registers = ptrace::getregs(pid)?;
    registers.orig_rax = u64::MAX;
    ptrace::setregs(pid, registers)
}

/// At its exit: the call is said to have given this.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_result(pid: Pid, result: i64) -> Result<(), Errno> {
    let mut registers = ptrace::getregs(pid)?;
    registers.rax = u64::from_ne_bytes(result.to_ne_bytes());
    ptrace::setregs(pid, registers)
}

/// At its entry: the call is not carried out. The number is no general register there, but a set of its own.
#[cfg(target_arch = "aarch64")]
pub(crate) fn skip_call(pid: Pid) -> Result<(), Errno> {
    const NT_ARM_SYSTEM_CALL: usize = 0x404; // linux/elf.h
    let mut number: libc::c_int = -1;
    let mut buffer = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of_val(&number) };
    // SAFETY: the buffer lives through the call: see the head of this file.
    let done = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid.as_raw(), NT_ARM_SYSTEM_CALL, &raw mut buffer) };
    Errno::result(done).map(drop)
}

/// At its exit: the call is said to have given this.
#[cfg(target_arch = "aarch64")]
pub(crate) fn set_result(pid: Pid, result: i64) -> Result<(), Errno> {
    let mut registers = ptrace::getregs(pid)?;
    registers.regs[0] = u64::from_ne_bytes(result.to_ne_bytes());
    ptrace::setregs(pid, registers)
}
