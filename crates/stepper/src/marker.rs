//! Where the calls that count begin and end, told to the stepper by two calls that nobody else makes.

use rustix::process::{Pid, getpriority_process};

/// Beyond the largest process id there can be (2^22, proc_sys_kernel(5)), so that the call fails and changes nothing.
const BEGIN: i32 = 0x57e9_0001;
const END: i32 = 0x57e9_0002;

/// What a call says to the stepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Begin,
    End,
}

/// Runs the part of a victim's work whose system calls count. Only for a victim: anybody else would stop here.
pub fn operation<T>(work: impl FnOnce() -> T) -> T {
    // It has run free so far, which is much faster; this stop is where it is taken in hand.
    nix::sys::signal::raise(nix::sys::signal::SIGSTOP).expect("raise");
    mark(BEGIN);
    let result = work();
    mark(END);
    result
}

fn mark(pid: i32) {
    let _ = getpriority_process(Pid::from_raw(pid)); // ESRCH
}

/// The marker that a call is, by its number and arguments.
pub(crate) fn marker(number: i64, arguments: &[u64; 6]) -> Option<Marker> {
    if number != libc::SYS_getpriority {
        return None;
    }
    match i32::try_from(arguments[1]) {
        Ok(BEGIN) => Some(Marker::Begin),
        Ok(END) => Some(Marker::End),
        _ => None,
    }
}
