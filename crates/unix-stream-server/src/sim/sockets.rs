//! The sockets of the simulated kernel: listeners, their queues, and who sleeps in connect().

use std::hash::{Hash, Hasher};

use rustix::io::Errno;

use super::calls::{FdNumber, Name, Reply};
use super::kernel::{FileSystem, Ino, Kernel, PROCESSES, Pid, maker};
use super::process::{Client, Object};

const QUEUE: usize = 4;
/// The largest backlog that listen() gives.
const SOMAXCONN: i32 = 1;
/// Somebody who only looked, and may have hung up.
const PROBE: Pid = PROCESSES as Pid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) inode: Option<Ino>,
    pub(super) listening: bool,
    pub(super) shut: bool,
    /// Its file is to be born with the mark of the replaceable.
    pub(super) marked: bool,
    /// A successor has taken its name over.
    pub(super) replaced: bool,
    backlog: i32,
    /// Who waits to be accepted, the first one first
    queue: [Option<Pid>; QUEUE],
}

impl Socket {
    pub(super) fn is_live(&self) -> bool {
        self.listening && !self.shut
    }

    fn queued(&self) -> usize {
        self.queue.iter().flatten().count()
    }

    /// unix_recvq_full(): one more gets in than the backlog says.
    fn is_full(&self) -> bool {
        self.queued() >= QUEUE || self.queued() > usize::try_from(self.backlog).unwrap_or(0)
    }

    /// The same socket, where the process `n` has the number `place[n]`.
    pub(super) fn renumbered(mut self, place: &[Pid; PROCESSES]) -> Self {
        for client in self.queue.iter_mut().flatten().filter(|client| **client != PROBE) {
            *client = place[usize::from(*client)];
        }
        self
    }

    fn enqueue(&mut self, client: Pid) {
        let free = self.queued();
        self.queue[free] = Some(client);
    }
}

impl Kernel {
    pub(super) fn new_socket(&mut self, party: Pid) -> Reply {
        let socket = Socket {
            inode: None,
            listening: false,
            shut: false,
            marked: false,
            replaced: false,
            backlog: 0,
            queue: [None; QUEUE],
        };
        let second = party + PROCESSES as Pid;
        let free = [party, second].into_iter().find(|&it| self.sockets[usize::from(it)].is_none());
        let number = free.expect("a party has two sockets at a time at the most");
        self.sockets[usize::from(number)] = Some(socket);
        self.open(party, Object::Socket(number))
    }

    pub(super) fn sockets_of(&self, party: Pid) -> impl Iterator<Item = &Socket> {
        [party, party + PROCESSES as Pid].into_iter().filter_map(|number| self.sockets[usize::from(number)].as_ref())
    }

    pub(super) fn socket(&mut self, party: Pid, fd: FdNumber) -> Result<&mut Socket, Errno> {
        let Object::Socket(number) = self.object(party, fd) else { return Err(Errno::NOTSOCK) };
        self.sockets[usize::from(number)].as_mut().ok_or(Errno::BADF)
    }

    pub(super) fn is_live_at_name(&self, party: Pid) -> bool {
        let name = self.ino(Name::Socket);
        name.is_some() && self.sockets_of(party).any(|socket| socket.inode == name && socket.is_live())
    }

    /// The socket that listens behind a file.
    pub(super) fn listener_of(&self, inode: Ino) -> Option<Pid> {
        let live = |socket: &Option<Socket>| socket.is_some_and(|it| it.inode == Some(inode) && it.is_live());
        self.sockets.iter().position(live).map(|socket| socket as Pid)
    }

    pub(super) fn listen(&mut self, party: Pid, fd: FdNumber, backlog: i32) -> Result<Reply, Errno> {
        let Object::Socket(number) = self.object(party, fd) else { return Err(Errno::NOTSOCK) };
        let queues = self.queues;
        let socket = self.socket(party, fd)?;
        if socket.inode.is_none() {
            return Err(Errno::INVAL);
        }
        let backlog = backlog.clamp(0, SOMAXCONN);
        let grown = backlog > socket.backlog;
        socket.listening = true;
        if queues {
            socket.backlog = backlog;
            if grown {
                self.wake_clients(number);
            }
        }
        Ok(Reply::Done)
    }

    pub(super) fn connect(&mut self, party: Pid, inode: Ino) -> Result<Reply, Errno> {
        let number = self.listener_of(inode).ok_or(Errno::CONNREFUSED)?;
        let is_root = |party: Pid| self.processes[usize::from(party)].user == 0;
        match self.file_system {
            FileSystem::BusyRefuses => return Err(Errno::CONNREFUSED),
            FileSystem::WithRootElsewhere if is_root(party) != is_root(maker(number)) => {
                return Err(Errno::CONNREFUSED);
            }
            _ => {}
        }
        if self.queues {
            let socket = self.sockets[usize::from(number)].as_mut().ok_or(Errno::CONNREFUSED)?;
            if socket.is_full() {
                return Err(Errno::WOULDBLOCK);
            }
            socket.enqueue(PROBE);
            self.wake_server(number);
        }
        Ok(self.open(party, Object::Connection))
    }

