//! The longest time that a client waits, with a take-over and without.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use unix_stream_server::{Builder, LockScope, ServerSocket, connect};

use crate::harness::{Group, Pace, Result, Run};
use crate::machine::file_system;
use crate::report::{Part, Report, Section, duration};

const TEXT: &str = "
Four clients connect, ask and read the answer, each again 0.1 ms later, for the 2 ms before a successor takes the path
over, until the predecessor has served its queue and ended, and for 2 ms after. The time is the longest that one of them
had to wait for an answer in such a stretch, beside that in a stretch as long without a take-over: on two cores that alone
is the scheduler's doing. What is judged is the difference of the two, round by round. The predecessor goes on for 5 ms
once it is replaced (the default is 100 ms), so that its end falls into the stretch. Servers and clients are threads.";

const NOTES: &str = "
The path leads to one server or the other at any moment, and both accept while it changes, so a client waits only if it
comes after the exchange of the names and before the successor's first accept: the time in which the successor unlinks the
old name, gives the lock back, knocks and returns from `create`. With a life lock that is otherwise by choice: the
successor touches what the two share, and so answers, only when the predecessor has ended, which takes the grace time at
the least.";

const CLIENTS: usize = 4;
const AROUND: Duration = Duration::from_millis(2);
const GRACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// A client's first requests, in which its pages and its server's are touched for the first time.
const WARM_UP: usize = 3;

const WITHOUT: &str = "no take-over";
const WITH: &str = "a take-over";
const LIFE: &str = "a take-over with a life lock";
/// By how much longer a client may wait.
const LIMIT: Duration = Duration::from_millis(1);

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let (mut parts, mut verdicts) = (Vec::new(), Vec::new());
    for dir in dirs {
        let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(dir)?;
        let (place, report) = (file_system(dir)?, group(scratch.path())?.measure(pace)?);
        let [low, median, high] = longer(&report)?;
        let found = format!(
            "{place}: a client's longest wait is longer by {} ({} to {}) with a take-over, meant to be under {}",
            signed(median),
            signed(low),
            signed(high),
            signed(LIMIT.as_nanos() as f64)
        );
        verdicts.push(Part::Verdict { found, is_met: median < LIMIT.as_nanos() as f64 });
        parts.push(Part::Timed { place, report });
    }
    parts.extend(verdicts);
    Ok(Section {
        id: "take_over",
        title: "A take-over, for its clients",
        text: TEXT.into(),
        parts,
        notes: NOTES.into(),
    })
}

/// Quartiles of what is longer, round by round.
fn longer(report: &Report) -> Result<[f64; 3]> {
    let place = |name| report.names.iter().position(|other| other == name).ok_or("no such contestant");
    let (with, without) = (place(WITH)?, place(WITHOUT)?);
    let mut differences: Vec<f64> = report.rounds.iter().map(|round| round[with] - round[without]).collect();
    differences.sort_by(f64::total_cmp);
    Ok([1, 2, 3].map(|quarter| differences[(differences.len() - 1) * quarter / 4]))
}

fn signed(nanoseconds: f64) -> String {
    format!("{}{}", if nanoseconds < 0.0 { "-" } else { "" }, duration(nanoseconds.abs()))
}

fn group(dir: &Path) -> Result<Group> {
    let without = Succession::new(dir.join("without"), LockScope::Startup)?;
    let with = Succession::new(dir.join("with"), LockScope::Startup)?;
    let life = Succession::new(dir.join("life"), LockScope::Lifetime)?;
    Ok(Group::new("a client's longest wait", 1)
        .time(Duration::from_secs(2), Duration::from_secs(10))
        .add(WITHOUT, stretches(without, nothing))
        .add(WITH, stretches(with, Succession::take_over))
        .add(LIFE, stretches(life, Succession::take_over)))
}

fn nothing(_: &mut Succession) -> Result<()> {
    thread::sleep(GRACE);
    Ok(())
}

/// The longest waits, added up.
fn stretches(mut servers: Succession, middle: impl Fn(&mut Succession) -> Result<()> + 'static) -> Run {
    Box::new(move |count| (0..count).map(|_| stretch(&mut servers, &middle)).sum())
}

fn stretch(servers: &mut Succession, middle: &impl Fn(&mut Succession) -> Result<()>) -> Result<Duration> {
    servers.prepare();
    let path = servers.path.clone();
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| longest_wait(&path, &ends))).collect();
        thread::sleep(AROUND);
        let done = middle(servers);
        thread::sleep(AROUND);
        ends.store(true, Relaxed);
        let mut longest = Duration::ZERO;
        for client in clients {
            longest = longest.max(client.join().map_err(|_| "a client panicked")??);
        }
        done.map(|()| longest)
    })
}

fn longest_wait(path: &Path, ends: &AtomicBool) -> io::Result<Duration> {
    let mut longest = Duration::ZERO;
    for number in 0.. {
        let start = Instant::now();
        let mut client = connect(path)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(b"?")?;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        if answer != b"!" {
            return Err(io::Error::other("no answer"));
        }
        if number >= WARM_UP {
            longest = longest.max(start.elapsed());
            if ends.load(Relaxed) {
                break;
            }
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(longest)
}

type Life = JoinHandle<io::Result<()>>;

/// A server at a path, and the next one.
struct Succession {
    path: PathBuf,
    scope: LockScope,
    server: Option<Life>,
    /// It has begun, and waits for the word.
    successor: Option<(Sender<()>, Life)>,
}

impl Succession {
    fn new(path: PathBuf, scope: LockScope) -> Result<Self> {
        let server = builder(scope).create(&path)?;
        let server = Some(thread::spawn(move || serve(server)));
        Ok(Succession { path, scope, server, successor: None })
    }

    fn prepare(&mut self) {
        let (path, scope, (go, told)) = (self.path.clone(), self.scope, channel());
        let life = thread::spawn(move || {
            if told.recv().is_err() {
                return Ok(()); // it is not needed
            }
            let mut server = builder(scope).create(&path)?;
            server.wait_for_predecessor(PATIENCE)?;
            serve(server)
        });
        self.successor = Some((go, life));
    }

    /// Returns when the predecessor has ended.
    fn take_over(&mut self) -> Result<()> {
        let (go, successor) = self.successor.take().ok_or("no successor")?;
        go.send(()).map_err(|_| "the successor has ended")?;
        let predecessor = self.server.replace(successor).ok_or("no predecessor")?;
        Ok(predecessor.join().map_err(|_| "a server panicked")??)
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        // The last one is replaced too, by one that then goes.
        let last = builder(self.scope).create(&self.path);
        if let Some(server) = self.server.take().filter(|_| last.is_ok()) {
            let _ = server.join();
        }
    }
}

fn builder(scope: LockScope) -> Builder {
    ServerSocket::builder().replaceable(true).take_over(true).lock_scope(scope)
}

fn serve(server: ServerSocket) -> io::Result<()> {
    for client in server.until_replaced().grace(GRACE) {
        answer(client?);
    }
    Ok(())
}

/// What becomes of a client is told by the client.
fn answer(mut client: UnixStream) {
    let _ = client.set_read_timeout(Some(PATIENCE));
    if client.read_exact(&mut [0]).is_ok() {
        let _ = client.write_all(b"!");
    }
}
