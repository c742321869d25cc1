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

fn swept(sim: &Sim) -> (Vec<Left>, Result<PathState, i32>) {
    let Swept { removed, state } = with_protocol(sim, Party::Sweep, |protocol| protocol.sweep(ALL));
    (removed, state.map_err(|error| error.raw_os_error()))
}

#[test]
fn a_lock_that_has_been_mended_since_it_could_not_be_opened_is_taken() {
    let (kernel, open) = (beginning("dead+lock"), Call::OpenLock(Name::Lock));
    assert_eq!(failing(kernel, open, 0, once(Errno::ACCESS), created), Ok(()));
    assert_eq!(failing(kernel, open, 0, ever(Errno::ACCESS), created), Err((ErrorKind::System, 13)));
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
    let times = {
        let sim = Sim::direct(kernel, 0, None);
        assert_eq!(swept(&sim), (vec![Left::Lock], Ok(PathState::Absent)));
        let Run::Direct(direct) = &*sim.run else { panic!("it runs straight on a kernel") };
        let calls = direct.calls.take();
        calls.iter().filter(|call| **call == look).count()
    };
    assert_eq!(times, 3, "whether it is there, whether it is still, and whether it is ours to remove");
    for time in 0..times {
        assert_eq!(failing(kernel, look, time, once(Errno::IO), swept), (vec![], Err(5)), "look {time}");
    }
}

#[test]
fn a_cleaning_tells_what_it_has_removed_where_the_rest_could_not_be() {
    let refused = failing(beginning("dead+lock"), Call::Unlink(Name::Socket), 0, once(Errno::PERM), swept);
    assert_eq!(refused, (vec![Left::Lock], Err(1)));
    let refused = failing(beginning("dead+temporary"), Call::Unlink(Name::Temporary), 0, once(Errno::PERM), swept);
    assert_eq!(refused, (vec![Left::Socket], Err(1)));
    let refused = failing(beginning("dead+life"), Call::StatAt(Name::Life), 2, once(Errno::IO), swept);
    assert_eq!(refused, (vec![Left::Socket], Err(5)));
}
