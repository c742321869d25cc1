//! What stands at a path decides what becomes of it: the verdict table, for those who create and those who look.

pub mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use libc::{EACCES, EADDRINUSE, EEXIST, EINVAL, EMFILE, ENOTDIR, ENOTSOCK, EPERM};
use rustix::net::SocketType;
use support::child::{self, Program, descriptors, ordinary_user, whole_process, with_descriptors};
use support::dir::{self, Dir, beside, chmod, file, mode, put_file};
use support::sockets::{assert_serves, bound, busy, put_dead, stranger};
use support::unshared::with_own_descriptors;
use support::{assert_error, is_root, locks_are_listed, not_tried};
use unix_stream_server::{Error, ErrorKind, FileKind, LockState, PathState, ServerSocket, inspect, probe};

/// Neither create nor claim gets the path, for this reason, and nothing has changed.
#[track_caller]
fn assert_refused(dir: &Dir, path: &Path, kind: ErrorKind, errno: i32) -> Error {
    let before = dir.files();
    let claim = ServerSocket::builder().claim(path).expect_err("claim");
    assert_error(&claim, kind, errno);
    assert_eq!(dir.files(), before, "claim");
    let create = ServerSocket::create(path).expect_err("create");
    assert_error(&create, kind, errno);
    assert_eq!(dir.files(), before, "create");
    create
}

#[track_caller]
fn assert_creates(dir: &Dir, path: &Path) {
    let server = ServerSocket::create(path).expect("create");
    assert_eq!(dir.names(), ["s"]);
    assert_eq!(mode(path), 0o600);
    assert_serves(&server, path);
    server.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn create_makes_a_server_where_nothing_is() {
    let dir = Dir::new();
    let path = dir.join("s");
    let claim = ServerSocket::builder().claim(&path).expect("claim");
    assert_eq!(claim.state(), PathState::Absent);
    drop(claim);
    assert_creates(&dir, &path);
}

#[test]
fn create_replaces_a_dead_socket() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_dead(&path);
    let before = dir.files();
    let claim = ServerSocket::builder().claim(&path).expect("claim");
    assert_eq!(claim.state(), PathState::Dead);
    drop(claim);
    assert_eq!(dir.files(), before);
    assert_creates(&dir, &path);
}

#[test]
fn create_never_touches_a_live_server_and_says_whose_it_is() {
    let dir = Dir::new();
    let path = dir.join("s");
    for with_library in [true, false] {
        let ours = with_library.then(|| ServerSocket::create(&path).expect("create"));
        let theirs = (!with_library).then(|| stranger(&path));
        let error = assert_refused(&dir, &path, ErrorKind::InUse, EADDRINUSE);
        assert!(error.is_in_use());
        let peer = error.peer().expect("the kernel knows it");
        assert_eq!(peer.pid, Some(std::process::id()));
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        if let Some(server) = &ours {
            assert_serves(server, &path);
            assert!(!server.was_stolen());
        }
        if let Some(server) = &theirs {
            assert_serves(server, &path);
            fs::remove_file(&path).expect("unlink");
        }
    }
}

#[test]
fn create_never_touches_a_server_with_a_full_backlog() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (server, clients) = busy(&path);
    assert_refused(&dir, &path, ErrorKind::InUse, EADDRINUSE);
    drop(clients);
    for _ in 0..2 {
        // The queue is its own again: whoever waits in it has gone.
        let _ = rustix::net::accept(&server);
        rustix::io::ioctl_fionbio(&server, true).expect("ioctl");
    }
    while rustix::net::accept(&server).is_ok() {}
    assert_serves(&server, &path);
}

#[test]
fn create_never_touches_a_datagram_or_seqpacket_socket() {
    let dir = Dir::new();
    let path = dir.join("s");
    let datagrams = UnixDatagram::bind(&path).expect("bind");
    assert_refused(&dir, &path, ErrorKind::InUse, EADDRINUSE);
    UnixDatagram::unbound().expect("socket").send_to(b"alive", &path).expect("it is alive");
    assert_eq!(datagrams.recv(&mut [0; 8]).expect("recv"), 5);
    fs::remove_file(&path).expect("unlink");

    let packets = bound(&path, SocketType::SEQPACKET);
    rustix::net::listen(&packets, 1).expect("listen");
    assert_refused(&dir, &path, ErrorKind::InUse, EADDRINUSE);
}

