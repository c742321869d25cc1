//! A forked victim. The only test of its program, for it has to be alone in its process.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::fs;
use std::os::fd::OwnedFd;

use stepper::{End, Side, Victim, operation};

#[test]
fn it_stops_at_each_call_of_its_operation_and_a_call_made_to_fail_is_not_carried_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    let work = || {
        drop(fs::read_link("/proc/self/exe")); // before: not counted
        let (made, pid) = operation(|| (fs::create_dir(&one), std::process::id()));
        assert!(pid > 0);
        fs::write(&other, format!("{:?}", made.map_err(|error| error.raw_os_error()))).expect("write");
    };
    let stops = |victim: &mut Victim| -> Vec<_> { std::iter::from_fn(|| victim.step()).collect() };

    let mut victim = Victim::fork(work);
    let seen = stops(&mut victim);
    assert_eq!(seen.iter().map(|stop| stop.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(seen.iter().all(|stop| (stop.side == Side::Entry) == (stop.index % 2 == 0)), "{seen:?}");
    assert!([libc::SYS_mkdirat, SYS_MKDIR].contains(&seen[0].number), "{seen:?}");
    assert_eq!(seen[3].to_string(), "stop 3 (exit of getpid)");
    victim.release();
    assert_eq!(victim.wait(), End::Exited(0));
    assert_eq!(fs::read_to_string(&other).expect("written"), "Ok(())");
    fs::remove_dir(&one).expect("made");

    // Killed before the call, and after it.
    for (index, is_made) in [(0, false), (1, true)] {
        let mut victim = Victim::fork(work);
        assert!(victim.step_to(index).is_some());
        victim.kill();
        assert_eq!(fs::remove_dir(&one).is_ok(), is_made);
    }

    let mut victim = Victim::fork(work);
    assert!(victim.step_to(0).is_some());
    victim.fail(libc::ENOSPC);
    assert_eq!(stops(&mut victim).len(), 2);
    victim.release();
    assert_eq!(victim.wait(), End::Exited(0));
    assert!(!one.exists());
    assert_eq!(fs::read_to_string(&other).expect("written"), format!("Err(Some({}))", libc::ENOSPC));

    // A close that fails has closed.
    let mut victim = Victim::fork(|| {
        let file = OwnedFd::from(fs::File::open("/dev/null").expect("open"));
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        operation(|| drop(file));
        assert!(fs::read_link(link).is_err());
    });
    while let Some(stop) = victim.step() {
        if stop.number == libc::SYS_close {
            victim.fail(libc::EINTR);
        }
    }
    victim.release();
    assert_eq!(victim.wait(), End::Exited(0));
}

#[cfg(target_arch = "x86_64")]
const SYS_MKDIR: i64 = libc::SYS_mkdir;
#[cfg(not(target_arch = "x86_64"))]
const SYS_MKDIR: i64 = libc::SYS_mkdirat;
