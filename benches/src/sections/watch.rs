//! From the rename over a server's path to the moment when somebody who slept has been told of it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, inotify, statat};
use rustix::io::read;
use tokio::runtime::{Builder, Runtime};
use unix_stream_server::{ServerSocket, Status};

use super::on_each;
use crate::harness::{Group, Pace, Result, Run};
use crate::report::Section;

const TEXT: &str = "
From the call of rename(2) that puts another file at a server's path to the moment when `Watch` has told somebody who
slept: a thread in `wait`, or a task in `changed` under tokio, whose threads sleep too. Each time there is a new server,
with a watch of its own. `bare inotify` is a thread that sleeps in read(2) of an inotify instance on the socket's file,
and looks at the path with one lstat(2): what no watch can be quicker than. git's server looks at its path once a minute,
so there it takes up to 60 s, 30 s on average; that is not measured here.";

const NOTES: &str = "
Beside the bare calls, the library reads its events to the end, looks through the directory's descriptor, and from the
moment that the path is lost listens to the directory too, all before it tells: the look is what must not be older than
what is listened to. Under tokio it takes no longer.

Dropping a watch does: the kernel waits for a grace period of its own (SRCU) before an inotify instance that still listens
is closed, and whoever closes it waits too, some milliseconds. That is the same for the bare calls, and cannot be had
cheaper: to stop listening first (inotify_rm_watch) only begins the same wait. A program that measures until after the
watch is gone takes those milliseconds for the watch's own.";

const LIMIT: Duration = Duration::from_millis(1);

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let mut parts = on_each(pace, dirs, group)?;
    parts.extend(on_each(pace, dirs, drops)?);
    Ok(Section { id: "watch", title: "Being told of a theft", text: TEXT.into(), parts, notes: NOTES.into() })
}

fn group(dir: &Path) -> Result<Group> {
    let threads = Arc::default();
    let runtime = runtime(&threads)?;
    let by_tokio = move |watch, waiter| in_runtime(&runtime, &threads, watch, waiter);
    Ok(Group::new("from the rename to being told", 8)
        .time(Duration::from_millis(500), Duration::from_secs(8))
        .add("bare inotify", told(dir.join("bare"), by_hand))
        .add("library, a thread", told(dir.join("thread"), in_thread))
        .add("library, tokio's current thread", told(dir.join("current"), in_current_thread))
        .add("library, tokio's two workers", told(dir.join("workers"), by_tokio))
        .limit("library, a thread", LIMIT)
        .limit("library, tokio's current thread", LIMIT)
        .limit("library, tokio's two workers", LIMIT))
}

fn drops(dir: &Path) -> Result<Group> {
    let (bare, ours) = (ServerSocket::create(dir.join("bare"))?, ServerSocket::create(dir.join("ours"))?);
    let by_hand = move || {
        let instance = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&instance, bare.local_path(), inotify::WatchFlags::ATTRIB)?;
        Ok(instance)
    };
    Ok(Group::new("dropping a watch", 2)
        .time(Duration::from_millis(300), Duration::from_secs(2))
        .add("bare inotify", dropped(by_hand))
        .add("library", dropped(move || Ok(ours.watch()?))))
}

fn dropped<T>(mut make: impl FnMut() -> Result<T> + 'static) -> Run {
    Box::new(move |count| {
        let mut sum = Duration::ZERO;
        for _ in 0..count {
            let made = make()?;
            let start = Instant::now();
            drop(made);
            sum += start.elapsed();
        }
        Ok(sum)
    })
}

/// What somebody who waits says: which threads must sleep before it begins, and then what it was told, and when.
struct Waiter {
    begins: Sender<Vec<i32>>,
    told: Sender<Told>,
}

/// The watch and the server come along, since closing an inotify instance takes milliseconds: not in a worker of tokio's,
/// which would be late for the next round.
type Told = Result<(Status, Instant, Box<dyn Send>), String>;

