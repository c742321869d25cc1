//! A starter: does what it is told, a line each, and answers on the pipe that it shares with all others.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{now, sleep_until};
use crate::history::Word;
use crate::process::{self, kill_self, light_fuse};
use crate::recipe::{LockFile, Pauses, Recipe, Strategy};
use crate::server::{Server, Way, Wish};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) number: usize,
    pub(super) starter: Starter,
}

/// What a starter is, whatever it is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Starter {
    /// How it starts.
    pub strategy: Strategy,
    /// How long it waits for the lock.
    pub timeout: Duration,
    /// Between two tries, if it is git's.
    pub pauses: Pauses,
}

impl Starter {
    /// As in the race: git's own timeout, and a long one for all others.
    pub(super) fn of_race(strategy: Strategy) -> Self {
        let timeout = match strategy {
            Strategy::Git => Duration::from_millis(100), // its default
            _ => Duration::from_secs(5),
        };
        Starter { strategy, timeout, pauses: Pauses::default() }
    }
}

/// `start MOMENT FUSE PATH` and `end MOMENT`, times in nanoseconds; a fuse of 0 is none.
pub(crate) fn work(job: &str) -> u8 {
    let Some(job) = process::job::<Job>(job) else { return 2 };
    let Ok(answers) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3) else { return 1 };
    let mut answers = File::from(answers);
    let mut server = None;
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().unwrap_or_default();
        let (what, moment) = (next(), next().parse().unwrap_or(0));
        let answer = match what {
            "start" => {
                let (fuse, path) = (next().parse().unwrap_or(0), next());
                sleep_until(moment);
                if fuse != 0 {
                    light_fuse(Duration::from_nanos(fuse));
                }
                let before = now();
                let result = start(job.starter, Path::new(path));
                let took = now() - before;
                let word = result.as_ref().err().copied();
                server = result.ok();
                if fuse != 0 {
                    kill_self(); // who got through before its fuse burnt down dies as an owner
                }
                format!("{} {} {took}\n", job.number, word.map_or("Owns", Word::as_str))
            }
            _ => {
                sleep_until(moment);
                if let Some(server) = server.take() {
                    server.drain(|mut client| {
                        let _ = client.write_all(b"served");
                    });
                }
                format!("{} Ended 0\n", job.number)
            }
        };
        // One write of a few bytes to a pipe: it does not mix with others'.
        if answers.write_all(answer.as_bytes()).is_err() {
            return 1;
        }
    }
    0
}

fn start(starter: Starter, path: &Path) -> Result<Server, Word> {
    let Starter { strategy, timeout, pauses } = starter;
    let way = strategy.recipe().map_or(Way::Library, |recipe| match strategy {
        Strategy::Git => Way::Recipe(Recipe { lock: LockFile::Existence(pauses), ..recipe }),
        _ => Way::Recipe(recipe),
    });
    Server::create(way, path, Wish { mode: 0o600, timeout, ..Wish::default() })
}
