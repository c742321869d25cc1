//! A fork, which std does not have, for "a forked child never deletes its parent's socket".
//!
//! # Safety
//!
//! In a process with one thread a forked child may do all that its parent could; with more, only what is
//! async-signal-safe, since another thread may hold a lock at that moment. So this is for processes that run one test
//! (`child::whole_process`), where the only other thread is the harness's, asleep until the test ends and holding no
//! lock; that it is alone is checked. The child leaves by `_exit`: no destructors and no exit handlers of its parent.
#![expect(unsafe_code, reason = "fork and _exit have no safe wrapper")]

use rustix::process::{Pid, WaitOptions};

/// Runs something in a forked child and gives its exit status: 0 for true, 1 for false, 101 for a panic.
pub fn in_a_forked_child(work: impl FnOnce() -> bool) -> i32 {
    let threads = std::fs::read_dir("/proc/self/task").expect("/proc").count();
    assert!(threads <= 2, "{threads} threads: for processes of one test");
    // SAFETY: no thread that the child lacks holds a lock: see the head of this file.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let code = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(_) => 101,
        };
        // SAFETY: it only ends the process.
        unsafe { libc::_exit(code) }
    }
    let pid = Pid::from_raw(pid).expect("a pid");
    let (_, status) = rustix::process::waitpid(Some(pid), WaitOptions::empty()).expect("waitpid").expect("it ended");
    status.exit_status().expect("it was not killed")
}
