//! A schedule: who took which step, in a form that people read and in one that replays it.

use std::fmt::{self, Write};
use std::str::FromStr;

use rustix::io::Errno;

use super::automaton::{Automaton, Next, Role};
use super::explorer::{Bounds, Explorer, Scenario};
use super::kernel::Pid;
use super::parties::Party;
use super::{calls::errno_name, tests::beginnings};

/// One step of one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its next call; a pause, if that is next
    Call(Pid),
    /// Its next call fails.
    Fail(Pid, i32),
    Kill(Pid),
    /// It has waited for longer than it may.
    Late(Pid),
    /// It stops for a long time, with all that it holds.
    Stop(Pid),
    Resume(Pid),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Call(party) => write!(f, "{party}"),
            Step::Fail(party, errno) => write!(f, "{party}e{errno}"),
            Step::Kill(party) => write!(f, "{party}k"),
            Step::Late(party) => write!(f, "{party}l"),
            Step::Stop(party) => write!(f, "{party}s"),
            Step::Resume(party) => write!(f, "{party}r"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("not a step: {text:?}");
        let digit = text.chars().next().and_then(|digit| digit.to_digit(10)).ok_or_else(wrong)?;
        let party = digit as Pid;
        Ok(match &text[1..] {
            "" => Step::Call(party),
            "k" => Step::Kill(party),
            "l" => Step::Late(party),
            "s" => Step::Stop(party),
            "r" => Step::Resume(party),
            other => {
                let errno = other.strip_prefix('e').and_then(|errno| errno.parse().ok()).ok_or_else(wrong)?;
                Step::Fail(party, errno)
            }
        })
    }
}

/// A schedule that breaks a promise.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) fault: String,
    pub(super) steps: Vec<Step>,
    /// `PARTIES@BEGINNING#STEPS`
    pub(super) replay: String,
    readable: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { fault, readable, replay, .. } = self;
        write!(
            f,
            "{fault}\n{readable}replay it: UNIX_SS_SIM_REPLAY='{replay}' cargo test -p unix-stream-server --lib replay -- --nocapture"
        )
    }
}

impl Found {
    pub(super) fn new(scenario: &Scenario, automaton: &mut Automaton, fault: String, steps: Vec<Step>) -> Self {
        let roles: Vec<String> = scenario.roles.iter().map(show_role).collect();
        let shown: Vec<String> = steps.iter().map(ToString::to_string).collect();
        let replay = format!("{}@{}#{}", roles.join(","), scenario.beginning, shown.join("."));
        Found { fault, readable: tell(scenario, automaton, &steps).0, steps, replay }
    }
}

fn show_role(Role { party, user }: &Role) -> String {
    if *user == 1 { format!("{party:?}") } else { format!("{party:?}/{user}") }
}

/// Runs a replay string: the readable steps, and the fault at the end if there is one.
pub(super) fn replay(text: &str) -> Result<(String, Option<String>), String> {
    let (roles, rest) = text.split_once('@').ok_or("no @BEGINNING")?;
    let (beginning, steps) = rest.split_once('#').ok_or("no #STEPS")?;
    let roles: Vec<Role> = roles.split(',').map(role).collect::<Result<_, _>>()?;
    let kernel = beginnings().into_iter().find(|(name, _)| *name == beginning).ok_or("no such beginning")?.1;
    let steps: Vec<Step> =
        steps.split('.').filter(|step| !step.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
    let any = Bounds { crashes: u8::MAX, stops: u8::MAX, failures: u8::MAX };
    let scenario = Scenario::new(&roles, beginning, kernel).within(any);
    Ok(tell(&scenario, &mut Automaton::default(), &steps))
}

fn role(text: &str) -> Result<Role, String> {
    let (name, user) = text.split_once('/').unwrap_or((text, "1"));
    let party = Party::all().find(|party| format!("{party:?}") == name).ok_or(format!("no such party: {name:?}"))?;
    Ok(Role { party, user: user.parse().map_err(|_| format!("no such user: {user:?}"))? })
}

fn tell(scenario: &Scenario, automaton: &mut Automaton, steps: &[Step]) -> (String, Option<String>) {
    let mut told = String::new();
    let mut explorer = Explorer::new(scenario.clone(), automaton);
    let mut state = explorer.start();
    for (number, &step) in steps.iter().enumerate() {
        let before = state;
        state = explorer.take(&before, step);
        let what = match step {
            Step::Call(party) => match explorer.next(&before, party) {
                Next::Call(call) => {
                    let reply = before.kernel.clone().apply(party, call);
                    format!("{party} {call:?} -> {}", reply.show())
                }
                _ if before.kernel.processes[usize::from(party)].asleep => format!("{party} looks again"),
                _ => format!("{party} waits"),
            },
            Step::Fail(party, errno) => {
                format!("{party} {:?} fails: {}", explorer.next(&before, party), errno_name(errno))
            }
            Step::Kill(party) => format!("{party} is killed"),
            Step::Late(party) => format!("{party} has waited too long"),
            Step::Stop(party) => format!("{party} stops"),
            Step::Resume(party) => format!("{party} goes on"),
        };
        let _ = writeln!(told, "{:>4}  party {what}", number + 1);
    }
    let fault = explorer.judge(&state).err();
    (told, fault)
}

impl Step {
    pub(super) fn failure(party: Pid, errno: Errno) -> Step {
        Step::Fail(party, errno.raw_os_error())
    }
}
