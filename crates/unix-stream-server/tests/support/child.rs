//! This test program once more, as a process of its own that runs one test and nothing beside it: for what belongs to a whole
//! process (umask, limits, working directory, its death) and for other users.
//!
//! A test that does so is called twice: by the harness, where it starts the child and judges it, and in the child,
//! where [`role`] says what part it plays.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::{env, io, thread};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::{NOBODY, PATIENCE, is_root};

const ROLE: &str = "UNIX_STREAM_SERVER_TEST_ROLE";
const DIR: &str = "UNIX_STREAM_SERVER_TEST_DIR";

/// The name of the test in which `here` was defined.
#[must_use]
pub fn name_of<T>(_here: &T) -> String {
    let full = std::any::type_name::<T>();
    let test = full.strip_suffix("::here").unwrap_or(full);
    test.split_once("::").map_or(test, |(_, test)| test).to_owned()
}

/// The part this process plays; `None` for the one that the harness runs in.
#[must_use]
pub fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// The directory given to the child.
#[must_use]
pub fn dir() -> PathBuf {
    env::var_os(DIR).expect("a directory was given").into()
}

/// A value given to the child.
#[must_use]
pub fn value(key: &str) -> String {
    env::var(format!("{DIR}_{key}")).unwrap_or_else(|_| panic!("no {key} was given"))
}

/// Tells the parent something.
pub fn say(words: &str) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    // A line of its own: the harness has begun one.
    out.write_all(format!("\n@{words}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
}

/// Waits for the parent's word, or for its end.
pub fn listen() -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while let Ok(1) = io::stdin().lock().read(&mut byte) {
        if byte == *b"\n" {
            break;
        }
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("text")
}

/// Runs the body of a test in a process of its own: `whole_process(&this_test!(), || ...)`.
///
/// Also for a test that closes something and looks at once whether it is closed: a process that another test of the same
/// program starts has everything open, close-on-exec or not, from its fork until its exec. `.ci/amid-forks` finds who forgot.
#[track_caller]
pub fn whole_process(test: &str, body: impl FnOnce()) {
    match role() {
        Some(_) => body(),
        None => Program::new(test, "body").run(),
    }
}

/// The same, and as a user whom permission bits stop.
#[track_caller]
pub fn ordinary_user(test: &str, body: impl FnOnce()) {
    match role() {
        Some(_) => {
            assert!(!is_root());
            body();
        }
        None => Program::new(test, "body").ordinary().run(),
    }
}

/// Runs something with so many descriptors to be had and no more. For a whole process.
pub fn with_descriptors<T>(free: usize, work: impl FnOnce() -> T) -> T {
    // All numbers below the limit but `free` are taken.
    let most = descriptors().last().map_or(0, |&(number, _)| number);
    let mut taken = Vec::new();
    let highest = loop {
        let fd = rustix::io::dup(io::stdin()).expect("dup");
        let number = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&fd)).expect("a descriptor");
        taken.push(fd);
        if number > most {
            break number;
        }
    };
    let all = rustix::process::getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(highest + 1 + u64::try_from(free).expect("few")), ..all };
    rustix::process::setrlimit(Resource::Nofile, few).expect("setrlimit");
    let result = work();
    rustix::process::setrlimit(Resource::Nofile, all).expect("setrlimit");
    result
}

/// The open descriptors of this process, with what they lead to.
#[must_use]
pub fn descriptors() -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc");
    let mut open: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.expect("an entry");
            let number = entry.file_name().to_string_lossy().parse().expect("a number");
            // The one that reads this directory has gone when we look.
            Some((number, std::fs::read_link(entry.path()).ok()?))
        })
        .filter(|(_, path)| !is_own_fd_directory(path))
        .collect();
    open.sort();
    open
}

fn is_own_fd_directory(path: &Path) -> bool {
    path == Path::new(&format!("/proc/{}/fd", std::process::id()))
}

/// A child to be started.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
}

impl Program {
    /// This program, to run just `test`, in the part `role`.
    #[must_use]
    pub fn new(test: &str, role: &str) -> Program {
        // Not by its path, which may lie where another user may not go.
        Program::with(Command::new("/proc/self/exe"), test, role)
    }

    /// A command that already has what goes before the arguments of the test harness.
    #[must_use]
    pub fn with(mut command: Command, test: &str, role: &str) -> Program {
        command
            .args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Program { command, name: format!("{test} as {role}") }
    }

