//! The processes of the simulated kernel, and what the judge must know of them.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::calls::Note;
use super::kernel::{Ino, Pid};

pub(super) const FDS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    File(Ino),
    Pin(Ino),
    Socket(Pid),
    /// One end of a connection
    Connection,
}

/// What the judge must know of a party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Class {
    #[default]
    Ours,
    Git,
    /// Changes names as it likes
    Stranger,
    /// A design known to be wrong: that it breaks the rule is no news, the harm that comes of it is
    Rejected,
}

/// How a client fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Client {
    #[default]
    Outside,
    Queued,
    Served,
    Reset,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) fds: [Option<Object>; FDS],
    pub(super) notes: Notes,
    pub(super) class: Class,
    pub(super) user: u8,
    /// Its umask takes the owner's read bit.
    pub(super) odd_umask: bool,
    /// It waits for the lock, and nothing that it could notice has changed since it looked.
    pub(super) asleep: bool,
    /// It has looked again since anything changed.
    pub(super) sure: bool,
    pub(super) crashed: bool,
    /// Stopped, but alive.
    pub(super) stopped: bool,
    /// In connect(), on the full backlog of this socket
    pub(super) blocked: Option<Pid>,
    /// This is the listener that its connect() has found
    pub(super) found: Option<Pid>,
    pub(super) client: Client,
}

/// All that a party has noted.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Notes(u16);

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Note::ALL.into_iter().filter(|&note| self.has(note))).finish()
    }
}

impl Notes {
    pub(super) fn add(&mut self, note: Note) {
        self.0 |= 1 << note as u16;
    }

    pub(super) fn has(self, note: Note) -> bool {
        self.0 & 1 << note as u16 != 0
    }

    pub(super) fn only(self, note: Note) -> bool {
        self.0 == 1 << note as u16
    }

    pub(super) fn none(self) -> bool {
        self.0 == 0
    }
}

// What a state is hashed by: everything, packed into two words.

impl Hash for Process {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from_le_bytes(self.fds.map(|object| match object {
            None => 0,
            Some(Object::Connection) => 1,
            Some(Object::Socket(socket)) => 2 + socket,
            Some(Object::File(number)) => 32 + number,
            Some(Object::Pin(number)) => 64 + number,
        })));
        hasher.write_u64(
            u64::from(self.notes.0)
                | (self.class as u64) << 16
                | u64::from(self.user) << 24
                | u64::from(self.odd_umask) << 32
                | u64::from(self.asleep) << 33
                | u64::from(self.crashed) << 34
                | u64::from(self.stopped) << 35
                | u64::from(self.sure) << 36
                | (self.client as u64) << 40
                | self.blocked.map_or(0, |socket| 1 + u64::from(socket)) << 48
                | self.found.map_or(0, |socket| 1 + u64::from(socket)) << 56,
        );
    }
}
