//! Many servers start at one path at one moment: one gets it, and all others are to be told so, soon and rightly.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use unix_ss_race::race::{Answer, Stampede, Started, Starter};
use unix_ss_race::{Pauses, Strategy};

use crate::harness::{Pace, Result, Target};
use crate::machine::{file_system, raise_descriptor_limit};
use crate::report::{Part, Report, Section, Table, duration};

const TEXT: &str = "
So many processes call `create` at one path at one moment, each willing to wait 100 ms for the lock; a round is one such
moment for each contestant, in an order of its own, always with the same processes. Who gets the path keeps it until all
have answered. An answer is spurious if it is neither \"mine\" nor \"in use\": there is nothing else to be said at a path
that somebody has just got. The time of an answer is from a process's own call to its return. `git's protocol` is its
calls with its pauses between two tries for the lock, which grow quadratically; `git's, short pauses` is the same calls
with pauses of 10 to 200 µs, which git does not make: it shows what is due to the protocol alone, since everybody has to
hold the lock once to learn that the path is in use.";

const NOTES: &str = "
Most starters never see the lock: by the time that a processor gets to them the winner listens, and the look at the path
before the lock, which is connect(2) and close(2), is their answer. That is the median. The few that come in the winner's
first fraction of a millisecond find the lock held, sleep for 0.1 ms, and then wait for a processor behind all others: of
1,024, some five to thirty in a round, for some 20 ms, which is how long two processors take to get through the rest. The
worst times are theirs. They are longer where the winner itself loses its processor before it listens, to the other
starters or to whatever else the machine does: then everybody waits for it. With git's protocol everybody has to have the
lock, one after the other, to learn that the path is in use; with the pauses that grow most of the time is slept away, and
with short ones the tries keep the holder from its processor. Nothing was changed for these figures.";

const NAMES: [&str; 3] = ["library", "git's protocol", "git's, short pauses"];
/// The size of which the targets speak.
const JUDGED: usize = 256;

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    // A size, and how many rounds of it.
    let sizes: &[(usize, usize)] =
        pace.choose(&[(8, 2), (32, 1)], &[(8, 10), (64, 10), (256, 8)], &[(8, 100), (64, 60), (256, 40), (1024, 24)]);
    let limit = raise_descriptor_limit()?;
    let mut tables: Vec<Table> = Vec::new();
    for dir in dirs {
        let head = ["at once", "", "rounds", "answers", "spurious", "mean", "median", "worst", "worst of a winner"]
            .map(str::to_owned);
        let title = format!("{}: starters at once", file_system(dir)?);
        tables.push(Table { title, head: head.to_vec(), rows: Vec::new() });
    }
    let (mut timed, mut verdicts) = (Vec::new(), Vec::new());
    for &(size, rounds) in sizes {
        if u64::try_from(size * NAMES.len() + 64)? > limit {
            let why = format!("not measured: the limit of descriptors is {limit}");
            tables.iter_mut().for_each(|table| table.rows.push(vec![size.to_string(), why.clone()]));
            continue;
        }
        for (table, (dir, rounds)) in tables.iter_mut().zip(dirs.iter().zip(play(pace, size, rounds, dirs)?)) {
            let place = file_system(dir)?;
            table.rows.extend(rows(size, &rounds));
            let ours: Vec<&Started> = rounds.iter().map(|round| &round[0]).collect();
            let (spurious, answers) = (ours.iter().map(|round| spurious(round)).sum::<usize>(), ours.len() * size);
            let alone = ours.iter().all(|round| owners(round) == 1);
            if pace == Pace::Test && (spurious > 0 || !alone) {
                return Err(format!("{place}: {size} starters: {spurious} spurious errors, one owner: {alone}").into());
            }
            let found =
                format!("{place}: spurious errors of {size} at once: {spurious} of {answers}, meant to be none");
            verdicts.push(Part::Verdict { found, is_met: spurious == 0 && alone });
            if size == JUDGED {
                let what = format!("{size} starters at once");
                timed.push(part(&place, format!("{what}, mean time to an answer"), &rounds, mean));
                timed.push(part(&place, format!("{what}, worst time to an answer"), &rounds, worst));
            }
        }
    }
    let parts = tables.into_iter().map(Part::Counted).chain(verdicts).chain(timed).collect();
    Ok(Section { id: "starters", title: "Many starters at once", text: TEXT.into(), parts, notes: NOTES.into() })
}

/// What each contestant did in a round.
type Round = [Started; NAMES.len()];

