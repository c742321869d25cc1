//! Who takes part: our protocol, the shipping code. The others are in [`super::others`], and designs known to be wrong
//! in [`super::rejected`].

use std::ffi::{CStr, CString};
use std::time::Duration;

use super::calls::{Call, Note};
use super::process::Class;
use super::rejected::Rejected;
use super::{Fd, Sim, heals, others};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, Route};
use crate::protocol::{Found, Options, Protocol, Published, Sweep, glance, is_left_behind};
use crate::{LockScope, PathState, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// Creates and serves on.
    Create,
    /// Creates and closes.
    CreateClose,
    /// Creates and drains: retires, accepts who is queued, and ends.
    CreateDrain,
    /// Creates and gives the path back, but not the listener.
    CreateUnpublish,
    /// Claims, listens, drains and ends, with the lock held from the claim on.
    ClaimDrain,
    /// The same with the life lock, which is held to the end.
    ClaimDrainLifetime,
    /// Claims and lets go.
    ClaimAbandon,
    /// Claims with the life lock and lets go.
    ClaimAbandonLifetime,
    /// Creates through a temporary name, as for names too long to bind, and closes.
    CreateLongNameClose,
    /// Creates with a mode, an owner and a group, and closes.
    CreateWithRights,
    /// Removes a dead socket under the lock.
    Clean,
    /// Removes all that the dead left: socket, locks and temporary name.
    Sweep,
    /// Creates a server that may be replaced, and serves until it is: then it drains.
    Replaceable,
    /// The same, and takes over from such a one.
    TakeOver,
    /// Takes over, and drains at once.
    TakeOverDrain,
    /// Takes over with a life lock, which it gets when its predecessor has drained, and serves until it is replaced.
    TakeOverLifetime,
    /// Takes over by a temporary name that another way of starting needs as well, and closes.
    TakeOverLongNameClose,
    /// Creates, loses its path to a cleaner, puts a new socket there, and serves on.
    Heal,
    /// The same with the life lock, whose file is deleted too; then drains and ends.
    HealLifetime,
    /// git's protocol: creates and serves on.
    Git,
    /// git's protocol: creates and frees.
    GitFree,
    /// A client that waits in connect() if it must.
    Client,
    /// Has a copy of a listener and shuts it.
    ShutsCopy,
    /// Has a copy of a listener and keeps it as long as it lives.
    KeepsCopy,
    /// Removes a socket without asking anybody.
    Cleaner,
    /// Removes a socket without asking anybody, and serves in its place.
    Rebinder,
    /// Puts a file of its own where the socket is.
    FilePutter,
    Rejected(Rejected),
}

impl Party {
    pub(super) const OURS: [Party; 18] = [
        Party::Create,
        Party::CreateClose,
        Party::CreateDrain,
        Party::CreateUnpublish,
        Party::ClaimDrain,
        Party::ClaimDrainLifetime,
        Party::ClaimAbandon,
        Party::ClaimAbandonLifetime,
        Party::CreateLongNameClose,
        Party::CreateWithRights,
        Party::Clean,
        Party::Sweep,
        Party::Replaceable,
        Party::TakeOver,
        Party::TakeOverDrain,
        Party::TakeOverLifetime,
        Party::TakeOverLongNameClose,
        Party::Heal,
    ];
    const OTHERS: [Party; 9] = [
        Party::HealLifetime,
        Party::Git,
        Party::GitFree,
        Party::Client,
        Party::ShutsCopy,
        Party::KeepsCopy,
        Party::Cleaner,
        Party::Rebinder,
        Party::FilePutter,
    ];

    pub(super) fn all() -> impl Iterator<Item = Party> {
        Self::OURS.into_iter().chain(Self::OTHERS).chain(Rejected::ALL.map(Party::Rejected))
    }

    pub(super) fn class(self) -> Class {
        match self {
            Party::Git | Party::GitFree | Party::Rejected(Rejected::AnyErrorIsDeath) => Class::Git,
            Party::Cleaner | Party::Rebinder | Party::FilePutter => Class::Stranger,
            Party::Rejected(_) => Class::Rejected,
            _ => Class::Ours,
        }
    }

    /// Serves on at the end, if it got the path.
    pub(super) fn stays(self) -> bool {
        matches!(self, Party::Create | Party::Git) || matches!(self, Party::Rejected(design) if design.stays())
    }

    /// Accepts clients until it is replaced, or for ever.
    pub(super) fn serves(self) -> bool {
        matches!(self, Party::Replaceable | Party::TakeOver | Party::TakeOverLifetime)
            || matches!(self, Party::Rejected(design) if design.serves())
    }

    pub(super) fn takes_over(self) -> bool {
        matches!(self, Party::TakeOver | Party::TakeOverDrain | Party::TakeOverLifetime | Party::TakeOverLongNameClose)
    }

    /// Wants the path to itself.
    pub(super) fn is_starter(self) -> bool {
        self.class() != Class::Stranger && !matches!(self, Party::Client | Party::ShutsCopy | Party::KeepsCopy)
    }