impl Waiter {
    fn tells<E: std::fmt::Display>(self, status: Result<Status, E>, all: impl Send + 'static) {
        let now = Instant::now();
        let told = status.map(|status| (status, now, Box::new(all) as Box<dyn Send>));
        let _ = self.told.send(told.map_err(|error| error.to_string()));
    }
}

fn told(path: PathBuf, wait: impl Fn(ServerSocket, Waiter) -> Result<()> + 'static) -> Run {
    Box::new(move |count| (0..count).map(|_| once(&path, &wait)).sum())
}

fn once(path: &Path, wait: &impl Fn(ServerSocket, Waiter) -> Result<()>) -> Result<Duration> {
    let (begins, begun): (_, Receiver<Vec<i32>>) = channel();
    let (told, hears) = channel();
    wait(ServerSocket::create(path)?, Waiter { begins, told })?;
    for thread in begun.recv().map_err(|_| "nobody waits")? {
        until_asleep(thread)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, "")?;
    let start = Instant::now();
    std::fs::rename(&new, path)?;
    let (status, end, _all) = hears.recv().map_err(|_| "nobody was told")??;
    if status != Status::Replaced {
        return Err(format!("told {status:?}").into());
    }
    std::fs::remove_file(path)?;
    Ok(end - start)
}

fn by_hand(server: ServerSocket, waiter: Waiter) -> Result<()> {
    let instance = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&instance, server.local_path(), inotify::WatchFlags::ATTRIB)?;
    thread::spawn(move || {
        let _ = waiter.begins.send(vec![this_thread()]);
        let looked = || -> Result<Status> {
            read(&instance, &mut [0; 4096])?;
            let now = statat(CWD, server.local_path(), AtFlags::SYMLINK_NOFOLLOW)?;
            let is_ours = (now.st_dev, now.st_ino) == server.device_and_inode();
            Ok(if is_ours { Status::Ours } else { Status::Replaced })
        };
        let status = looked();
        waiter.tells(status, (instance, server));
    });
    Ok(())
}

fn in_thread(server: ServerSocket, waiter: Waiter) -> Result<()> {
    let mut watch = server.watch()?;
    thread::spawn(move || {
        let _ = waiter.begins.send(vec![this_thread()]);
        waiter.tells(watch.wait(), (watch, server));
    });
    Ok(())
}

fn in_current_thread(server: ServerSocket, waiter: Waiter) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    thread::spawn(move || runtime.block_on(changed(server, waiter, vec![this_thread()])));
    Ok(())
}

fn in_runtime(runtime: &Runtime, threads: &Mutex<Vec<i32>>, server: ServerSocket, waiter: Waiter) -> Result<()> {
    let threads = threads.lock().map_err(|_| "a worker panicked")?.clone();
    runtime.spawn(changed(server, waiter, threads));
    Ok(())
}

async fn changed(server: ServerSocket, waiter: Waiter, threads: Vec<i32>) {
    let mut watch = match server.watch().and_then(unix_stream_server::Watch::into_tokio) {
        Ok(watch) => watch,
        Err(error) => return waiter.tells(Err(error), server),
    };
    let _ = waiter.begins.send(threads);
    waiter.tells(watch.changed().await, (watch, server));
}

fn runtime(threads: &Arc<Mutex<Vec<i32>>>) -> Result<Runtime> {
    const WORKERS: usize = 2;
    let (started, starts) = channel();
    let known = Arc::clone(threads);
    let register = move || {
        if let Ok(mut known) = known.lock() {
            known.push(this_thread());
        }
        let _ = started.send(());
    };
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_io().on_thread_start(register).build()?;
    for _ in 0..WORKERS {
        starts.recv()?;
    }
    Ok(runtime)
}

fn this_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Until it sleeps, so that it is the waking that is measured.
fn until_asleep(thread: i32) -> Result<()> {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"))?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            return Ok(());
        }
        thread::yield_now();
    }
}
