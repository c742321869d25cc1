//! Who takes part: our protocol, the shipping code; git's, written from its description; and one that is known wrong.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rustix::io::Errno;

use super::kernel::{Call, Name, Note};
use super::{Fd, Sim};
use crate::error::{ErrorKind, Result};
use crate::place::{Place, Route};
use crate::protocol::{Options, Protocol, Published};
use crate::sys::{FileId, Sys};
use crate::{LockScope, PathState, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// Creates and serves on.
    Create,
    /// Creates and closes.
    CreateClose,
    /// Claims, listens, drains and ends, with the life lock.
    ClaimDrainLifetime,
    /// Claims and lets go.
    ClaimAbandon,
    /// Creates through a temporary name, as for names too long to bind, and closes.
    CreateLongNameClose,
    /// git's protocol: creates and serves on.
    Git,
    /// git's protocol: creates and frees.
    GitFree,
    /// Our create, but a close that checks and unlinks without the lock: must be found out.
    CreateCloseUnlocked,
    /// Our create, but a dead socket is taken away without the lock first: must be found out.
    UnlinkThenCreate,
}

impl Party {
    pub(super) fn is_git(self) -> bool {
        matches!(self, Party::Git | Party::GitFree)
    }

    /// Serves on at the end, if it got the path.
    pub(super) fn stays(self) -> bool {
        matches!(self, Party::Create | Party::Git)
    }

    pub(super) fn play(self, sim: &Sim) {
        match self {
            Party::Create => {
                if let Some(server) = create(sim, self) {
                    sim.stay();
                    drop(server);
                }
            }
            Party::CreateClose | Party::CreateLongNameClose => {
                if let Some(Published { socket, id, life }) = create(sim, self) {
                    note(sim, Note::Closing, (&socket, id, &life));
                    let _ = with_protocol(sim, self, |protocol| protocol.close(socket, id, life));
                }
            }
            Party::ClaimDrainLifetime => claim_drain(sim, self),
            Party::ClaimAbandon => {
                if let Ok(claimed) = with_protocol(sim, self, |protocol| protocol.claim()) {
                    note(sim, Note::Claims, &claimed);
                    assert!(matches!(claimed.state, PathState::Absent | PathState::Dead));
                    with_protocol(sim, self, |protocol| protocol.abandon_claim(claimed));
                }
            }
            Party::Git | Party::GitFree => {
                if let Ok(Some((listener, id))) = git_create(sim) {
                    note(sim, Note::Owns, (&listener, id));
                    if self == Party::Git {
                        sim.stay();
                    } else {
                        git_free(sim, listener, id);
                    }
                }
            }
            Party::CreateCloseUnlocked => {
                if let Some(server) = create(sim, self) {
                    note(sim, Note::Closing, &server);
                    let status = with_protocol(sim, self, |protocol| protocol.status(server.id));
                    if status == Status::Ours {
                        let _ = sim.call(Call::Unlink(Name::Socket));
                    }
                }
            }
            Party::UnlinkThenCreate => {
                if let Ok(pin) = sim.pin(&sim.directory(), c"s") {
                    if sim.connect(&pin).err() == Some(Errno::CONNREFUSED) {
                        let _ = sim.call(Call::Unlink(Name::Socket));
                    }
                }
                create(sim, self);
            }
        }
    }
}

/// Tells the explorer where the party stands and all that it remembers: what came before no longer matters.
fn note(sim: &Sim, note: Note, memory: impl std::fmt::Debug) {
    let _ = sim.call(Call::Note(note, format!("{memory:?}")));
}

