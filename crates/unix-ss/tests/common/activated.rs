//! PROGs that are this very test program again: they serve the socket that they are given, or make it, tell what they
//! meet, and end with the test.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use unix_stream_server::peer_credentials;

use super::{BOUND, Place, eventually};

const ROLE: &str = "UNIX_SS_TEST_ROLE";
const DIR: &str = "UNIX_SS_TEST_DIR";

/// A place where such PROGs live.
pub struct Household {
    pub place: Place,
    life: Option<File>,
}

impl Household {
    pub fn new() -> Self {
        let place = Place::new();
        let life = place.path("life");
        mknodat(CWD, &life, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("mkfifo");
        let life = OpenOptions::new().read(true).write(true).open(life).expect("a fifo");
        Household { place, life: Some(life) }
    }

    /// PROG and its arguments: the test that calls this, in the part `role`. Descriptor 3 becomes its standard input,
    /// which can be had without unsafe code.
    pub fn program(&self, test: &str, role: &str) -> Vec<String> {
        let input = if role.starts_with("own") { "" } else { "<&3" };
        let script = format!("{ROLE}='{role}' {DIR}='{}' exec \"$0\" \"$@\" {input}", self.place.name(""));
        let exe = std::env::current_exe().expect("a path").to_str().expect("UTF-8").to_owned();
        let args = ["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"];
        ["sh", "-c", &script, &exe].into_iter().chain(args).map(str::to_owned).collect()
    }

    /// The process ids of the PROGs that have begun.
    pub fn started(&self) -> Vec<i32> {
        self.lines("started").iter().map(|line| line.parse().expect("a pid")).collect()
    }

    /// What the PROGs have heard of each client, and from which user; `-` from one who said nothing.
    pub fn heard(&self) -> Vec<String> {
        self.lines("heard")
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.place.path(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Ends the PROGs, and waits for their end.
    pub fn end(&mut self) {
        drop(self.life.take());
        for pid in self.started() {
            eventually("PROG ends", || !is_alive(pid));
        }
    }

    /// And for that of the supervisors, who end with them.
    pub fn end_all(&mut self) {
        let supervisors: Vec<i32> = self.started().into_iter().filter_map(parent).filter(|&pid| pid > 1).collect();
        self.end();
        for pid in supervisors {
            eventually("the supervisor ends", || !is_alive(pid));
        }
    }
}

/// Is there such a process, and not only its zombie?
pub fn is_alive(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let mut states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    states.any(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

/// A field behind the name in `/proc/PID/stat`: 1 the parent, 3 the session, 4 the terminal.
pub fn stat(pid: i32, field: usize) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(field)?.parse().ok()
}

pub fn parent(pid: i32) -> Option<i32> {
    stat(pid, 1)
}

/// Which part this process plays, if it is a PROG or a client that is a process of its own.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

pub fn dir() -> PathBuf {
    std::env::var_os(DIR).expect("a directory").into()
}

/// Sets what [`role`] and [`dir`] say in another process.
pub fn as_role<'a>(
    command: &'a mut std::process::Command,
    role: &str,
    home: &Household,
) -> &'a mut std::process::Command {
    command.env(ROLE, role).env(DIR, home.place.path(""))
}

/// The answer of a PROG to one client: which one it is.
pub fn who_answers(mut stream: UnixStream) -> i32 {
    stream.set_read_timeout(Some(BOUND)).expect("a time");
    stream.write_all(b"who?\n").expect("sent");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    line.trim().parse().unwrap_or_else(|_| panic!("no answer: {line:?}"))
}

/// PROG's part, which never returns.
pub fn serve(role: &str) -> ! {
    let dir = dir();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let life = rustix::fs::open(dir.join("life"), flags, Mode::empty()).expect("a fifo");
    rustix::io::ioctl_fionbio(&life, false).expect("ioctl");
    std::thread::spawn(move || {
        let _ = File::from(life).read(&mut [0]); // its end
        std::process::exit(0);
    });
    let append = |name: &str| OpenOptions::new().append(true).create(true).open(dir.join(name)).expect("a file");
    append("started").write_all(format!("{}\n", std::process::id()).as_bytes()).expect("written");
    let given = || UnixListener::from(io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut heard = append("heard");
    let mut answer_one = |listener: &UnixListener| {
        let (mut client, _) = listener.accept().expect("accept");
        client.set_read_timeout(Some(BOUND)).expect("a time");
        let uid = peer_credentials(&client).ok().flatten().map_or(u32::MAX, |peer| peer.uid);
        let mut words = String::new();
        let _ = BufReader::new(&client).read_line(&mut words);
        let words = if words.is_empty() { "-" } else { words.trim() };
        heard.write_all(format!("{words} {uid}\n").as_bytes()).expect("written");
        let _ = client.write_all(format!("{}\n", std::process::id()).as_bytes());
    };
    match role {
        "serve" => {
            let listener = given();
            loop {
                answer_one(&listener);
            }
        }
        "once" => {
            answer_one(&given());
            std::process::exit(0);
        }
        "fail" => {
            answer_one(&given());
            std::process::exit(7);
        }
        "own" => {
            let listener = UnixListener::bind(dir.join("s")).expect("bind");
            loop {
                answer_one(&listener);
            }
        }
        other => panic!("no part {other:?}"),
    }
}
