//! The simulated kernel: one directory, inodes whose numbers are reused at once, flocks, sockets, processes.
//!
//! It is small and flat, since millions of it are compared by their hash. Sockets are in [`super::sockets`], and by
//! which calls a party breaks a promise is judged in [`super::faults`].

use rustix::io::Errno;

use super::calls::{Call, FdNumber, Name, Reply};
use super::faults::Fault;
use super::inode::{Inode, Origin};
use super::process::{Class, Client, FDS, Object, Process};
use super::sockets::Socket;
use crate::FileKind;
use crate::sys::{FileId, Reach, Stat};

/// Room for so many processes: the parties, and one more that comes when all of them are dead.
pub(super) const PROCESSES: usize = 6;
/// Numbers come from two pools, one for sockets and one for the rest: only ids of one name are ever compared, so this
/// is as hard on identity as one pool, and the order in which a lock and a socket are made leaves no trace.
const POOL: usize = 8;
/// Two for each process: one that heals has the old socket and the new one.
pub(super) const SOCKETS: usize = 2 * PROCESSES;

pub(super) type Ino = u8;
/// Of a process, and of the first socket that it made; the second has [`PROCESSES`] more.
pub(super) type Pid = u8;

/// Who made a socket.
pub(super) fn maker(socket: Pid) -> Pid {
    socket % PROCESSES as Pid
}

/// Where the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FileSystem {
    Local,
    /// Other kernels may serve sockets here, and keep their flocks to themselves.
    Shared,
    /// Other kernels may serve sockets here, and their flocks are seen.
    SharedWithLocks,
    /// The same, and root is on another host than everybody else.
    WithRootElsewhere,
    WithoutFlock,
    WithoutModes,
    /// Two names cannot change places.
    WithoutExchange,
    /// A kernel that refuses who comes to a full backlog, as if the server were dead; and it is full all the time.
    BusyRefuses,
}

/// The mark of a server that may be replaced.
pub(super) const REPLACEABLE: u16 = 0o1000;

/// Whether clients may be turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Welcome {
    /// This is not that kind of company.
    Unknown,
    /// Until the first server has been created
    NotYet,
    /// From then on nobody is: each server is replaced by the next
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kernel {
    names: [Option<Ino>; 4],
    inodes: [Option<Inode>; 2 * POOL],
    pub(super) sockets: [Option<Socket>; SOCKETS],
    pub(super) processes: [Process; PROCESSES],
    pub(super) file_system: FileSystem,
    /// Connections are counted: clients are among the parties.
    pub(super) queues: bool,
    /// Servers accept, and end when they are replaced.
    pub(super) serving: bool,
    /// Whether clients may be turned away.
    pub(super) welcome: Welcome,
    /// The promise that was broken, if one was.
    pub(super) fault: Option<Fault>,
}

/// The first free slot gets the value; its number.
fn put<T>(slots: &mut [Option<T>], value: T) -> u8 {
    let free = slots.iter().position(Option::is_none).expect("the simulated kernel has room");
    slots[free] = Some(value);
    u8::try_from(free).expect("there are few slots")
}

impl Kernel {
    pub(super) fn new() -> Self {
        Kernel {
            names: [None; 4],
            inodes: [None; 2 * POOL],
            sockets: [None; SOCKETS],
            processes: [Process { user: 1, ..Process::default() }; PROCESSES],
            file_system: FileSystem::Local,
            queues: false,
            serving: false,
            welcome: Welcome::Unknown,
            fault: None,
        }
    }

    /// A file that is there before anybody starts.
    pub(super) fn with(self, name: Name, kind: FileKind, mode: u16, size: u8, foreign: bool) -> Self {
        let origin = if foreign { Origin::Foreign } else { Origin::Before };
        self.with_inode(name, Inode { kind, mode, size, links: 1, uid: 1, origin, flock: None })
    }

    pub(super) fn with_inode(mut self, name: Name, inode: Inode) -> Self {
        self.link(name, inode);
        self
    }

    pub(super) fn link(&mut self, name: Name, inode: Inode) -> Ino {
        let number = if inode.kind == FileKind::Socket {
            put(&mut self.inodes[POOL..], inode) + POOL as u8
        } else {
            put(&mut self.inodes[..POOL], inode)
        };
        self.names[name as usize] = Some(number);
        number
    }

    pub(super) fn ino(&self, name: Name) -> Option<Ino> {
        self.names[name as usize]
    }

    pub(super) fn at(&self, name: Name) -> Option<&Inode> {
        self.ino(name).map(|number| self.inode(number))
    }

    pub(super) fn has(&self, name: Name) -> bool {
        self.ino(name).is_some()
    }

