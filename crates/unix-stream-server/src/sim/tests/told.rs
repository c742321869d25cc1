//! What is told where a call fails: that call's own error, and what had been done by then.

use rustix::io::Errno;

use super::super::calls::{Call, Name};
use super::super::parties::with_protocol;
use super::super::{Failure, Run, Sim};
use super::*;
use crate::ErrorKind;
use crate::PathState;
use crate::protocol::{Left, Sweep, Swept};

const ALL: Sweep = Sweep { sockets: true, life: true, temporary: true, changed_before: None };

fn beginning(name: &str) -> Kernel {
    beginnings().into_iter().find(|(beginning, _)| *beginning == name).expect("it is in the list").1
}

/// Does it with the failure of one of its calls, the first, second or later `time` that it is made.
fn failing<T>(kernel: Kernel, call: Call, time: usize, failure: Failure, act: impl Fn(&Sim) -> T) -> T {
    let undisturbed = Sim::direct(kernel, 0, None);
    act(&undisturbed);
    let Run::Direct(direct) = &*undisturbed.run else { panic!("it runs straight on a kernel") };
    let calls = direct.calls.take();
    let at = calls.iter().enumerate().filter(|(_, made)| **made == call).nth(time).expect("it makes that call").0;
    act(&Sim::direct(kernel, 0, Some(Failure { at, ..failure })))
}

fn once(errno: Errno) -> Failure {
    Failure { at: 0, errno, from_then_on: false }
}

fn ever(errno: Errno) -> Failure {
    Failure { at: 0, errno, from_then_on: true }
}

fn created(sim: &Sim) -> Result<(), (ErrorKind, i32)> {
    let created = with_protocol(sim, Party::Create, |protocol| protocol.create(crate::protocol::Found::Nothing));
    created.map(drop).map_err(|error| (error.kind(), error.raw_os_error()))
}

/// What was removed, what beside the name could not be, and what came of the name.
type Told = (Vec<Left>, Vec<(Left, i32)>, Result<PathState, i32>);

fn swept(sim: &Sim) -> Told {
    let Swept { removed, kept, state } = with_protocol(sim, Party::Sweep, |protocol| protocol.sweep(ALL));
    let kept = kept.into_iter().map(|(left, error)| (left, error.raw_os_error())).collect();
    (removed, kept, state.map_err(|error| error.raw_os_error()))
}

#[test]
fn a_lock_that_has_been_mended_since_it_could_not_be_opened_is_taken() {
    let (kernel, open) = (beginning("dead+lock"), Call::OpenLock(Name::Lock));
    assert_eq!(failing(kernel, open, 0, once(Errno::ACCESS), created), Ok(()));
    assert_eq!(failing(kernel, open, 0, ever(Errno::ACCESS), created), Err((ErrorKind::Locked, 13)));
}

#[test]
fn what_keeps_a_lock_from_being_mended_is_told() {
    let kernel = beginning("dead+masked-lock");
    let chmod = Call::Chmod(0, 0o1400);
    for errno in [Errno::IO, Errno::ROFS, Errno::NOENT] {
        let told = Err((ErrorKind::System, errno.raw_os_error()));
        assert_eq!(failing(kernel, chmod, 0, ever(errno), created), told);
    }
    let told = Err((ErrorKind::System, Errno::STALE.raw_os_error()));
    assert_eq!(failing(kernel, Call::Stat(0), 0, ever(Errno::STALE), created), told);
}

#[test]
fn a_cleaning_tells_of_a_lock_that_it_could_not_look_at() {
    let (kernel, look) = (beginning("lock"), Call::StatAt(Name::Lock));
    assert_eq!(swept(&Sim::direct(kernel, 0, None)), (vec![Left::Lock], vec![], Ok(PathState::Absent)));
    // Whether it is there, and whether it is still.
    for time in [0, 1] {
        assert_eq!(failing(kernel, look, time, once(Errno::IO), swept), (vec![], vec![], Err(5)), "look {time}");
    }
    // Whether it is ours to remove.
    let told = failing(kernel, look, 2, once(Errno::IO), swept);
    assert_eq!(told, (vec![], vec![(Left::Lock, 5)], Ok(PathState::Absent)));
}

#[test]
fn a_cleaning_tells_what_it_has_removed_where_the_rest_could_not_be() {
    let told = failing(beginning("dead+lock"), Call::Unlink(Name::Socket), 0, once(Errno::PERM), swept);
    assert_eq!(told, (vec![Left::Lock], vec![], Err(1)));
    let told = failing(beginning("dead+temporary"), Call::Unlink(Name::Temporary), 0, once(Errno::PERM), swept);
    assert_eq!(told, (vec![Left::Socket], vec![(Left::Temporary, 1)], Ok(PathState::Dead)));
    let told = failing(beginning("dead+life"), Call::StatAt(Name::Life), 2, once(Errno::IO), swept);
    assert_eq!(told, (vec![Left::Socket], vec![(Left::Life, 5)], Ok(PathState::Dead)));
}
