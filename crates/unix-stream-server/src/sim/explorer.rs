//! Every schedule of the parties, and a crash before every call of any of them.

use std::collections::HashSet;
use std::fmt::Write;
use std::rc::Rc;

use super::kernel::{Call, Kernel, Name, Note, Reply};
use super::parties::{Party, fresh_create};
use super::{Log, Run, Sim};

#[derive(Clone)]
struct State {
    kernel: Kernel,
    progress: Vec<Progress>,
    crashes_left: usize,
}

/// How far a party has come.
#[derive(Clone, Default)]
struct Progress {
    log: Log,
    /// The log as far as it matters: of the rounds of a wait only what the party remembers of them.
    known: Vec<Known>,
    /// Where in the log the wait began in which the party is asleep.
    wait: usize,
    /// How much of `known` a party remembers when it begins to wait for the lock: up to its last note.
    milestone: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Known {
    Reply(Reply),
    /// All that a round of waiting leaves behind in a party: the node that it judged last.
    Waited(Option<Reply>),
    /// Where it stands, and all that it remembers.
    Milestone(Note, String),
}

impl Progress {
    fn push(&mut self, call: Call, reply: Reply) {
        if (&call, &reply) == (&Call::Pause, &Reply::Done) {
            let seen = self.log[self.wait..].iter().rev().find_map(|(call, reply)| match (call, reply) {
                (Call::StatAt(Name::Socket), Reply::Stat(_)) => Some(reply.clone()),
                _ => None,
            });
            self.known.truncate(self.milestone);
            self.known.push(Known::Waited(seen));
        } else if let Call::Note(note, memory) = &call {
            self.known = vec![Known::Milestone(*note, memory.clone())];
            self.milestone = 1;
        } else {
            self.known.push(Known::Reply(reply.clone()));
        }
        Rc::make_mut(&mut self.log).push((call, reply));
    }
}

impl State {
    fn key(&self) -> (Kernel, Vec<Vec<Known>>, usize) {
        let known = self.progress.iter().map(|progress| progress.known.clone()).collect();
        (self.kernel.clone(), known, self.crashes_left)
    }
}

/// What a party does next.
enum Next {
    Call(Call),
    /// The first call of a wait for the lock: nothing since the last note is remembered.
    FirstOfWait(Call),
    /// It pauses, in a wait that began there in its log.
    Pause(usize),
    /// It lives on and does nothing more.
    Stays,
    Ended,
}

pub(super) struct Explorer {
    parties: Vec<Party>,
    crashes: usize,
}

/// The count of a complete search, or the first schedule that breaks a promise, as readable steps.
pub(super) type Outcome = Result<usize, String>;

impl Explorer {
    pub(super) fn new(parties: &[Party], crashes: usize) -> Self {
        Explorer { parties: parties.to_vec(), crashes }
    }

    pub(super) fn explore(&self, kernel: Kernel) -> Outcome {
        let mut kernel = kernel;
        for (process, party) in kernel.processes.iter_mut().zip(&self.parties) {
            process.is_git = party.is_git();
        }
        let start =
            State { kernel, progress: vec![Progress::default(); self.parties.len()], crashes_left: self.crashes };
        let mut seen = HashSet::new();
        let mut recovered = HashSet::new();
        let mut stack = vec![(start, Path::default())];
        while let Some((state, path)) = stack.pop() {
            if !seen.insert(state.key()) {
                continue;
            }
            let found = |fault: &str| Err(format!("{fault}\n{}", path.show()));
            if let Some(fault) = &state.kernel.fault {
                return found(fault);
            }
            if let Err(fault) = self.recovers(&state.kernel, &mut recovered) {
                return found(&fault);
            }
            let successors = self.successors(&state);
            if successors.is_empty() {
                if let Err(fault) = self.judge_end(&state) {
                    return found(&fault);
                }
            }
            for (next, step) in successors {
                stack.push((next, path.and(step)));
            }
        }
        Ok(seen.len())
    }

    fn next(&self, state: &State, party: usize) -> Next {
        let sim = Sim::replay(Rc::clone(&state.progress[party].log));
        self.parties[party].play(&sim);
        let Run::Replay { pending, looked, .. } = &*sim.run else { return Next::Ended };
        match pending.take() {
            None => Next::Ended,
            Some(Call::Stay) => Next::Stays,
            Some(Call::Pause) => Next::Pause(looked.get().0),
            Some(call) if looked.get().1 == state.progress[party].log.len() => Next::FirstOfWait(call),
            Some(call) => Next::Call(call),
        }
    }

    fn successors(&self, state: &State) -> Vec<(State, String)> {
        let mut successors = Vec::new();
        let mut waiting = Vec::new();
        for party in 0..self.parties.len() {
            if state.kernel.processes[party].crashed {
                continue;
            }
            match self.next(state, party) {
                Next::Ended => {}
                Next::Stays => self.crash(state, party, &mut successors),
                Next::Pause(since) => {
                    // Asleep until something happens that it could notice.
                    let mut next = state.clone();
                    if !next.kernel.processes[party].asleep {
                        next.kernel.processes[party].asleep = true;
                        next.progress[party].wait = since;
                        return vec![(next, format!("{party} waits"))];
                    }
                    waiting.push(party);
                    self.crash(state, party, &mut successors);
                }
                next @ (Next::Call(_) | Next::FirstOfWait(_)) => {
                    let mut state = state.clone();
                    let call = match next {
                        Next::FirstOfWait(call) => {
                            let progress = &mut state.progress[party];
                            progress.known.truncate(progress.milestone);
                            call
                        }
                        Next::Call(call) => call,
                        _ => continue,
                    };
                    let next = step(&state, party, &call);
                    // A step that no other party can notice, and that depends on none, need not be tried in every
                    // order. A crash just after it is the same as just before.
                    let alone = match call {
                        // Of a file whose flock we hold nothing changes: whoever changes it holds the flock.
                        Call::Stat(fd) => state.kernel.is_steady(party, fd),
                        Call::Note(..) | Call::Socket => true,
                        // A second listen; a descriptor that was not the last of anything.
                        Call::Listen(_) | Call::Close(_) => next.0.kernel.looks_like(&state.kernel),
                        _ => false,
                    };
                    if alone {
                        return vec![next];
                    }
                    successors.push(next);
                    self.crash(&state, party, &mut successors);
                }
            }
        }
        let moves = successors.iter().any(|(_, step)| !step.contains("killed"));
        if !moves {
            // Nobody else can move: the time of those who wait runs out.
            for party in waiting {
                let mut next = state.clone();
                next.kernel.processes[party].asleep = false;
                next.progress[party].push(Call::Pause, Reply::Late);
                successors.push((next, format!("{party} has waited too long")));
            }
        }
        successors
    }

