//! Lock files.

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{getpid, umask};
use std::fs as stdfs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use crate::support::*;

#[test]
fn flock_is_released_by_the_sigkill_of_its_holder() {
    let scratch = Scratch::alone();
    let lock = create_lock(&scratch.path("lock"));
    fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let holder = Holder::of(lock, Stdio::null());
    let mine = open(scratch.path("lock"), OFlags::RDONLY, 0).unwrap();
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    drop(holder);
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Ok(()));
}

#[test]
fn a_child_that_inherits_them_keeps_a_flock_held_and_a_listener_live() {
    let scratch = Scratch::alone();
    let server = listening(scratch.path("s"));
    let lock = create_lock(&scratch.path("lock"));
    fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let child = Holder::of(lock.try_clone().unwrap(), server.try_clone().unwrap());
    drop((server, lock));
    let mine = open(scratch.path("lock"), OFlags::RDONLY, 0).unwrap();
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    assert_eq!(probe(scratch.path("s")), Ok(()));
    drop(child);
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Ok(()));
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
}

#[test]
fn flock_and_unlink_without_a_second_look_let_two_in() {
    let scratch = Scratch::shared();
    let path = scratch.path("lock");
    let a = create_lock(&path);
    fs::flock(&a, FlockOperation::NonBlockingLockExclusive).unwrap();
    let b = open(&path, OFlags::RDONLY, 0).unwrap();
    assert_eq!(fs::flock(&b, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    fs::unlink(&path).unwrap();
    drop(a);
    // B gets the lock of a file without a name; C makes the name again: both hold "the" lock.
    assert_eq!(fs::flock(&b, FlockOperation::NonBlockingLockExclusive), Ok(()));
    let c = create_lock(&path);
    assert_eq!(fs::flock(&c, FlockOperation::NonBlockingLockExclusive), Ok(()));
    // The second look: only C's file is the one at the path.
    let links = |file: &OwnedFd| fs::fstat(file).unwrap().st_nlink;
    assert_eq!((links(&b), links(&c)), (0, 1));
    assert_ne!(fs::fstat(&b).unwrap().st_ino, ino(&path));
    assert_eq!(fs::fstat(&c).unwrap().st_ino, ino(&path));
}

#[test]
fn a_hard_link_hides_from_the_link_count_that_a_lock_file_lost_its_name() {
    let scratch = Scratch::shared();
    let lock = create_lock(&scratch.path("lock"));
    fs::link(scratch.path("lock"), scratch.path("elsewhere")).unwrap();
    assert_eq!(fs::fstat(&lock).unwrap().st_nlink, 2);
    fs::unlink(scratch.path("lock")).unwrap();
    assert_eq!(fs::fstat(&lock).unwrap().st_nlink, 1);
}

#[test]
fn a_lock_file_of_mode_01400_can_be_made_and_locked_by_its_owner() {
    as_ordinary_user("locking::a_lock_file_of_mode_01400_can_be_made_and_locked_by_its_owner", || {
        let scratch = Scratch::shared();
        let _mine = create_lock(&scratch.path("lock"));
        assert_eq!(mode(scratch.path("lock")) & 0o7777, 0o1400);
        let lock = open(scratch.path("lock"), OFlags::RDONLY, 0).unwrap();
        assert_eq!(fs::flock(&lock, FlockOperation::NonBlockingLockExclusive), Ok(()));
        assert_eq!(open(scratch.path("lock"), OFlags::WRONLY, 0).map(drop), Err(Errno::ACCESS));
    });
}

#[test]
fn a_lock_file_of_mode_01400_cannot_be_opened_by_another_ordinary_user() {
    const TEST: &str = "locking::a_lock_file_of_mode_01400_cannot_be_opened_by_another_ordinary_user";
    if is_child(TEST) {
        assert_eq!(mode(argument()) & 0o7777, 0o1400);
        assert_eq!(open(argument(), OFlags::RDONLY, 0).map(drop), Err(Errno::ACCESS));
        return;
    }
    if !is_root() {
        return eprintln!("skipped: only root can be two users");
    }
    let scratch = Scratch::alone();
    let path = scratch.path("lock");
    drop(create_lock(&path));
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::chmod(scratch.dir(), Mode::from_raw_mode(0o755)).unwrap();
    let mut command = again(TEST, &path);
    expect_passed(command.uid(SOMEBODY_ELSE).gid(SOMEBODY_ELSE).spawn().unwrap());
}

#[test]
fn a_umask_of_0777_leaves_a_lock_file_its_owner_cannot_open_until_fchmod_repairs_it() {
    in_own_process("locking::a_umask_of_0777_leaves_a_lock_file_its_owner_cannot_open_until_fchmod_repairs_it", || {
        let scratch = Scratch::shared();
        umask(Mode::from_raw_mode(0o777));
        let lock = create_lock(&scratch.path("lock"));
        assert_eq!(mode(scratch.path("lock")) & 0o7777, 0o1000);
        assert_eq!(open(scratch.path("lock"), OFlags::RDONLY, 0).map(drop), Err(Errno::ACCESS));
        fs::fchmod(&lock, Mode::from_raw_mode(0o1400)).unwrap();
        assert_eq!(open(scratch.path("lock"), OFlags::RDONLY, 0).map(drop), Ok(()));
    });
}

#[test]
fn o_excl_does_not_follow_a_symlink() {
    let scratch = Scratch::shared();
    symlink("elsewhere", scratch.path("lock")).unwrap();
    let opened = open(scratch.path("lock"), OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY, 0o1400);
    assert_eq!(opened.map(drop), Err(Errno::EXIST));
    assert!(!scratch.path("elsewhere").exists());
}

#[test]
fn a_fifo_at_the_locks_name_blocks_no_open_with_o_nonblock() {
    let scratch = Scratch::shared();
    let path = scratch.path("lock");
    make_fifo(&path, 0o400);
    assert_eq!(in_time(move || open(path, OFlags::RDONLY | OFlags::NONBLOCK, 0).map(drop)), Ok(()));
}

#[test]
fn proc_locks_names_the_process_that_holds_a_flock() {
    let scratch = Scratch::shared();
    let lock = create_lock(&scratch.path("lock"));
    fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let stat = fs::fstat(&lock).unwrap();
    let file = format!("{:02x}:{:02x}:{}", fs::major(stat.st_dev), fs::minor(stat.st_dev), stat.st_ino);
    let pid = getpid().as_raw_pid().to_string();
    let locks = stdfs::read_to_string("/proc/locks").unwrap();
    let mut lines = locks.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let wanted = ["FLOCK", "ADVISORY", "WRITE", pid.as_str(), file.as_str()];
    assert!(lines.any(|fields| fields.starts_with(&wanted)), "{wanted:?} not in\n{locks}");
}

#[test]
fn anybody_who_may_read_a_directory_can_hold_its_flock() {
    as_ordinary_user("locking::anybody_who_may_read_a_directory_can_hold_its_flock", || {
        let scratch = Scratch::shared();
        fs::chmod(scratch.dir(), Mode::from_raw_mode(0o500)).unwrap();
        let dir = open(scratch.dir(), OFlags::RDONLY | OFlags::DIRECTORY, 0).unwrap();
        assert_eq!(fs::flock(&dir, FlockOperation::NonBlockingLockExclusive), Ok(()));
        fs::chmod(scratch.dir(), Mode::from_raw_mode(0o700)).unwrap();
    });
}

/// A lock file as the protocol makes it.
fn create_lock(path: &Path) -> OwnedFd {
    open(path, OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::NOFOLLOW, 0o1400).unwrap()
}