/// The rounds of each directory.
fn play(pace: Pace, size: usize, rounds: usize, dirs: &[PathBuf]) -> Result<Vec<Vec<Round>>> {
    // Where time is not to matter, it must not decide either.
    let timeout = pace.choose(Duration::from_secs(20), Duration::from_millis(100), Duration::from_millis(100));
    let patience = Duration::from_secs(60);
    let ours = Starter { strategy: Strategy::Ours, timeout, pauses: Pauses::Short };
    let git = Starter { strategy: Strategy::Git, timeout, pauses: Pauses::Quadratic };
    let mut herds = Vec::new();
    for kind in [ours, git, Starter { pauses: Pauses::Short, ..git }] {
        herds.push(Stampede::new(kind, size, patience)?);
    }
    let mut all = Vec::new();
    for dir in dirs {
        let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(dir)?;
        // The first round of a process is that of its page faults.
        let warm_up = pace.choose(0, 1, 1);
        let mut played = Vec::new();
        for _ in 0..warm_up + rounds {
            played.push(round(&mut herds, scratch.path())?);
        }
        played.drain(..warm_up);
        all.push(played);
    }
    Ok(all)
}

fn round(herds: &mut [Stampede], scratch: &Path) -> Result<Round> {
    let mut order = [0, 1, 2];
    fastrand::shuffle(&mut order);
    let mut round = NAMES.map(|_| None);
    for place in order {
        // Whatever one leaves behind is no other's.
        let dir = scratch.join(NAMES[place]);
        fs::create_dir(&dir)?;
        round[place] = Some(herds[place].start(&dir.join("s"))?);
        if place == 0 && fs::read_dir(&dir)?.next().is_some() {
            return Err("the library left a file behind".into());
        }
        fs::remove_dir_all(&dir)?;
    }
    let [Some(ours), Some(git), Some(short)] = round else { return Err("a contestant did not run".into()) };
    Ok([ours, git, short])
}

fn rows(size: usize, rounds: &[Round]) -> Vec<Vec<String>> {
    let row = |(place, name): (usize, &&str)| {
        let of = || rounds.iter().map(|round| &round[place]);
        let mut times: Vec<Duration> = of().flat_map(times).collect();
        times.sort_unstable();
        let winners = of().flat_map(|round| &round.times).filter(|(answer, _)| *answer == Answer::Owns);
        let slowest = winners.map(|&(_, time)| time).max();
        let shown = |time: Option<Duration>| time.map_or(String::new(), |time| duration(time.as_nanos() as f64));
        let sum: Duration = times.iter().sum();
        vec![
            size.to_string(),
            (*name).to_owned(),
            rounds.len().to_string(),
            times.len().to_string(),
            of().map(spurious).sum::<usize>().to_string(),
            shown(u32::try_from(times.len()).ok().and_then(|number| sum.checked_div(number))),
            shown(times.get(times.len() / 2).copied()),
            shown(times.last().copied()),
            shown(slowest),
        ]
    };
    NAMES.iter().enumerate().map(row).collect()
}

fn part(place: &str, title: String, rounds: &[Round], of: impl Fn(&Started) -> f64) -> Part {
    let names: Vec<String> = NAMES.map(str::to_owned).to_vec();
    let target = Target { contestant: NAMES[0].to_owned(), reference: NAMES[1].to_owned(), at_most: 0.1 };
    let report = Report {
        title,
        references: names[1..].to_vec(),
        names,
        remarks: Vec::new(),
        absent: Vec::new(),
        targets: vec![target],
        limits: Vec::new(),
        batch: 1,
        rounds: rounds.iter().map(|round| round.iter().map(&of).collect()).collect(),
    };
    Part::Timed { place: place.to_owned(), report }
}

fn times(started: &Started) -> impl Iterator<Item = Duration> {
    started.times.iter().map(|&(_, time)| time)
}

fn mean(started: &Started) -> f64 {
    times(started).map(|time| time.as_nanos()).sum::<u128>() as f64 / started.times.len() as f64
}

fn worst(started: &Started) -> f64 {
    times(started).max().map_or(0.0, |time| time.as_nanos() as f64)
}

fn spurious(started: &Started) -> usize {
    started.answers.iter().filter(|answer| !matches!(answer, Answer::Owns | Answer::InUse)).count()
}

fn owners(started: &Started) -> usize {
    started.answers.iter().filter(|answer| **answer == Answer::Owns).count()
}
