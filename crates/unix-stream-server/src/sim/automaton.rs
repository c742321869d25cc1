//! What a party can be in: the states of its own, found once and then only looked up.
//!
//! A party's state is what it remembers of what it was told. Where the protocol has forgotten, states fall together:
//! at a note it says itself what it remembers; when it begins an attempt at the lock it remembers its open
//! descriptors, what step 0 found, how many attempts this is, and what the waiting told it; when it opens its socket, only
//! the first two. That is so of the protocols; a rejected design remembers everything. Each state keeps two of the logs that lead to it, and both must go on alike: a protocol that
//! remembers more than is assumed here is found out.

use std::collections::HashMap;
use std::rc::Rc;

use rustix::io::Errno;

use super::calls::{Call, FdNumber, Name, Note, Reply};
use super::kernel::Pid;
use super::parties::Party;
use super::process::Class;
use super::{Log, Run, Sim};

/// A party and its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Role {
    pub(super) party: Party,
    pub(super) user: u8,
}

pub(super) type NodeId = u32;

/// What a party does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Call(Call),
    /// It waits for the lock.
    Pause,
    /// It lives on and does nothing more.
    Stays,
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Known {
    Told(Reply),
    /// Where it stands, and all that it remembers.
    Milestone(Note, String),
    /// All that it remembers when it begins an attempt at the lock.
    Attempt(Attempt),
    /// What it does next; its descriptors, how each was opened, and its file; whether step 0 found something.
    Holds(Call, Vec<(Call, FdNumber, Option<u64>)>, bool),
    /// It does nothing more.
    Over {
        alive: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    call: Call,
    /// Which wait this is since its last note: the first, the second
    wait: usize,
    /// How often it has begun since it last paused.
    times: usize,
    /// Another user's lock file, in the last round.
    denied: Option<Reply>,
    late: bool,
    /// This is not the first round.
    again: bool,
    /// Step 0 found something, which is a hint of what to try first.
    found: bool,
    holds: Vec<(Call, FdNumber, Option<u64>)>,
}

struct Node {
    role: Role,
    next: Next,
    /// What it says with its note, if that is next.
    memory: String,
    known: Vec<Known>,
    /// How much of `known` a later attempt at the lock leaves standing.
    base: usize,
    logs: Vec<Log>,
    edges: Vec<(Reply, NodeId)>,
}

#[derive(Default)]
pub(super) struct Automaton {
    nodes: Vec<Node>,
    ids: HashMap<(Role, Vec<Known>), NodeId>,
}

struct Played {
    next: Next,
    memory: String,
    /// Where in the log its last wait began, and how many there were since the last note.
    wait: usize,
    waits: usize,
}

impl Automaton {
    pub(super) fn start(&mut self, role: Role) -> NodeId {
        self.node(role, Vec::new(), 0, Log::default())
    }

    pub(super) fn next(&self, node: NodeId) -> Next {
        self.nodes[node as usize].next
    }

    /// The call before.
    pub(super) fn last_call(&self, node: NodeId) -> Option<Call> {
        self.nodes[node as usize].logs[0].last().map(|(call, _)| *call)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Where the party stands once its call has this reply.
    pub(super) fn after(&mut self, id: NodeId, reply: Reply) -> NodeId {
        let node = &self.nodes[id as usize];
        if let Some((_, after)) = node.edges.iter().find(|(edge, _)| *edge == reply) {
            return *after;
        }
        let logs = node.logs.clone();
        let after = self.follow(id, &logs[0], reply);
        self.nodes[id as usize].edges.push((reply, after));
        for log in &logs[1..] {
            let other = self.follow(id, log, reply);
            assert_eq!(other, after, "two ways to one state lead apart after {reply:?}: {logs:?}");
        }
        after
    }

    fn follow(&mut self, id: NodeId, log: &Log, reply: Reply) -> NodeId {
        let node = &self.nodes[id as usize];
        let call = match node.next {
            Next::Call(call) => call,
            Next::Pause => Call::Pause,
            Next::Stays | Next::Ended => panic!("nothing comes after the end"),
        };
        let mut known = node.known.clone();
        if let Call::Note(note) = call {
            known = vec![Known::Milestone(note, node.memory.clone())];
        } else {
            known.push(Known::Told(reply));
        }
        let role = node.role;
        let base = if matches!(call, Call::Note(_)) { 1 } else { node.base };
        let mut log = Log::clone(log);
        Rc::make_mut(&mut log).push((call, reply));
        self.node(role, known, base, log)
    }

    fn node(&mut self, role: Role, mut known: Vec<Known>, mut base: usize, log: Log) -> NodeId {
        let played = play(role, &log);
        if played.waits > 1 && played.wait == log.len() {
            // It waits a second time since its last note: how the first one ended may be on its mind.
            base = known.len();
        }
        if role.party.class() != Class::Rejected {
            forget(&mut known, base, &played, &log, role.party);
        }
        if let Some(&id) = self.ids.get(&(role, known.clone())) {
            let node = &mut self.nodes[id as usize];
            assert_eq!(node.next, played.next, "two ways to one state go on differently: {:?} and {log:?}", node.logs);
            if node.logs.len() < 2 && !node.logs.contains(&log) {
                node.logs.push(Log::clone(&log));
                for (reply, after) in node.edges.clone() {
                    let other = self.follow(id, &log, reply);
                    assert_eq!(other, after, "two ways to one state lead apart: {log:?}");
                }
            }
            return id;
        }
        let id = NodeId::try_from(self.nodes.len()).expect("a party has few states");
        self.ids.insert((role, known.clone()), id);
        let Played { next, memory, .. } = played;
        self.nodes.push(Node { role, next, memory, known, base, logs: vec![log], edges: Vec::new() });
        id
    }
}

fn play(role: Role, log: &Log) -> Played {
    let sim = Sim::replay(Rc::clone(log), role.user);
    role.party.play(&sim);
    let Run::Replay(replay) = &*sim.run else { panic!("it is replayed") };
    let (next, memory) = match replay.pending.take() {
        None => (Next::Ended, String::new()),
        Some(pending) => match pending.call {
            Call::Stay => (Next::Stays, String::new()),
            Call::Pause => (Next::Pause, String::new()),
            call => (Next::Call(call), pending.memory),
        },
    };
    Played { next, memory, wait: replay.wait.get(), waits: replay.waits.get() }
}

/// Drops what the party cannot remember where it is now.
fn forget(known: &mut Vec<Known>, base: usize, played: &Played, log: &Log, party: Party) {
    let what = match played.next {
        Next::Call(call @ (Call::CreateLock(_) | Call::CreateGitLock)) => Known::Attempt(attempt(call, played, log)),
        // Whether the life lock of a claim proves a death still, it has asked just before.
        Next::Call(call @ Call::Socket) if !(holds_life(log) && has_claimed(log)) => {
            Known::Holds(call, holds(log), found(log))
        }
        // The first look at the name under a lock that was wanted to remove it, or for a claim. Not the one before the life
        // lock is made, which is another attempt.
        Next::Call(call @ (Call::StatAt(Name::Socket) | Call::Pin(Name::Socket)))
            if just_locked(&log[played.wait..], log)
                && (!party.has_life_lock() || holds_life(log) && !has_claimed(log)) =>
        {
            Known::Holds(call, holds(log), found(log))
        }
        Next::Ended | Next::Stays => {
            *known = vec![Known::Over { alive: played.next == Next::Stays }];
            return;
        }
        Next::Call(_) | Next::Pause => return,
    };
    known.truncate(base);
    known.push(what);
}

fn attempt(call: Call, played: &Played, log: &Log) -> Attempt {
    let wait = &log[played.wait..];
    let paused = |(call, _): &(Call, Reply)| *call == Call::Pause;
    let round = wait.rsplit(paused).next().unwrap_or(wait);
    let last_round = wait.split(paused).rev().nth(1).unwrap_or(&[]);
    let stat = |round: &[(Call, Reply)], wanted: fn(&Call) -> bool| {
        let found = |(call, reply): &(Call, Reply)| (wanted(call) && matches!(reply, Reply::Stat(_))).then_some(*reply);
        round.iter().rev().find_map(found)
    };
    let opened = last_round.iter().rev().find(|(call, _)| matches!(call, Call::OpenLock(_) | Call::CreateLock(_)));
    let refused = [Errno::ACCESS, Errno::PERM].map(|errno| Reply::Err(errno.raw_os_error()));
    let denied = matches!(opened, Some((Call::OpenLock(_), reply)) if refused.contains(reply));
    Attempt {
        call,
        wait: played.waits,
        times: round.iter().filter(|(before, _)| *before == call).count(),
        denied: if denied { stat(last_round, |call| matches!(call, Call::Stat(_))) } else { None },
        late: wait.iter().any(|(_, reply)| *reply == Reply::Late),
        again: wait.iter().any(paused),
        found: found(log),
        holds: holds(log),
    }
}

/// Step 0 has found something at the path: until its first note a party that creates a server remembers it.
fn found(log: &Log) -> bool {
    let is_noted = log.iter().any(|(call, _)| matches!(call, Call::Note(_)));
    let begins = |call: &Call| matches!(call, Call::CreateLock(_) | Call::CreateGitLock);
    let mut looks = log.iter().take_while(|(call, _)| !begins(call)).filter_map(|(call, reply)| match call {
        Call::StatPath(_) | Call::StatAt(_) => Some(!matches!(reply, Reply::Err(_))),
        Call::Pin(_) => Some(*reply != Reply::Err(Errno::NOENT.raw_os_error())),
        _ => None,
    });
    !is_noted && looks.next() == Some(true) && looks.all(|seen| seen)
}

/// The last call gave the party the short lock, and nothing has been done with it yet.
fn just_locked(wait: &[(Call, Reply)], log: &Log) -> bool {
    let Some((last, Reply::Stat(stat))) = log.last() else { return false };
    let flocks = |(call, reply): &(Call, Reply)| matches!(call, Call::Flock(_)).then_some(*reply);
    let holds_flock = wait.iter().rev().find_map(flocks) == Some(Reply::Done);
    matches!(last, Call::Stat(_) | Call::StatAt(Name::Lock | Name::Life)) && holds_flock && stat.links == 1
}

fn has_claimed(log: &Log) -> bool {
    let note = log.iter().rev().find_map(|(call, _)| match call {
        Call::Note(note) => Some(*note),
        _ => None,
    });
    note == Some(Note::Claims)
}

fn holds_life(log: &Log) -> bool {
    let is_life = |call: &Call| matches!(call, Call::CreateLock(Name::Life) | Call::OpenLock(Name::Life));
    holds(log).iter().any(|(call, _, _)| is_life(call))
}

/// The open descriptors: how each was opened, and the number of its file as far as it was asked for.
fn holds(log: &Log) -> Vec<(Call, FdNumber, Option<u64>)> {
    let mut open: Vec<(Call, FdNumber, Option<u64>)> = Vec::new();
    for &(call, reply) in log.iter() {
        match (call, reply) {
            (Call::Close(fd), _) => open.retain(|(_, number, _)| *number != fd),
            (Call::Stat(fd), Reply::Stat(stat)) => {
                open.iter_mut().filter(|(_, number, _)| *number == fd).for_each(|held| held.2 = Some(stat.id.ino));
            }
            (_, Reply::Fd(fd)) => open.push((call, fd, None)),
            _ => {}
        }
    }
    open.sort_unstable_by_key(|(_, number, _)| *number);
    open
}

/// How many processes a set of roles needs.
pub(super) fn pid(party: usize) -> Pid {
    Pid::try_from(party).expect("there are few parties")
}
