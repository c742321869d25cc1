//! Being told who comes and goes at a path that is not our own: at once, truly, and without disturbing anybody.

pub mod support;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use libc::{EINVAL, ENOENT, ENOTDIR, EPERM};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Signal;
use support::child::{Program, listen, ordinary_user, role, say, whole_process};
use support::dir::{Dir, chmod, inode, put_file};
use support::fork::in_a_forked_child;
use support::sockets::{bound, put_dead, stranger};
use support::{PATIENCE, assert_error, child};
use unix_stream_server::{ErrorKind, FileKind, PathEvent, PathReport, PathState, PathWatch, ServerSocket};

use PathEvent::{Back, Gone, Ours, Replaced};

#[track_caller]
fn told(watch: &mut PathWatch) -> PathReport {
    watch.wait_timeout(PATIENCE).expect("a wait").expect("it is told in time")
}

/// Just this event and this state, and the inode that is there.
#[track_caller]
fn assert_told(watch: &mut PathWatch, event: PathEvent, is_so: impl Fn(PathState) -> bool) {
    let report = told(watch);
    assert!(report.event == event && is_so(report.inspection.state), "{report:?}");
    let there = watch.path().metadata().is_ok().then(|| fs::metadata(watch.path()).map(|data| inode_of(&data)));
    assert_eq!(report.inspection.inode, there.and_then(Result::ok));
}

fn inode_of(data: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(data)
}

#[track_caller]
fn assert_silent(watch: &mut PathWatch) {
    // Longer than the slowest look.
    assert_eq!(watch.wait_timeout(Duration::from_millis(1_200)).expect("a wait"), None);
}

fn is_live(state: PathState) -> bool {
    matches!(state, PathState::Live { .. })
}

fn is_absent(state: PathState) -> bool {
    state == PathState::Absent
}

fn is_dead(state: PathState) -> bool {
    state == PathState::Dead
}

fn is_file(state: PathState) -> bool {
    state == PathState::NotASocket { kind: FileKind::Regular }
}

fn is_readable(watch: &PathWatch) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&at_once)).expect("poll") > 0
}

#[test]
fn the_first_report_says_what_is_there_now() {
    let dir = Dir::new();
    for name in ["absent", "dead", "live", "file", "other"] {
        let path = dir.join(name);
        let (mut live, mut other) = (None, None);
        match name {
            "dead" => put_dead(&path),
            "live" => live = Some(stranger(&path)),
            "file" => put_file(&path, b"precious", 0o600),
            "other" => other = Some(UnixDatagram::bind(&path).expect("bind")),
            _ => {}
        }
        let mut watch = PathWatch::new(&path).expect("watch");
        let report = watch.wait().expect("a report");
        let expected = match name {
            "absent" => (Gone, PathState::Absent),
            "dead" => (Gone, PathState::Dead),
            "file" => (Gone, PathState::NotASocket { kind: FileKind::Regular }),
            "other" => (Ours, PathState::OtherType),
            _ => (Ours, report.inspection.state),
        };
        assert_eq!((report.event, report.inspection.state), expected);
        assert!(name != "live" || is_live(report.inspection.state));
        assert_eq!(watch.check().expect("a check"), None);
        drop((live, other));
    }
}

#[test]
fn servers_that_come_and_go_are_told_as_what_they_are() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut watch = PathWatch::new(&path).expect("watch");
    assert!(!watch.is_polling());
    assert_told(&mut watch, Gone, is_absent);
    let server = ServerSocket::create(&path).expect("create");
    assert_told(&mut watch, Ours, is_live);
    // Moved away and back: the very same.
    fs::rename(&path, dir.join("away")).expect("rename");
    assert_told(&mut watch, Gone, is_absent);
    fs::rename(dir.join("away"), &path).expect("rename");
    assert_told(&mut watch, Back, is_live);
    let thief = stranger(&dir.join("new"));
    fs::hard_link(&path, dir.join("kept")).expect("link");
    fs::rename(dir.join("new"), &path).expect("rename over");
    assert_told(&mut watch, Replaced, is_live);
    fs::rename(dir.join("kept"), &path).expect("rename over");
    assert_told(&mut watch, Back, is_live);
    server.close().expect("close");
    assert_told(&mut watch, Gone, is_absent);
    put_file(&path, b"precious", 0o600);
    assert_told(&mut watch, Replaced, is_file);
    fs::remove_file(&path).expect("unlink");
    assert_told(&mut watch, Gone, is_absent);
    drop(thief);
}

