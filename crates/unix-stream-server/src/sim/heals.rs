//! The party that heals: its path is deleted under it, and it puts a new socket there.

use super::calls::{Call, Name, Note};
use super::parties::{Party, drain, note, verdict, with_protocol};
use super::{Fd, Sim};
use crate::protocol::{Healed, Published};

/// Creates, loses its names to a cleaner, heals and serves on; or, with a life lock, drains and ends.
pub(super) fn play(sim: &Sim, party: Party, server: Published<Fd>) {
    let _ = sim.call(Call::Vanish(Name::Socket));
    if party.has_life_lock() {
        let _ = sim.call(Call::Vanish(Name::Life));
    }
    let Published { socket, id, mut life } = server;
    match with_protocol(sim, party, |protocol| protocol.heal(&socket, id, &mut life)) {
        Ok(Some(Healed { socket: new, id, pin, .. })) => {
            note(sim, Note::Healed, (&socket, &new, id, &pin, &life));
            serve_queue(sim, &socket);
            drop(socket);
            drop(pin);
            go_on(sim, party, Published { socket: new, id, life });
        }
        Ok(None) => go_on(sim, party, Published { socket, id, life }),
        Err(error) => {
            note(sim, verdict(error.kind()), (&socket, id, &life));
            drain(sim, party, Published { socket, id, life });
        }
    }
}

fn go_on(sim: &Sim, party: Party, server: Published<Fd>) {
    if party.has_life_lock() {
        drain(sim, party, server);
    } else {
        sim.stay();
        drop(server);
    }
}

pub(super) fn serve_queue(sim: &Sim, listener: &Fd) {
    while sim.call(Call::Accept(listener.number())).is_ok() {}
}
