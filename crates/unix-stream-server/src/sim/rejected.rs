//! Designs that were tried or are found elsewhere, and are wrong. They stay here so that the check proves that it can
//! see: each must be caught by the harm that it does, and the shortest way to it is recorded in the tests.

use rustix::io::Errno;

use super::calls::{Call, Name, Note};
use super::others::git_create;
use super::parties::{Party, await_loss, create, drain, note, with_protocol};
use super::{Fd, Sim};
use crate::protocol::Published;
use crate::sys::{FileId, Sys};
use crate::{FileKind, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rejected {
    /// git's creation, where whatever connect() says instead of success is death: EMFILE is.
    AnyErrorIsDeath,
    /// libwayland's: a lock file that is flocked for life, and unlinked at the end without a second look.
    UnlinksFlockFile,
    /// The same lock for the change only: no question after flock whether the file is still at its name.
    NoSecondLook,
    /// The lock file is judged by its name and then opened.
    JudgesThenOpens,
    /// A dead socket is removed without the question whether it is still the one that was judged.
    ClearsWithoutIdentity,
    /// The close looks and unlinks without the lock.
    ClosesWithoutLock,
    /// The close gives the lock back before the socket is gone.
    UnlocksTooEarly,
    /// The close looks whose the name is after it has closed its listener.
    LooksAfterClosing,
    /// A dead socket is removed before the lock is taken.
    ClearsBeforeLock,
    /// The close only shuts the listener: who is blocked in connect() stays there while a copy is open.
    ShutsOnly,
    /// Takes over and does not tell the predecessor, which sleeps in accept().
    DoesNotKnock,
    /// Ends as soon as it sees that it is replaced.
    EndsWithoutGrace,
    /// Takes a path that is gone for none that has been taken over.
    LooksForASuccessor,
    /// Takes over from any live server.
    AsksNobody,
    /// The path is gone, so a new socket is renamed to it, without the lock and over whoever came between.
    HealsByRename,
    /// A heal that closes the old socket with whoever is in its queue.
    HealsAndForgets,
}

impl Rejected {
    pub(super) const ALL: [Rejected; 16] = [
        Rejected::AnyErrorIsDeath,
        Rejected::UnlinksFlockFile,
        Rejected::NoSecondLook,
        Rejected::JudgesThenOpens,
        Rejected::ClearsWithoutIdentity,
        Rejected::ClosesWithoutLock,
        Rejected::UnlocksTooEarly,
        Rejected::LooksAfterClosing,
        Rejected::ClearsBeforeLock,
        Rejected::ShutsOnly,
        Rejected::DoesNotKnock,
        Rejected::EndsWithoutGrace,
        Rejected::LooksForASuccessor,
        Rejected::AsksNobody,
        Rejected::HealsByRename,
        Rejected::HealsAndForgets,
    ];

    pub(super) fn stays(self) -> bool {
        matches!(self, Rejected::AnyErrorIsDeath | Rejected::ClearsBeforeLock)
    }

    pub(super) fn serves(self) -> bool {
        matches!(self, Rejected::EndsWithoutGrace | Rejected::LooksForASuccessor)
    }

    pub(super) fn play(self, sim: &Sim) {
        match self {
            Rejected::AnyErrorIsDeath => any_error_is_death(sim),
            Rejected::UnlinksFlockFile => unlinks_flock_file(sim),
            Rejected::NoSecondLook => no_second_look(sim),
            Rejected::JudgesThenOpens => judges_then_opens(sim),
            Rejected::ClearsWithoutIdentity => clears_without_identity(sim),
            Rejected::ClosesWithoutLock => closes_without_lock(sim),
            Rejected::UnlocksTooEarly => unlocks_too_early(sim),
            Rejected::LooksAfterClosing => looks_after_closing(sim),
            Rejected::ClearsBeforeLock => clears_before_lock(sim),
            Rejected::ShutsOnly => shuts_only(sim),
            Rejected::DoesNotKnock | Rejected::AsksNobody => takes_over(sim),
            Rejected::EndsWithoutGrace => ends_when(sim, Status::is_stolen),
            Rejected::LooksForASuccessor => ends_when(sim, |status| status == Status::Replaced),
            Rejected::HealsByRename => heals_by_rename(sim),
            Rejected::HealsAndForgets => heals_and_forgets(sim),
        }
    }
}

/// Opens or creates the lock file and flocks it, as many programs do.
fn open_and_flock(sim: &Sim) -> Option<Fd> {
    let dir = sim.directory();
    let lock = sim.open_lock(&dir, c"s.lock").or_else(|_| sim.create_lock(&dir, c"s.lock")).ok()?;
    match sim.flock(&lock) {
        Ok(()) => Some(lock),
        Err(_) => {
            drop(lock);
            note(sim, Note::Locked, ());
            None
        }
    }
}

fn unlink_if_refused(sim: &Sim) {
    if let Ok(pin) = sim.pin(&sim.directory(), c"s") {
        if sim.connect(&pin).err() == Some(Errno::CONNREFUSED) {
            let _ = sim.unlink(&sim.directory(), c"s");
        }
    }
}

fn bind_and_listen(sim: &Sim) -> Option<Fd> {
    let listener = sim.socket().ok()?;
    let bound = sim.bind(&listener, &sim.directory(), c"s", None).and_then(|()| sim.listen(&listener, 0));
    let said = if bound.is_ok() { Note::Owns } else { Note::Failed };
    note(sim, said, &listener);
    bound.ok().map(|()| listener)
}

fn any_error_is_death(sim: &Sim) {
    if let Ok(Some((listener, id))) = git_create(sim, |_| true) {
        note(sim, Note::Owns, (&listener, id));
        sim.stay();
    }
}

fn unlinks_flock_file(sim: &Sim) {
    let Some(lock) = open_and_flock(sim) else { return };
    let _ = sim.unlink(&sim.directory(), c"s"); // no probe: who has the lock is the only one, it thinks
    let Some(listener) = bind_and_listen(sim) else { return };
    note(sim, Note::Closing, (&lock, &listener));
    let _ = sim.unlink(&sim.directory(), c"s");
    drop(listener);
    let _ = sim.unlink(&sim.directory(), c"s.lock");
    drop(lock);
}

fn no_second_look(sim: &Sim) {
    let Some(lock) = open_and_flock(sim) else { return };
    unlink_if_refused(sim);
    let listener = bind_and_listen(sim);
    let _ = sim.unlink(&sim.directory(), c"s.lock");
    drop(lock);
    drop(listener);
}

fn judges_then_opens(sim: &Sim) {
    let dir = sim.directory();
    let lock = match sim.create_lock(&dir, c"s.lock") {
        Ok(lock) => lock,
        Err(_) => match sim.stat_at(&dir, c"s.lock") {
            Ok(stat) if stat.kind == FileKind::Regular && stat.mode == 0o1400 => {
                let Ok(lock) = sim.open_lock(&dir, c"s.lock") else { return };
                lock
            }
            _ => return,
        },
    };
    // With the second look, which does not help: the file is at its name, but it is not ours.
    let same = |sim: &Sim| Ok::<bool, Errno>(sim.stat(&lock)?.id == sim.stat_at(&dir, c"s.lock")?.id);
    if sim.flock(&lock).is_err() || same(sim) != Ok(true) {
        return;
    }
    unlink_if_refused(sim);
    let listener = bind_and_listen(sim);
    let _ = sim.unlink(&dir, c"s.lock");
    drop(lock);
    drop(listener);
}

fn clears_without_identity(sim: &Sim) {
    let Some(lock) = open_and_flock(sim) else { return };
    unlink_if_refused(sim);
    bind_and_listen(sim);
    let _ = sim.unlink(&sim.directory(), c"s.lock");
    drop(lock);
}

/// Our create, for designs whose close is wrong.
fn created(sim: &Sim) -> Option<Published<Fd>> {
    let server = create(sim, Party::Create)?;
    note(sim, Note::Closing, &server);
    Some(server)
}

fn is_ours(sim: &Sim, id: FileId) -> bool {
    with_protocol(sim, Party::Create, |protocol| protocol.status(id)) == Status::Ours
}

fn closes_without_lock(sim: &Sim) {
    let Some(Published { socket, id, .. }) = created(sim) else { return };
    let _ = sim.shut(&socket); // its listener stays open, so the identity is sound
    if is_ours(sim, id) {
        let _ = sim.unlink(&sim.directory(), c"s");
    }
    drop(socket);
}

fn unlocks_too_early(sim: &Sim) {
    let Some(Published { socket, id, .. }) = created(sim) else { return };
    let Some(lock) = open_and_flock(sim) else { return };
    let _ = sim.shut(&socket);
    let ours = is_ours(sim, id);
    let _ = sim.unlink(&sim.directory(), c"s.lock");
    drop(lock);
    if ours {
        let _ = sim.unlink(&sim.directory(), c"s");
    }
    drop(socket);
}

fn looks_after_closing(sim: &Sim) {
    let Some(Published { socket, id, .. }) = created(sim) else { return };
    drop(socket);
    let Some(lock) = open_and_flock(sim) else { return };
    if is_ours(sim, id) {
        let _ = sim.unlink(&sim.directory(), c"s");
    }
    let _ = sim.unlink(&sim.directory(), c"s.lock");
    drop(lock);
}

fn clears_before_lock(sim: &Sim) {
    unlink_if_refused(sim);
    if create(sim, Party::Create).is_some() {
        sim.stay();
    }
}

fn shuts_only(sim: &Sim) {
    let Some(Published { socket, .. }) = created(sim) else { return };
    let _ = sim.call(Call::Unlink(Name::Socket));
    let _ = sim.shut(&socket);
    while sim.call(Call::Accept(socket.number())).is_ok() {}
    drop(socket);
}

/// Under the lock, as it must be; but neither is anybody asked, nor told.
fn takes_over(sim: &Sim) {
    let Some(lock) = open_and_flock(sim) else { return };
    let (dir, beside, name) = (sim.directory(), c"s.new", c"s");
    let Ok(listener) = sim.socket() else { return };
    let _ = sim.fchmod(&listener, 0o1777);
    let bound = sim.bind(&listener, &dir, beside, None).and_then(|()| sim.listen(&listener, 0));
    let taken = bound.and_then(|()| sim.exchange(&dir, beside, name)).and_then(|()| sim.unlink(&dir, beside));
    let _ = sim.unlink(&dir, c"s.lock");
    drop(lock);
    if taken.is_ok() {
        note(sim, Note::Owns, &listener);
        sim.stay();
    }
    drop(listener);
}

fn ends_when(sim: &Sim, is_lost: fn(Status) -> bool) {
    let Some(server) = create(sim, Party::Replaceable) else { return };
    if await_loss(sim, Party::Replaceable, &server, is_lost) {
        drain(sim, Party::Replaceable, server);
    }
}

/// Our create, whose path is then deleted.
fn cleaned(sim: &Sim) -> Option<Published<Fd>> {
    let server = create(sim, Party::Create)?;
    let _ = sim.call(Call::Vanish(Name::Socket));
    Some(server)
}

fn heals_by_rename(sim: &Sim) {
    let Some(old) = cleaned(sim) else { return };
    if sim.stat_at(&sim.directory(), c"s").is_err() {
        let Ok(new) = sim.socket() else { return };
        let _ = sim.call(Call::Usurp(new.number()));
        sim.stay();
    }
    drop(old);
}

fn heals_and_forgets(sim: &Sim) {
    let Some(Published { socket, id, mut life }) = cleaned(sim) else { return };
    let healed = with_protocol(sim, Party::Create, |protocol| protocol.heal(&socket, id, &mut life));
    drop(socket);
    if healed.is_ok() {
        sim.stay();
    }
}
