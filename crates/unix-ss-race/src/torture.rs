//! Torture: many real processes create, hold, serve, end and die at random on a few paths, while clients connect all
//! the time, sockets are deleted and foreign files put there from outside; a checker judges their history.
//!
//! A run is a row of epochs of some seconds, each in a directory of its own that must be empty at its end.

mod client;
mod conductor;
mod foreign;
mod healing;
mod server;
mod sites;
mod yielding;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::checker::Violation;
use crate::clock::now;
use crate::history::History;
use crate::process;
use crate::recipe::Defect;

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directories to work in, in turn; each may be on another file system.
    pub dirs: Vec<PathBuf>,
    /// It decides what every process does; not what the scheduler does.
    pub seed: u64,
    /// No new epoch after this time.
    pub time: Duration,
    /// Go on until so many operations have been done, however long it takes.
    pub operations: u64,
    /// Server processes at the same time: 4 to 48.
    pub servers: usize,
    /// Client processes: 1 to 16.
    pub clients: usize,
    /// Plant this in half of the servers, on the paths where it can show.
    pub defect: Option<Defect>,
    /// Where to keep the history of the first epoch with a violation.
    pub keep: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            dirs: vec![std::env::temp_dir()],
            seed: fastrand::u64(..),
            time: Duration::from_secs(5),
            operations: 0,
            servers: 16,
            clients: 8,
            defect: None,
            keep: None,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// By kind.
    pub operations: BTreeMap<&'static str, u64>,
    /// How many of the starts got their path, by party.
    pub owners: BTreeMap<String, u64>,
    /// How often a server was replaced, and handed out its queue.
    pub hand_overs: u64,
    /// How often a server whose socket was deleted has put another there.
    pub heals: u64,
    /// Errors that were to be expected, by kind.
    pub refusals: BTreeMap<String, u64>,
    /// What the clients met, by kind.
    pub clients: BTreeMap<String, u64>,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// How many epochs there were.
    pub epochs: u64,
    /// The time it took, in seconds.
    pub seconds: f64,
    /// True if another user took part.
    pub two_users: bool,
    /// Directories that the other user cannot enter, so that only one took part there.
    pub closed: Vec<PathBuf>,
}

impl Summary {
    /// The violation that shows a defect, where one was planted; else the first of all.
    #[must_use]
    pub fn finding(&self, planted: Option<Defect>) -> Option<&Violation> {
        let shows = |violation: &&Violation| planted.is_none_or(|defect| defect.shows_as().contains(&violation.rule));
        self.violations.iter().find(|violation| planted == Some(Defect::None) || shows(violation))
    }

    /// All operations together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.operations.values().sum()
    }
}

/// Somebody else killed this worker, such as a kernel that is out of memory: then nothing can be said of the rest.
#[derive(Clone, Copy, Debug)]
pub struct Disturbed(u32);

impl fmt::Display for Disturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run was disturbed: worker {} was killed from outside", self.0)
    }
}

impl std::error::Error for Disturbed {}

/// Runs it, until the time is over and the operations are done, or something was found.
///
/// # Errors
///
/// Those of the file system and of starting processes, and [`Disturbed`]; violations are no errors.
pub fn run(options: &Options) -> io::Result<Summary> {
    let begun = Instant::now();
    let mut summary = Summary::default();
    if options.defect.is_none() && process::is_root() {
        for dir in &options.dirs {
            if !process::nobody_may_enter(dir)? {
                summary.closed.push(dir.clone());
            }
        }
    }
    let bar = progress(options);
    let mut random = fastrand::Rng::with_seed(options.seed);
    loop {
        let total = summary.total();
        let left = options.time.saturating_sub(begun.elapsed());
        if (left.is_zero() && total >= options.operations) || summary.finding(options.defect).is_some() {
            break;
        }
        let dir = &options.dirs[usize::try_from(summary.epochs).unwrap_or(0) % options.dirs.len()];
        // Not so short that nothing happens, and not so long that the history does not fit into memory.
        let longest = if options.defect.is_some() { conductor::LONGEST_WITH_A_DEFECT } else { conductor::LONGEST };
        let length = if options.operations > total { longest } else { left.clamp(conductor::SHORTEST, longest) };
        conductor::epoch(options, dir, random.u64(..), length, &mut summary, &|| {
            let share = |done: f64, of: f64| if of > 0.0 { (done / of).min(1.0) } else { 1.0 };
            let time = share(begun.elapsed().as_secs_f64(), options.time.as_secs_f64());
            #[expect(clippy::cast_precision_loss, reason = "a share on a bar")]
            let done = share(total as f64, options.operations as f64);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
            bar.set_position((time.min(done) * 1000.0) as u64);
        })?;
        summary.epochs += 1;
        bar.set_message(format!("{} operations, {} violations", summary.total(), summary.violations.len()));
    }
    bar.finish_and_clear();
    summary.seconds = begun.elapsed().as_secs_f64();
    Ok(summary)
}

/// On a terminal; elsewhere indicatif hides it.
fn progress(options: &Options) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {percent:>3} %  {msg}");
    let bar = ProgressBar::new(1000).with_message(format!("seed {}", options.seed));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Who a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Party {
    Ours,
    /// The library, as another user.
    OtherUser,
    GitLike,
    /// A recipe, with a defect or careful.
    ByHand,
}

/// At any moment of its life. git's lock stays for ever when its holder is killed, and its end is not under a lock either:
/// what that does to others is its own, so git-like servers are killed only while they hold. And whoever is to keep
/// clients waiting must outlive their patience.
fn may_be_killed(party: Option<Party>, defect: Option<Defect>) -> bool {
    match party {
        Some(Party::Ours | Party::OtherUser) => true,
        Some(Party::ByHand) => defect != Some(Defect::ShutsWithoutWaking),
        Some(Party::GitLike) | None => false,
    }
}

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Job {
    number: u32,
    seed: u64,
    /// None: a client.
    party: Option<Party>,
    sites: Vec<SiteJob>,
    lock_timeout_ms: u64,
    defect: Option<Defect>,
}

/// A path, as a worker knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SiteJob {
    index: u8,
    path: PathBuf,
    mode: u32,
    life: bool,
    short_queues: bool,
    hand_overs: bool,
}

impl Job {
    fn lock_timeout(&self) -> Duration {
        Duration::from_millis(self.lock_timeout_ms)
    }

    /// Half of the time the one where everybody is just now, otherwise any.
    fn choose_site(&self, random: &mut fastrand::Rng) -> SiteJob {
        let here = if random.bool() { now() / 100_000_000 } else { random.u64(..) };
        let index = here.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.sites[usize::try_from(index).unwrap_or(0) % self.sites.len()].clone()
    }
}

/// In a worker: the exit status.
pub(crate) fn work(job: &str) -> u8 {
    let Some(job) = process::job::<Job>(job) else { return 2 };
    // Standard output is the history, opened with O_APPEND by the conductor.
    let Ok(history) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3) else { return 1 };
    let mut history = History::new(File::from(history));
    let done = match job.party {
        Some(party) => server::Worker::new(job, party, history).run(),
        None => client::run(&job, &mut history),
    };
    u8::from(done.is_err())
}

/// In a child that a defective server leaves behind with its listener.
pub(crate) fn linger() -> u8 {
    process::is_told_to_end(Duration::from_millis(200));
    0
}