    /// Loses no client.
    pub(super) fn is_graceful(self) -> bool {
        matches!(
            self,
            Party::CreateDrain
                | Party::ClaimDrain
                | Party::ClaimDrainLifetime
                | Party::Create
                | Party::ClaimAbandon
                | Party::Replaceable
                | Party::TakeOver
                | Party::TakeOverDrain
                | Party::TakeOverLifetime
                | Party::Heal
                | Party::HealLifetime
                | Party::Rejected(Rejected::HealsAndForgets)
        )
    }

    pub(super) fn has_life_lock(self) -> bool {
        matches!(
            self,
            Party::ClaimDrainLifetime | Party::ClaimAbandonLifetime | Party::HealLifetime | Party::TakeOverLifetime
        )
    }

    pub(super) fn play(self, sim: &Sim) {
        match self {
            Party::Create => {
                if let Some(server) = create(sim, self) {
                    sim.stay();
                    drop(server);
                }
            }
            Party::CreateClose
            | Party::CreateLongNameClose
            | Party::CreateWithRights
            | Party::TakeOverLongNameClose => {
                if let Some(Published { socket, id, life }) = create(sim, self) {
                    note(sim, Note::Closing, (&socket, id, &life));
                    let _ = with_protocol(sim, self, |protocol| protocol.close(socket, id, life));
                }
            }
            Party::Replaceable | Party::TakeOver | Party::TakeOverLifetime => {
                if let Some(server) = create(sim, self) {
                    serve(sim, self, server);
                }
            }
            Party::CreateDrain | Party::TakeOverDrain => {
                if let Some(server) = create(sim, self) {
                    drain(sim, self, server);
                }
            }
            Party::CreateUnpublish => {
                if let Some(Published { socket, id, .. }) = create(sim, self) {
                    note(sim, Note::Closing, (&socket, id));
                    let _ = with_protocol(sim, self, |protocol| protocol.unpublish(id));
                    drop(socket);
                }
            }
            Party::ClaimDrain | Party::ClaimDrainLifetime => {
                let published = with_protocol(sim, self, |protocol| {
                    let claimed = begin(protocol)?.claim()?;
                    note(sim, Note::Claims, &claimed);
                    protocol.publish_claim(claimed)
                });
                if let Some(server) = end_of_create(sim, published) {
                    drain(sim, self, server);
                }
            }
            Party::ClaimAbandon | Party::ClaimAbandonLifetime => {
                match with_protocol(sim, self, |protocol| begin(protocol)?.claim()) {
                    Ok(claimed) => {
                        note(sim, Note::Claims, &claimed);
                        assert!(matches!(claimed.state, PathState::Absent | PathState::Dead));
                        with_protocol(sim, self, |protocol| protocol.abandon_claim(claimed));
                    }
                    Err(error) => note(sim, verdict(error.kind()), ()),
                }
            }
            Party::Clean => {
                let cleaned = with_protocol(sim, self, |protocol| begin(protocol)?.remove_dead());
                note(sim, cleaned.map_or_else(|error| verdict(error.kind()), |_| Note::Cleaned), ());
            }
            Party::Sweep => {
                let sweep = Sweep { sockets: true, life: true, temporary: true, changed_before: None };
                let swept = with_protocol(sim, self, |protocol| protocol.sweep(sweep).state);
                note(sim, swept.map_or_else(|error| verdict(error.kind()), |_| Note::Cleaned), ());
            }
            Party::Heal | Party::HealLifetime => {
                if let Some(server) = create(sim, self) {
                    heals::play(sim, self, server);
                }
            }
            Party::Git | Party::GitFree => others::git(sim, self == Party::GitFree),
            Party::Client => others::client(sim),
            Party::ShutsCopy => others::shuts_copy(sim),
            Party::KeepsCopy => others::keeps_copy(sim),
            Party::Cleaner => others::cleaner(sim),
            Party::Rebinder => others::rebinder(sim),
            Party::FilePutter => drop(sim.call(Call::PutFile)),
            Party::Rejected(design) => design.play(sim),
        }
    }
}

/// Tells the explorer where the party stands and all that it remembers: what came before no longer matters.
pub(super) fn note(sim: &Sim, note: Note, memory: impl std::fmt::Debug) {
    let _ = sim.call_with(Call::Note(note), format!("{memory:?}"));
}

