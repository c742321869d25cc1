//! The other parties: git's protocol, written from its description; clients; who has a copy of a listener; strangers
//! who know of no lock.

use rustix::io::Errno;

use super::calls::{Call, Name, Note, Reply};
use super::parties::note;
use super::{Fd, Sim};
use crate::sys::{FileId, Sys};

pub(super) fn git(sim: &Sim, frees: bool) {
    if let Ok(Some((listener, id))) = git_create(sim, |_| true) {
        note(sim, Note::Owns, (&listener, id));
        if frees {
            git_free(sim, listener, id);
        } else {
            sim.stay();
        }
    }
}

/// git's creation, from its description: an O_EXCL lock, any connect error that `means_death`, unlink, bind, listen.
pub(super) fn git_create(sim: &Sim, means_death: fn(Errno) -> bool) -> Result<Option<(Fd, FileId)>, Errno> {
    let _ = sim.now(); // where the wait begins: the explorer wants to know
    let lock = loop {
        match sim.fd(Call::CreateGitLock) {
            Ok(lock) => break lock,
            Err(Errno::EXIST) => {
                if sim.call(Call::Pause)? == Reply::Late {
                    note(sim, Note::Locked, ());
                    return Ok(None);
                }
            }
            Err(errno) => return Err(errno),
        }
    };
    let alive = match sim.fd(Call::ConnectPath) {
        Ok(probe) => {
            drop(probe);
            true
        }
        Err(errno) => !means_death(errno),
    };
    if alive {
        drop(lock);
        sim.call(Call::Unlink(Name::Lock))?;
        note(sim, Note::InUse, ());
        return Ok(None);
    }
    let _ = sim.call(Call::Unlink(Name::Socket));
    let listener = sim.fd(Call::Socket)?;
    sim.call(Call::Bind(listener.number(), Name::Socket))?;
    sim.call(Call::Listen(listener.number(), 5))?;
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

/// What becomes of a client that is let in, the kernel knows.
pub(super) fn client(sim: &Sim) {
    let connected = sim.call(Call::Find).and_then(|_| sim.call(Call::ConnectBlocking));
    note(sim, if connected.is_ok() { Note::Connected } else { Note::Refused }, ());
}

pub(super) fn shuts_copy(sim: &Sim) {
    if let Ok(copy) = sim.fd(Call::Inherit) {
        let _ = sim.shut(&copy);
    }
}

pub(super) fn keeps_copy(sim: &Sim) {
    if let Ok(copy) = sim.fd(Call::Inherit) {
        sim.stay();
        drop(copy);
    }
}

pub(super) fn cleaner(sim: &Sim) {
    let _ = sim.call(Call::Unlink(Name::Socket));
}

pub(super) fn rebinder(sim: &Sim) {
    // Listening before it is seen: between bind and listen nobody could tell it from a dead one.
    let Ok(listener) = sim.fd(Call::Socket) else { return };
    if sim.call(Call::Usurp(listener.number())).is_ok() {
        sim.stay();
    }
}
