//! Pins: descriptors of files that are not opened.

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::net;
use std::fs as stdfs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{chroot, symlink};

use crate::support::*;
use crate::unshared::with_own_descriptors;

const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;
const S_IFLNK: u32 = 0o120_000;

#[test]
fn connect_through_a_pin_reaches_that_inode_wherever_its_name_went() {
    let scratch = Scratch::shared();
    let old = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    fs::rename(scratch.path("s"), scratch.path("moved")).unwrap();
    let new = listening(scratch.path("s"));
    let _moved = client(through(&pin));
    fs::unlink(scratch.path("moved")).unwrap();
    let _unlinked = client(through(&pin));
    assert_eq!((accept_all(&old).len(), accept_all(&new).len()), (2, 0));
}

#[test]
fn connect_through_a_pin_and_bind_through_a_directory_work_at_any_path_length() {
    let scratch = Scratch::shared();
    let deep = scratch.dir().join("d".repeat(200)).join("d".repeat(200));
    stdfs::create_dir_all(&deep).unwrap();
    let dir = open(&deep, OFlags::PATH | OFlags::DIRECTORY, 0).unwrap();
    let name = through(&dir).join("s");
    let server = listening(&name);
    assert_eq!(mode(deep.join("s")) & S_IFMT, S_IFSOCK);

    let pin = pin(deep.join("s"));
    let client = client(through(&pin));
    assert_eq!(accept_all(&server).len(), 1);
    // The kernel's name for it is the string it was bound by, which means nothing to anybody else.
    assert_eq!(bound_name(&server), name);
    assert_eq!(net::getpeername(&client).unwrap(), Some(address(&name).into()));
}

#[test]
fn a_pin_of_a_symlink_is_the_symlink_and_never_its_target() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    symlink("s", scratch.path("link")).unwrap();
    let pin = pin(scratch.path("link"));
    assert_eq!(fs::fstat(&pin).unwrap().st_mode & S_IFMT, S_IFLNK);
    assert_eq!(probe(through(&pin)), Err(Errno::CONNREFUSED));
}

#[test]
fn proc_self_fd_is_the_leaders_table_and_thread_self_the_threads_own() {
    let scratch = Scratch::shared();
    let (here, elsewhere) = (scratch.path("here"), scratch.path("elsewhere"));
    let ours = stdfs::File::create(&here).unwrap();
    let number = ours.as_raw_fd();
    with_own_descriptors(|| {
        // In this thread's own table the number leads elsewhere; everybody else's stays as it was.
        let mut copy = rustix::io::dup(&ours).unwrap();
        rustix::io::dup2(stdfs::File::create(&elsewhere).unwrap(), &mut copy).unwrap();
        let at = |task: &str| stdfs::read_link(format!("/proc/{task}/fd/{}", copy.as_raw_fd())).ok();
        assert_eq!(at("thread-self"), Some(elsewhere.clone()));
        assert_ne!(at("self"), Some(elsewhere.clone()));
    });
    assert_eq!(stdfs::read_link(format!("/proc/self/fd/{number}")).unwrap(), here);
}

#[test]
fn a_pin_takes_statfs_but_not_fchmod_and_chmod_only_through_proc() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    assert_eq!(fs::fchmod(&pin, Mode::from_raw_mode(0o600)), Err(Errno::BADF));
    for wanted in [0o600, 0o1666] {
        fs::chmod(through(&pin), Mode::from_raw_mode(wanted)).unwrap();
        assert_eq!(mode(scratch.path("s")) & 0o7777, wanted);
    }
    assert_eq!(fs::fstatfs(&pin).unwrap().f_type, fs::statfs(scratch.dir()).unwrap().f_type);
}

#[test]
fn enoent_through_a_pin_is_not_absence_where_proc_is_missing() {
    const TEST: &str = "pins::enoent_through_a_pin_is_not_absence_where_proc_is_missing";
    if is_child(TEST) {
        let pin = pin(argument().join("s"));
        chroot(argument()).unwrap();
        assert_eq!(probe("/s"), Ok(()));
        assert_eq!(probe(through(&pin)), Err(Errno::NOENT));
        return;
    }
    if !is_root() {
        return eprintln!("skipped: only root may leave /proc behind");
    }
    let scratch = Scratch::alone();
    let _server = listening(scratch.path("s"));
    expect_passed(again(TEST, scratch.dir()).spawn().unwrap());
}
