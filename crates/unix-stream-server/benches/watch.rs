//! From the rename over a server's path to the moment when its watch has told another thread of it.
//!
//! Each round has a server and a watch of its own, in the directory given by `BENCH_DIR` (default: a temporary one). Two
//! instants of one clock are compared: before rename(2) is called, and when `wait` has returned in a thread that slept in
//! it. `cargo bench -p unix-stream-server --bench watch [-- --quick]`.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use unix_stream_server::{ServerSocket, Status};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let asked = |option: &str| std::env::args().any(|argument| argument == option);
    // A run without cargo's `--bench` is one by `cargo test`, and measures nothing worth reading.
    let measures = asked("--bench") && !asked("--test");
    let rounds = match (measures, asked("--quick")) {
        (true, false) => 1_000,
        (true, true) => 100,
        (false, _) => 3,
    };
    let dir = match std::env::var_os("BENCH_DIR") {
        Some(base) => tempfile::tempdir_in(base)?,
        None => tempfile::tempdir()?,
    };
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(told_after(dir.path())?);
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let mut out = std::io::stdout().lock();
    writeln!(out, "rename over the path until another thread is told, {rounds} rounds in {}:", dir.path().display())?;
    writeln!(out, "median {:?}, 90 % within {:?}, 99 % within {:?}, longest {:?}", at(50), at(90), at(99), at(100))?;
    if measures && at(50) >= Duration::from_millis(1) {
        return Err("the median is to be under a millisecond".into());
    }
    Ok(())
}

fn told_after(dir: &Path) -> Outcome<Duration> {
    let path = dir.join("s");
    let server = ServerSocket::create(&path)?;
    let mut watch = server.watch()?;
    let (begins, begun) = mpsc::channel();
    let waiter = thread::spawn(move || -> Result<(Status, Instant), unix_stream_server::Error> {
        let _ = begins.send(rustix::thread::gettid());
        let status = watch.wait()?;
        Ok((status, Instant::now()))
    });
    until_asleep(begun.recv()?.as_raw_nonzero().get())?;
    std::fs::write(dir.join("new"), "")?;
    let start = Instant::now();
    std::fs::rename(dir.join("new"), &path)?;
    let (status, end) = waiter.join().map_err(|_| "the waiter panicked")??;
    assert_eq!(status, Status::Replaced);
    server.close()?;
    std::fs::remove_file(path)?;
    Ok(end - start)
}

/// Until it sleeps in poll(2), so that it is the waking that is measured.
fn until_asleep(thread: i32) -> Outcome<()> {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"))?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            return Ok(());
        }
        thread::yield_now();
    }
}
