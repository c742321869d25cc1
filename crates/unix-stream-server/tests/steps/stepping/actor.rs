//! The process that does an operation, step by step, and then tells what has come of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use stepper::{End, Stop, Victim, operation};
use unix_stream_server::ServerSocket;

use super::operations::{Act, Arrange, Kept, Kind};
use crate::support::child::descriptors;
use crate::support::sockets::hung_up;
use crate::support::{PATIENCE, assert_error};

pub(crate) struct Actor {
    pub(crate) victim: Victim,
    talk: BufReader<UnixStream>,
}

/// What an actor says of its operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It has a server at the path.
    Live,
    /// It is done, and has none.
    Done,
    Failed {
        kind: String,
        errno: i32,
        message: String,
    },
}

impl Report {
    /// The same, but for the words.
    pub(crate) fn is_like(&self, other: &Report) -> bool {
        match (self, other) {
            (Report::Failed { kind, errno, .. }, Report::Failed { kind: other_kind, errno: other_errno, .. }) => {
                (kind, errno) == (other_kind, other_errno)
            }
            _ => self == other,
        }
    }
}

impl Actor {
    /// One that stands before its operation.
    #[track_caller]
    pub(crate) fn new(kind: Kind, path: &Path, arrange: Arrange) -> Actor {
        super::tell_it_goes_on();
        let (ours, theirs) = UnixStream::pair().expect("socketpair");
        ours.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
        let victim = Victim::fork(|| play(&theirs, || arrange(kind.builder(), path.to_owned())));
        Actor { victim, talk: BufReader::new(ours) }
    }

    /// Lets it go on from where it stands, and hears what it says.
    #[track_caller]
    pub(crate) fn report(&mut self) -> Report {
        self.victim.release();
        let line = self.hear();
        let mut words = line.splitn(4, ' ');
        match words.next() {
            Some("live") => Report::Live,
            Some("done") => Report::Done,
            Some("failed") => Report::Failed {
                kind: words.next().unwrap_or_default().to_owned(),
                errno: words.next().and_then(|number| number.parse().ok()).unwrap_or_default(),
                message: words.next().unwrap_or_default().to_owned(),
            },
            _ => panic!("it said {line:?}"),
        }
    }

    /// It serves the next client.
    #[track_caller]
    pub(crate) fn assert_serves(&mut self, path: &Path) {
        let client = unix_stream_server::connect_timeout(path, PATIENCE).expect("a server");
        client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
        self.tell("serve");
        let mut word = String::new();
        BufReader::new(client).read_line(&mut word).expect("an answer");
        assert_eq!(word, format!("{}\n", self.victim.pid()), "another server answers");
    }

    /// It lets go of everything, has no descriptor more than at first, and ends well.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.tell("end");
        assert_eq!(self.hear(), "as before", "descriptors leaked");
        assert_eq!(self.victim.wait(), End::Exited(0));
    }

    /// Killed at a stop; `None` if there is no such stop.
    #[track_caller]
    pub(crate) fn kill_at(mut self, index: usize) -> Option<Stop> {
        let stop = self.victim.step_to(index);
        if stop.is_some() {
            self.victim.kill();
        } else {
            self.report();
            self.end();
        }
        stop
    }

    #[track_caller]
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.talk.read_line(&mut line).expect("it says something in time");
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn tell(&mut self, word: &str) {
        writeln!(self.talk.get_mut(), "{word}").expect("it listens");
    }
}

/// What the child does: descriptors are counted before and after all.
fn play(talk: &UnixStream, arrange: impl FnOnce() -> Act) {
    let mut reader = BufReader::new(talk);
    let before = open();
    let act = arrange();
    let result = operation(act);
    let words = match &result {
        Ok(Kept::Server(_)) => "live".to_owned(),
        Ok(Kept::Other(_)) => "done".to_owned(),
        Err(error) => {
            assert_error(error, error.kind(), error.raw_os_error());
            format!("failed {:?} {} {error}", error.kind(), error.raw_os_error())
        }
    };
    let mut writer = talk;
    writeln!(writer, "{words}").expect("the parent listens");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("the parent speaks");
        match (line.trim_end(), &result) {
            ("serve", Ok(Kept::Server(server))) => serve(server),
            ("end", _) => break,
            (line, _) => panic!("told to {line:?}"),
        }
    }
    drop(result);
    let after = open();
    let words = if after == before { "as before".to_owned() } else { format!("{before:?}, then {after:?}") };
    writeln!(writer, "{words}").expect("the parent listens");
}

/// What is open, whether or not it has been deleted since.
fn open() -> Vec<(u64, String)> {
    let kept = |path: PathBuf| path.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    descriptors().into_iter().map(|(number, path)| (number, kept(path))).collect()
}

/// Answers the first client that waits for it: those before only looked and left.
fn serve(server: &ServerSocket) {
    loop {
        let (mut client, _) = server.accept().expect("accept");
        if !hung_up(&client) && writeln!(client, "{}", std::process::id()).is_ok() {
            return;
        }
    }
}
