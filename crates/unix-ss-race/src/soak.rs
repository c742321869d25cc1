//! The soak: servers that live long, and what they have of descriptors and memory at the beginning and at the end.
//!
//! - A server of the library that lives through many connections, and take-overs within its process.
//! - Two processes that take the path over from each other again and again.
//! - `unix-ss serve`, through many PROGs.
//!
//! Each is measured after a twentieth of it, when all that is done once has been done, and at the end, at moments in
//! which it is in the same state: a server and no client.

mod library;
mod progs;
mod usage;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::process;

pub use progs::serve;
pub use usage::Usage;

/// What a soak is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to work.
    pub dir: PathBuf,
    /// Clients of the library's server.
    pub connections: u64,
    /// How often it is replaced by another in its process.
    pub take_overs: u64,
    /// How often each of two processes takes over from the other.
    pub returns: u64,
    /// How many PROGs `serve` runs; 0: without it.
    pub progs: u64,
    /// The command `unix-ss`.
    pub program: PathBuf,
}

/// A long life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    /// Whose, and through what.
    pub what: String,
    /// After a twentieth of it.
    pub before: Usage,
    /// At its end.
    pub after: Usage,
    /// Clients that were not served.
    pub failures: u64,
    /// Children that have ended and were never waited for.
    pub zombies: u64,
    /// In seconds.
    pub seconds: f64,
}

impl Life {
    /// No more descriptors than before, and no more memory than an allocator's mood: what is lost by each of thousands
    /// of events is more.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let Life { before, after, .. } = self;
        let heap = match (before.heap, after.heap) {
            (Some(before), Some(after)) => after <= before + HEAP_SLACK,
            (None, None) => true,
            _ => false,
        };
        let memory = after.anonymous_kib <= before.anonymous_kib + (before.anonymous_kib / 10).max(ANONYMOUS_SLACK_KIB);
        let descriptors = after.descriptors <= before.descriptors && before.descriptors > 0;
        descriptors && heap && memory && self.failures == 0 && self.zombies == 0
    }
}

/// In bytes: what is counted is exact, but the words that are measured with are there too.
const HEAP_SLACK: u64 = 512;
/// Pages of stacks and of an allocator that divides its room anew.
const ANONYMOUS_SLACK_KIB: u64 = 512;

/// Runs it.
///
/// # Errors
///
/// Those of the file system and of processes, and whatever fails of a server.
pub fn run(options: &Options) -> io::Result<Vec<Life>> {
    let mut lives = vec![library::chain(options)?];
    lives.extend(library::returns(options)?);
    if options.progs > 0 {
        lives.push(progs::serve(&options.program, &options.dir, options.progs)?);
    }
    Ok(lives)
}

/// What a process of the soak is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Job {
    /// A client, until it is told to end.
    Client { path: PathBuf },
    /// One server after the other in a process, each taking over from the one before.
    Chain { path: PathBuf, connections: u64, take_overs: u64 },
    /// Takes over whenever it has been replaced, so many times.
    Returns { path: PathBuf, times: u64 },
}

/// In a worker: the exit status.
pub(crate) fn work(job: &str) -> u8 {
    let Some(job) = process::job::<Job>(job) else { return 2 };
    match library::work(&job) {
        Ok(()) => 0,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(io::stderr(), "soak: {error}");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(after: Usage) -> Life {
        let before = Usage { descriptors: 5, anonymous_kib: 1_000, heap: Some(10_000) };
        Life { what: String::new(), before, after, failures: 0, zombies: 0, seconds: 1.0 }
    }

    #[test]
    fn a_leak_of_any_kind_is_found_and_the_moods_of_an_allocator_are_not() {
        let same = Usage { descriptors: 5, anonymous_kib: 1_400, heap: Some(10_100) };
        assert!(life(same).is_good());
        assert!(!life(Usage { descriptors: 6, ..same }).is_good());
        assert!(!life(Usage { anonymous_kib: 1_600, ..same }).is_good());
        assert!(!life(Usage { heap: Some(11_000), ..same }).is_good()); // 1,000 times a byte
        assert!(!life(Usage { heap: None, ..same }).is_good());
        assert!(!Life { zombies: 1, ..life(same) }.is_good());
        assert!(!Life { failures: 1, ..life(same) }.is_good());
    }
}
