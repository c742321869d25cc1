//! A thread, or the children, that no longer share something with the rest.
#![expect(unsafe_code, reason = "unshare(2) has no safe wrapper")]

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs something in a thread with a table of descriptors of its own, a copy of what is open now.
pub fn with_own_descriptors<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: descriptors that this thread opens from here on are closed by it, and those of others are left alone.
            unsafe { unshare_unsafe(UnshareFlags::FILES) }.expect("unshare");
            work()
        });
        thread.join().expect("no panic")
    })
}

/// From here on, this thread asks another network namespace for its sockets: a new one, which knows none. Needs root.
pub fn with_own_network() {
    // SAFETY: it concerns the sockets that this thread makes later.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare");
}

/// From here on, children are the first processes of pid namespaces of their own. Needs root; no new threads after it.
pub fn with_children_in_pid_namespaces() {
    // SAFETY: it concerns children that are forked later, and nothing that is open or mapped.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }.expect("unshare");
}

/// From here on this process, which has one thread, has a user namespace of its own, with limits of its own that it may
/// lower. An error where the administrator forbids it.
pub fn with_own_limits() -> rustix::io::Result<()> {
    // SAFETY: it concerns rights and limits, and nothing that is open or mapped.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }
}

/// Makes this process root of a user namespace in which nobody else has a number. For a process of one thread. False
/// where the system does not let ordinary users do so.
#[must_use]
pub fn into_user_namespace() -> bool {
    let uid = rustix::process::geteuid().as_raw();
    // SAFETY: it concerns ids alone, and nothing that is open or mapped.
    if unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.is_err() {
        return false;
    }
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).is_ok()
}