fn with_protocol<T>(sim: &Sim, party: Party, act: impl FnOnce(&Protocol<'_, Sim>) -> T) -> T {
    let name = |name: &CStr| CString::from(name);
    let place = Place {
        shown: "s".into(),
        path: Some(name(c"/s")),
        dir: sim.directory(),
        name: name(c"s"),
        lock: name(c"s.lock"),
        life: name(c"s.owner"),
        route: match party {
            Party::CreateLongNameClose => Route::Beside(name(c"s.new")),
            _ => Route::Path,
        },
    };
    let options = Options {
        backlog: 1,
        mode: None,
        owner: None,
        group: None,
        lock_timeout: Duration::from_secs(60),
        scope: match party {
            Party::ClaimDrainLifetime => LockScope::Lifetime,
            _ => LockScope::Startup,
        },
        assume_local: false,
    };
    act(&Protocol { sys: sim, place: &place, options: &options, operation: "create" })
}

fn verdict(kind: ErrorKind) -> Note {
    match kind {
        ErrorKind::InUse => Note::InUse,
        ErrorKind::Locked => Note::Locked,
        ErrorKind::NotASocket => Note::NotASocket,
        _ => Note::Failed,
    }
}

fn create(sim: &Sim, party: Party) -> Option<Published<Fd>> {
    let created = with_protocol(sim, party, |protocol| protocol.create());
    end_of_create(sim, created)
}

fn end_of_create(sim: &Sim, created: Result<Published<Fd>>) -> Option<Published<Fd>> {
    match created {
        Ok(server) => {
            note(sim, Note::Owns, &server);
            Some(server)
        }
        Err(error) => {
            note(sim, verdict(error.kind()), ());
            None
        }
    }
}

fn claim_drain(sim: &Sim, party: Party) {
    let published = with_protocol(sim, party, |protocol| {
        let claimed = protocol.claim()?;
        note(sim, Note::Claims, &claimed);
        protocol.publish_claim(claimed)
    });
    let Some(Published { socket, id, life }) = end_of_create(sim, published) else { return };
    note(sim, Note::Closing, (&socket, id, &life));
    with_protocol(sim, party, |protocol| {
        let _ = protocol.retire(&socket, id);
        drop(socket);
        note(sim, Note::Closing, &life);
        protocol.end_life(life);
    });
}

/// One more create, alone.
pub(super) fn fresh_create(sim: &Sim) -> std::result::Result<(), ErrorKind> {
    let created = with_protocol(sim, Party::Create, |protocol| protocol.create());
    created.map(drop).map_err(|error| error.kind())
}

/// The same, with a life lock.
pub(super) fn fresh_create_lifetime(sim: &Sim) -> std::result::Result<(), ErrorKind> {
    let created = with_protocol(sim, Party::ClaimDrainLifetime, |protocol| protocol.create());
    created.map(drop).map_err(|error| error.kind())
}

/// The same, by one who says that no other kernel serves sockets here.
pub(super) fn fresh_create_assuming_local(sim: &Sim) -> std::result::Result<(), ErrorKind> {
    let created = with_protocol(sim, Party::Create, |protocol| {
        let options = Options { assume_local: true, ..protocol.options.clone() };
        Protocol { options: &options, ..*protocol }.create()
    });
    created.map(drop).map_err(|error| error.kind())
}

/// git's creation, from its description: an O_EXCL lock, any connect error counts as death, unlink, bind, listen.
fn git_create(sim: &Sim) -> Result<Option<(Fd, FileId)>, Errno> {
    let _ = sim.now(); // where the wait begins: the explorer wants to know
    let lock = loop {
        match sim.fd(Call::CreateGitLock) {
            Ok(lock) => break lock,
            Err(Errno::EXIST) => {
                let late = matches!(sim.call(Call::Pause)?, super::kernel::Reply::Late);
                if late {
                    note(sim, Note::Locked, ());
                    return Ok(None);
                }
            }
            Err(errno) => return Err(errno),
        }
    };
    if let Ok(probe) = sim.fd(Call::ConnectPath) {
        drop(probe);
        drop(lock);
        sim.call(Call::Unlink(Name::Lock))?;
        note(sim, Note::InUse, ());
        return Ok(None);
    }
    let _ = sim.call(Call::Unlink(Name::Socket));
    let listener = sim.fd(Call::Socket)?;
    sim.call(Call::Bind(listener.number(), Name::Socket))?;
    sim.call(Call::Listen(listener.number()))?;
    let id = sim.stat_reply(Call::StatAt(Name::Socket))?.id;
    drop(lock);
    sim.call(Call::Unlink(Name::Lock))?;
    Ok(Some((listener, id)))
}

fn git_free(sim: &Sim, listener: Fd, id: FileId) {
    note(sim, Note::Closing, (&listener, id));
    if sim.stat_reply(Call::StatAt(Name::Socket)).is_ok_and(|now| now.id == id) {
        let _ = sim.call(Call::Unlink(Name::Socket));
    }
    drop(listener);
}
