//! What happens at the path, the same for every strategy, and what is counted.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use unix_stream_server::{PathState, connect_timeout, probe};

use super::herd::{Answer, Herd, owners};
use super::worker::Starter;
use super::{Options, Outcome};
use crate::recipe::Strategy;

const DATA: &[u8] = b"somebody's data";
/// How many hand-overs are a scenario, and how many clients wait in the queue at each.
const HAND_OVERS: usize = 10;
const CLIENTS: usize = 4;

/// How far apart they start then, in nanoseconds.
const SPREAD: u64 = 400_000;

/// What happens at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// All start, each when the last has answered.
    InTurn,
    /// All start at once, at a free path.
    AtOnce,
    /// All start at once, over the socket of a dead server.
    OverADeadOne,
    /// All start at once; a server lives there and its backlog is full.
    BesideABusyOne,
    /// All start at once; a file with data is there.
    AtSomebodysFile,
    /// All start at once, and a third is killed meanwhile; then the others start again.
    SomeAreKilled,
    /// The server ends, with clients in its queue, while all others start; ten times.
    HandOver,
}

impl Scenario {
    /// All, in the order of a round.
    pub const ALL: [Scenario; 7] = [
        Scenario::InTurn,
        Scenario::AtOnce,
        Scenario::OverADeadOne,
        Scenario::BesideABusyOne,
        Scenario::AtSomebodysFile,
        Scenario::SomeAreKilled,
        Scenario::HandOver,
    ];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scenario::InTurn => "in turn",
            Scenario::AtOnce => "at once",
            Scenario::OverADeadOne => "over a dead one",
            Scenario::BesideABusyOne => "beside a busy one",
            Scenario::AtSomebodysFile => "at somebody's file",
            Scenario::SomeAreKilled => "some are killed",
            Scenario::HandOver => "hand-over",
        }
    }
}

/// All rounds of a strategy.
pub(super) fn play(options: &Options, strategy: Strategy, dir: &Path, told: &dyn Fn(Scenario)) -> io::Result<Outcome> {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let herd = Herd::start(Starter::of_race(strategy), options.processes, options.patience)?;
    let mut game = Game { herd, outcome: Outcome { strategy: strategy.name(), ..Outcome::default() } };
    for round in 0..options.rounds {
        for scenario in Scenario::ALL {
            told(scenario);
            // Whatever a scenario leaves behind harms no other.
            let own = dir.join(format!("{round}-{}", scenario as u8));
            fs::create_dir(&own)?;
            game.play(scenario, &own.join("s"), &mut random)?;
            fs::remove_dir_all(&own)?;
        }
    }
    let Game { herd, mut outcome } = game;
    let mut times: Vec<u64> = herd.times.iter().map(|&(_, time)| time).collect();
    times.sort_unstable();
    outcome.answer_median_us = times.get(times.len() / 2).map_or(0, |time| time / 1_000);
    outcome.answer_longest_us = times.last().map_or(0, |time| time / 1_000);
    Ok(outcome)
}

struct Game {
    herd: Herd,
    outcome: Outcome,
}

type Answers = BTreeMap<usize, Answer>;

impl Game {
    fn play(&mut self, scenario: Scenario, path: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
        let all: Vec<(usize, u64)> = (0..self.herd.size()).map(|number| (number, 0)).collect();
        match scenario {
            Scenario::InTurn => {
                let mut answers = Answers::new();
                for starter in all {
                    answers.extend(self.starts(path, 0, &[starter])?);
                }
                self.judge(scenario, path, &answers, None)
            }
            Scenario::AtOnce => self.herd_starts(scenario, path, &all, None),
            Scenario::OverADeadOne => {
                drop(bound(path)?);
                self.herd_starts(scenario, path, &all, None)
            }
            Scenario::BesideABusyOne => {
                let server = bound(path)?;
                net::listen(&server, 0)?;
                let address = SocketAddrUnix::new(path)?;
                let clients: Vec<_> = (0..16)
                    .filter_map(|_| {
                        let client = socket(SocketFlags::NONBLOCK).ok()?;
                        net::connect(&client, &address).ok().map(|()| client)
                    })
                    .collect();
                let inode = fs::symlink_metadata(path)?.ino();
                let result = self.herd_starts(scenario, path, &all, Some(inode));
                drop((server, clients));
                result
            }
            Scenario::AtSomebodysFile => {
                fs::write(path, DATA)?;
                let answers = self.starts(path, Herd::moment(all.len()), &all)?;
                if fs::symlink_metadata(path).is_ok_and(|node| !node.is_file())
                    || !fs::read(path).is_ok_and(|data| data == DATA)
                {
                    self.outcome.foreign_files_deleted += 1;
                }
                self.judge(scenario, path, &answers, None)
            }
            Scenario::SomeAreKilled => {
                // At any moment of a start; those others wait for are as likely as any.
                let fused: Vec<_> = all
                    .iter()
                    .map(|&(number, _)| (number, if number % 3 == 0 { random.u64(1..400_000) } else { 0 }))
                    .collect();
                self.herd_starts(scenario, path, &fused, None)?;
                self.herd_starts(scenario, path, &all, None)
            }
            Scenario::HandOver => {
                // It takes some for the rarer accidents.
                (0..HAND_OVERS).try_for_each(|time| self.hand_over(&path.with_file_name(format!("s{time}")), random))
            }
        }
    }

