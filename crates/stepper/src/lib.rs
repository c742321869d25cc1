//! Stops a process at the entry and the exit of every system call (ptrace(2)): for tests that kill it there, leave it
//! there, or make that call fail. No other program is needed.
//!
//! A [`Victim`] is forked, or started as a program. A forked one wraps what is to be tried in [`operation`], so that
//! only its system calls are counted: stop 0 is the entry of its first call, stop 1 the exit of that, and so on. Those
//! of a program are counted from its first on.
//!
//! [`call`] says how each call can fail.
//!
//! # What it relies on
//!
//! Linux 5.3 (`PTRACE_GET_SYSCALL_INFO`), x86-64 or AArch64, the GNU C library, and leave to trace a child of one's
//! own, which everybody has unless yama's `ptrace_scope` is 3 or a seccomp filter forbids it. Where it is refused, that
//! is a panic with the reason.
//!
//! All calls to one victim are to come from the thread that started it; ptrace demands it.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod calls;
mod marker;
mod raw;
mod victim;

pub use calls::{Call, How, call, name};
pub use marker::operation;
pub use victim::{End, Side, Stop, Victim};
