//! Every schedule of the parties within a bound: how many crashes, stops and failing calls there may be.
//!
//! Depth first to see all of it, breadth first to find the shortest schedule that breaks a promise. Three things keep
//! the space small, and none of them hides a fault: steps that no other party can notice and that depend on none are
//! not tried in every order ([`Explorer::is_alone`]); parties of the same kind are the same whichever is which
//! ([`super::symmetry`]); and a party is no more than what it remembers ([`super::automaton`]).

use std::collections::VecDeque;

use super::automaton::{Automaton, Next, NodeId, Role, pid};
use super::calls::{Call, Name, Reply};
use super::errnos;
use super::kernel::{Kernel, PROCESSES, Pid, Welcome};
use super::parties::Party;
use super::process::Class;
use super::schedule::{Found, Step};
use super::seen::{Seen, hash};

/// Who meets whom on what, and what may happen to them.
#[derive(Clone)]
pub(super) struct Scenario {
    pub(super) roles: Vec<Role>,
    pub(super) beginning: String,
    kernel: Kernel,
    pub(super) bounds: Bounds,
}

/// How often something may happen, in all.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub(super) crashes: u8,
    /// Parties that stop, alive, until nobody else can move.
    pub(super) stops: u8,
    /// Calls that fail, with each errno that they can give.
    pub(super) failures: u8,
}

impl Scenario {
    pub(super) fn new(roles: &[Role], beginning: &str, mut kernel: Kernel) -> Self {
        for (process, role) in kernel.processes.iter_mut().zip(roles) {
            process.class = role.party.class();
            process.user = role.user;
        }
        kernel.serving = roles.iter().any(|role| role.party.serves());
        kernel.queues = kernel.serving || roles.iter().any(|role| role.party == Party::Client);
        let each_is_replaced = roles.iter().all(|role| role.party.serves() || role.party == Party::Client);
        if kernel.serving && each_is_replaced {
            kernel.welcome = Welcome::NotYet;
        }
        Scenario { roles: roles.to_vec(), beginning: beginning.to_owned(), kernel, bounds: Bounds::default() }
    }

    pub(super) fn within(self, bounds: Bounds) -> Self {
        Scenario { bounds, ..self }
    }

    pub(super) fn has(&self, wanted: impl Fn(Party) -> bool) -> bool {
        self.roles.iter().any(|role| wanted(role.party))
    }
}

#[derive(Clone, Copy, Hash)]
pub(super) struct State {
    pub(super) kernel: Kernel,
    pub(super) at: [NodeId; PROCESSES],
    pub(super) left: Bounds,
}

pub(super) struct Explorer<'a> {
    pub(super) scenario: Scenario,
    pub(super) automaton: &'a mut Automaton,
    /// All of ours: whoever changes a name breaks the rule unless it holds the lock.
    lawful: bool,
    /// Leave out what makes no difference.
    reduces: bool,
    /// What everybody's death may leave, as far as it is known to be recovered from.
    pub(super) recovered: Seen,
}

impl<'a> Explorer<'a> {
    pub(super) fn new(scenario: Scenario, automaton: &'a mut Automaton) -> Self {
        let lawful = scenario.roles.iter().all(|role| role.party.class() == Class::Ours);
        Explorer { scenario, automaton, lawful, reduces: true, recovered: Seen::default() }
    }

    /// The number of states, all of which keep the promises; or a schedule that breaks one.
    pub(super) fn explore(&mut self) -> Result<usize, Box<Found>> {
        self.search(Vec::pop)
    }

    /// The shortest schedule that breaks a promise.
    pub(super) fn shortest(&mut self) -> Result<usize, Box<Found>> {
        self.reduces = false;
        let mut queue = VecDeque::new();
        self.search(move |new| {
            queue.extend(new.drain(..));
            queue.pop_front()
        })
    }

