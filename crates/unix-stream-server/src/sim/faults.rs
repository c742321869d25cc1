//! The judge in the kernel: by which calls a party breaks a promise.

use std::fmt;

use super::calls::{Name, Note};
use super::inode::Origin;
use super::kernel::{Ino, Kernel, Pid, REPLACEABLE, Welcome, maker};
use super::process::{Class, Object};
use crate::FileKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    Rule { party: Pid, name: Name },
    NotAtName { party: Pid },
    Theft { party: Pid, robbed: Pid },
    Foreign { party: Pid, name: Name },
    NotHeld { party: Pid, name: Name },
    Rights { party: Pid },
    GitBesideUs { party: Pid, name: Name },
    UsBesideGit { party: Pid, name: Name },
    GitLock { party: Pid },
    TurnedAway { party: Pid },
    WrongPin { party: Pid },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Rule { party, name } => {
                write!(f, "rule: party {party} changes {name:?} without holding the lock")
            }
            Fault::NotAtName { party } => {
                write!(f, "P1: create of party {party} returned a server that is not at the name")
            }
            Fault::Theft { party, robbed } => {
                write!(f, "P2: party {party} removes the socket of party {robbed}, which lives")
            }
            Fault::Foreign { party, name } => write!(f, "P3: party {party} removes a file that is not ours, {name:?}"),
            Fault::NotHeld { party, name } => write!(f, "P3: party {party} removes {name:?}, which it does not hold"),
            Fault::Rights { party } => write!(f, "P3: party {party} changes the rights of a file that is not ours"),
            Fault::GitBesideUs { party, name } => {
                write!(f, "P5: git (party {party}) changes {name:?} while one of ours holds the lock")
            }
            Fault::UsBesideGit { party, name } => {
                write!(f, "P5: party {party} changes {name:?} while git holds its lock")
            }
            Fault::TurnedAway { party } => {
                write!(f, "P7: client {party} is turned away, though each server was replaced by the next")
            }
            Fault::WrongPin { party } => write!(f, "P6: the pin with which party {party} has healed is another's file"),
            Fault::GitLock { party } => write!(f, "P5: party {party} removes git's lock"),
        }
    }
}

impl Kernel {
    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// The one rule: every change of the name happens under the lock.
    pub(super) fn judge_change(&mut self, party: Pid, name: Name) {
        let process = self.processes[usize::from(party)];
        if name == Name::Lock || process.class == Class::Stranger {
            return;
        }
        let lock = self.at(Name::Lock).copied();
        if process.class == Class::Git {
            // git's close does not lock; its create must not run while we are at work (P5).
            let ours = lock.is_some_and(|lock| lock.flock.is_some() && !matches!(lock.origin, Origin::Git(_)));
            if ours && process.notes.none() {
                self.fail(Fault::GitBesideUs { party, name });
            }
            return;
        }
        if matches!(lock, Some(lock) if matches!(lock.origin, Origin::Git(_))) {
            self.fail(Fault::UsBesideGit { party, name });
        }
        if !self.holds_lock(party, Name::Lock) && process.class == Class::Ours {
            self.fail(Fault::Rule { party, name });
        }
    }

    pub(super) fn judge_removal(&mut self, party: Pid, name: Name, number: Ino) {
        let inode = *self.inode(number);
        let class = self.processes[usize::from(party)].class;
        if class == Class::Stranger {
            return;
        }
        if inode.origin == Origin::Foreign {
            self.fail(Fault::Foreign { party, name });
        }
        match name {
            Name::Socket | Name::Temporary => {
                // Under its temporary name, a server that may be replaced has been.
                let replaced = name == Name::Temporary && inode.mode & REPLACEABLE != 0;
                if !replaced {
                    self.judge_theft(party, number);
                }
            }
            Name::Lock | Name::Life => {
                let held = inode.flock.is_some_and(|(holder, _)| holder == party);
                match inode.origin {
                    Origin::Git(maker) if maker == party => {}
                    Origin::Git(_) => self.fail(Fault::GitLock { party }),
                    // On a file system without flock its maker takes it back, and nobody else could have it.
                    Origin::Ours if self.file_system == super::kernel::FileSystem::WithoutFlock => {}
                    // A rejected design may treat its lock as it likes: what counts is the harm to a server.
                    _ if held || class == Class::Rejected => {}
                    _ => self.fail(Fault::NotHeld { party, name }),
                }
            }
        }
    }

