//! The stage: what stands at the path before an operation, who stands next to it, and how all has to be afterwards.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use stepper::{Side, Stop};
use unix_stream_server::{Builder, ErrorKind, ServerSocket};

use super::actor::Actor;
use super::operations::{Before, Length, Operation};
use super::predecessor::Predecessor;
use crate::support::dir::{Dir, File, beside, exists, file, files, inode, names, put_file};
use crate::support::sockets::{assert_serves, put_dead, stranger};
use crate::support::succession::temporary;

/// What a fresh start may take: nobody holds anything, so that it never waits.
const FRESH: Duration = Duration::from_secs(5);

pub(crate) struct Scene<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) path: PathBuf,
    place: PathBuf,
    /// A name that an address can take, for sockets that are then moved to one that it cannot.
    staging: PathBuf,
    neighbour: UnixListener,
    bystanders: BTreeMap<PathBuf, File>,
    /// What stands at the path and is not ours to touch.
    foreign: Option<(PathBuf, File)>,
    live: Option<ServerSocket>,
    /// That was live until its path was deleted.
    lost: Option<ServerSocket>,
    predecessor: Option<Predecessor>,
    /// At the temporary name, and nowhere else.
    beside: Option<UnixListener>,
    // Last, for it is removed when it is dropped.
    _dir: Dir,
}

/// Whose socket was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// That was there before the operation.
    Old,
    /// That came in the middle of it.
    New,
}

/// What a process has left behind: names, and their modes.
pub(crate) type Left = BTreeMap<PathBuf, String>;

impl<'a> Scene<'a> {
    pub(crate) fn new(operation: &'a Operation) -> Scene<'a> {
        // What a process needs once, the children find there: so they all make the same calls.
        let _ = unix_stream_server::Process::current();
        let dir = Dir::new();
        let place = dir.join("d".repeat(if operation.length == Length::LongPath { 90 } else { 1 }));
        std::fs::create_dir(&place).expect("mkdir");
        let name = match operation.length {
            Length::Short | Length::LongPath => "s".to_owned(),
            Length::LongName => "s".repeat(252),
        };
        let staging = dir.join("m");
        let neighbour = stranger(&staging);
        std::fs::rename(&staging, place.join("t")).expect("rename");
        put_dead(&staging);
        std::fs::rename(&staging, place.join("s.dead")).expect("rename");
        put_file(&place.join("s.locked"), b"precious", 0o644);
        put_file(&place.join("t.lock"), b"", 0o644);
        put_file(&place.join("u.lock"), b"", 0o1400);
        std::os::unix::fs::symlink("t", place.join("s.link")).expect("symlink");
        let bystanders = files(&place);
        let path = place.join(name);
        let (foreign, live, lost, predecessor, beside) = (None, None, None, None, None);
        Scene {
            operation,
            path,
            place,
            staging,
            neighbour,
            bystanders,
            foreign,
            live,
            lost,
            predecessor,
            beside,
            _dir: dir,
        }
    }

    /// Puts everything in its place for another run.
    fn set(&mut self) {
        let path = &self.path;
        match self.operation.before {
            Before::Nothing => {}
            Before::Dead => self.put_dead(),
            Before::DeadAndLock => {
                self.put_dead();
                put_file(&beside(path, ".lock"), b"", 0o1400);
            }
            Before::DeadAndLife => {
                self.put_dead();
                put_file(&beside(path, ".lock"), b"", 0o1400);
                put_file(&beside(path, ".owner"), b"", 0o1400);
            }
            Before::Live => self.put_live(),
            Before::LiveLate | Before::Successor => {}
            Before::Replaceable => self.put_predecessor(),
            Before::ReplaceableAndDeadBeside => {
                put_dead(&self.staging);
                std::fs::rename(&self.staging, temporary(path)).expect("rename");
                self.put_predecessor();
            }
            Before::ReplaceableAndLiveBeside => {
                let replaced = ServerSocket::builder().replaceable(true).create(&self.staging).expect("create");
                self.beside = Some(replaced.into_listener());
                std::fs::rename(&self.staging, temporary(path)).expect("rename");
                self.put_predecessor();
            }
            Before::File => {
                put_file(path, b"precious", 0o600);
                self.foreign = Some((path.clone(), file(path)));
            }
            Before::GitLock => {
                let lock = beside(path, ".lock");
                put_file(&lock, b"", 0o644);
                self.foreign = Some((lock.clone(), file(&lock)));
            }
        }
    }

    /// What is there and is no bystander.
    pub(crate) fn left(&self) -> Left {
        let all = names(&self.place).into_iter().map(|name| self.place.join(name));
        all.filter(|path| !self.bystanders.contains_key(path))
            .map(|path| (path.clone(), format!("{:o}", file(&path).mode)))
            .collect()
    }

    /// The same by names alone, for comparison with another scene's.
    pub(crate) fn left_names(&self) -> BTreeMap<OsString, String> {
        self.left().into_iter().filter_map(|(path, mode)| Some((path.file_name()?.to_owned(), mode))).collect()
    }

    /// An actor before its operation.
    #[track_caller]
    pub(crate) fn actor(&mut self) -> Actor {
        self.set();
        let mut actor = Actor::new(self.operation.kind, &self.path, self.operation.arrange);
        if self.operation.before == Before::LiveLate {
            let is_look = |stop: &Stop| (stop.side, stop.number) == (Side::Exit, libc::SYS_newfstatat);
            std::iter::from_fn(|| actor.victim.step()).find(is_look).expect("a look at the path");
            self.put_live();
            actor.victim.recount();
        }
        if self.operation.before == Before::Successor {
            self.put_live();
        }
        actor
    }

    /// Nobody else has been touched.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self, when: &dyn Display) {
        for (path, before) in self.bystanders.iter().chain(self.foreign.as_ref().map(|(path, file)| (path, file))) {
            assert!(exists(path), "{}: {when}: {} is gone", self.operation.name, path.display());
            assert_eq!(&file(path), before, "{}: {when}: {} has changed", self.operation.name, path.display());
        }
        if let Some(server) = &self.live {
            assert_serves(server, &self.path);
        }
        if let Some(predecessor) = &self.predecessor {
            predecessor.assert_unharmed(&self.path, &format!("{}: {when}", self.operation.name));
        }
    }

