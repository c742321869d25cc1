//! The simulated kernel: one directory, inodes whose numbers are reused at once, flocks, sockets, processes. It also
//! judges: each call by which a party breaks a promise is recorded as a fault.

use std::collections::BTreeMap;
use std::ffi::CStr;

use rustix::io::Errno;

use crate::FileKind;
use crate::sys::{FileId, Stat};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    Socket,
    Lock,
    Life,
    Temporary,
}

impl Name {
    pub(super) fn of(name: &CStr) -> Self {
        match name.to_bytes() {
            b"s" => Name::Socket,
            b"s.lock" => Name::Lock,
            b"s.owner" => Name::Life,
            b"s.new" => Name::Temporary,
            other => panic!("no such name in the simulated directory: {other:?}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    CreateLock(Name),
    /// git's: another mode, and no flock to follow
    CreateGitLock,
    OpenLock(Name),
    Flock(usize),
    Stat(usize),
    StatAt(Name),
    Unlink(Name),
    Rename(Name, Name),
    Pin(Name),
    Chmod(usize, u32),
    Socket,
    Bind(usize, Name),
    Listen(usize),
    Shut(usize),
    Connect(usize),
    /// connect() by the name, as git does it
    ConnectPath,
    Close(usize),
    Pause,
    /// Not a system call: the party says where it stands, and all that it remembers from here on
    Note(Note, String),
    /// Not a system call: the party lives on and does nothing more
    Stay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Note {
    /// create() has returned a server: from here on the name must lead to it
    Owns,
    /// claim() has returned
    Claims,
    /// close() is called
    Closing,
    InUse,
    Locked,
    NotASocket,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    Done,
    Fd(usize),
    Stat(Stat),
    /// The pause is over because nothing else can happen any more: the clock has moved past every deadline
    Late,
    Err(i32),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Inode {
    kind: FileKind,
    mode: u32,
    size: u64,
    links: u64,
    /// Who made it; `None`: it was there before, and is nobody's to remove unless it is a dead socket or a dead mark.
    maker: Option<usize>,
    flock: Option<(usize, usize)>,
    foreign: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Socket {
    inode: Option<usize>,
    listening: bool,
    shut: bool,
    party: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Object {
    File(usize),
    Pin(usize),
    Socket(usize),
    /// The client's end of a probe
    Connection,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Process {
    fds: Vec<Option<Object>>,
    pub(super) notes: Vec<Note>,
    /// The server that must be found at the name
    owns: Option<usize>,
    pub(super) is_git: bool,
    pub(super) asleep: bool,
    pub(super) crashed: bool,
}

/// Where the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FileSystem {
    Local,
    /// Other kernels may serve sockets here, and their flocks are not seen.
    Shared,
    /// Other kernels may serve sockets here, and their flocks are seen.
    SharedWithLocks,
    WithoutFlock,
    WithoutModes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kernel {
    names: BTreeMap<Name, usize>,
    inodes: Vec<Option<Inode>>,
    sockets: Vec<Option<Socket>>,
    pub(super) processes: Vec<Process>,
    pub(super) file_system: FileSystem,
    /// The promise that was broken, if one was.
    pub(super) fault: Option<String>,
}

fn put<T>(slots: &mut Vec<Option<T>>, value: T) -> usize {
    // The lowest free number, at once: as hard on identity as ext4 is.
    match slots.iter().position(Option::is_none) {
        Some(free) => {
            slots[free] = Some(value);
            free
        }
        None => {
            slots.push(Some(value));
            slots.len() - 1
        }
    }
}

impl Kernel {
    pub(super) fn new(parties: usize) -> Self {
        Kernel {
            names: BTreeMap::new(),
            inodes: Vec::new(),
            sockets: Vec::new(),
            processes: vec![Process::default(); parties],
            file_system: FileSystem::Local,
            fault: None,
        }
    }

    /// A file that is there before anybody starts.
    pub(super) fn with(mut self, name: Name, kind: FileKind, mode: u32, size: u64, foreign: bool) -> Self {
        let inode = Inode { kind, mode, size, links: 1, maker: None, flock: None, foreign };
        let number = put(&mut self.inodes, inode);
        self.names.insert(name, number);
        self
    }

    /// The names that a party made. What was there before and was never touched is not asked after.
    pub(super) fn made(&self) -> Vec<Name> {
        self.names.keys().copied().filter(|&name| self.at(name).is_some_and(|inode| inode.maker.is_some())).collect()
    }

    pub(super) fn has(&self, name: Name) -> bool {
        self.names.contains_key(&name)
    }

    pub(super) fn has_same_files(&self, other: &Kernel) -> bool {
        self.names == other.names && self.inodes == other.inodes
    }

    /// What other parties can notice.
    pub(super) fn looks_like(&self, other: &Kernel) -> bool {
        self.has_same_files(other) && self.sockets == other.sockets
    }

    /// The git lock of a crashed git stays for ever: that is git's to answer for.
    pub(super) fn is_blocked_by_git(&self) -> bool {
        self.at(Name::Lock)
            .is_some_and(|inode| inode.foreign || inode.maker.is_some_and(|maker| self.processes[maker].is_git))
    }

    pub(super) fn has_foreign(&self, name: Name) -> bool {
        self.at(name).is_some_and(|inode| inode.foreign)
    }

    pub(super) fn is_live_at_name(&self, party: usize) -> bool {
        let Some(&number) = self.names.get(&Name::Socket) else { return false };
        self.sockets
            .iter()
            .flatten()
            .any(|socket| socket.inode == Some(number) && socket.listening && !socket.shut && socket.party == party)
    }

    fn at(&self, name: Name) -> Option<&Inode> {
        self.names.get(&name).and_then(|&number| self.inodes[number].as_ref())
    }

    fn inode(&mut self, number: usize) -> &mut Inode {
        self.inodes[number].as_mut().expect("an inode that is in use exists")
    }

    fn object(&self, party: usize, fd: usize) -> Object {
        self.processes[party].fds[fd].expect("a descriptor that is used is open")
    }

    fn open(&mut self, party: usize, object: Object) -> Reply {
        Reply::Fd(put(&mut self.processes[party].fds, object))
    }

    /// Nothing that others do changes what fstat says of this descriptor, as far as the protocol reads it: a file of
    /// which the party holds the flock, or a pin, of which it reads the kind and the number.
    pub(super) fn is_steady(&self, party: usize, fd: usize) -> bool {
        match self.object(party, fd) {
            Object::File(number) => self.inodes[number].as_ref().is_some_and(|inode| inode.flock == Some((party, fd))),
            Object::Pin(_) | Object::Socket(_) | Object::Connection => true,
        }
    }

    fn stat(&self, number: usize) -> Reply {
        let inode = self.inodes[number].as_ref().expect("an inode that is in use exists");
        Reply::Stat(Stat {
            id: FileId { dev: 1, ino: number as u64 },
            kind: inode.kind,
            mode: inode.mode,
            links: inode.links,
            size: inode.size,
            uid: 1000,
            // Never changes: the harder case for whoever compares.
            changed: (0, 0),
        })
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    pub(super) fn kill(&mut self, party: usize) {
        for fd in 0..self.processes[party].fds.len() {
            if self.processes[party].fds[fd].is_some() {
                self.close(party, fd);
            }
        }
        let process = &mut self.processes[party];
        process.crashed = true;
        process.asleep = false;
        process.owns = None;
    }

    fn close(&mut self, party: usize, fd: usize) {
        match self.object(party, fd) {
            Object::File(number) => {
                let inode = self.inode(number);
                if inode.flock == Some((party, fd)) {
                    inode.flock = None;
                }
            }
            Object::Socket(number) => self.sockets[number] = None,
            Object::Pin(_) | Object::Connection => {}
        }
        self.processes[party].fds[fd] = None;
        self.reap();
    }

    /// Frees the inodes that nothing holds any more.
    fn reap(&mut self) {
        for number in 0..self.inodes.len() {
            let held = self.inodes[number].as_ref().is_some_and(|inode| inode.links > 0)
                || self.sockets.iter().flatten().any(|socket| socket.inode == Some(number))
                || self
                    .processes
                    .iter()
                    .flat_map(|process| process.fds.iter().flatten())
                    .any(|object| matches!(object, Object::File(file) | Object::Pin(file) if *file == number));
            if !held {
                self.inodes[number] = None;
            }
        }
    }

    pub(super) fn apply(&mut self, party: usize, call: &Call) -> Reply {
        match self.answer(party, call) {
            Ok(reply) => reply,
            Err(errno) => Reply::Err(errno.raw_os_error()),
        }
    }

    fn answer(&mut self, party: usize, call: &Call) -> Result<Reply, Errno> {
        match *call {
            Call::CreateLock(name) => self.create(party, name, 0o1400),
            Call::CreateGitLock => self.create(party, Name::Lock, 0o600),
            Call::OpenLock(name) => {
                let &number = self.names.get(&name).ok_or(Errno::NOENT)?;
                if self.inode(number).mode & 0o400 == 0 {
                    return Err(Errno::ACCESS);
                }
                Ok(self.open(party, Object::File(number)))
            }
            Call::Flock(_) if self.file_system == FileSystem::WithoutFlock => Err(Errno::OPNOTSUPP),
            Call::Flock(fd) => {
                let Object::File(number) = self.object(party, fd) else { return Err(Errno::BADF) };
                let inode = self.inode(number);
                match inode.flock {
                    Some(holder) if holder != (party, fd) => Err(Errno::WOULDBLOCK),
                    _ => {
                        inode.flock = Some((party, fd));
                        Ok(Reply::Done)
                    }
                }
            }
            Call::Stat(fd) => match self.object(party, fd) {
                Object::File(number) | Object::Pin(number) => Ok(self.stat(number)),
                Object::Socket(_) | Object::Connection => Err(Errno::BADF),
            },
            Call::StatAt(name) => self.names.get(&name).map(|&number| self.stat(number)).ok_or(Errno::NOENT),
            Call::Unlink(name) => {
                let number = self.names.get(&name).copied().ok_or(Errno::NOENT)?;
                self.judge_change(party, name);
                self.judge_removal(party, name, number);
                self.names.remove(&name);
                self.inode(number).links -= 1;
                self.reap();
                Ok(Reply::Done)
            }
            Call::Rename(from, to) => {
                let number = self.names.get(&from).copied().ok_or(Errno::NOENT)?;
                if self.names.contains_key(&to) {
                    return Err(Errno::EXIST);
                }
                self.judge_change(party, to);
                self.names.remove(&from);
                self.names.insert(to, number);
                Ok(Reply::Done)
            }
            Call::Pin(name) => {
                let &number = self.names.get(&name).ok_or(Errno::NOENT)?;
                Ok(self.open(party, Object::Pin(number)))
            }
            Call::Chmod(fd, mode) => {
                if let Object::File(number) | Object::Pin(number) = self.object(party, fd) {
                    self.inode(number).mode = mode;
                }
                Ok(Reply::Done)
            }
            Call::Socket => {
                let socket = Socket { inode: None, listening: false, shut: false, party };
                let number = put(&mut self.sockets, socket);
                Ok(self.open(party, Object::Socket(number)))
            }
            Call::Bind(fd, name) => {
                if self.names.contains_key(&name) {
                    return Err(Errno::ADDRINUSE);
                }
                self.judge_change(party, name);
                let inode = Inode {
                    kind: FileKind::Socket,
                    mode: 0o600,
                    size: 0,
                    links: 1,
                    maker: Some(party),
                    flock: None,
                    foreign: false,
                };
                let number = put(&mut self.inodes, inode);
                self.names.insert(name, number);
                self.socket(party, fd)?.inode = Some(number);
                Ok(Reply::Done)
            }
            Call::Listen(fd) => {
                self.socket(party, fd)?.listening = true;
                Ok(Reply::Done)
            }
            Call::Shut(fd) => {
                self.socket(party, fd)?.shut = true;
                Ok(Reply::Done)
            }
            Call::Connect(fd) => {
                let Object::Pin(number) = self.object(party, fd) else { return Err(Errno::BADF) };
                self.connect(party, number)
            }
            Call::ConnectPath => {
                let number = self.names.get(&Name::Socket).copied().ok_or(Errno::NOENT)?;
                self.connect(party, number)
            }
            Call::Close(fd) => {
                self.close(party, fd);
                Ok(Reply::Done)
            }
            Call::Note(note, _) => {
                self.note(party, note);
                Ok(Reply::Done)
            }
            Call::Pause | Call::Stay => Ok(Reply::Late),
        }
    }

    fn create(&mut self, party: usize, name: Name, mode: u32) -> Result<Reply, Errno> {
        if self.names.contains_key(&name) {
            return Err(Errno::EXIST);
        }
        let mode = if self.file_system == FileSystem::WithoutModes { 0o755 } else { mode };
        let inode =
            Inode { kind: FileKind::Regular, mode, size: 0, links: 1, maker: Some(party), flock: None, foreign: false };
        let number = put(&mut self.inodes, inode);
        self.names.insert(name, number);
        Ok(self.open(party, Object::File(number)))
    }

    fn socket(&mut self, party: usize, fd: usize) -> Result<&mut Socket, Errno> {
        let Object::Socket(number) = self.object(party, fd) else { return Err(Errno::NOTSOCK) };
        self.sockets[number].as_mut().ok_or(Errno::BADF)
    }

    fn connect(&mut self, party: usize, number: usize) -> Result<Reply, Errno> {
        let live = |socket: &Socket| socket.inode == Some(number) && socket.listening && !socket.shut;
        if self.sockets.iter().flatten().any(live) {
            return Ok(self.open(party, Object::Connection));
        }
        Err(Errno::CONNREFUSED)
    }

    fn note(&mut self, party: usize, note: Note) {
        match note {
            Note::Owns => {
                if !self.is_live_at_name(party) {
                    self.fail(format!("P1: create of party {party} returned a server that is not at the name"));
                }
                self.processes[party].owns = self.names.get(&Name::Socket).copied();
            }
            Note::Closing => self.processes[party].owns = None,
            Note::Claims | Note::InUse | Note::Locked | Note::NotASocket | Note::Failed => {}
        }
        self.processes[party].notes.push(note);
    }

    /// The one rule: every change of the name happens under the lock.
    fn judge_change(&mut self, party: usize, name: Name) {
        if !matches!(name, Name::Socket | Name::Temporary | Name::Life) {
            return;
        }
        let lock = self.at(Name::Lock);
        if self.processes[party].is_git {
            // git's close does not lock; its create must not run while we are at work (P5).
            let ours = lock.is_some_and(|lock| lock.flock.is_some());
            if ours && self.processes[party].owns.is_none() && self.processes[party].notes.is_empty() {
                self.fail(format!("P5: git (party {party}) changes {name:?} while one of ours holds the lock"));
            }
            return;
        }
        let held = lock.is_some_and(|lock| lock.flock.is_some_and(|(holder, _)| holder == party));
        if !held {
            self.fail(format!("rule: party {party} changes {name:?} without holding the lock"));
        }
    }

    fn judge_removal(&mut self, party: usize, name: Name, number: usize) {
        let inode = self.inodes[number].clone().expect("an inode that is in use exists");
        if inode.foreign {
            self.fail(format!("P3: party {party} removes a file that is not ours, {name:?}"));
        }
        match name {
            Name::Socket | Name::Temporary => {
                let robbed = self
                    .sockets
                    .iter()
                    .flatten()
                    .find(|socket| socket.inode == Some(number) && socket.party != party && !socket.shut);
                if let Some(robbed) = robbed {
                    let robbed = robbed.party;
                    self.fail(format!("P2: party {party} removes the socket of party {robbed}, which lives"));
                }
            }
            Name::Lock | Name::Life => {
                let by_flock = inode.flock.is_some_and(|(holder, _)| holder == party);
                let by_existence = inode.maker == Some(party)
                    && (self.processes[party].is_git || self.file_system == FileSystem::WithoutFlock);
                if !by_flock && !by_existence {
                    self.fail(format!("P3: party {party} removes {name:?}, which it does not hold"));
                }
            }
        }
    }
}