    fn judge_theft(&mut self, party: Pid, number: Ino) {
        let owner = |socket: &Option<super::sockets::Socket>| {
            socket.is_some_and(|socket| socket.inode == Some(number) && !socket.shut)
        };
        let robbed = self.sockets.iter().position(owner).map(|socket| maker(socket as Pid));
        if let Some(robbed) = robbed.filter(|&robbed| robbed != party) {
            self.fail(Fault::Theft { party, robbed });
        }
    }

    /// Another file takes the name from this one, and has it for good.
    pub(super) fn judge_replacement(&mut self, party: Pid, name: Name, number: Ino) {
        if self.inode(number).kind != FileKind::Socket {
            self.fail(Fault::Foreign { party, name });
        }
        self.judge_exchange(party, number);
    }

    /// Another file takes the name from this one, which can be given back: what a stranger has just put there is judged
    /// by where it is in the end.
    pub(super) fn judge_exchange(&mut self, party: Pid, number: Ino) {
        let of_stranger = |socket: usize| self.processes[usize::from(maker(socket as Pid))].class == Class::Stranger;
        let owner = self.sockets.iter().position(|socket| socket.is_some_and(|it| it.inode == Some(number)));
        if self.inode(number).mode & REPLACEABLE == 0 && !owner.is_some_and(of_stranger) {
            self.judge_theft(party, number);
        }
        for socket in self.sockets.iter_mut().flatten().filter(|socket| socket.inode == Some(number)) {
            socket.replaced = true;
        }
    }

    /// A client finds nobody, or nobody who listens.
    pub(super) fn judge_refusal(&mut self, party: Pid) {
        let crashed = self.processes.iter().any(|process| process.crashed);
        if self.welcome == Welcome::Always && !crashed {
            self.fail(Fault::TurnedAway { party });
        }
    }

    pub(super) fn judge_rights(&mut self, party: Pid, number: Ino) {
        if self.inode(number).origin == Origin::Foreign {
            self.fail(Fault::Rights { party });
        }
    }

    pub(super) fn judge_note(&mut self, party: Pid, note: Note) {
        let strangers = self.processes.iter().any(|process| process.class == Class::Stranger);
        let replaced = self.is_replaced(party);
        let owns = matches!(note, Note::Owns | Note::Healed) && !strangers;
        if owns && !self.is_shut(party) && !self.is_live_at_name(party) && !replaced {
            self.fail(Fault::NotAtName { party });
        }
        if note == Note::Healed && !self.pins_its_own(party) {
            self.fail(Fault::WrongPin { party });
        }
        if note == Note::Owns && self.welcome == Welcome::NotYet {
            self.welcome = Welcome::Always;
        }
    }

    /// A pin of anything else would let the number of its own file go to another, which is then taken for it.
    fn pins_its_own(&self, party: Pid) -> bool {
        let own = |number: Ino| self.sockets_of(party).any(|socket| socket.inode == Some(number));
        self.processes[usize::from(party)].fds.iter().all(|fd| !matches!(*fd, Some(Object::Pin(it)) if !own(it)))
    }

    fn is_replaced(&self, party: Pid) -> bool {
        self.sockets_of(party).any(|socket| socket.replaced)
    }

    /// Somebody to whom the server gave a copy has shut its socket, the newer one if there are two.
    fn is_shut(&self, party: Pid) -> bool {
        self.sockets_of(party).last().is_some_and(|socket| socket.shut)
    }
}