    /// The socket at the path, kept from reuse of its inode number.
    pub(crate) fn pin_socket(&self) -> Option<OwnedFd> {
        let pin = openat(CWD, &self.path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
        is_socket(&self.path).then_some(pin)
    }

    /// Somebody who ignores the lock deletes the socket at the path, whosever it is: `first` or another.
    pub(crate) fn delete_socket(&mut self, first: Option<&OwnedFd>) -> Option<Deleted> {
        if !is_socket(&self.path) {
            return None;
        }
        let is_first = first.is_some_and(|pin| fstat(pin).expect("fstat").st_ino == inode(&self.path));
        std::fs::remove_file(&self.path).expect("unlink");
        self.lost = self.live.take();
        self.foreign.take_if(|(path, _)| *path == self.path);
        Some(if is_first { Deleted::Old } else { Deleted::New })
    }

    /// How many have come to the predecessor, if there is one, and left again.
    pub(crate) fn left_by_now(&self) -> usize {
        self.predecessor.as_ref().map_or(0, Predecessor::left_by_now)
    }

    /// What no name tells: has the predecessor, if there is one, lost the path?
    pub(crate) fn is_replaced(&self) -> bool {
        self.predecessor.as_ref().is_some_and(Predecessor::is_replaced)
    }

    /// What stands at the path is in the way still; when it has gone, the next start succeeds, and leaves nothing.
    #[track_caller]
    pub(crate) fn recover(&mut self, when: &dyn Display) {
        let name = self.operation.name;
        let builder = self.operation.kind.builder().lock_timeout(FRESH);
        if let Some(lost) = self.lost.take() {
            lost.close().unwrap_or_else(|error| panic!("{name}: {when}: {error}"));
        }
        let expected = match self.operation.before {
            _ if self.live.is_some() => Some(ErrorKind::InUse),
            Before::File => Some(ErrorKind::NotASocket),
            _ => None,
        };
        if let Some(expected) = expected {
            let another = self.operation.another().lock_timeout(FRESH);
            let error = another.create(&self.path).expect_err("in the way");
            assert_eq!(error.kind(), expected, "{name}: {when}: {error}");
        }
        self.foreign = self.foreign.take().filter(|(path, _)| {
            if self.live.is_none() {
                std::fs::remove_file(path).expect("unlink");
            }
            false
        });
        if let Some(live) = self.live.take() {
            live.close().unwrap_or_else(|error| panic!("{name}: {when}: {error}"));
        }
        let labelled = format!("{name}: {when}");
        // With a life lock nobody starts before it has drained; one that has the path still is replaced first.
        let ended = self.predecessor.take_if(|predecessor| predecessor.is_replaced());
        ended.into_iter().for_each(|predecessor| predecessor.end(&labelled));
        let mut server = self.create(&builder, &labelled);
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.end(&labelled);
        }
        server.wait_for_predecessor(FRESH).unwrap_or_else(|error| panic!("{labelled}: {error}"));
        assert_serves(&server, &self.path);
        self.beside = None;
        if self.operation.kind.takes_over() && exists(&temporary(&self.path)) {
            // A name is recovered by a start of the kind that makes it: a start in place makes no call for it.
            let replaced = server;
            server = self.create(&builder, &labelled);
            assert!(replaced.was_stolen(), "{labelled}");
            drop(replaced);
            server.wait_for_predecessor(FRESH).unwrap_or_else(|error| panic!("{labelled}: {error}"));
            assert_serves(&server, &self.path);
        }
        server.close().unwrap_or_else(|error| panic!("{name}: {when}: {error}"));
        assert_eq!(self.left(), Left::new(), "{name}: {when}: something outlives the next server");
    }

    #[track_caller]
    fn create(&self, builder: &Builder, when: &dyn Display) -> ServerSocket {
        let server = builder.create(&self.path);
        server.unwrap_or_else(|error| panic!("{when}: left {:?}, so that {error}", self.left()))
    }

    /// At the end of all: the neighbour is alive.
    #[track_caller]
    pub(crate) fn assert_neighbour_lives(&self) {
        assert_serves(&self.neighbour, &self.place.join("t"));
    }

    fn put_live(&mut self) {
        let server = self.operation.kind.builder().lock_timeout(FRESH).create(&self.path).expect("create");
        self.foreign = Some((self.path.clone(), file(&self.path)));
        self.live = Some(server);
    }

    fn put_predecessor(&mut self) {
        let builder = self.operation.kind.builder().lock_timeout(FRESH);
        self.predecessor = Some(Predecessor::new(&builder, &self.path));
    }

    fn put_dead(&self) {
        put_dead(&self.staging);
        std::fs::rename(&self.staging, &self.path).expect("rename");
    }
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| there.file_type().is_socket())
}