#[test]
fn create_never_touches_what_is_not_a_socket() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_file(&path, b"precious", 0o644);
    assert_refused(&dir, &path, ErrorKind::NotASocket, ENOTSOCK);
    put_file(&path, b"", 0o644);
    assert_refused(&dir, &path, ErrorKind::NotASocket, ENOTSOCK);
    fs::remove_file(&path).expect("unlink");

    fs::create_dir(&path).expect("mkdir");
    assert_refused(&dir, &path, ErrorKind::NotASocket, ENOTSOCK);
    put_file(&path.join("inside"), b"precious", 0o600);
    assert_refused(&dir, &path, ErrorKind::NotASocket, ENOTSOCK);
    fs::remove_dir_all(&path).expect("rm -r");

    put_fifo(&path);
    assert_refused(&dir, &path, ErrorKind::NotASocket, ENOTSOCK);
}

fn put_fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("mkfifo");
}

#[test]
fn create_never_follows_a_symbolic_link_at_the_end_of_the_path() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(dir.join("live")).expect("create");
    put_dead(&dir.join("dead"));
    put_file(&dir.join("file"), b"precious", 0o644);
    fs::create_dir(dir.join("dir")).expect("mkdir");
    for target in ["live", "dead", "file", "dir", "dangling", "s"] {
        symlink(target, &path).expect("symlink");
        let error = assert_refused(&dir, &path, ErrorKind::NotASocket, ENOTSOCK);
        assert!(error.to_string().contains("symbolic link"), "{error}");
        fs::remove_file(&path).expect("unlink");
    }
    assert_serves(&server, &dir.join("live"));
}

/// Another user's: of one's own there is a way to ask, see below.
#[test]
fn a_server_that_may_not_be_asked_is_not_dead() {
    if child::role().is_some() {
        assert!(!is_root());
        for path in ["live", "dead"].map(|name| child::dir().join(name)) {
            for result in [ServerSocket::create(&path).map(drop), ServerSocket::builder().claim(&path).map(drop)] {
                assert_error(&result.expect_err("no permission"), ErrorKind::CannotTell, EACCES);
            }
            assert_eq!(probe(&path).expect("a path"), PathState::CannotTell { errno: EACCES });
        }
        return;
    }
    if !is_root() {
        not_tried("another user's socket: only root can make one");
        return;
    }
    let dir = Dir::new();
    let server = ServerSocket::create(dir.join("live")).expect("create");
    put_dead(&dir.join("dead"));
    chmod(&dir.join("live"), 0o000);
    chmod(&dir.join("dead"), 0o000);
    let before = dir.files();
    Program::new(&this_test!(), "another user").ordinary().dir(&dir).run();
    assert_eq!(dir.files(), before);
    chmod(&dir.join("live"), 0o600);
    assert_serves(&server, &dir.join("live"));
}

/// What is behind a descriptor is asked of the thread that has it: another thread's may have the same number.
#[test]
fn a_thread_with_descriptors_of_its_own_asks_about_the_right_file() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let (path, secret) = (dir.join("s"), dir.join("secret"));
        put_file(&secret, b"precious", 0o644);
        let live = stranger(&path);
        let (before, free) = (file(&path), dir.join("free"));
        let long = dir.join("l".repeat(200));
        let (parted, are_taken) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                parted.wait();
                // In the table of all the others, the next numbers lead to a regular file, which refuses connections.
                let _taken: Vec<_> = (0..20).map(|_| fs::File::open(&secret).expect("open")).collect();
                are_taken.wait();
                are_taken.wait();
            });
            with_own_descriptors(|| {
                parted.wait();
                are_taken.wait();
                assert!(matches!(probe(&path), Ok(PathState::Live { .. })));
                assert_error(&ServerSocket::create(&path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
                for path in [&free, &long] {
                    let server = ServerSocket::builder().mode(0o666).create(path).expect("create");
                    assert_eq!(mode(path), 0o666);
                    assert_serves(&server, path);
                    server.close().expect("close");
                }
                are_taken.wait();
            });
        });
        assert_eq!(mode(&secret), 0o644);
        assert_eq!(file(&path), before);
        assert_serves(&live, &path);
    });
}