    fn search(
        &mut self,
        mut take: impl FnMut(&mut Vec<(State, u32)>) -> Option<(State, u32)>,
    ) -> Result<usize, Box<Found>> {
        let start = self.start();
        let mut seen = Seen::default();
        seen.insert(self.key(&start));
        let mut trace = vec![(0, Step::Call(0))];
        let mut open = vec![(start, 0)];
        let mut steps = Vec::new();
        while let Some((state, at)) = take(&mut open) {
            let moves = self.steps(&state, &mut steps);
            let judged = self.judge_now(&state).and_then(|()| if moves { Ok(()) } else { self.judge_end(&state) });
            if let Err(fault) = judged {
                return Err(Box::new(self.found(fault, &trace, at)));
            }
            for &step in &steps {
                let next = self.take(&state, step);
                if seen.insert(self.key(&next)) {
                    trace.push((at, step));
                    open.push((next, u32::try_from(trace.len() - 1).expect("fewer states than memory")));
                }
            }
        }
        Ok(seen.len())
    }

    fn found(&mut self, fault: String, trace: &[(u32, Step)], mut at: u32) -> Found {
        let mut steps = Vec::new();
        while at != 0 {
            let (before, step) = trace[at as usize];
            steps.push(step);
            at = before;
        }
        steps.reverse();
        Found::new(&self.scenario, self.automaton, fault, steps)
    }

    pub(super) fn start(&mut self) -> State {
        let mut at = [0; PROCESSES];
        for (party, role) in self.scenario.roles.iter().enumerate() {
            at[party] = self.automaton.start(*role);
        }
        State { kernel: self.scenario.kernel, at, left: self.scenario.bounds }
    }

    pub(super) fn next(&self, state: &State, party: Pid) -> Next {
        self.automaton.next(state.at[usize::from(party)])
    }

    fn key(&self, state: &State) -> u128 {
        if self.reduces { hash(&state.sorted(&self.scenario.roles)) } else { hash(state) }
    }

    /// All that can happen next. False if it is only that somebody is killed: nobody moves any more.
    pub(super) fn steps(&self, state: &State, steps: &mut Vec<Step>) -> bool {
        steps.clear();
        let mut moves = false;
        let mut waiting = Vec::new();
        let mut graceful = Vec::new();
        let mut stopped = None;
        for party in 0..pid(self.scenario.roles.len()) {
            let process = &state.kernel.processes[usize::from(party)];
            if process.crashed {
                continue;
            }
            if process.stopped {
                stopped = Some(party);
                continue;
            }
            match self.next(state, party) {
                Next::Ended => continue,
                Next::Stays => {}
                Next::Pause if process.asleep => waiting.push(party),
                Next::Pause => {
                    // Asleep until something happens that it could notice.
                    steps.clear();
                    steps.push(Step::Call(party));
                    return true;
                }
                Next::Call(_) if process.blocked.is_some() => {}
                Next::Call(Call::Grace) => graceful.push(Step::Call(party)),
                Next::Call(call) => {
                    if self.reduces && self.is_alone(state, party, call) {
                        steps.clear();
                        steps.push(Step::Call(party));
                        return true;
                    }
                    if process.class == Class::Stranger && self.strangers_are_kept_out(state, call) {
                        continue;
                    }
                    moves = true;
                    steps.push(Step::Call(party));
                    if state.left.failures > 0 && process.class != Class::Stranger {
                        steps.extend(errnos::passing(call).into_iter().map(|errno| Step::failure(party, errno)));
                    }
                    if state.left.stops > 0 && process.class == Class::Ours {
                        steps.push(Step::Stop(party));
                    }
                }
            }
            if state.left.crashes > 0 && process.class != Class::Stranger {
                steps.push(Step::Kill(party));
            }
        }
        if !moves && !graceful.is_empty() {
            // Nothing is under way any more.
            steps.append(&mut graceful);
            moves = true;
        }
        if !moves {
            // Nobody else can move. Something may have changed while those who wait were looking, so they look once
            // more; then their time runs out.
            moves = !waiting.is_empty() || stopped.is_some();
            let unsure = |party: &Pid| !state.kernel.processes[usize::from(*party)].sure;
            if waiting.iter().any(unsure) {
                steps.extend(waiting.into_iter().filter(unsure).map(Step::Call));
            } else {
                steps.extend(waiting.into_iter().map(Step::Late));
                steps.extend(stopped.map(Step::Resume));
            }
        }
        moves
    }

