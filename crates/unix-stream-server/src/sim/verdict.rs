//! Which promises a state keeps: now, at the end, and if everybody died.

use super::Sim;
use super::automaton::{Role, pid};
use super::calls::{Name, Note};
use super::explorer::{Explorer, State};
use super::inode::Origin;
use super::kernel::{Kernel, Pid, maker};
use super::parties::{Party, fresh_create};
use super::process::{Class, Client, Process};
use super::seen::hash;

impl Explorer<'_> {
    /// For a replay: everything at once.
    pub(super) fn judge(&mut self, state: &State) -> Result<(), String> {
        self.judge_now(state)?;
        let mut steps = Vec::new();
        if self.steps(state, &mut steps) { Ok(()) } else { self.judge_end(state) }
    }

    pub(super) fn judge_now(&mut self, state: &State) -> Result<(), String> {
        if let Some(fault) = &state.kernel.fault {
            return Err(fault.to_string());
        }
        self.judge_patience(&state.kernel)?;
        self.recovers(&state.kernel)
    }

    /// P1: a party that has waited in vain while another stops says InUse if that one's server is live: the server has
    /// been so since before the party's last look.
    fn judge_patience(&self, kernel: &Kernel) -> Result<(), String> {
        let Some(stopped) = kernel.processes.iter().position(|process| process.stopped) else { return Ok(()) };
        // Who would take over has a reason to wait for the lock of a live server.
        let takes_over = |party: usize| self.scenario.roles.get(party).is_some_and(|role| role.party.takes_over());
        let ours =
            kernel.processes.iter().enumerate().filter(|(party, it)| it.class == Class::Ours && !takes_over(*party));
        let starters = ours.map(|(_, it)| it).filter(|it| !it.notes.has(Note::Owns));
        if kernel.is_live_at_name(stopped as Pid) && starters.clone().any(|process| process.notes.has(Note::Locked)) {
            return Err(format!("P1: Locked, although party {stopped} serves at the name"));
        }
        Ok(())
    }

    /// P4: if everybody died here and now, a fresh create would succeed, and leave nothing when it closes.
    fn recovers(&mut self, kernel: &Kernel) -> Result<(), String> {
        let remains = kernel.remains();
        if !self.recovered.insert(hash(&remains)) || is_blocked_by_git(kernel) || self.scenario.has(is_rejected) {
            return Ok(());
        }
        // By the same user, or by root where several have been here.
        let roles = &self.scenario.roles;
        let user = if roles.iter().all(|role| role.user == roles[0].user) { roles[0].user } else { 0 };
        recovers(kernel, pid(roles.len()), user)
    }

    /// Nothing moves any more: who got what, and what is left?
    pub(super) fn judge_end(&self, state: &State) -> Result<(), String> {
        let kernel = &state.kernel;
        let processes = &kernel.processes[..self.scenario.roles.len()];
        let crashed = processes.iter().any(|process| process.crashed);
        let blocked = is_blocked_by_git(kernel) || has_foreign(kernel);
        let strangers = self.scenario.has(|party| party.class() == Class::Stranger);
        let more_than_cleaned = self.scenario.has(|party| party.class() == Class::Stranger && party != Party::Cleaner);
        let shut = self.scenario.has(|party| party == Party::ShutsCopy);
        let failed = state.left.failures < self.scenario.bounds.failures;
        let stopped = state.left.stops < self.scenario.bounds.stops;
        let users = self.scenario.roles.iter().any(|role| role.user != self.scenario.roles[0].user);
        for (party, (process, role)) in processes.iter().zip(&self.scenario.roles).enumerate() {
            // One that heals clears nothing: who was killed, or waited in vain for the lock at its end, has left a dead socket.
            let clears = !matches!(role.party, Party::Heal | Party::HealLifetime);
            let moved = process.notes.has(Note::Moved) && (clears || !crashed && !stopped);
            let locked = process.notes.has(Note::Locked) && !stopped && !users;
            // A cleaner moves what it deletes, and makes nothing fail.
            let spurious = process.notes.has(Note::Failed) && !more_than_cleaned;
            let noise = spurious || (moved || locked) && !strangers;
            // git's is left out: a lock that is not had in time is what it gives its callers by design.
            if noise && !blocked && !failed && process.class == Class::Ours {
                return Err(format!("P1: party {party} ends with {:?}, not with the path or InUse", process.notes));
            }
            if role.party.serves() && process.notes.has(Note::Owns) && process.blocked == Some(party as Pid) {
                let told = crashed || strangers || failed || kernel.is_live_at_name(party as Pid);
                if !told {
                    return Err(format!("P7: party {party} was replaced, and still waits for clients"));
                }
            }
            let owns = role.party.stays() && process.notes.only(Note::Owns) && !process.crashed;
            let healed = process.notes.has(Note::Healed) && !process.notes.has(Note::Closing) && !process.crashed;
            if (owns || healed) && !strangers && !shut && !kernel.is_live_at_name(party as Pid) {
                return Err(format!("P2: party {party} lives, and the name does not lead to it any more"));
            }
            self.judge_client(kernel, party, process)?;
        }
        let mut starters = self.scenario.roles.iter().filter(|role| role.party.is_starter());
        let winners = processes.iter().filter(|process| process.notes.has(Note::Owns)).count();
        let all_stay = starters.clone().all(|role| role.party.stays()) && starters.next().is_some();
        if all_stay && !crashed && !blocked && !strangers && !shut && !failed && !users && winners != 1 {
            return Err(format!("P1: {winners} of {} got the path", processes.len()));
        }
        let beside = kernel.at(Name::Temporary);
        let alive = kernel.ino(Name::Temporary).is_some_and(|number| kernel.listener_of(number).is_some());
        if !crashed && !failed && (alive || beside.is_some_and(|it| it.origin == Origin::Foreign)) {
            return Err("P3: what is not ours was left under the temporary name".to_owned());
        }
        let live = (0..processes.len()).filter(|&party| kernel.is_live_at_name(party as Pid)).count();
        let all_serve = self.scenario.roles.iter().all(|role| role.party.serves() || role.party == Party::Client);
        if all_serve && !crashed && !blocked && !failed && live != 1 {
            return Err("P7: each server was to be replaced by the next, and nobody serves".to_owned());
        }
        let disturbed = crashed || blocked || strangers || shut || failed || stopped || users;
        if starters_heal(&self.scenario.roles) && !disturbed && !lives_at_name(kernel) {
            return Err("P1: a server that lost its path healed nothing, and nobody serves there".to_owned());
        }
        if crashed || strangers || failed || self.scenario.has(is_rejected) {
            return Ok(());
        }
        if stopped {
            // Who waits in vain leaves a dead socket to the next start, and says so.
            let lock = kernel.has(Name::Lock) && !blocked;
            return if lock { Err("P5: nobody holds the lock any more, and it is left".to_owned()) } else { Ok(()) };
        }
        let mut left = made(kernel);
        // A server that lives on has its life lock.
        left.retain(|&name| name != Name::Life || kernel.at(name).is_none_or(|life| life.flock.is_none()));
        let name = kernel.ino(Name::Socket);
        let someone_stays = name.is_some() && kernel.sockets.iter().flatten().any(|socket| socket.inode == name);
        if left.len() != usize::from(someone_stays) {
            return Err(format!("P5: everybody ended cleanly, and this is left: {left:?}"));
        }
        let ours = processes.iter().any(|process| process.notes.has(Note::Owns) && process.class == Class::Ours);
        if !blocked && ours && kernel.has(Name::Lock) {
            return Err("P5: a killed holder's lock was taken over and then left".to_owned());
        }
        Ok(())
    }

    /// P7: nobody sleeps in connect() on a server that has ended, and none that was let in is reset by a graceful one.
    fn judge_client(&self, kernel: &Kernel, party: usize, process: &Process) -> Result<(), String> {
        if let Some(server) = process.blocked {
            let server_crashed = kernel.processes[usize::from(maker(server))].crashed;
            if !server_crashed && !kernel.sockets[usize::from(server)].is_some_and(|socket| socket.is_live()) {
                return Err(format!(
                    "P7: client {party} stays blocked in connect() to socket {server}, which has ended"
                ));
            }
        }
        let graceful = self.scenario.roles.iter().all(|role| !role.party.is_starter() || role.party.is_graceful());
        let crashed = kernel.processes.iter().any(|process| process.crashed);
        if process.client == Client::Reset && graceful && !crashed {
            return Err(format!("P7: client {party} was let in by connect(), and reset"));
        }
        Ok(())
    }
}

