//! One epoch: starts the workers, kills, pauses, deletes and plants, ends everybody, and has the history judged.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use unix_stream_server::{Builder, LockScope, ServerSocket};

use super::foreign::Foreign;
use super::sites::{SITES, Site, make};
use super::{Disturbed, Job, Options, Party, SiteJob, Summary, may_be_killed};
use crate::by_hand::beside;
use crate::checker::{self, Rule, Violation};
use crate::clock::now;
use crate::history::{self, Event, History, What, Word};
use crate::process::{Worker, is_root};
use crate::recipe::Defect;

pub(super) const SHORTEST: Duration = Duration::from_millis(500);
pub(super) const LONGEST: Duration = Duration::from_secs(5);
/// A defect that is found ends the epoch no sooner, so it is short.
pub(super) const LONGEST_WITH_A_DEFECT: Duration = Duration::from_secs(1);

/// What no process needs to come to its end: beyond it, it is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// For the library's lock. It is never to run out, but for a lock that stays: to find that out takes as long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
const LOCK_TIMEOUT_IF_IT_STAYS: Duration = Duration::from_secs(1);

/// Runs an epoch in a new directory below `dir`, and adds what came of it to the summary.
pub(super) fn epoch(
    options: &Options,
    dir: &Path,
    seed: u64,
    length: Duration,
    summary: &mut Summary,
    tick: &dyn Fn(),
) -> io::Result<()> {
    let two_users = is_root() && !summary.closed.iter().any(|closed| closed == dir);
    let dir = tempfile::Builder::new().prefix("unix-ss-torture.").tempdir_in(dir)?;
    // Another user takes part.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let record = dir.path().join("history");
    let mut conductor = Conductor::new(options, dir.path(), &record, seed)?;
    let end = Instant::now() + length;
    conductor.start(two_users)?;
    while Instant::now() < end {
        conductor.step()?;
        tick();
    }
    conductor.end()?;
    fs::rename(&record, dir.path().join("history.complete"))?;
    let text = fs::read_to_string(dir.path().join("history.complete"))?;
    let events = history::read(&text).map_err(io::Error::other)?;
    let killed = checker::killed_from_outside(&events);
    if killed.is_none() {
        // Of one that was killed nobody knows when, so that nothing can be said of what followed.
        conductor.violations.extend(checker::check(&events, &SITES.map(|site| site.rules)));
    }
    count(summary, &events);
    if let (false, Some(keep)) = (conductor.violations.is_empty() && killed.is_none(), &options.keep) {
        fs::write(keep, text)?;
    }
    // What the conductor has seen by itself holds all the same.
    match killed {
        Some(number) if conductor.violations.is_empty() => return Err(io::Error::other(Disturbed(number))),
        _ => summary.violations.append(&mut conductor.violations),
    }
    Ok(())
}

struct Conductor<'a> {
    options: &'a Options,
    dir: &'a Path,
    sites: Vec<SiteJob>,
    record: File,
    history: History,
    random: fastrand::Rng,
    born: u32,
    running: Vec<Running>,
    paused: Option<(u32, Instant)>,
    foreign: Option<(Foreign, u8, Instant)>,
    violations: Vec<Violation>,
}

struct Running {
    number: u32,
    /// None: a client.
    party: Option<Party>,
    worker: Worker,
    killed: bool,
}

impl<'a> Conductor<'a> {
    fn new(options: &'a Options, dir: &'a Path, record: &Path, seed: u64) -> io::Result<Self> {
        let record = OpenOptions::new().append(true).create_new(true).mode(0o600).open(record)?;
        Ok(Conductor {
            options,
            dir,
            sites: make(dir)?,
            history: History::new(record.try_clone()?),
            record,
            random: fastrand::Rng::with_seed(seed),
            born: 0,
            running: Vec::new(),
            paused: None,
            foreign: None,
            violations: Vec::new(),
        })
    }

    fn start(&mut self, two_users: bool) -> io::Result<()> {
        for index in 0..self.options.servers {
            // Of 16: 10 of the library as we, 3 git-like, 3 of the library as another user.
            let party = match (self.options.defect, index % 16) {
                (Some(_), index) if index % 2 == 1 => Party::ByHand,
                (Some(_), _) => Party::Ours,
                (None, 3 | 8 | 13) => Party::GitLike,
                (None, 4 | 9 | 14) if two_users => Party::OtherUser,
                _ => Party::Ours,
            };
            self.give_birth(Some(party))?;
        }
        (0..self.options.clients).try_for_each(|_| self.give_birth(None))
    }

