//! `unix-ss serve`, through many PROGs.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use unix_stream_server::connect_timeout;

use super::usage::children;
use super::{Life, Usage};

const PATIENCE: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 4;

/// Runs `program serve` below `dir` with `/bin/true` for its PROG, and connects `progs` times.
///
/// # Errors
///
/// Those of the file system and of starting it, and a server that does not come to be, or to an end.
pub fn serve(program: &Path, dir: &Path, progs: u64) -> io::Result<Life> {
    let begun = Instant::now();
    let dir = tempfile::Builder::new().prefix("unix-ss-soak.").tempdir_in(dir)?;
    let path = dir.path().join("s");
    let mut command = Command::new(program);
    command.arg("serve").arg(&path).args(["--", "/bin/true"]);
    let server = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let server = server.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    let mut server = Server(server);
    let end = Instant::now() + PATIENCE;
    while connect_timeout(&path, PATIENCE).is_err() {
        if Instant::now() > end || server.0.try_wait()?.is_some() {
            return Err(io::Error::other("the server did not come to be"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = server.0.id();
    let warm_up = progs.div_ceil(20);
    let mut failures = visit(&path, warm_up);
    let (before, _) = when_quiet(pid)?;
    failures += visit(&path, progs - warm_up);
    let (after, zombies) = when_quiet(pid)?;
    let status = server.end()?;
    if !status.success() {
        return Err(io::Error::other(format!("the server ended with {status}")));
    }
    dir.close()?;
    let what = format!("unix-ss serve, through {progs} PROGs");
    Ok(Life { what, before, after, failures, zombies, seconds: begun.elapsed().as_secs_f64() })
}

/// Killed if it is dropped.
struct Server(Child);

impl Server {
    fn end(&mut self) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.0.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() > end => return Err(io::Error::other("the server did not end")),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects so many times, some at once; how many were not served to their end.
fn visit(path: &Path, times: u64) -> u64 {
    let left = AtomicU64::new(times);
    let failures = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let served = connect_timeout(path, PATIENCE).is_ok_and(|mut stream| {
                        // PROG's end is the end of its output.
                        let _ = stream.set_read_timeout(Some(PATIENCE));
                        matches!(stream.read(&mut [0]), Ok(0))
                    });
                    failures.fetch_add(u64::from(!served), Relaxed);
                }
            });
        }
    });
    failures.into_inner()
}

/// What it has once all its PROGs have ended; those that it never waits for are counted.
fn when_quiet(pid: u32) -> io::Result<(Usage, u64)> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = children(pid)?;
        let zombies = left.iter().filter(|(_, is_zombie)| *is_zombie).count();
        if left.is_empty() || Instant::now() > end {
            return Ok((Usage::of(&pid.to_string())?, u64::try_from(zombies).unwrap_or(u64::MAX)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