/// P4: once everybody is dead a fresh create succeeds, and leaves nothing when it closes.
pub(super) fn recovers(kernel: &Kernel, everybody: Pid, user: u8) -> Result<(), String> {
    let mut after = *kernel;
    (0..everybody).for_each(|party| after.kill(party));
    if has_foreign(&after) {
        return Ok(());
    }
    // Each kind of name is recovered by a start of the kind that makes it.
    for party in [Party::CreateLongNameClose, Party::ClaimDrainLifetime, Party::Create] {
        let needed = match party {
            Party::CreateLongNameClose => after.has(Name::Temporary),
            Party::ClaimDrainLifetime => after.has(Name::Life),
            _ => true,
        };
        if needed {
            *after.process(everybody) = Process { user, ..Process::default() };
            let sim = Sim::direct(after, everybody, None);
            let created = fresh_create(&sim, party);
            after = sim.kernel();
            if let Some(fault) = &after.fault {
                return Err(format!("after everybody was killed: {fault}"));
            }
            created.map_err(|kind| format!("P4: everybody was killed, and a fresh create fails: {kind:?}"))?;
        }
    }
    let left = made(&after);
    if !left.is_empty() {
        return Err(format!("P4: everybody was killed, a fresh server came and went, and this is left: {left:?}"));
    }
    Ok(())
}

/// The names that a party made. What was there before and was never touched is not asked after.
pub(super) fn made(kernel: &Kernel) -> Vec<Name> {
    let made = |&name: &Name| kernel.at(name).is_some_and(|it| matches!(it.origin, Origin::Ours | Origin::Git(_)));
    Name::ALL.into_iter().filter(made).collect()
}

/// Whoever starts here serves on, if need be at a new socket.
fn starters_heal(roles: &[Role]) -> bool {
    let mut starters = roles.iter().filter(|role| role.party.is_starter()).peekable();
    starters.peek().is_some() && starters.all(|role| role.party.stays() || role.party == Party::Heal)
}

fn lives_at_name(kernel: &Kernel) -> bool {
    kernel.ino(Name::Socket).is_some_and(|ino| kernel.listener_of(ino).is_some())
}

/// Judged by the harm that it does to a server or a client alone.
fn is_rejected(party: Party) -> bool {
    party.class() == Class::Rejected
}

/// The git lock of a crashed git stays for ever: that is git's to answer for.
fn is_blocked_by_git(kernel: &Kernel) -> bool {
    kernel.at(Name::Lock).is_some_and(|inode| matches!(inode.origin, Origin::Git(_)))
}

fn has_foreign(kernel: &Kernel) -> bool {
    [Name::Lock, Name::Socket, Name::Temporary]
        .iter()
        .any(|&name| kernel.at(name).is_some_and(|it| it.origin == Origin::Foreign))
}
