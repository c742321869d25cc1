//! Long lives of servers of the library: in one process, and in two that replace each other.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use unix_stream_server::{Builder, ErrorKind, LockScope, ServerSocket, connect_timeout};

use super::{Job, Life, Options, Usage};
use crate::process::{Worker, is_told_to_end};

const PATIENCE: Duration = Duration::from_secs(60);
/// Short, since there are thousands of them; the clients are the library's, which look again when they are refused.
const GRACE: Duration = Duration::from_millis(1);
const CLIENTS: usize = 3;
const ANSWER: &[u8] = b"!";

/// A server through many connections and take-overs in its process; half of its time with a life lock.
pub(super) fn chain(options: &Options) -> io::Result<Life> {
    let Options { connections, take_overs, .. } = *options;
    let what = format!("a server in one process, through {connections} connections and {take_overs} take-overs");
    let job = |path: &Path| Job::Chain { path: path.to_owned(), connections, take_overs };
    let mut lives = lives(options, &[(what, &job)])?;
    lives.pop().ok_or_else(|| io::Error::other("no life"))
}

/// Two processes, each of which takes over whenever the other has.
pub(super) fn returns(options: &Options) -> io::Result<Vec<Life>> {
    let times = options.returns;
    let job = |path: &Path| Job::Returns { path: path.to_owned(), times };
    let job: &dyn Fn(&Path) -> Job = &job;
    lives(
        options,
        &["one", "the other"].map(|who| (format!("{who} of two processes, through {times} take-overs"), job)),
    )
}

/// What to call a server, and what it is to do at a path.
type Wanted<'a> = (String, &'a dyn Fn(&Path) -> Job);

