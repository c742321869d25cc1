//! A thread that has parted from its process's table of descriptors.
#![expect(unsafe_code, reason = "unshare(CLONE_FILES) has no safe wrapper")]

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