    fn crash(&self, state: &State, party: usize, successors: &mut Vec<(State, String)>) {
        if state.crashes_left > 0 {
            let mut next = state.clone();
            next.crashes_left -= 1;
            next.kernel.kill(party);
            wake(state, &mut next, party);
            next.progress[party] = Progress::default();
            successors.push((next, format!("{party} is killed")));
        }
    }

    /// P4: if everybody died here and now, a fresh create would succeed.
    fn recovers(&self, kernel: &Kernel, known: &mut HashSet<Kernel>) -> Result<(), String> {
        let mut after = kernel.clone();
        for party in 0..self.parties.len() {
            after.kill(party);
            after.processes[party].notes.clear();
        }
        if after.is_blocked_by_git() || after.has_foreign(Name::Socket) || !known.insert(after.clone()) {
            return Ok(());
        }
        after.processes.push(super::kernel::Process::default());
        let sim = Sim::direct(after, self.parties.len());
        let created = fresh_create(&sim);
        let Run::Direct { kernel, .. } = &*sim.run else { return Ok(()) };
        if let Some(fault) = &kernel.borrow().fault {
            return Err(format!("after everybody was killed: {fault}"));
        }
        created.map_err(|kind| format!("P4: everybody was killed, and a fresh create fails: {kind:?}"))
    }

    /// Nothing moves any more: who got what, and what is left?
    fn judge_end(&self, state: &State) -> Result<(), String> {
        let kernel = &state.kernel;
        let crashed = kernel.processes.iter().any(|process| process.crashed);
        let count = |note| kernel.processes.iter().filter(|process| process.notes.contains(&note)).count();
        let blocked = kernel.is_blocked_by_git();
        for (party, process) in kernel.processes.iter().enumerate() {
            let noise = process.notes.iter().any(|note| matches!(note, Note::Locked | Note::Failed));
            // git's is left out: a lock that is not had in time is what it gives its callers by design.
            if noise && !blocked && !process.is_git {
                return Err(format!("P1: party {party} ends with {:?}, not with the path or InUse", process.notes));
            }
            if self.parties[party].stays()
                && process.notes == [Note::Owns]
                && !process.crashed
                && !kernel.is_live_at_name(party)
            {
                return Err(format!("P2: party {party} lives, and the name does not lead to it any more"));
            }
        }
        let all_stay = self.parties.iter().all(|party| party.stays());
        let winners = count(Note::Owns);
        if all_stay && !crashed && !blocked && !kernel.has_foreign(Name::Socket) && winners != 1 {
            return Err(format!("P1: {winners} of {} got the path", self.parties.len()));
        }
        let someone_stays = (0..self.parties.len()).any(|party| kernel.is_live_at_name(party));
        let left = kernel.made();
        if !crashed && left.len() != usize::from(someone_stays) {
            return Err(format!("P5: everybody ended cleanly, and this is left: {left:?}"));
        }
        let ours = kernel.processes.iter().any(|process| process.notes.contains(&Note::Owns) && !process.is_git);
        if !crashed && !blocked && ours && kernel.has(Name::Lock) {
            return Err("P5: a killed holder's lock was taken over and then left".to_owned());
        }
        Ok(())
    }
}

fn step(state: &State, party: usize, call: &Call) -> (State, String) {
    let mut next = state.clone();
    let reply = next.kernel.apply(party, call);
    wake(state, &mut next, party);
    let shown = format!("{party} {call:?} -> {reply:?}");
    next.progress[party].push(call.clone(), reply);
    (next, shown)
}

/// Those who wait look again once something has changed that they could notice.
fn wake(before: &State, after: &mut State, mover: usize) {
    if after.kernel.looks_like(&before.kernel) {
        return;
    }
    for party in 0..after.kernel.processes.len() {
        if party != mover && after.kernel.processes[party].asleep {
            after.kernel.processes[party].asleep = false;
            after.progress[party].push(Call::Pause, Reply::Done);
        }
    }
}

/// The steps so far, shared between the states that continue them.
#[derive(Clone, Default)]
struct Path(Option<Rc<(String, Path)>>);

impl Path {
    fn and(&self, step: String) -> Path {
        Path(Some(Rc::new((step, self.clone()))))
    }

    fn show(&self) -> String {
        let mut steps = Vec::new();
        let mut at = self;
        while let Some(node) = &at.0 {
            steps.push(node.0.as_str());
            at = &node.1;
        }
        let mut shown = String::new();
        for (number, step) in steps.iter().rev().enumerate() {
            let _ = writeln!(shown, "{:>4}  party {step}", number + 1);
        }
        shown
    }
}