pub(super) fn with_protocol<T>(sim: &Sim, party: Party, act: impl FnOnce(&Protocol<'_, Sim>) -> T) -> T {
    let name = |name: &CStr| CString::from(name);
    let is_long = matches!(party, Party::CreateLongNameClose | Party::TakeOverLongNameClose);
    let place = Place {
        shown: "s".into(),
        path: Some(name(c"/s")),
        dir: sim.directory(),
        name: if is_long { CString::new("s".repeat(200)).expect("no NUL") } else { name(c"s") },
        lock: name(c"s.lock"),
        lock_path: Some(name(c"/s.lock")),
        life: name(c"s.owner"),
        beside: name(c"s.new"),
        route: if is_long { Route::Beside } else { Route::Path },
    };
    let rights = party == Party::CreateWithRights;
    let options = Options {
        // The smallest, and the largest that there is: then no later listen() makes it grow.
        backlog: if party == Party::CreateClose { i32::MAX } else { 0 },
        mode: rights.then_some(0o660),
        owner: rights.then_some(u32::from(sim.user)),
        group: None,
        lock_timeout: Duration::from_secs(60),
        lock_interrupt: None,
        scope: if party.has_life_lock() { LockScope::Lifetime } else { LockScope::Startup },
        assume_local: false,
        replaceable: party == Party::Replaceable || party.takes_over(),
        take_over: party.takes_over(),
    };
    act(&Protocol { sys: sim, place: &place, options: &options, operation: "create" })
}

/// Step 0, as the builder does it: by the path, unless that is too long.
pub(super) fn look(protocol: &Protocol<'_, Sim>) -> Result<Found> {
    if protocol.place.route == Route::Path {
        let refused = |state| Error::refused(protocol.operation, &protocol.place.shown, state);
        return glance(protocol.sys, c"/s", protocol.options).map_err(refused);
    }
    protocol.look()
}

/// The same, by who does not mind what is there.
pub(super) fn begin<'p, 's>(protocol: &'p Protocol<'s, Sim>) -> Result<&'p Protocol<'s, Sim>> {
    look(protocol).map(|_| protocol)
}

pub(super) fn verdict(kind: ErrorKind) -> Note {
    match kind {
        ErrorKind::InUse => Note::InUse,
        ErrorKind::Locked => Note::Locked,
        ErrorKind::NotASocket => Note::NotASocket,
        ErrorKind::Moved => Note::Moved,
        _ => Note::Failed,
    }
}

pub(super) fn create(sim: &Sim, party: Party) -> Option<Published<Fd>> {
    let created = with_protocol(sim, party, |protocol| protocol.create(look(protocol)?));
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

/// Serves until it is replaced, in the way of a program that sleeps in accept(), and drains.
fn serve(sim: &Sim, party: Party, Published { socket, id, mut life }: Published<Fd>) {
    if party.has_life_lock() && life.is_none() {
        match with_protocol(sim, party, |protocol| protocol.succeed(id)) {
            Ok(had) => life = had,
            // It drains all the same, once it is told to end: the clients are its own.
            Err(error) => {
                note(sim, verdict(error.kind()), (&socket, id));
                return drain(sim, party, Published { socket, id, life });
            }
        }
    }
    let server = Published { socket, id, life };
    // Gone is as good as replaced: the successor may have come and gone before this look.
    if await_loss(sim, party, &server, Status::is_stolen) {
        let _ = sim.call(Call::Grace);
        drain(sim, party, server);
    }
}

/// Accepts until the path is lost; false if it was not.
pub(super) fn await_loss(sim: &Sim, party: Party, server: &Published<Fd>, is_lost: fn(Status) -> bool) -> bool {
    let Published { socket, id, life } = server;
    loop {
        note(sim, Note::Serves, (socket, id, life));
        if sim.call(Call::Await(socket.number())).is_err() {
            return false;
        }
        if is_lost(with_protocol(sim, party, |protocol| protocol.status(*id))) {
            note(sim, Note::Replaced, (socket, id, life));
            return true;
        }
    }
}

/// As `Drain` does it.
pub(super) fn drain(sim: &Sim, party: Party, Published { socket, id, life }: Published<Fd>) {
    note(sim, Note::Closing, (&socket, id, &life));
    with_protocol(sim, party, |protocol| {
        let retired = protocol.retire(&socket, id);
        while sim.call(Call::Accept(socket.number())).is_ok() {}
        drop(socket);
        note(sim, Note::Closing, &life);
        protocol.end_life(life, is_left_behind(&retired.status));
    });
}

/// One more create, alone, which closes again: what became of it.
pub(super) fn fresh_create(sim: &Sim, party: Party) -> Result<(), ErrorKind> {
    let published =
        with_protocol(sim, party, |protocol| protocol.create(look(protocol)?)).map_err(|error| error.kind())?;
    note(sim, Note::Owns, ());
    let Published { socket, id, life } = published;
    let closed = with_protocol(sim, party, |protocol| protocol.close(socket, id, life));
    closed.map(drop).map_err(|error| error.kind())
}

/// The same, by one who says that no other kernel serves sockets here.
pub(super) fn fresh_create_assuming_local(sim: &Sim) -> Result<(), ErrorKind> {
    let created = with_protocol(sim, Party::Create, |protocol| {
        let options = Options { assume_local: true, ..protocol.options.clone() };
        let protocol = Protocol { options: &options, ..*protocol };
        protocol.create(look(&protocol)?)
    });
    created.map(drop).map_err(|error| error.kind())
}
