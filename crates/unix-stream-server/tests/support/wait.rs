//! Waiting for events, with bounds that only a hang can reach.

use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Runs something in a thread and fails if it hangs.
#[track_caller]
pub fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || {
        let _ = sender.send(work());
    });
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it hung for {limit:?}"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("it ended without a result"),
        },
    }
}

/// Waits until something is true.
#[track_caller]
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "it never came true that {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A thread at work, and its id in the system.
#[derive(Debug)]
pub struct Worker<T> {
    tid: i32,
    result: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts it.
    pub fn start(work: impl FnOnce() -> T + Send + 'static) -> Worker<T> {
        let (tid_sender, tid) = mpsc::channel();
        let (sender, result) = mpsc::channel();
        thread::spawn(move || {
            let _ = tid_sender.send(rustix::thread::gettid().as_raw_nonzero().get());
            let _ = sender.send(work());
        });
        Worker { tid: tid.recv_timeout(PATIENCE).expect("a thread"), result }
    }

    /// Waits until it sleeps in a system call. Where the kernel does not say which, until it sleeps at all.
    #[track_caller]
    pub fn until_in(&self, call: libc::c_long) {
        until("a thread sleeps in its system call", || {
            let task = format!("/proc/self/task/{}", self.tid);
            match fs::read_to_string(format!("{task}/syscall")) {
                Ok(line) => line.split(' ').next() == Some(call.to_string().as_str()),
                Err(_) => fs::read_to_string(format!("{task}/stat"))
                    .is_ok_and(|line| line.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))),
            }
        });
    }

    /// Has it come to an end?
    #[must_use]
    pub fn is_done(&self) -> Option<T> {
        self.result.try_recv().ok()
    }

    /// Its result.
    #[track_caller]
    #[must_use]
    pub fn result(self) -> T {
        self.result.recv_timeout(PATIENCE).expect("it neither hangs nor panics")
    }
}