/// It can get the very inode number of the one before, which ext4 gives again at once.
#[test]
fn a_server_that_was_restarted_is_another() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    let mut watch = PathWatch::new(&path).expect("watch");
    assert_told(&mut watch, Ours, is_live);
    server.close().expect("close");
    assert_told(&mut watch, Gone, is_absent);
    for _ in 0..50 {
        let server = ServerSocket::create(&path).expect("create");
        assert_told(&mut watch, Replaced, is_live);
        server.close().expect("close");
        assert_told(&mut watch, Gone, is_absent);
    }
}

#[test]
fn a_server_that_binds_and_listens_later_is_told_when_it_listens() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut watch = PathWatch::new(&path).expect("watch");
    assert_told(&mut watch, Gone, is_absent);
    for pause in [0, 5, 200] {
        let socket = bound(&path, SocketType::STREAM);
        if pause < 50 {
            // So soon it is not even called dead.
            assert_eq!(watch.wait_timeout(Duration::from_millis(pause)).expect("a wait"), None);
        } else {
            assert_told(&mut watch, Gone, is_dead);
        }
        net::listen(&socket, 5).expect("listen");
        let report = told(&mut watch);
        assert!(is_live(report.inspection.state), "{report:?}");
        fs::remove_file(&path).expect("unlink");
        assert_told(&mut watch, Gone, is_absent);
    }
}

#[test]
fn the_death_of_a_server_is_told_though_no_file_changes() {
    let test = this_test!();
    if role().is_some() {
        let _server = UnixListener::bind(child::dir().join("s")).expect("bind");
        say("listening");
        listen();
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let mut watch = PathWatch::new(&path).expect("watch");
    assert_told(&mut watch, Gone, is_absent);
    for round in 0..3 {
        let mut server = Program::new(&test, "server").dir(&dir).start();
        server.hear("listening");
        let report = told(&mut watch);
        assert_eq!(report.event, if round == 0 { Ours } else { Replaced });
        assert!(is_live(report.inspection.state));
        server.signal(Signal::KILL);
        assert_told(&mut watch, Gone, is_dead);
        fs::remove_file(&path).expect("unlink");
        assert_told(&mut watch, Gone, is_absent);
    }
}

#[test]
fn a_socket_that_is_closed_by_a_process_that_lives_on_is_told() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = stranger(&path);
        let mut watch = PathWatch::new(&path).expect("watch");
        assert_told(&mut watch, Ours, is_live);
        drop(server);
        assert_told(&mut watch, Gone, is_dead);
    });
}

#[test]
fn what_is_no_change_of_owner_or_state_is_not_told() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = stranger(&path);
        let mut watch = PathWatch::new(&path).expect("watch");
        assert_told(&mut watch, Ours, is_live);
        chmod(&path, 0o666);
        put_file(&dir.join("other"), b"", 0o600);
        fs::rename(dir.join("other"), dir.join("another")).expect("rename");
        assert_eq!(watch.check().expect("a check"), None);
        assert_silent(&mut watch);
        // Nobody has been there to look.
        server.set_nonblocking(true).expect("fcntl");
        assert_eq!(server.accept().expect_err("nobody").kind(), std::io::ErrorKind::WouldBlock);
        put_file(&dir.join("more"), b"", 0o600);
        assert!(is_readable(&watch));
        assert_eq!(watch.check().expect("a check"), None);
        assert!(!is_readable(&watch), "a check takes all");
    });
}

#[test]
fn how_full_the_backlog_is_is_not_told() {
    let dir = Dir::new();
    let path = dir.join("s");
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("socket");
    net::bind(&socket, &SocketAddrUnix::new(&path).expect("short")).expect("bind");
    net::listen(&socket, 0).expect("listen");
    let mut watch = PathWatch::new(&path).expect("watch");
    assert_told(&mut watch, Ours, is_live);
    let clients = support::sockets::fill(&path);
    // Looked at once more, since something has been put at the name.
    fs::rename(&path, dir.join("away")).expect("rename");
    fs::rename(dir.join("away"), &path).expect("rename back");
    assert_eq!(watch.check().expect("a check"), None);
    assert_silent(&mut watch);
    drop(clients);
}