    /// A step that no other party can notice, and that depends on none, need not be tried in every order. A crash just
    /// after it is the same as just before, and so is a failure of another's call.
    fn is_alone(&self, state: &State, party: Pid, call: Call) -> bool {
        if state.left.failures > 0 && !errnos::of(call).is_empty() {
            return false;
        }
        let kernel = &state.kernel;
        match call {
            // Of a file whose flock we hold nothing changes: whoever changes it holds the flock.
            Call::Stat(fd) => kernel.is_steady(party, fd),
            Call::Note(_) | Call::Socket | Call::Reach(_) => true,
            // A second listen; a descriptor that was not the last of anything.
            Call::Listen(..) | Call::Close(_) => {
                let mut after = *kernel;
                after.apply(party, call);
                after.looks_like(kernel)
            }
            // Nobody else may change a name while we hold the lock, and who does is caught at that.
            Call::StatAt(_) | Call::StatPath(_) | Call::Pin(Name::Socket | Name::Temporary) => {
                self.lawful && kernel.holds_lock(party, Name::Lock)
            }
            _ => false,
        }
    }

    /// Two moments there are in which no protocol can keep out a stranger who knows of no lock, and he does not move
    /// there: between the last look at a name and its unlink, since the kernel has no call that removes a name only if
    /// it leads to a given file; and between bind and the first look at what was bound, since the kernel does not say
    /// which file a socket is bound to. A file that is no socket is told even there.
    fn strangers_are_kept_out(&self, state: &State, move_of_stranger: Call) -> bool {
        (0..self.scenario.roles.len()).any(|party| {
            let process = &state.kernel.processes[party];
            let (Next::Call(next), Some(last)) =
                (self.automaton.next(state.at[party]), self.automaton.last_call(state.at[party]))
            else {
                return false;
            };
            let about_to_unlink = matches!((last, next), (Call::StatAt(a), Call::Unlink(b)) if a == b);
            let just_bound = matches!((last, next), (Call::Bind(..) | Call::Rename(..), Call::StatAt(_)))
                && move_of_stranger != Call::PutFile;
            // Where names cannot be exchanged, the last look at what is renamed over is such a moment too.
            let about_to_rename = matches!((last, next), (Call::StatAt(a), Call::RenameOver(_, b)) if a == b);
            !process.crashed && process.class != Class::Stranger && (about_to_unlink || just_bound || about_to_rename)
        })
    }

    pub(super) fn take(&mut self, state: &State, step: Step) -> State {
        let mut after = *state;
        match step {
            Step::Call(party) => match self.next(state, party) {
                Next::Call(call) => {
                    let reply = after.kernel.apply(party, call);
                    if reply != Reply::Blocked {
                        self.told(&mut after, party, reply);
                    }
                    self.wake(state, &mut after, party);
                }
                _ if after.kernel.processes[usize::from(party)].asleep => {
                    let process = after.kernel.process(party);
                    (process.asleep, process.sure) = (false, true);
                    self.told(&mut after, party, Reply::Done);
                }
                _ => after.kernel.process(party).asleep = true,
            },
            Step::Fail(party, errno) => {
                after.left.failures -= 1;
                self.told(&mut after, party, Reply::Err(errno));
            }
            Step::Kill(party) => {
                after.left.crashes -= 1;
                after.kernel.kill(party);
                after.at[usize::from(party)] = 0;
                self.wake(state, &mut after, party);
            }
            Step::Late(party) => {
                after.kernel.process(party).asleep = false;
                self.told(&mut after, party, Reply::Late);
            }
            Step::Stop(party) => {
                after.left.stops -= 1;
                after.kernel.process(party).stopped = true;
            }
            Step::Resume(party) => after.kernel.process(party).stopped = false,
        }
        after
    }

    fn told(&mut self, state: &mut State, party: Pid, reply: Reply) {
        let at = &mut state.at[usize::from(party)];
        *at = self.automaton.after(*at, reply);
    }

    /// Those who wait look again once something has changed that they could notice.
    fn wake(&mut self, before: &State, after: &mut State, mover: Pid) {
        if after.kernel.looks_to_waiters_like(&before.kernel) {
            return;
        }
        for party in 0..pid(self.scenario.roles.len()) {
            after.kernel.process(party).sure = false;
            if party != mover && after.kernel.processes[usize::from(party)].asleep {
                after.kernel.process(party).asleep = false;
                self.told(after, party, Reply::Done);
            }
        }
    }
}