    /// The first half of a client's connect(): by the name it finds a listener, and may be late for it in the second.
    pub(super) fn find(&mut self, party: Pid) -> Result<Reply, Errno> {
        let inode = self.ino(Name::Socket).ok_or(Errno::NOENT)?;
        let number = self.listener_of(inode).ok_or(Errno::CONNREFUSED)?;
        self.process(party).found = Some(number);
        Ok(Reply::Done)
    }

    pub(super) fn connect_blocking(&mut self, party: Pid) -> Result<Reply, Errno> {
        let found = self.process(party).found.take().filter(|&it| self.sockets[usize::from(it)].is_some());
        let number = match found {
            Some(number) => number,
            // That socket has ended, or the client has slept: the name is looked up again.
            None => {
                let inode = self.ino(Name::Socket).ok_or(Errno::NOENT)?;
                self.listener_of(inode).ok_or(Errno::CONNREFUSED)?
            }
        };
        let socket = self.sockets[usize::from(number)].as_mut().ok_or(Errno::CONNREFUSED)?;
        if !socket.is_live() {
            return Err(Errno::CONNREFUSED);
        }
        if socket.is_full() {
            self.process(party).blocked = Some(number);
            return Ok(Reply::Blocked);
        }
        socket.enqueue(party);
        self.wake_server(number);
        self.process(party).client = Client::Queued;
        Ok(Reply::Done)
    }

    /// Never blocks: a server of ours that has nobody to serve goes on.
    pub(super) fn accept(&mut self, party: Pid, fd: FdNumber) -> Result<Reply, Errno> {
        let Object::Socket(number) = self.object(party, fd) else { return Err(Errno::NOTSOCK) };
        let socket = self.socket(party, fd)?;
        if !socket.listening {
            return Err(Errno::INVAL);
        }
        let Some(first) = socket.queue[0] else {
            return Err(if socket.shut { Errno::INVAL } else { Errno::WOULDBLOCK });
        };
        socket.queue.rotate_left(1);
        socket.queue[QUEUE - 1] = None;
        if first != PROBE {
            self.process(first).client = Client::Served;
        }
        // It sleeps exclusively (unix_wait_for_peer): one that is let in wakes one, and if that one goes elsewhere the
        // others sleep on. A listen() with a larger backlog, and the end of the socket, wake them all.
        if let Some(client) = self.processes.iter_mut().find(|process| process.blocked == Some(number)) {
            client.blocked = None;
        }
        Ok(Reply::Done)
    }

    /// A copy of the first listener there is, with the same open file description.
    pub(super) fn inherit(&mut self, party: Pid) -> Result<Reply, Errno> {
        let live = |socket: &Option<Socket>| socket.is_some_and(|socket| socket.is_live());
        let number = self.sockets.iter().position(live).ok_or(Errno::NOENT)?;
        Ok(self.open(party, Object::Socket(number as Pid)))
    }

    /// The last copy ends the socket, resets who is queued, and wakes who sleeps.
    pub(super) fn let_go_of_socket(&mut self, number: Pid) {
        let held = |object: &Object| *object == Object::Socket(number);
        if self.processes.iter().any(|process| process.fds.iter().flatten().any(held)) {
            return;
        }
        if let Some(socket) = self.sockets[usize::from(number)].take() {
            for client in socket.queue.into_iter().flatten().filter(|&client| client != PROBE) {
                if self.process(client).client == Client::Queued {
                    self.process(client).client = Client::Reset;
                }
            }
        }
        self.wake_clients(number);
    }

    /// As [`accept`](Self::accept), but sleeps while nobody is there.
    pub(super) fn accept_blocking(&mut self, party: Pid, fd: FdNumber) -> Result<Reply, Errno> {
        let Object::Socket(number) = self.object(party, fd) else { return Err(Errno::NOTSOCK) };
        match self.accept(party, fd) {
            Err(Errno::WOULDBLOCK) => {
                self.process(party).blocked = Some(number);
                Ok(Reply::Blocked)
            }
            result => result,
        }
    }

    /// A server that sleeps in accept() has somebody to accept.
    fn wake_server(&mut self, number: Pid) {
        let server = self.process(maker(number));
        if server.blocked == Some(number) {
            server.blocked = None;
        }
    }

    fn wake_clients(&mut self, number: Pid) {
        for process in &mut self.processes {
            if process.blocked == Some(number) {
                process.blocked = None;
            }
        }
    }
}

impl Hash for Socket {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let queue = self.queue.iter().fold(0, |all, client| all * 8 + client.map_or(0, |client| 1 + u64::from(client)));
        hasher.write_u64(
            self.inode.map_or(0, |inode| 1 + u64::from(inode))
                | u64::from(self.listening) << 8
                | u64::from(self.shut) << 9
                | u64::from(self.marked) << 10
                | u64::from(self.replaced) << 11
                | queue << 16
                | u64::from(u32::from_ne_bytes(self.backlog.to_ne_bytes())) << 32,
        );
    }
}
