//! The command as its users have it: started, told to end, and never left behind.

#![expect(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod activated;
pub mod users;

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

/// Generous: a slow machine is no failure, waiting for ever is.
pub const BOUND: Duration = Duration::from_secs(60);

pub fn unix_ss(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unix-ss"));
    command.args(args).stdin(Stdio::null());
    command
}

/// A directory of its own for each test, and what is in it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Place { dir: tempfile::tempdir().expect("a directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// `unix-ss serve OPTIONS PATH -- PROG`, listening.
    pub fn serve(&self, options: &[&str], path: &str, program: &[&str]) -> Running {
        self.serve_with(options, path, program, &[])
    }

    pub fn serve_with(&self, options: &[&str], path: &str, program: &[&str], env: &[(&str, &str)]) -> Running {
        let errors =
            self.path(&format!("{}.stderr", Path::new(path).file_name().expect("a name").to_str().expect("UTF-8")));
        // Descriptor 3, which std cannot hand on, is the pipe that the newline comes through.
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3>&1 1>&2; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_unix-ss"), "serve"]);
        command.args(["--ready-fd", "3"]).args(options).arg(path).arg("--").args(program).envs(env.iter().copied());
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(&errors).expect("a file"));
        let mut child = Running { child: command.spawn().expect("sh"), errors };
        let mut ready = String::new();
        let mut pipe = child.child.stdout.take().expect("a pipe");
        pipe.read_to_string(&mut ready).expect("a word");
        assert_eq!(ready, "\n", "not ready: {}", child.errors());
        child
    }
}

/// A process that ends with the test, whatever becomes of it.
pub struct Running {
    pub child: Child,
    errors: PathBuf,
}

impl Running {
    pub fn of(mut command: Command) -> Self {
        Running { child: command.spawn().expect("a process"), errors: PathBuf::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.errors).unwrap_or_default()).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process");
    }

    /// By SIGSTOP.
    pub fn has_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("/proc");
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Its exit status, 128+N for a signal, as a shell has it.
    pub fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        let status = status.expect("ended");
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    pub fn end(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A socket that nobody listens on, nor ever did: a process that another test is just starting would have a copy.
pub fn put_dead(path: &Path) {
    mknodat(CWD, path, FileType::Socket, Mode::from_raw_mode(0o777), 0).expect("mknod");
}

/// Ends the connection as the end of a process would, though one that another test is just starting may have a copy.
pub fn hang_up(stream: UnixStream) {
    stream.shutdown(Shutdown::Both).expect("shut");
}

pub fn client(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("a server");
    stream.set_read_timeout(Some(BOUND)).expect("a time");
    stream.set_write_timeout(Some(BOUND)).expect("a time");
    stream
}

/// Says something, ends, and hears the answer to its end; both at once, since an echo waits for its listener.
pub fn ask(stream: UnixStream, question: &[u8]) -> Vec<u8> {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(question).expect("sent");
            stream.shutdown(Shutdown::Write).expect("shut");
        });
        hear(&stream)
    })
}

pub fn hear(mut stream: impl Read) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

/// Runs to its end, which must come.
pub fn run(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    let pid = Pid::from_child(&child);
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(BOUND) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("output");
    drop(done);
    guard.join().expect("the guard");
    output
}

pub fn status_of(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
