//! For tests that kill a conductor and look for what outlives it.

#![expect(unreachable_pub, reason = "a module of each test program")]

use std::process::Child;
use std::time::{Duration, Instant};

/// A process that ends with the test, whatever becomes of it.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes that have these words in their command line, but for one.
#[must_use]
pub fn processes_with(words: &str, but: u32) -> usize {
    pids_with(words, but).len()
}

/// Their pids.
#[must_use]
pub fn pids_with(words: &str, but: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != but);
    let line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| String::from_utf8_lossy(&line(pid)).contains(words)).collect()
}

#[track_caller]
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_true() {
        assert!(Instant::now() < end, "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
