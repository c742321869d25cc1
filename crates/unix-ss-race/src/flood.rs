//! The flood: many clients connect without pause, each a process, while the server behind the path is replaced again
//! and again, by a process of its own each time. Whoever connects must be answered, by one server or the other.
//!
//! The clients are as plain as can be, connect(2) and nothing after a failure: [`unix_stream_server::connect()`] would try
//! again where a name has changed hands, and hide what is to be shown.

mod client;
mod conductor;
mod server;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unix_stream_server::{LockScope, UntilReplaced};

use crate::process;
use crate::waits::Waits;

/// What a server that has been replaced goes on for, if the flood does not say otherwise: the library's own grace time.
pub const GRACE: Duration = UntilReplaced::GRACE;

/// What a flood is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where: one flood in each.
    pub dirs: Vec<PathBuf>,
    /// For how long, at least.
    pub time: Duration,
    /// Client processes.
    pub clients: usize,
    /// How often the server is to be replaced, at least.
    pub take_overs: u64,
    /// The servers' backlog; `None`: the library's default.
    pub backlog: Option<u32>,
    /// The grace time of a server that has been replaced.
    pub grace: Duration,
    /// [`LockScope::Lifetime`]: a successor serves only when its predecessor has drained.
    pub life: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            dirs: vec![std::env::temp_dir()],
            time: Duration::from_secs(30),
            clients: 64,
            take_overs: 200,
            backlog: None,
            grace: GRACE,
            life: false,
        }
    }
}

impl Options {
    /// A shorter grace time than the library's is a demonstration: who is refused is then counted, and no failure.
    #[must_use]
    pub fn judges_refusals(&self) -> bool {
        self.grace >= GRACE
    }

    fn builder(&self) -> unix_stream_server::Builder {
        let scope = if self.life { LockScope::Lifetime } else { LockScope::Startup };
        let builder = unix_stream_server::ServerSocket::builder().replaceable(true).take_over(true).lock_scope(scope);
        match self.backlog {
            Some(clients) => builder.backlog(clients),
            None => builder,
        }
    }
}

/// What came of it in one directory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The kind of file system.
    pub file_system: String,
    /// Calls of connect().
    pub requests: u64,
    /// Those that were answered by a server.
    pub answered: u64,
    /// Connected, and reset before an answer (`ECONNRESET`, `EPIPE`).
    pub reset: u64,
    /// `ENOENT`: the path was absent.
    pub absent: u64,
    /// `ECONNREFUSED`: the path led to a server that had ended.
    pub refused: u64,
    /// Connected, and left without an answer.
    pub unanswered: u64,
    /// Any other error, such as no room in the queue for 30 seconds.
    pub failed: u64,
    /// From connect() to the end of the answer, in microseconds, to an eighth.
    pub wait_median_us: u64,
    /// The longest.
    pub wait_longest_us: u64,
    /// How often the server was replaced.
    pub take_overs: u64,
    /// From the successor's call to its return: the path is its, and the predecessor knows. In microseconds.
    pub take_over_median_us: u64,
    /// The longest.
    pub take_over_longest_us: u64,
    /// With a life lock: the longest wait of a successor until its predecessor had drained, in microseconds.
    pub succession_longest_us: u64,
    /// What is left beside the path at the end.
    pub left: Vec<String>,
    /// In seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Nobody lost, and nothing left.
    #[must_use]
    pub fn is_good(&self, options: &Options) -> bool {
        let Outcome { requests, answered, reset, absent, refused, unanswered, failed, .. } = *self;
        let excused = if options.judges_refusals() { 0 } else { refused };
        let whole = answered > 0 && answered + excused == requests;
        whole && reset + absent + unanswered + failed + (refused - excused) == 0 && self.left.is_empty()
    }
}

/// Runs it, in each directory.
///
/// # Errors
///
/// Those of the file system and of processes, and a server or client that does not do its part.
pub fn run(options: &Options) -> io::Result<Vec<Outcome>> {
    options.dirs.iter().map(|dir| conductor::flood(options, dir)).collect()
}

/// What a process of the flood is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Job {
    Client { path: PathBuf },
    Server { path: PathBuf, number: u64, backlog: Option<u32>, grace: Duration, life: bool },
}

/// What a client counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tally {
    answered: u64,
    reset: u64,
    absent: u64,
    refused: u64,
    unanswered: u64,
    failed: u64,
    waits: Waits,
}

/// In a worker: the exit status.
pub(crate) fn work(job: &str) -> u8 {
    let done = match process::job(job) {
        Some(Job::Client { path }) => client::run(&path),
        Some(Job::Server { path, number, backlog, grace, life }) => {
            let options = Options { backlog, grace, life, ..Options::default() };
            server::run(&options, &path, number)
        }
        None => return 2,
    };
    u8::from(done.is_err())
}
