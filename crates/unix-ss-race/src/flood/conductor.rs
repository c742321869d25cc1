//! Starts the clients, and one server after the other; at the end it takes the path over itself, and counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rustix::pipe::{PipeFlags, pipe_with};

use super::server::PATIENCE;
use super::{Job, Options, Outcome, Tally};
use crate::file_system;
use crate::process::Worker;
use crate::waits::Waits;

pub(super) fn flood(options: &Options, dir: &Path) -> io::Result<Outcome> {
    let dir = tempfile::Builder::new().prefix("unix-ss-flood.").tempdir_in(dir)?;
    let mut servers = Servers::new(options, dir.path().join("s"))?;
    let tallies = OpenOptions::new().append(true).create_new(true).open(dir.path().join("tallies"))?;
    let begun = Instant::now();
    servers.next()?;
    let mut clients = Vec::new();
    for _ in 0..options.clients {
        let job = Job::Client { path: servers.path.clone() };
        clients.push(Worker::start("flood", &job, Stdio::from(tallies.try_clone()?), false)?);
    }
    servers.replace_each_other(options.time, options.take_overs)?;
    clients.iter_mut().for_each(Worker::tell_to_end);
    for client in &mut clients {
        wait_for("a client", || Ok(client.ended()?.is_some()))?;
    }
    let mut outcome = Outcome { file_system: file_system(dir.path())?, ..Outcome::default() };
    servers.end(&mut outcome)?;
    count(&mut outcome, &fs::read_to_string(dir.path().join("tallies"))?, options.clients)?;
    outcome.left = fs::read_dir(dir.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name: &io::Result<String>| !name.as_ref().is_ok_and(|name| name == "tallies"))
        .collect::<io::Result<_>>()?;
    outcome.seconds = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// What a server says, and how long it took.
#[derive(Debug)]
enum Said {
    Up(u64),
    Ready(u64),
    Ended,
    Failed(String),
}

struct Servers<'a> {
    options: &'a Options,
    path: PathBuf,
    born: u64,
    running: Vec<(u64, Worker)>,
    write_end: OwnedFd,
    said: Receiver<(u64, Said)>,
    take_overs: Waits,
    successions: Waits,
}

impl<'a> Servers<'a> {
    fn new(options: &'a Options, path: PathBuf) -> io::Result<Self> {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends with the last server, and with us.
            for line in BufReader::new(File::from(read_end)).lines().map_while(Result::ok) {
                if parse(&line).is_none_or(|said| sender.send(said).is_err()) {
                    break;
                }
            }
        });
        let (take_overs, successions) = (Waits::default(), Waits::default());
        Ok(Servers { options, path, born: 0, running: Vec::new(), write_end, said, take_overs, successions })
    }

    /// One more; returns when it may be replaced in turn.
    fn next(&mut self) -> io::Result<()> {
        self.born += 1;
        let number = self.born;
        let Options { backlog, grace, life, .. } = *self.options;
        let job = Job::Server { path: self.path.clone(), number, backlog, grace, life };
        let stdout = Stdio::from(self.write_end.try_clone()?);
        self.running.push((number, Worker::start("flood", &job, stdout, false)?));
        // The first takes over from nobody.
        self.hear(number > 1, |said| matches!(said, (of, Said::Ready(_)) if *of == number))
    }

    /// Hears what the servers say until it is what is waited for.
    fn hear(&mut self, counts: bool, is_it: impl Fn(&(u64, Said)) -> bool) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let word = self.said.recv_timeout(left).map_err(|_| late("a server"))?;
            match &word {
                (_, Said::Up(took)) if counts => self.take_overs.add(*took),
                (_, Said::Ready(took)) if counts => self.successions.add(*took),
                (number, Said::Ended) => {
                    if let Some(index) = self.running.iter().position(|(other, _)| other == number) {
                        let (_, mut ended) = self.running.swap_remove(index);
                        wait_for("a server", || Ok(ended.ended()?.is_some()))?;
                    }
                }
                (number, Said::Failed(why)) => return Err(io::Error::other(format!("server {number}: {why}"))),
                _ => {}
            }
            if is_it(&word) {
                return Ok(());
            }
        }
    }

    fn replace_each_other(&mut self, time: Duration, take_overs: u64) -> io::Result<()> {
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {percent:>3} %  {pos} take-overs");
        let bar = ProgressBar::new(take_overs).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let begun = Instant::now();
        // Somewhat more often than they must, so that a late one does not make it longer.
        let interval = time.mul_f64(0.8) / u32::try_from(take_overs.max(1)).unwrap_or(u32::MAX);
        let mut done = 0;
        while begun.elapsed() < time || done < take_overs {
            let slot = Instant::now() + interval;
            self.next()?;
            done += 1;
            bar.set_position(done);
            std::thread::sleep(slot.saturating_duration_since(Instant::now()));
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The last take-over is by this process, whose server then goes, and nobody's is left.
    fn end(mut self, outcome: &mut Outcome) -> io::Result<()> {
        let mut last = self.options.builder().lock_timeout(PATIENCE).create(&self.path)?;
        while let Some(&(number, _)) = self.running.first() {
            self.hear(false, |said| matches!(said, (of, Said::Ended) if *of == number))?;
        }
        last.wait_for_predecessor(PATIENCE)?;
        let status = last.close()?;
        if status.is_stolen() {
            return Err(io::Error::other(format!("the last server found its path {status:?}")));
        }
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        outcome.take_overs = self.born - 1;
        outcome.take_over_median_us = microseconds(self.take_overs.median());
        outcome.take_over_longest_us = microseconds(self.take_overs.longest());
        if self.options.life {
            outcome.succession_longest_us = microseconds(self.successions.longest());
        }
        Ok(())
    }
}

/// A line of each client.
fn count(outcome: &mut Outcome, lines: &str, clients: usize) -> io::Result<()> {
    let mut waits = Waits::default();
    for line in lines.lines() {
        let tally: Tally = serde_json::from_str(line)?;
        let Tally { answered, reset, absent, refused, unanswered, failed, .. } = tally;
        outcome.requests += answered + reset + absent + refused + unanswered + failed;
        outcome.answered += answered;
        outcome.reset += reset;
        outcome.absent += absent;
        outcome.refused += refused;
        outcome.unanswered += unanswered;
        outcome.failed += failed;
        waits.append(&tally.waits);
    }
    let told = lines.lines().count();
    if told != clients {
        return Err(io::Error::other(format!("{told} of {clients} clients told what they met")));
    }
    outcome.wait_median_us = u64::try_from(waits.median().as_micros()).unwrap_or(u64::MAX);
    outcome.wait_longest_us = u64::try_from(waits.longest().as_micros()).unwrap_or(u64::MAX);
    Ok(())
}

fn late(who: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{who} did not do its part within {PATIENCE:?}"))
}

fn wait_for(who: &str, is_true: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let mut is_true = is_true;
    let end = Instant::now() + PATIENCE;
    while !is_true()? {
        if Instant::now() > end {
            return Err(late(who));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn parse(line: &str) -> Option<(u64, Said)> {
    let mut words = line.splitn(3, ' ');
    let number = words.next()?.parse().ok()?;
    let (what, rest) = (words.next()?, words.next()?);
    let said = match what {
        "Up" => Said::Up(rest.parse().ok()?),
        "Ready" => Said::Ready(rest.parse().ok()?),
        "Ended" => Said::Ended,
        _ => Said::Failed(rest.to_owned()),
    };
    Some((number, said))
}