#[test]
fn changes_behind_a_symbolic_link_are_found() {
    let dir = Dir::new();
    fs::create_dir(dir.join("elsewhere")).expect("mkdir");
    let target = dir.join("elsewhere/s");
    symlink(&target, dir.join("link")).expect("symlink");
    let mut watch = PathWatch::new(dir.join("link")).expect("watch");
    assert_told(&mut watch, Gone, is_absent);
    let server = stranger(&target);
    let report = told(&mut watch);
    assert_eq!((report.event, report.inspection.inode), (Ours, Some(inode(&target))));
    fs::remove_file(dir.join("link")).expect("unlink");
    assert_told(&mut watch, Gone, is_absent);
    symlink(&target, dir.join("link")).expect("symlink");
    assert_told(&mut watch, Back, is_live);
    drop(server);
}

#[test]
fn a_directory_that_goes_and_comes_is_followed() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let d = dir.join("d");
        fs::create_dir(&d).expect("mkdir");
        let server = stranger(&d.join("s"));
        let mut watch = PathWatch::new(d.join("s")).expect("watch");
        assert_told(&mut watch, Ours, is_live);
        fs::rename(&d, dir.join("e")).expect("rename");
        assert_told(&mut watch, Gone, is_absent);
        fs::create_dir(&d).expect("mkdir");
        let second = stranger(&d.join("s"));
        assert_told(&mut watch, Replaced, is_live);
        // It is the new one that is listened to.
        fs::remove_file(d.join("s")).expect("unlink");
        assert_told(&mut watch, Gone, is_absent);
        fs::remove_dir(&d).expect("rmdir");
        assert_silent(&mut watch);
        assert!(watch.is_polling());
        fs::rename(dir.join("e"), &d).expect("rename");
        assert_told(&mut watch, Back, is_live);
        support::wait::until("the directory is listened to again", || {
            assert_eq!(watch.check().expect("a check"), None);
            !watch.is_polling()
        });
        drop((server, second));
    });
}

#[test]
fn where_the_directory_may_not_be_read_it_looks_once_in_a_while() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir(dir.join("d")).expect("mkdir");
        chmod(&dir.join("d"), 0o311);
        let path = dir.join("d/s");
        let mut watch = PathWatch::new(&path).expect("watch");
        assert!(watch.is_polling());
        assert_told(&mut watch, Gone, is_absent);
        let server = stranger(&path);
        assert_told(&mut watch, Ours, is_live);
        fs::rename(&path, dir.join("away")).expect("rename");
        assert_told(&mut watch, Gone, is_absent);
        drop(server);
        chmod(&dir.join("d"), 0o700);
    });
}

#[test]
fn a_server_that_may_not_be_asked_is_not_said_to_be_gone() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir(dir.join("d")).expect("mkdir");
        let path = dir.join("d/s");
        let _server = stranger(&path);
        let mut watch = PathWatch::new(&path).expect("watch");
        assert_told(&mut watch, Ours, is_live);
        chmod(&dir.join("d"), 0);
        let report = told(&mut watch);
        assert_eq!((report.event, report.inspection.state), (Ours, PathState::CannotTell { errno: libc::EACCES }));
        chmod(&dir.join("d"), 0o700);
        assert_told(&mut watch, Ours, is_live);
    });
}

#[test]
fn a_path_that_can_have_no_server_is_an_error() {
    let dir = Dir::new();
    put_file(&dir.join("file"), b"", 0o600);
    let refused = |path: &Path| PathWatch::new(path).expect_err("no such watch");
    assert_error(&refused(&dir.join("missing/s")), ErrorKind::System, ENOENT);
    assert_error(&refused(&dir.join("file/s")), ErrorKind::System, ENOTDIR);
    assert_error(&refused(Path::new("")), ErrorKind::Invalid, EINVAL);
    assert_error(&refused(&dir.join("x").join("..")), ErrorKind::Invalid, EINVAL);
}

#[test]
fn a_forked_child_takes_nothing_from_its_parent_and_a_chdir_changes_nothing() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        std::env::set_current_dir(&dir).expect("chdir");
        let mut watch = Some(PathWatch::new("s").expect("watch"));
        std::env::set_current_dir("/").expect("chdir");
        let watched = watch.as_mut().expect("a watch");
        assert_told(watched, Gone, is_absent);
        let _server = stranger(&dir.join("s"));
        let status = in_a_forked_child(|| {
            let mut copy = watch.take().expect("a copy");
            assert_error(&copy.check().expect_err("a child"), ErrorKind::Forked, EPERM);
            assert!(copy.as_fd().try_clone_to_owned().is_ok());
            true
        });
        assert_eq!(status, 0);
        assert_told(watch.as_mut().expect("a watch"), Ours, is_live);
    });
}
