//! Starts at one moment and nothing else, for those who want every answer and how long it took.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::herd::{Answer, Herd, owners};
use super::worker::Starter;

/// Processes that start servers, all at one moment, as often as they are told; they end with this value.
pub struct Stampede(Herd);

/// What came of a moment.
#[derive(Clone, Debug)]
pub struct Started {
    /// One of each process.
    pub answers: Vec<Answer>,
    /// Of those that answered, and the time from the call to its return; in no order.
    pub times: Vec<(Answer, Duration)>,
}

impl Stampede {
    /// Starts the processes. Each takes a descriptor here.
    ///
    /// # Errors
    ///
    /// Those of starting processes.
    pub fn new(kind: Starter, size: usize, patience: Duration) -> io::Result<Self> {
        Herd::start(kind, size, patience).map(Stampede)
    }

    /// All start at the path, where nothing stands. Whoever gets it keeps it until all others have answered, or not within
    /// their patience; then it ends.
    ///
    /// # Errors
    ///
    /// Those of processes.
    pub fn start(&mut self, path: &Path) -> io::Result<Started> {
        let Stampede(herd) = self;
        let all: Vec<(usize, u64)> = (0..herd.size()).map(|number| (number, 0)).collect();
        herd.times.clear();
        let answers = herd.all_start(path, Herd::moment(all.len()), &all, &mut || 0)?;
        herd.all_end(&owners(&answers))?;
        let times = herd.times.iter().map(|&(answer, time)| (answer, Duration::from_nanos(time))).collect();
        Ok(Started { answers: answers.into_values().collect(), times })
    }
}

impl std::fmt::Debug for Stampede {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stampede").field("processes", &self.0.size()).finish_non_exhaustive()
    }
}