    /// What those who wait for the lock can notice: a round of waiting looks at files and flocks, and asks whether a
    /// server lives at the name.
    pub(super) fn looks_to_waiters_like(&self, other: &Kernel) -> bool {
        let is_live = |kernel: &Kernel| kernel.ino(Name::Socket).is_some_and(|ino| kernel.listener_of(ino).is_some());
        is_live(self) == is_live(other)
            && [Name::Socket, Name::Lock, Name::Life]
                .iter()
                .all(|&name| self.ino(name) == other.ino(name) && self.at(name) == other.at(name))
    }

    /// What other parties can notice.
    pub(super) fn looks_like(&self, other: &Kernel) -> bool {
        self.names == other.names && self.inodes == other.inodes && self.sockets == other.sockets
    }

    /// What is left on the disk if everybody dies: what a fresh start depends on.
    pub(super) fn remains(&self) -> [Option<Inode>; 4] {
        Name::ALL.map(|name| self.at(name).map(|inode| Inode { flock: None, ..*inode }))
    }

    pub(super) fn holds_lock(&self, party: Pid, name: Name) -> bool {
        self.at(name).is_some_and(|inode| inode.flock.is_some_and(|(holder, _)| holder == party))
    }

    pub(super) fn inode(&self, number: Ino) -> &Inode {
        self.inodes[usize::from(number)].as_ref().expect("an inode that is in use exists")
    }

    pub(super) fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Inode> {
        self.inodes.iter_mut().flatten()
    }

    fn inode_mut(&mut self, number: Ino) -> &mut Inode {
        self.inodes[usize::from(number)].as_mut().expect("an inode that is in use exists")
    }

    pub(super) fn process(&mut self, party: Pid) -> &mut Process {
        &mut self.processes[usize::from(party)]
    }

    pub(super) fn object(&self, party: Pid, fd: FdNumber) -> Object {
        self.processes[usize::from(party)].fds[usize::from(fd)].expect("a descriptor that is used is open")
    }

    pub(super) fn open(&mut self, party: Pid, object: Object) -> Reply {
        Reply::Fd(put(&mut self.process(party).fds, object))
    }

    pub(super) fn open_fds(&self, party: Pid) -> usize {
        self.processes[usize::from(party)].fds.iter().flatten().count()
    }

    /// Nothing that others do changes what fstat says of this descriptor, as far as the protocol reads it: a file of
    /// which the party holds the flock, or the pin of a socket, of which it reads the kind and the number.
    pub(super) fn is_steady(&self, party: Pid, fd: FdNumber) -> bool {
        match self.object(party, fd) {
            Object::File(number) => self.inode(number).flock == Some((party, fd)),
            // Its mark is read as well, and set late by a successor that waits for its life lock.
            Object::Pin(number) => {
                let marks_change = self.serving && !self.holds_lock(party, Name::Lock);
                self.inode(number).kind == FileKind::Socket && !marks_change
            }
            Object::Socket(_) | Object::Connection => true,
        }
    }

    fn stat(&self, number: Ino) -> Reply {
        let inode = self.inode(number);
        Reply::Stat(Stat {
            id: FileId { dev: 1, ino: u64::from(number) },
            kind: inode.kind,
            mode: u32::from(inode.mode),
            links: u64::from(inode.links),
            size: u64::from(inode.size),
            uid: u32::from(inode.uid),
            // Never changes: the harder case for whoever compares.
            changed: (0, 0),
        })
    }

    pub(super) fn kill(&mut self, party: Pid) {
        for fd in 0..FDS {
            if self.process(party).fds[fd].is_some() {
                self.close(party, fd as FdNumber);
            }
        }
        let process = self.process(party);
        process.crashed = true;
        process.asleep = false;
        process.stopped = false;
        process.blocked = None;
        process.client = Client::Outside;
    }

    fn close(&mut self, party: Pid, fd: FdNumber) {
        let object = self.object(party, fd);
        self.process(party).fds[usize::from(fd)] = None;
        match object {
            Object::File(number) => {
                let inode = self.inode_mut(number);
                if inode.flock == Some((party, fd)) {
                    inode.flock = None;
                }
            }
            Object::Socket(socket) => self.let_go_of_socket(socket),
            Object::Pin(_) | Object::Connection => {}
        }
        self.reap();
    }

    /// Frees the inodes that nothing holds any more.
    fn reap(&mut self) {
        for number in 0..2 * POOL as u8 {
            let unlinked = self.inodes[usize::from(number)].as_ref().is_some_and(|inode| inode.links == 0);
            if unlinked && !self.is_open(number) {
                self.inodes[usize::from(number)] = None;
            }
        }
    }