    fn give_birth(&mut self, party: Option<Party>) -> io::Result<()> {
        self.born += 1;
        let stays = self.options.defect == Some(Defect::LockByExistence);
        let timeout = if stays { LOCK_TIMEOUT_IF_IT_STAYS } else { LOCK_TIMEOUT };
        let sites = self.sites.iter().zip(&SITES);
        let admits = |site: &Site| site.admits(party, self.options.defect);
        let job = Job {
            number: self.born,
            seed: self.random.u64(..),
            party,
            sites: sites.filter(|(_, site)| admits(site)).map(|(job, _)| job.clone()).collect(),
            lock_timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            defect: self.options.defect,
        };
        let history = Stdio::from(self.record.try_clone()?);
        let worker = Worker::start("torture", &job, history, party == Some(Party::OtherUser))?;
        let word = match party {
            None => Word::Visitor,
            Some(Party::Ours) => Word::Ours,
            Some(Party::OtherUser) => Word::OtherUser,
            Some(Party::GitLike) => Word::GitLike,
            Some(Party::ByHand) => Word::ByHand,
        };
        self.history.tell(&Event::new(What::Born, word, 0, self.born).peer(worker.pid()).at([now()]))?;
        self.running.push(Running { number: self.born, party, worker, killed: false });
        Ok(())
    }

    /// One thing from outside, if any, and a new worker for each that has ended.
    fn step(&mut self) -> io::Result<()> {
        let pause = self.random.u64(200..2_000);
        std::thread::sleep(Duration::from_micros(pause));
        for party in self.reap()? {
            self.give_birth(party)?;
        }
        if self.paused.is_some_and(|(_, until)| until <= Instant::now()) {
            self.go_on();
        }
        if self.foreign.as_ref().is_some_and(|(_, _, until)| *until <= Instant::now()) {
            self.unplant()?;
        }
        // To add something that happens from outside: a share here, a method below, and its place in the checker.
        match self.random.u8(..100) {
            0..6 => self.kill(),
            6..12 => {
                self.pause();
                Ok(())
            }
            12..24 => self.delete(),
            24..40 => self.plant(),
            _ => Ok(()),
        }
    }

    /// Those who have ended.
    fn reap(&mut self) -> io::Result<Vec<Option<Party>>> {
        let mut ended = Vec::new();
        let mut index = 0;
        while index < self.running.len() {
            match self.running[index].worker.ended()? {
                None => index += 1,
                Some(status) => {
                    let gone = self.running.swap_remove(index);
                    // By itself, which it has announced, or from outside: see `killed_from_outside`.
                    let killed = status.signal() == Some(Signal::KILL.as_raw()) && !gone.killed;
                    // Nobody exits but when told to.
                    if !(killed || status.success() || gone.killed) {
                        self.found(Rule::Crashed, "a worker", format!("worker {} ended with {status}", gone.number));
                    }
                    let word = if killed { Word::Killed } else { Word::None };
                    self.history.tell(&Event::new(What::Reaped, word, 0, gone.number).at([now()]))?;
                    ended.push(gone.party);
                }
            }
        }
        Ok(ended)
    }

    /// Any moment of a server's life.
    fn kill(&mut self) -> io::Result<()> {
        let Some(index) = self.any_server() else { return Ok(()) };
        let victim = &mut self.running[index];
        if may_be_killed(victim.party, self.options.defect) && !victim.killed {
            self.history.tell(&Event::new(What::Kill, Word::None, 0, victim.number).at([now()]))?;
            victim.killed = true;
            victim.worker.signal(Signal::KILL);
        }
        Ok(())
    }

    fn any_server(&mut self) -> Option<usize> {
        let servers: Vec<usize> =
            (0..self.running.len()).filter(|&index| self.running[index].party.is_some()).collect();
        self.random.choice(&servers).copied()
    }

    fn pause(&mut self) {
        if self.paused.is_none() {
            let server = self.any_server().filter(|&index| self.running[index].worker.may_be_paused());
            if let Some(index) = server {
                let until = Instant::now() + Duration::from_micros(self.random.u64(..20_000));
                self.running[index].worker.signal(Signal::STOP);
                self.paused = Some((self.running[index].number, until));
            }
        }
    }

    fn go_on(&mut self) {
        if let Some((number, _)) = self.paused.take() {
            let paused = self.running.iter().find(|running| running.number == number);
            paused.into_iter().for_each(|running| running.worker.signal(Signal::CONT));
        }
    }

    fn site(&mut self, which: fn(&Site) -> bool) -> Option<SiteJob> {
        let sites: Vec<&SiteJob> =
            self.sites.iter().zip(&SITES).filter(|(_, site)| which(site)).map(|(job, _)| job).collect();
        self.random.choice(&sites).map(|site| (*site).clone())
    }

    fn delete(&mut self) -> io::Result<()> {
        let Some(site) = self.site(|site| site.deletions) else { return Ok(()) };
        // A socket, and nothing else.
        if !fs::symlink_metadata(&site.path).is_ok_and(|node| node.file_type().is_socket()) {
            return Ok(());
        }
        let before = now();
        if fs::remove_file(&site.path).is_ok() {
            self.history.tell(&Event::new(What::Deleted, Word::None, site.index, 0).at([before, now()]))?;
        }
        Ok(())
    }

