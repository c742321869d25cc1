//! The starters of a strategy, what they are told and what they answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use super::worker::{Job, Starter};
use crate::clock::now;
use crate::process::Worker;

/// What a starter says of its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It got the path.
    Owns,
    /// A server is there.
    InUse,
    /// It did not get the lock in time.
    Locked,
    /// Any other error.
    Error,
    /// It was killed, as it was to be.
    Killed,
    /// It said nothing in time, and has been killed for it.
    Stuck,
}

/// Those who got the path.
pub(super) fn owners(answers: &BTreeMap<usize, Answer>) -> Vec<usize> {
    answers.iter().filter(|(_, answer)| **answer == Answer::Owns).map(|(number, _)| *number).collect()
}

pub(super) struct Herd {
    kind: Starter,
    /// Each with the number that its answers carry: a process that takes another's place has a new one.
    starters: Vec<(usize, Worker)>,
    born: usize,
    /// Told to end, and not heard of yet.
    ending: Vec<usize>,
    write_end: OwnedFd,
    answers: Receiver<(usize, Option<Answer>, u64)>,
    patience: Duration,
    /// How long each start took, in nanoseconds.
    pub(super) times: Vec<(Answer, u64)>,
}

impl Herd {
    pub(super) fn start(kind: Starter, size: usize, patience: Duration) -> io::Result<Self> {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends when the last starter has, and the herd with it.
            for line in BufReader::new(File::from(read_end)).lines().map_while(Result::ok) {
                if parse(&line).is_none_or(|answer| sender.send(answer).is_err()) {
                    break;
                }
            }
        });
        let mut herd = Herd {
            kind,
            starters: Vec::new(),
            born: 0,
            ending: Vec::new(),
            write_end,
            answers,
            patience,
            times: Vec::new(),
        };
        for _ in 0..size {
            let starter = herd.new_starter()?;
            herd.starters.push(starter);
        }
        Ok(herd)
    }

    fn new_starter(&mut self) -> io::Result<(usize, Worker)> {
        self.born += 1;
        let job = Job { number: self.born, starter: self.kind };
        Ok((self.born, Worker::start("race", &job, Stdio::from(self.write_end.try_clone()?), false)?))
    }

    pub(super) fn size(&self) -> usize {
        self.starters.len()
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn pid(&self, number: usize) -> u32 {
        self.starters[number].1.pid()
    }

    /// All who are told, at one moment in the near future.
    pub(super) fn moment(told: usize) -> u64 {
        now() + 2_000_000 + u64::try_from(told).unwrap_or(0) * 20_000
    }

    /// These start at the moment, each later by as much as `spread` says; a fuse, if any, says after how many nanoseconds one is killed.
    pub(super) fn all_start(
        &mut self,
        path: &Path,
        moment: u64,
        starters: &[(usize, u64)],
        spread: &mut dyn FnMut() -> u64,
    ) -> io::Result<BTreeMap<usize, Answer>> {
        for &(number, fuse) in starters {
            let moment = moment + spread();
            self.starters[number].1.say(&format!("start {moment} {fuse} {}\n", path.display()))?;
        }
        self.hear(moment, starters)
    }

    /// This one is told to end at the moment; its answer is waited for together with those to the next start.
    pub(super) fn tell_to_end(&mut self, number: usize, moment: u64) -> io::Result<()> {
        self.ending.push(number);
        self.starters[number].1.say(&format!("end {moment}\n"))
    }

    /// These end now; who does not is killed and replaced.
    pub(super) fn all_end(&mut self, numbers: &[usize]) -> io::Result<()> {
        for &number in numbers {
            self.tell_to_end(number, 0)?;
        }
        self.hear(now(), &[]).map(drop)
    }

    /// Waits for an answer of each who was told to start, and of those who were told to end before.
    fn hear(&mut self, moment: u64, starting: &[(usize, u64)]) -> io::Result<BTreeMap<usize, Answer>> {
        let mut heard = BTreeMap::new();
        let lead = Duration::from_nanos(moment.saturating_sub(now()));
        let end = Instant::now() + lead + self.patience;
        let mut ending = std::mem::take(&mut self.ending);
        let mut waiting: Vec<usize> =
            starting.iter().filter(|(_, fuse)| *fuse == 0).map(|(number, _)| *number).collect();
        while !(waiting.is_empty() && ending.is_empty()) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok((id, answer, took)) = self.answers.recv_timeout(left) else { break };
            // The last word of one who has been replaced is nobody's.
            let Some(number) = self.starters.iter().position(|(other, _)| *other == id) else { continue };
            match answer {
                Some(answer) => {
                    self.times.push((answer, took));
                    heard.insert(number, answer);
                    waiting.retain(|&other| other != number);
                }
                None => ending.retain(|&other| other != number),
            }
        }
        for number in waiting {
            heard.insert(number, Answer::Stuck);
            self.replace(number)?;
        }
        for number in ending {
            self.replace(number)?;
        }
        for &(number, _) in starting.iter().filter(|(_, fuse)| *fuse != 0) {
            // It kills itself, whatever happens.
            heard.insert(number, Answer::Killed);
            self.wait_for_death(number)?;
            self.replace(number)?;
        }
        Ok(heard)
    }

    fn wait_for_death(&mut self, number: usize) -> io::Result<()> {
        let end = Instant::now() + self.patience;
        while self.starters[number].1.ended()?.is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn replace(&mut self, number: usize) -> io::Result<()> {
        self.starters[number].1.signal(Signal::KILL);
        let new = self.new_starter()?;
        drop(std::mem::replace(&mut self.starters[number], new)); // reaped: all it had is closed
        Ok(())
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        self.starters.iter_mut().for_each(|(_, starter)| starter.tell_to_end());
    }
}

/// The number, the answer to a start (`None`: it has ended), and how long it took.
fn parse(line: &str) -> Option<(usize, Option<Answer>, u64)> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    let answer = match words.next()? {
        "Owns" => Some(Answer::Owns),
        "InUse" => Some(Answer::InUse),
        "Locked" => Some(Answer::Locked),
        "Ended" => None,
        _ => Some(Answer::Error),
    };
    Some((number, answer, words.next()?.parse().ok()?))
}