    fn starts(&mut self, path: &Path, moment: u64, starters: &[(usize, u64)]) -> io::Result<Answers> {
        self.outcome.starts += u64::try_from(starters.len()).unwrap_or(0);
        self.herd.all_start(path, moment, starters, &mut || 0)
    }

    fn herd_starts(
        &mut self,
        scenario: Scenario,
        path: &Path,
        starters: &[(usize, u64)],
        incumbent: Option<u64>,
    ) -> io::Result<()> {
        let answers = self.starts(path, Herd::moment(starters.len()), starters)?;
        self.judge(scenario, path, &answers, incumbent)
    }

    /// The first owns the path and has clients; it ends while all others start, before and after.
    fn hand_over(&mut self, path: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
        let first = self.starts(path, 0, &[(0, 0)])?;
        if first.get(&0) != Some(&Answer::Owns) {
            return self.judge(Scenario::HandOver, path, &first, None);
        }
        self.outcome.owners += 1;
        let clients: Vec<UnixStream> =
            (0..CLIENTS).filter_map(|_| connect_timeout(path, std::time::Duration::ZERO).ok()).collect();
        self.outcome.clients += u64::try_from(clients.len()).unwrap_or(0);
        let others: Vec<_> = (1..self.herd.size()).map(|number| (number, 0)).collect();
        let moment = Herd::moment(others.len());
        self.herd.tell_to_end(0, moment + SPREAD / 2)?;
        self.outcome.starts += u64::try_from(others.len()).unwrap_or(0);
        let answers = self.herd.all_start(path, moment, &others, &mut || random.u64(..SPREAD))?;
        // Its clients have been served or reset, unless it hangs.
        for mut client in clients {
            let _ = client.set_read_timeout(Some(self.herd.patience()));
            let mut answer = Vec::new();
            if client.read_to_end(&mut answer).is_err() || answer != b"served" {
                self.outcome.clients_lost += 1;
            }
        }
        self.judge(Scenario::HandOver, path, &answers, None)
    }

    /// Counts what came of it; then all owners end. `incumbent`: the inode of a server that lived there before.
    fn judge(&mut self, scenario: Scenario, path: &Path, answers: &Answers, incumbent: Option<u64>) -> io::Result<()> {
        let count = |answer| u64::try_from(answers.values().filter(|&&other| other == answer).count()).unwrap_or(0);
        let owners = owners(answers);
        let number_of_owners = u64::try_from(owners.len()).unwrap_or(0);
        let outcome = &mut self.outcome;
        outcome.owners += number_of_owners;
        outcome.stuck_starts += count(Answer::Stuck);
        match scenario {
            // Whoever holds the lock there is dead, or waits for the busy one.
            Scenario::SomeAreKilled | Scenario::BesideABusyOne => outcome.stuck_starts += count(Answer::Locked),
            _ => outcome.spurious_errors += count(Answer::Locked),
        }
        if scenario != Scenario::AtSomebodysFile {
            outcome.spurious_errors += count(Answer::Error);
        }
        let lives = number_of_owners + u64::from(incumbent.is_some());
        let stands = incumbent.is_some() && fs::symlink_metadata(path).ok().map(|node| node.ino()) == incumbent;
        let reached = stands
            || match probe(path) {
                Ok(PathState::Live { peer: Some(peer) }) => {
                    owners.iter().any(|&owner| peer.pid == Some(self.herd.pid(owner)))
                }
                _ => false,
            };
        self.outcome.servers_orphaned += lives - u64::from(reached).min(lives);
        self.herd.all_end(&owners)
    }
}

fn socket(flags: SocketFlags) -> io::Result<std::os::fd::OwnedFd> {
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags | SocketFlags::CLOEXEC, None)?)
}

fn bound(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let socket = socket(SocketFlags::empty())?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