/// connect() needs the owner's write bit, of the owner too.
#[test]
fn a_socket_without_its_owners_write_bit_does_not_lock_its_owner_out() {
    ordinary_user(&this_test!(), || {
        for mode_bits in [0o000, 0o400, 0o060] {
            let dir = Dir::new();
            let path = dir.join("s");
            let live = stranger(&path);
            chmod(&path, mode_bits);
            let before = dir.files();
            assert_error(&ServerSocket::create(&path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
            assert_eq!(dir.files(), before);
            assert_eq!(probe(&path).expect("a path"), PathState::CannotTell { errno: EACCES });
            drop(live);
            // A claim that is given up has changed nothing.
            let claim = ServerSocket::builder().claim(&path).expect("dead");
            assert_eq!(claim.state(), PathState::Dead);
            drop(claim);
            assert_eq!(dir.files(), before);
            assert_creates(&dir, &path);
        }
    });
}

#[test]
fn remove_dead_removes_a_dead_socket_and_nothing_else() {
    let dir = Dir::new();
    let path = dir.join("s");
    let clean = |path: &Path| ServerSocket::builder().lock_timeout(Duration::from_millis(20)).remove_dead(path);
    assert_eq!(clean(&path).expect("nothing there"), PathState::Absent);
    put_dead(&path);
    put_file(&dir.join("s.lock"), b"", 0o1400); // a killed starter's
    assert_eq!(clean(&path).expect("dead"), PathState::Dead);
    assert_eq!(dir.names(), [""; 0]);

    let server = ServerSocket::create(&path).expect("create");
    put_file(&dir.join("file"), b"precious", 0o644);
    symlink(&path, dir.join("link")).expect("symlink");
    let _datagrams = UnixDatagram::bind(dir.join("dgram")).expect("bind");
    put_dead(&dir.join("locked"));
    put_file(&dir.join("locked.lock"), b"", 0o644);
    let before = dir.files();
    let in_the_way = [
        ("s", ErrorKind::InUse, EADDRINUSE),
        ("file", ErrorKind::NotASocket, ENOTSOCK),
        ("link", ErrorKind::NotASocket, ENOTSOCK),
        ("dgram", ErrorKind::InUse, EADDRINUSE),
        ("locked", ErrorKind::Locked, EEXIST),
    ];
    for (name, kind, errno) in in_the_way {
        assert_error(&clean(&dir.join(name)).expect_err(name), kind, errno);
    }
    assert_eq!(dir.files(), before);
    assert_serves(&server, &path);
}

#[test]
fn a_dead_socket_of_another_user_is_an_error_that_names_its_owner() {
    if child::role().is_some() {
        // It may not be asked; and it may, but not removed.
        for (name, kind, errno) in [("s", ErrorKind::CannotTell, EACCES), ("t", ErrorKind::System, EPERM)] {
            let error = ServerSocket::create(child::dir().join(name)).expect_err("another's");
            assert_error(&error, kind, errno);
            assert!(error.to_string().contains("of uid 0: that user or root can start here"), "{error}");
        }
        return;
    }
    if !is_root() {
        not_tried("another user's socket: only root can make one");
        return;
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o1777);
    for (name, mode) in [("s", 0o644), ("t", 0o666)] {
        put_dead(&dir.join(name));
        chmod(&dir.join(name), mode);
    }
    Program::new(&this_test!(), "other").ordinary().dir(&dir).run();
}

#[test]
fn a_directory_that_may_not_be_searched_hides_nothing_that_gets_hurt() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let closed = dir.join("closed");
        fs::create_dir(&closed).expect("mkdir");
        let path = closed.join("s");
        let server = ServerSocket::create(&path).expect("create");
        chmod(&closed, 0o000);
        let error = ServerSocket::create(&path).expect_err("no permission");
        assert_error(&error, ErrorKind::System, EACCES);
        assert_eq!(probe(&path).expect("a path"), PathState::CannotTell { errno: EACCES });
        chmod(&closed, 0o700);
        assert_serves(&server, &path);
        assert_eq!(dir::names(&closed), ["s"]);
    });
}

#[test]
fn probe_and_inspect_tell_the_same_table_and_follow_links() {
    let dir = Dir::new();
    let check = |name: &str, expected: &dyn Fn(&PathState) -> bool| {
        let path = dir.join(name);
        let link = dir.join(format!("{name}.link"));
        symlink(name, &link).expect("symlink");
        let before = dir.files();
        for at in [&path, &link] {
            let state = probe(at).expect("a path");
            assert!(expected(&state), "{}: {state:?}", at.display());
            let all = inspect(at).expect("a path");
            assert_eq!(all.state, state);
            assert_eq!(all.lock, LockState::None);
            let there = dir::exists(&path).then(|| file(&path));
            assert_eq!(all.mode, there.as_ref().map(|file| file.mode & 0o7777));
            assert_eq!(all.inode, there.map(|file| file.inode));
            match at == &link {
                false => assert_eq!(all.target, None),
                true => assert_eq!(all.target.expect("named").file_name(), path.file_name()),
            }
        }
        assert_eq!(dir.files(), before);
    };
    check("absent", &|state| *state == PathState::Absent);
    put_dead(&dir.join("dead"));
    check("dead", &|state| *state == PathState::Dead);
    let server = ServerSocket::create(dir.join("live")).expect("create");
    check("live", &|state| match state {
        PathState::Live { peer: Some(peer) } => peer.pid == Some(std::process::id()),
        _ => false,
    });
    assert_serves(&server, &dir.join("live"));
    let _busy = busy(&dir.join("busy"));
    check("busy", &|state| *state == PathState::Busy);
    let _datagrams = UnixDatagram::bind(dir.join("dgram")).expect("bind");
    check("dgram", &|state| *state == PathState::OtherType);
    let packets = bound(&dir.join("seqpacket"), SocketType::SEQPACKET);
    rustix::net::listen(&packets, 1).expect("listen");
    check("seqpacket", &|state| *state == PathState::OtherType);
    put_file(&dir.join("file"), b"precious", 0o640);
    check("file", &|state| *state == PathState::NotASocket { kind: FileKind::Regular });
    fs::create_dir(dir.join("dir")).expect("mkdir");
    check("dir", &|state| *state == PathState::NotASocket { kind: FileKind::Directory });
    let shut = stranger(&dir.join("shut"));
    rustix::net::shutdown(&shut, rustix::net::Shutdown::Read).expect("shutdown");
    check("shut", &|state| *state == PathState::Dead);
    put_fifo(&dir.join("fifo"));
    check("fifo", &|state| *state == PathState::NotASocket { kind: FileKind::Fifo });
    assert_eq!(probe("").expect_err("no path").raw_os_error(), EINVAL);
}

