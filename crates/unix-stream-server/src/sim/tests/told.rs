//! What is told where a call fails: that call's own error, and what had been done by then.

use rustix::io::Errno;

use super::super::calls::{Call, Name};
use super::super::parties::with_protocol;
use super::super::{Failure, Run, Sim};
use super::*;
use crate::ErrorKind;

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
