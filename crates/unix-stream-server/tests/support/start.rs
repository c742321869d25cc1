//! Servers that are started on demand: this very test program again, which serves the socket that it was given, or makes.
//!
//! They outlive whoever has started them, so each holds the reading end of a fifo whose writing end the test has, and
//! ends when that is closed, be it by the test's death.
//!
//! # Safety
//!
//! The one unsafe call adopts descriptor 3 by agreement with whoever started the server: it is open, which is checked, and
//! nobody's in a process that runs this one test and has opened nothing of that number itself.
#![expect(unsafe_code, reason = "a descriptor that is agreed on by its number has no safe constructor")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use unix_stream_server::StartCommand;

use super::PATIENCE;
use super::child;
use super::dir::Dir;
use super::wait::until;

/// A directory with a path `s`, a server that can be started for it, and what such servers have told.
#[derive(Debug)]
pub struct Household {
    /// Where everything is.
    pub dir: Dir,
    test: String,
    life: Option<File>,
}

impl Household {
    /// Servers run `test` as [`serve`].
    #[must_use]
    pub fn new(test: &str) -> Household {
        let dir = Dir::new();
        for fifo in ["life", "word"] {
            mknodat(CWD, dir.join(fifo), FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("mkfifo");
            super::dir::chmod(&dir.join(fifo), 0o666);
        }
        // Read and write, so that it opens without a reader.
        let life = OpenOptions::new().read(true).write(true).open(dir.join("life")).expect("a fifo");
        Household { dir, test: test.to_owned(), life: Some(life) }
    }

    /// The path to serve at.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// How to start the server in a part that [`serve`] knows.
    pub fn server(&self, role: &str) -> StartCommand {
        server(&self.test, role, self.dir.path())
    }

    /// The process ids of the servers that have begun, in their order.
    #[must_use]
    pub fn started(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.dir.join("started")).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a pid")).collect()
    }

    /// Lets a server go on that waits for a word.
    pub fn say(&self) {
        let mut word = OpenOptions::new().read(true).write(true).open(self.dir.join("word")).expect("a fifo");
        word.write_all(b"go on\n").expect("written");
        // Until it has been read: with our end closed, the fifo would forget it.
        until("the server has heard the word", || self.dir.join("heard").exists());
        fs::remove_file(self.dir.join("heard")).expect("unlink");
    }

    /// What a server has written about itself.
    #[must_use]
    pub fn told(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Ends all servers, and waits for their end.
    pub fn end(&mut self) {
        drop(self.life.take());
        for pid in self.started() {
            until("the servers end", || !is_alive(pid));
        }
    }
}

impl Drop for Household {
    fn drop(&mut self) {
        drop(self.life.take());
    }
}

/// How to start a server where there is no [`Household`] at hand: in a client that is a process of its own.
pub fn server(test: &str, role: &str, dir: &Path) -> StartCommand {
    StartCommand::new("/proc/self/exe")
        .args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env("UNIX_STREAM_SERVER_TEST_ROLE", role)
        .env("UNIX_STREAM_SERVER_TEST_DIR", dir)
        .log_file(dir.join("log"))
        .timeout(PATIENCE)
}

/// Is there such a process, and not only its zombie? All of its threads must have ended, which share its descriptors.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let mut states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    states.any(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

/// The answer of a server to one client: who it is.
#[track_caller]
#[must_use]
pub fn answer(mut stream: UnixStream) -> i32 {
    stream.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    stream.write_all(b"who?\n").expect("write");
    let mut line = String::new();
    stream.read_to_string(&mut line).expect("an answer");
    line.trim().parse().unwrap_or_else(|_| panic!("no answer: {line:?}"))
}

/// In a process that is started as a server, its part, from which it never returns.
pub fn play() {
    if let Some(role) = child::role().filter(|role| role != "body") {
        serve(&role);
    }
}

/// The server's part. It never returns.
pub fn serve(role: &str) -> ! {
    let dir = child::dir();
    // Without a wait for a writer, who may have died already.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let life = rustix::fs::open(dir.join("life"), flags, Mode::empty()).expect("a fifo");
    rustix::io::ioctl_fionbio(&life, false).expect("ioctl");
    std::thread::spawn(move || {
        let _ = File::from(life).read(&mut [0]); // its end
        std::process::exit(0);
    });
    let mut started = OpenOptions::new().append(true).create(true).open(dir.join("started")).expect("a file");
    started.write_all(format!("{}\n", std::process::id()).as_bytes()).expect("written");
    match role {
        "serve" => answer_all(&given()),
        "late" => {
            hear(&dir);
            answer_all(&given());
        }
        "die" => {
            hear(&dir);
            std::process::exit(3);
        }
        "once" => {
            answer_one(&given());
            std::process::exit(0);
        }
        // Says who it is unasked, and ends.
        "speak" => {
            let listener = given();
            hear(&dir);
            let (mut client, _) = listener.accept().expect("accept");
            client.write_all(std::process::id().to_string().as_bytes()).expect("written");
            std::process::exit(0);
        }
        // Creates its socket itself.
        "own" => answer_all(&UnixListener::bind(dir.join("s")).expect("bind")),
        "own-late" => {
            hear(&dir);
            answer_all(&UnixListener::bind(dir.join("s")).expect("bind"));
        }
        "describe" => {
            let listener = given();
            describe(&dir);
            answer_all(&listener);
        }
        other => panic!("no part {other:?}"),
    }
}

/// The socket that we were given, by the convention of sd_listen_fds(3).
fn given() -> UnixListener {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    assert_eq!(variable("LISTEN_PID"), std::process::id().to_string());
    assert_eq!(variable("LISTEN_FDS"), "1");
    assert!(fs::symlink_metadata("/proc/self/fd/3").is_ok());
    // SAFETY: see the head of this file.
    unsafe { UnixListener::from_raw_fd(3) }
}

fn hear(dir: &Path) {
    let mut line = String::new();
    BufReader::new(File::open(dir.join("word")).expect("a fifo")).read_line(&mut line).expect("a word");
    assert_eq!(line, "go on\n");
    fs::write(dir.join("heard"), "").expect("a file");
}

fn answer_all(listener: &UnixListener) -> ! {
    loop {
        answer_one(listener);
    }
}

fn answer_one(listener: &UnixListener) {
    let (mut client, _) = listener.accept().expect("accept");
    client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    // A probe says nothing.
    if client.read(&mut [0; 8]).is_ok_and(|read| read > 0) {
        let _ = client.write_all(std::process::id().to_string().as_bytes());
    }
}

/// What the server finds: written down for the test to read.
fn describe(dir: &Path) {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("stat").1.split(' ').collect();
    let (group, session, terminal) = (fields[2], fields[3], fields[4]);
    let mut about = format!("pid {}\ngroup {group}\nsession {session}\nterminal {terminal}\n", std::process::id());
    about += &format!("cwd {}\n", std::env::current_dir().expect("a directory").display());
    for (number, leads_to) in child::descriptors() {
        about += &format!("fd {number} {}\n", leads_to.display());
    }
    for (name, value) in std::env::vars() {
        about += &format!("env {name}={value}\n");
    }
    for line in fs::read_to_string("/proc/self/status").expect("/proc").lines() {
        if line.starts_with("Sig") {
            about += &format!("{}\n", line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    fs::write(dir.join("about"), about).expect("a file");
}