    fn plant(&mut self) -> io::Result<()> {
        if self.foreign.is_some() {
            return Ok(());
        }
        let Some(site) = self.site(|site| site.foreign) else { return Ok(()) };
        let (word, path) = match self.random.bool() {
            true => (Word::AtPath, site.path.clone()),
            false => (Word::AtLock, beside(&site.path, ".lock")),
        };
        let mut foreign = Foreign::make(self.dir.join("foreign.new"), &mut self.random)?;
        // Where something is already, it is tried for a moment. Nothing is deleted to make room: see `SITES`.
        for _ in 0..100 {
            let before = now();
            if foreign.plant(&path).is_ok() {
                self.history.tell(&Event::new(What::Planted, word, site.index, 0).at([before, now()]))?;
                let until = Instant::now() + Duration::from_micros(self.random.u64(..30_000));
                self.foreign = Some((foreign, site.index, until));
                return Ok(());
            }
        }
        foreign.remove();
        Ok(())
    }

    fn unplant(&mut self) -> io::Result<()> {
        let Some((foreign, site, _)) = self.foreign.take() else { return Ok(()) };
        let before = now();
        let harmed = !foreign.is_unharmed();
        // If it is not what we have put there it is not ours to remove.
        if !harmed {
            foreign.remove();
        }
        let word = if harmed { Word::Harmed } else { Word::Unharmed };
        self.history.tell(&Event::new(What::Unplanted, word, site, 0).at([before, now()]))
    }

    /// Everybody ends; then the last start at each path, after which nothing must be left.
    fn end(&mut self) -> io::Result<()> {
        self.go_on();
        self.unplant()?;
        self.running.iter_mut().for_each(|running| running.worker.tell_to_end());
        let end = Instant::now() + PATIENCE;
        while !self.running.is_empty() {
            self.reap()?;
            std::thread::sleep(Duration::from_millis(1));
            if Instant::now() > end {
                for stuck in std::mem::take(&mut self.running) {
                    let seen = format!("worker {} ({:?}) did not end", stuck.number, stuck.party);
                    self.found(Rule::Stuck, "a worker", seen);
                    drop(stuck.worker);
                    self.history.tell(&Event::new(What::Reaped, Word::None, 0, stuck.number).at([now()]))?;
                }
            }
        }
        for (site, rules) in self.sites.clone().iter().zip(&SITES) {
            self.last_start(site, rules.rules.name);
        }
        Ok(())
    }

    fn last_start(&mut self, site: &SiteJob, name: &'static str) {
        let scope = if site.life { LockScope::Lifetime } else { LockScope::Startup };
        let builder = ServerSocket::builder().lock_timeout(Duration::from_secs(1)).lock_scope(scope);
        let done = if site.hand_overs { one_after_the_other(&builder, site) } else { builder.create(&site.path) };
        if let Err(error) = done.and_then(ServerSocket::close) {
            self.found(Rule::Blocked, name, error.to_string());
        }
        let names = |dir: &Path| -> Vec<PathBuf> {
            fs::read_dir(dir).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
        };
        for left in site.path.parent().map(names).unwrap_or_default() {
            self.found(Rule::LeftOver, name, left.display().to_string());
        }
    }

    fn found(&mut self, rule: Rule, site: &'static str, seen: String) {
        self.violations.push(Violation { rule, site, seen });
    }
}

/// The last of two servers, of which it has taken over from the first: that clears what killed successors have left.
fn one_after_the_other(builder: &Builder, site: &SiteJob) -> unix_stream_server::Result<ServerSocket> {
    let builder = builder.clone().replaceable(true).take_over(true);
    let first = builder.create(&site.path)?;
    let mut last = builder.create(&site.path)?;
    first.until_replaced().grace(Duration::ZERO).for_each(drop);
    last.wait_for_predecessor(Duration::from_secs(1))?;
    Ok(last)
}

/// Adds up what was done.
fn count(summary: &mut Summary, events: &[Event]) {
    for ((what, word), number) in checker::counts(events) {
        let operation = match what {
            What::Try => "starts",
            What::Closed => "ends",
            What::Kill | What::Dying => "kills",
            What::Deleted => "deletions",
            What::Planted => "foreign files",
            What::Cleaned => "cleanings",
            What::Client => "connects",
            _ => "",
        };
        match what {
            What::Born => summary.two_users |= word == Word::OtherUser,
            What::Client => *summary.clients.entry(word.as_str().to_owned()).or_default() += number,
            What::Closing if word == Word::HandedOver => summary.hand_overs += number,
            What::Closing if word == Word::Healed => summary.heals += number,
            What::Refused | What::Unhealed | What::Cleaned if word != Word::Absent && word != Word::Removed => {
                *summary.refusals.entry(word.as_str().to_owned()).or_default() += number
            }
            _ => {}
        }
        if !operation.is_empty() {
            *summary.operations.entry(operation).or_default() += number;
        }
    }
    let mut parties = BTreeMap::new();
    for event in events {
        match (event.what, parties.get(&event.worker)) {
            (What::Born, _) => drop(parties.insert(event.worker, event.word)),
            (What::Own, Some(party)) => *summary.owners.entry(Word::as_str(*party).to_owned()).or_default() += 1,
            _ => {}
        }
    }
}