    /// The file of a socket of the party's, or one of which it holds the flock.
    fn is_of(&self, party: Pid, number: Ino) -> bool {
        let held = self.inode(number).flock.is_some_and(|(holder, _)| holder == party);
        held || self.sockets_of(party).any(|socket| socket.inode == Some(number))
    }

    fn is_open(&self, number: Ino) -> bool {
        self.sockets.iter().flatten().any(|socket| socket.inode == Some(number))
            || self
                .processes
                .iter()
                .flat_map(|process| process.fds.iter().flatten())
                .any(|object| matches!(object, Object::File(file) | Object::Pin(file) if *file == number))
    }

    pub(super) fn apply(&mut self, party: Pid, call: Call) -> Reply {
        match self.answer(party, call) {
            Ok(reply) => reply,
            Err(errno) => Reply::Err(errno.raw_os_error()),
        }
    }

    fn answer(&mut self, party: Pid, call: Call) -> Result<Reply, Errno> {
        match call {
            Call::CreateLock(name) => self.create(party, name, 0o1400),
            Call::CreateGitLock => self.create(party, Name::Lock, 0o600),
            Call::OpenLock(name) => {
                let number = self.ino(name).ok_or(Errno::NOENT)?;
                let (inode, user) = (self.inode(number), self.processes[usize::from(party)].user);
                match inode.kind {
                    FileKind::Symlink => return Err(Errno::LOOP),
                    FileKind::Socket => return Err(Errno::NXIO),
                    _ => {}
                }
                let right = if inode.uid == user { 0o400 } else { 0o004 };
                if user != 0 && inode.mode & right == 0 {
                    return Err(Errno::ACCESS);
                }
                Ok(self.open(party, Object::File(number)))
            }
            Call::Flock(_) if self.file_system == FileSystem::WithoutFlock => Err(Errno::OPNOTSUPP),
            Call::Flock(fd) => {
                let Object::File(number) = self.object(party, fd) else { return Err(Errno::BADF) };
                let inode = self.inode_mut(number);
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
            Call::StatAt(name) | Call::StatPath(name) => {
                self.ino(name).map(|number| self.stat(number)).ok_or(Errno::NOENT)
            }
            Call::Unlink(name) => {
                let number = self.ino(name).ok_or(Errno::NOENT)?;
                self.judge_change(party, name);
                self.judge_removal(party, name, number);
                self.names[name as usize] = None;
                self.inode_mut(number).links -= 1;
                self.reap();
                Ok(Reply::Done)
            }
            Call::Rename(from, to) => {
                let number = self.ino(from).ok_or(Errno::NOENT)?;
                if self.has(to) {
                    return Err(Errno::EXIST);
                }
                self.judge_change(party, from);
                self.judge_change(party, to);
                self.names[from as usize] = None;
                self.names[to as usize] = Some(number);
                Ok(Reply::Done)
            }
            Call::Exchange(..) if self.file_system == FileSystem::WithoutExchange => Err(Errno::INVAL),
            Call::Exchange(one, other) => {
                let (first, second) = (self.ino(one).ok_or(Errno::NOENT)?, self.ino(other).ok_or(Errno::NOENT)?);
                self.judge_change(party, one);
                self.judge_change(party, other);
                self.judge_exchange(party, second);
                self.names[one as usize] = Some(second);
                self.names[other as usize] = Some(first);
                Ok(Reply::Done)
            }
            Call::RenameOver(from, to) => {
                let number = self.ino(from).ok_or(Errno::NOENT)?;
                self.judge_change(party, from);
                self.judge_change(party, to);
                if let Some(old) = self.ino(to) {
                    self.judge_replacement(party, to, old);
                    self.inode_mut(old).links -= 1;
                }
                self.names[from as usize] = None;
                self.names[to as usize] = Some(number);
                self.reap();
                Ok(Reply::Done)
            }
            Call::Pin(name) => {
                let number = self.ino(name).ok_or(Errno::NOENT)?;
                Ok(self.open(party, Object::Pin(number)))
            }
            Call::Chmod(fd, mode) | Call::Fchmod(fd, mode) => {
                if let Object::File(number) | Object::Pin(number) = self.object(party, fd) {
                    self.judge_rights(party, number);
                    self.inode_mut(number).mode = mode as u16;
                }
                if let Object::Socket(_) = self.object(party, fd) {
                    self.socket(party, fd)?.marked = mode & u32::from(REPLACEABLE) != 0;
                }
                Ok(Reply::Done)
            }
            Call::Chown(fd, owner) => {
                if let (Object::Pin(number), Some(owner)) = (self.object(party, fd), owner) {
                    self.judge_rights(party, number);
                    self.inode_mut(number).uid = owner as u8;
                }
                Ok(Reply::Done)
            }
            Call::Reach(_) => Ok(Reply::Reach(match self.file_system {
                FileSystem::Shared => Reach::Unknown,
                FileSystem::SharedWithLocks | FileSystem::WithRootElsewhere => Reach::SharedWithLocks,
                FileSystem::BusyRefuses => Reach::LocalBusyRefuses,
                FileSystem::Local
                | FileSystem::WithoutFlock
                | FileSystem::WithoutModes
                | FileSystem::WithoutExchange => Reach::Local,
            })),
            Call::FlockHolder(ino) => Ok(match self.inodes[ino as usize].and_then(|inode| inode.flock) {
                Some(_) => Reply::Yes,
                None => Reply::No,
            }),
            Call::Socket => Ok(self.new_socket(party)),
            Call::Usurp(fd) => {
                if self.has(Name::Socket) {
                    self.answer(party, Call::Unlink(Name::Socket))?;
                }
                self.answer(party, Call::Bind(fd, Name::Socket))?;
                self.listen(party, fd, 5)
            }
            Call::PutFile => {
                if self.has(Name::Socket) {
                    self.answer(party, Call::Unlink(Name::Socket))?;
                }
                let (kind, origin) = (FileKind::Regular, Origin::Foreign);
                self.link(Name::Socket, Inode { kind, mode: 0o644, size: 0, links: 1, uid: 1, origin, flock: None });
                Ok(Reply::Done)
            }
            Call::Vanish(name) => {
                if let Some(number) = self.ino(name).filter(|&number| self.is_of(party, number)) {
                    self.names[name as usize] = None;
                    self.inode_mut(number).links -= 1;
                    self.reap();
                }
                Ok(Reply::Done)
            }
            Call::Bind(fd, name) => {
                if self.has(name) {
                    return Err(Errno::ADDRINUSE);
                }
                self.judge_change(party, name);
                let process = self.processes[usize::from(party)];
                let origin = if process.class == Class::Stranger { Origin::Before } else { Origin::Ours };
                let mark = if self.socket(party, fd)?.marked { REPLACEABLE } else { 0 };
                let (kind, mode) = (FileKind::Socket, mark | if process.odd_umask { 0o200 } else { 0o600 });
                let inode = Inode { kind, mode, size: 0, links: 1, uid: process.user, origin, flock: None };
                let number = self.link(name, inode);
                self.socket(party, fd)?.inode = Some(number);
                Ok(Reply::Done)
            }
            Call::Listen(fd, backlog) => self.listen(party, fd, backlog),
            Call::Shut(fd) => {
                self.socket(party, fd)?.shut = true;
                Ok(Reply::Done)
            }
            Call::Accept(fd) => self.accept(party, fd),
            Call::Await(fd) => self.accept_blocking(party, fd),
            Call::Grace => Ok(Reply::Done),
            Call::Connect(fd) => {
                let Object::Pin(number) = self.object(party, fd) else { return Err(Errno::BADF) };
                self.connect(party, number)
            }
            Call::ConnectPath => {
                let number = self.ino(Name::Socket).ok_or(Errno::NOENT)?;
                self.connect(party, number)
            }
            Call::Find => self.find(party).inspect_err(|_| self.judge_refusal(party)),
            Call::ConnectBlocking => self.connect_blocking(party).inspect_err(|_| self.judge_refusal(party)),
            Call::Inherit => self.inherit(party),
            Call::Close(fd) => {
                self.close(party, fd);
                Ok(Reply::Done)
            }
            Call::Note(note) => {
                self.judge_note(party, note);
                self.process(party).notes.add(note);
                Ok(Reply::Done)
            }
            Call::Pause | Call::Stay => Ok(Reply::Late),
        }
    }

    fn create(&mut self, party: Pid, name: Name, mode: u16) -> Result<Reply, Errno> {
        if self.has(name) {
            return Err(Errno::EXIST);
        }
        let process = self.processes[usize::from(party)];
        let origin = if process.class == Class::Git { Origin::Git(party) } else { Origin::Ours };
        let mode = match self.file_system {
            FileSystem::WithoutModes => 0o755,
            _ if process.odd_umask => mode & !0o400,
            _ => mode,
        };
        let kind = FileKind::Regular;
        let number = self.link(name, Inode { kind, mode, size: 0, links: 1, uid: process.user, origin, flock: None });
        Ok(self.open(party, Object::File(number)))
    }
}