    /// This program as a service manager starts it: with at most two descriptors from number 3 on, LISTEN_PID and
    /// LISTEN_FDS, and with more variables, which may be these. Its input is empty.
    #[must_use]
    pub fn activated(test: &str, role: &str, fds: Vec<OwnedFd>, variables: &[(&str, &str)]) -> Program {
        let place = match fds.len() {
            0 => "3<&- 4<&- 0</dev/null",
            1 => "3<&0 4<&- 0</dev/null",
            2 => "3<&0 4<&2 0</dev/null 2>&1",
            n => panic!("{n} descriptors are too many for this"),
        };
        let mut command = Command::new("sh");
        // A shell, since LISTEN_PID is known only once the process is there, which then becomes the program.
        command.args(["-c", &format!(": ${{LISTEN_PID:=$$}}; export LISTEN_PID; exec {place}; exec \"$@\""), "sh"]);
        // Not by its path, which may lie where another user may not go.
        command.arg(format!("/proc/{}/exe", std::process::id()));
        command.env("LISTEN_FDS", fds.len().to_string()).envs(variables.iter().copied());
        let mut program = Program::with(command, test, role);
        let mut fds = fds.into_iter();
        program.command.stdin(fds.next().map_or_else(Stdio::null, Stdio::from));
        if let Some(second) = fds.next() {
            program.command.stderr(second);
        }
        program
    }

    /// The directory that [`dir`] gives there.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Program {
        self.command.env(DIR, dir.as_ref());
        self
    }

    /// A value that [`value`] gives there.
    #[must_use]
    pub fn value(mut self, key: &str, value: &str) -> Program {
        self.command.env(format!("{DIR}_{key}"), value);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Program {
        self.command.env(key, value);
        self
    }

    /// A variable that is not in its environment.
    #[must_use]
    pub fn no_env(mut self, key: &str) -> Program {
        self.command.env_remove(key);
        self
    }

    /// As a user whom permission bits stop: ourselves, if we are one.
    #[must_use]
    pub fn ordinary(mut self) -> Program {
        use std::os::unix::process::CommandExt;
        if is_root() {
            self.command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
        self
    }

    /// Runs it to its end, which must be good.
    #[track_caller]
    pub fn run(self) {
        self.start().finish();
    }

    /// Starts it.
    #[track_caller]
    #[must_use]
    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running { stdin: child.stdin.take(), child, lines, seen: Vec::new(), name: self.name }
    }
}

/// A child at work; killed if nobody waits for its end.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    name: String,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says a word, and gives what it says after it.
    #[track_caller]
    pub fn hear(&mut self, word: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("{} never said {word:?}, but: {:#?}", self.name, self.seen);
            };
            self.seen.push(line.clone());
            if let Some(rest) = line.strip_prefix('@').and_then(|line| line.strip_prefix(word)) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Has it said this word by now, or earlier?
    pub fn has_said(&mut self, word: &str) -> bool {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().any(|line| line.strip_prefix('@').is_some_and(|line| line.starts_with(word)))
    }

    /// Tells it something.
    #[track_caller]
    pub fn tell(&mut self, words: &str) {
        use std::io::Write;
        let stdin = self.stdin.as_mut().expect("not finished");
        stdin.write_all(format!("{words}\n").as_bytes()).expect("it listens");
    }

    /// Kills it as nothing can be helped, and waits for its death.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Pauses it, and waits until it has stopped.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        super::wait::until("it has stopped", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it is alive");
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        });
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it is alive");
    }

    /// Ends its input and waits for its end, which must be good.
    #[track_caller]
    pub fn finish(mut self) {
        drop(self.stdin.take());
        let status = self.end();
        self.seen.extend(self.lines.try_iter());
        assert!(status.success(), "{} failed ({status}) and said: {:#?}", self.name, self.seen);
    }

    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        let mut ran = self.seen.iter().any(|line| line.contains("1 passed"));
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    ran |= line.contains("1 passed");
                    self.seen.push(line);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("{} hangs; it said: {:#?}", self.name, self.seen),
            }
        }
        let status = self.child.wait().expect("a child");
        // A misspelt name would run nothing, and well.
        assert!(ran || !status.success(), "{} ran no test: {:#?}", self.name, self.seen);
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