/// Starts servers, and clients; at the end of the servers' lives takes the path over from who is left, and closes.
fn lives(options: &Options, servers: &[Wanted]) -> io::Result<Vec<Life>> {
    let begun = Instant::now();
    let dir = tempfile::Builder::new().prefix("unix-ss-soak.").tempdir_in(&options.dir)?;
    let path = dir.path().join("s");
    let mut running = Vec::new();
    for (what, job) in servers {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
        running.push((what, Worker::start("soak", &job(&path), Stdio::from(write_end), false)?, read_end));
    }
    let mut clients = Vec::new();
    let (told, tally) = pipe_with(PipeFlags::CLOEXEC)?;
    for _ in 0..CLIENTS {
        let job = Job::Client { path: path.clone() };
        clients.push(Worker::start("soak", &job, Stdio::from(tally.try_clone()?), false)?);
    }
    drop(tally);
    let mut told_by: Vec<Told> = running.iter().map(|(what, _, pipe)| Told { what, pipe, line: Vec::new() }).collect();
    hear(&mut told_by, &mut clients, most(options))?;
    // What each had before and after; now it waits, to be replaced for the last time.
    let found = told_by.iter().map(|told| Ok(serde_json::from_slice::<[Usage; 2]>(&told.line)?));
    let found = found.collect::<io::Result<Vec<_>>>()?;
    clients.iter_mut().for_each(Worker::tell_to_end);
    let mut tallies = String::new();
    std::fs::File::from(told).read_to_string(&mut tallies)?;
    let failures: u64 = tallies.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
    if tallies.lines().count() != CLIENTS {
        return Err(io::Error::other("a client did not tell what it met"));
    }
    let mut last = builder(true).create(&path)?;
    last.wait_for_predecessor(PATIENCE)?;
    for (_, server, _) in &mut running {
        server.tell_to_end();
        let end = Instant::now() + PATIENCE;
        while server.ended()?.is_none() {
            if Instant::now() > end {
                return Err(io::Error::other("a server did not end"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    last.close()?;
    dir.close()?;
    let seconds = begun.elapsed().as_secs_f64();
    let whats = servers.iter().map(|(what, _)| what.clone());
    let life =
        |(what, [before, after]): (String, [Usage; 2])| Life { what, before, after, failures, zombies: 0, seconds };
    Ok(whats.zip(found).map(life).collect())
}

/// What a server says, so far.
struct Told<'a> {
    what: &'a str,
    pipe: &'a OwnedFd,
    line: Vec<u8>,
}

impl Told<'_> {
    fn is_whole(&self) -> bool {
        self.line.ends_with(b"\n")
    }
}

/// Much longer than all of it takes.
fn most(options: &Options) -> Duration {
    let Options { connections, take_overs, returns, .. } = *options;
    PATIENCE
        + Duration::from_millis(100).saturating_mul(
            u32::try_from(connections.saturating_add(take_overs).saturating_add(returns)).unwrap_or(u32::MAX),
        )
}

/// A line of each server, for which all who take part have to live.
fn hear(servers: &mut [Told], clients: &mut [Worker], time: Duration) -> io::Result<()> {
    let end = Instant::now() + time;
    let tick = Timespec { tv_sec: 1, tv_nsec: 0 };
    while !servers.iter().all(Told::is_whole) {
        for told in servers.iter_mut().filter(|told| !told.is_whole()) {
            let mut fds = [PollFd::new(told.pipe, PollFlags::IN)];
            if poll(&mut fds, Some(&tick))? > 0 {
                let mut bytes = [0; 4096];
                let read = rustix::io::read(told.pipe, &mut bytes)?;
                if read == 0 {
                    return Err(io::Error::other(format!("{} ended before its time", told.what)));
                }
                told.line.extend(&bytes[..read]);
            }
        }
        for client in &mut *clients {
            if let Some(status) = client.ended()? {
                return Err(io::Error::other(format!("a client ended before its time: {status}")));
            }
        }
        if Instant::now() > end {
            return Err(io::Error::other(format!("the servers did not do their part within {time:?}")));
        }
    }
    Ok(())
}

fn builder(life: bool) -> Builder {
    let scope = if life { LockScope::Lifetime } else { LockScope::Startup };
    ServerSocket::builder().replaceable(true).take_over(true).lock_scope(scope).lock_timeout(PATIENCE)
}

pub(super) fn work(job: &Job) -> io::Result<()> {
    match job {
        Job::Client { path } => client(path),
        Job::Chain { path, connections, take_overs } => serve_on(path, *connections, *take_overs),
        Job::Returns { path, times } => come_back(path, *times),
    }
}

fn answer(client: io::Result<UnixStream>) -> io::Result<()> {
    let _ = client?.write_all(ANSWER); // what became of it, it tells itself
    Ok(())
}

/// Tells how often it was not served.
fn client(path: &Path) -> io::Result<()> {
    let mut failures = 0_u64;
    let mut begun = false;
    while !is_told_to_end(Duration::ZERO) {
        let mut answer = Vec::new();
        let served = connect_timeout(path, PATIENCE).is_ok_and(|mut stream| {
            let bounded = stream.set_read_timeout(Some(PATIENCE)).is_ok();
            bounded && stream.read_to_end(&mut answer).is_ok() && answer == ANSWER
        });
        begun |= served;
        // Before the first server is there, nobody is to be served.
        failures += u64::from(begun && !served);
    }
    io::stdout().write_all(format!("{failures}\n").as_bytes())
}

/// Measured when `done` of `all` are a twentieth, and at the end.
struct Measured {
    before: Option<Usage>,
}

impl Measured {
    fn look(&mut self, done: u64, all: u64) -> io::Result<()> {
        if self.before.is_none() && done >= all.div_ceil(20) {
            self.before = Some(Usage::here()?);
        }
        Ok(())
    }

    fn tell(&self) -> io::Result<()> {
        let after = Usage::here()?;
        let before = self.before.unwrap_or(after);
        io::stdout().write_all((serde_json::to_string(&[before, after])? + "\n").as_bytes())
    }
}

fn serve_on(path: &Path, connections: u64, take_overs: u64) -> io::Result<()> {
    let mut measured = Measured { before: None };
    let mut server = builder(false).create(path)?;
    let mut served = 0_u64;
    for take_over in 1..=take_overs {
        let share = u128::from(connections) * u128::from(take_over) / u128::from(take_overs);
        while u128::from(served) < share {
            answer(server.accept().map(|(client, _)| client))?;
            served += 1;
        }
        // In turn, so that a twentieth of the take-overs has both.
        let mut successor = builder(take_over % 2 == 0).create(path)?;
        for client in server.until_replaced().grace(GRACE) {
            answer(client)?;
            served += 1;
        }
        successor.wait_for_predecessor(PATIENCE)?;
        server = successor;
        if take_over % 2 == 0 {
            measured.look(take_over, take_overs)?;
        }
    }
    measured.tell()?;
    server.until_replaced().grace(GRACE).try_for_each(answer)
}

fn come_back(path: &Path, times: u64) -> io::Result<()> {
    let mut measured = Measured { before: None };
    for time in 1..=times {
        let mut server = take_over(path)?;
        server.wait_for_predecessor(PATIENCE)?;
        if time == times {
            measured.tell()?;
        } else {
            measured.look(time, times)?;
        }
        server.until_replaced().grace(GRACE).try_for_each(answer)?;
    }
    Ok(())
}

/// The other, which has replaced us, can be replaced only when it has our life lock.
fn take_over(path: &Path) -> io::Result<ServerSocket> {
    let end = Instant::now() + PATIENCE;
    loop {
        match builder(true).create(path) {
            Err(error) if error.kind() == ErrorKind::InUse && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return Ok(result?),
        }
    }
}