#[test]
fn inspect_tells_whose_lock_it_is() {
    let dir = Dir::new();
    let path = dir.join("s");
    let uid = rustix::process::geteuid().as_raw();
    let lock = |path: &Path| inspect(path).expect("a path").lock;
    let claim = ServerSocket::builder().claim(&path).expect("claim");
    assert_eq!(lock(&path), LockState::Held { pid: Some(std::process::id()), uid });
    drop(claim);
    assert_eq!(lock(&path), LockState::None);
    put_file(&beside(&path, ".lock"), b"", 0o1400);
    let left = if locks_are_listed(dir.path()) { LockState::Left { uid } } else { LockState::Held { pid: None, uid } };
    assert_eq!(lock(&path), left);
    // Of a link, that of the socket which a client gets to.
    symlink(&path, dir.join("link")).expect("symlink");
    put_dead(&path);
    assert_eq!(lock(&dir.join("link")), left);
    chmod(&beside(&path, ".lock"), 0o644);
    assert_eq!(lock(&path), LockState::Foreign { uid });
    assert_eq!(lock(&dir.join("no/such")), LockState::None);
    assert_eq!(lock(&path.join("under-a-socket")), LockState::Unknown { errno: ENOTDIR });
}

#[test]
fn starved_of_descriptors_it_fails_cleanly_until_there_are_enough() {
    let test = this_test!();
    let Some(role) = child::role() else {
        for role in ["free", "dead", "live"] {
            Program::new(&test, role).run();
        }
        return;
    };
    let dir = Dir::new();
    let path = dir.join("s");
    let mut failures = 0;
    for free in 0..20 {
        let live = (role == "live").then(|| stranger(&path));
        if role == "dead" && !dir::exists(&path) {
            put_dead(&path);
        }
        let (names, open) = (dir.names(), descriptors());
        let before = (role == "live").then(|| file(&path));
        let builder = ServerSocket::builder().lock_timeout(Duration::from_millis(20));
        let result = with_descriptors(free, || builder.create(&path));
        match result {
            Ok(server) => {
                assert_ne!(role, "live", "{free} descriptors");
                assert_serves(&server, &path);
                server.close().expect("close");
                assert_eq!((dir.names(), descriptors()), (vec![], open), "{free} descriptors");
                assert!(failures > 1, "{failures} failures: nothing was tried");
                return;
            }
            Err(error) => {
                assert_eq!(descriptors(), open, "{free} descriptors: {error}");
                if let Some(live) = live {
                    assert_eq!((dir.names(), Some(file(&path))), (names, before), "{free} descriptors: {error}");
                    assert_serves(&live, &path);
                    fs::remove_file(&path).expect("unlink");
                    if error.kind() == ErrorKind::InUse {
                        assert!(failures > 0, "{failures} failures: nothing was tried");
                        return;
                    }
                } else {
                    assert!(dir.names().is_empty() || dir.names() == ["s"] && role == "dead", "{free} descriptors");
                }
                assert!(matches!(error.kind(), ErrorKind::System | ErrorKind::CannotTell), "{error:?}");
                assert_eq!(error.raw_os_error(), EMFILE, "{error}");
                failures += 1;
                // Nothing was left that hinders the next one.
                if role != "live" {
                    let next = ServerSocket::create(&path).unwrap_or_else(|next| panic!("after {error}: {next}"));
                    next.close().expect("close");
                }
            }
        }
    }
    panic!("20 descriptors are not enough");
}
