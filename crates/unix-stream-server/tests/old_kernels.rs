//! Kernels that lack a call, or file systems for which one means nothing: what is missed is said or done without, and no
//! promise is broken for it.

pub mod support;

use std::time::Duration;

use libc::{EAFNOSUPPORT, EBADF, EINVAL, ENOPROTOOPT, ENOSYS, EOPNOTSUPP};
use support::child::whole_process;
use support::dir::{Dir, put_file};
use support::filter::without;
use support::fork::in_a_forked_child;
use support::sockets::{assert_serves, next_client, put_dead, stranger};
use support::start::{Household, answer, play};
use support::wait::{Worker, until};
use support::{PATIENCE, assert_error};
use unix_stream_server::{
    Builder, CleanEvent, CleanOptions, ErrorKind, Leftover, LockScope, Outcome, PathState, PeerRules, ServerSocket,
    Status, adopt, connect, connect_or_start, inspect, peer_credentials, peer_pidfd, queued_clients,
};

fn hasty() -> Builder {
    ServerSocket::builder().lock_timeout(Duration::from_millis(20))
}

/// Before Linux 6.5.
#[test]
fn without_a_pidfd_of_the_peer_there_is_none_and_all_else_is_known() {
    whole_process(&this_test!(), || {
        let option = u32::try_from(libc::SO_PEERPIDFD).expect("a number");
        without(libc::SYS_getsockopt, Some((2, option)), ENOPROTOOPT);
        let dir = Dir::new();
        let server = hasty().create(dir.join("s")).expect("create");
        let client = connect(dir.join("s")).expect("connect");
        assert!(peer_pidfd(&client).expect("no error").is_none());
        let us = rustix::process::geteuid().as_raw();
        let (accepted, peer) = server.accept_from(&PeerRules::new().uid(us).predicate(|_| true)).expect("allowed");
        assert_eq!((peer.pid, peer.uid), (Some(std::process::id()), us));
        assert!(peer_pidfd(&accepted).expect("no error").is_none());
        assert_eq!(peer_credentials(&client).expect("a socket"), Some(peer));
        let error = hasty().create(dir.join("s")).expect_err("in use");
        assert_eq!(error.peer().and_then(|peer| peer.pid), Some(std::process::id()), "{error}");
        server.close().expect("close");
    });
}

/// Without the module `unix_diag`, or in a sandbox: what the kernel does not list is asked by a connection.
#[test]
fn without_a_list_of_sockets_whoever_asks_connects_and_nothing_is_taken_for_dead_that_lives() {
    whole_process(&this_test!(), || {
        let family = u32::try_from(libc::AF_NETLINK).expect("a number");
        without(libc::SYS_socket, Some((0, family)), EAFNOSUPPORT);
        let dir = Dir::new();
        let live = stranger(&dir.join("live"));
        put_dead(&dir.join("dead"));
        let seen = inspect(dir.join("live")).expect("a path");
        assert!(matches!(seen.state, PathState::Live { peer: Some(peer) } if peer.pid == Some(std::process::id())));
        assert_eq!(seen.listener_uid, None);
        drop(next_client(&live)); // who has asked
        assert_eq!(inspect(dir.join("dead")).expect("a path").state, PathState::Dead);
        // A second later it is old enough to be removed: nothing here has to wait for that, so it is just not touched.
        let mut found = Vec::new();
        CleanOptions::new()
            .run(dir.path(), |event| {
                if let CleanEvent::Found { path, what: Leftover::Socket, outcome } = event {
                    found.push((path.file_name().expect("a name").to_owned(), outcome));
                }
            })
            .expect("clean");
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert!(
            matches!(&found[..], [(dead, Outcome::Young), (live, Outcome::InUse)] if dead == "dead" && live == "live")
        );
        drop(next_client(&live));
        // What a killed starter has left beside a live server goes all the same.
        put_file(&dir.join("live.lock"), b"", 0o1400);
        let mut gone = Vec::new();
        CleanOptions::new()
            .run(dir.join("live"), |event| {
                if let CleanEvent::Found { what, outcome, .. } = event {
                    gone.push(format!("{what:?} {outcome:?}"));
                }
            })
            .expect("clean");
        assert_eq!(gone, ["Lock Removed"]);
        drop(next_client(&live));
        // Who starts there needs no list.
        let server = hasty().create(dir.join("dead")).expect("in the place of the dead one");
        assert_serves(&server, &dir.join("dead"));
        assert!(queued_clients(&server).is_err_and(|error| error.raw_os_error() == Some(EAFNOSUPPORT)));
        // Nor who adopts a socket: of its path it knows what an answer of its own proves.
        let copy = rustix::io::fcntl_dupfd_cloexec(&server, 3).expect("dup");
        let mut adopted = adopt(copy).expect("adopt");
        let unknown = Status::Unknown { errno: EAFNOSUPPORT };
        assert_eq!(adopted.status(), Some(unknown));
        drop(server.into_listener());
        adopted.own_path(dir.join("dead")).expect("it answers");
        assert_eq!(adopted.status(), Some(Status::Ours));
        adopted.close().expect("close");
        assert_eq!(dir.names(), ["live"]);
    });
}

/// Nobody says then which of its clients a server that is being started has accepted.
#[test]
fn without_a_list_of_sockets_a_starter_with_others_behind_him_is_let_in_all_the_same() {
    let test = this_test!();
    play();
    whole_process(&test, || {
        let family = u32::try_from(libc::AF_NETLINK).expect("a number");
        without(libc::SYS_socket, Some((0, family)), EAFNOSUPPORT);
        let mut home = Household::new(&test);
        let (path, command) = (home.path(), home.server("late").timeout(PATIENCE / 2));
        let starter = Worker::start(move || connect_or_start(&path, &command).map(answer));
        until("the server was started", || home.started().len() == 1);
        let behind = connect(home.path()).expect("queued");
        // It accepts the starter now, and waits for what he asks.
        home.say();
        let pid = starter.result().expect("not the end of its time");
        assert_eq!((answer(behind), home.started()), (pid, vec![pid]));
        home.end();
    });
}

/// Before Linux 4.14: a process is told by its id.
#[test]
fn without_memory_that_a_fork_wipes_a_forked_child_still_takes_nothing() {
    whole_process(&this_test!(), || {
        let advice = u32::try_from(libc::MADV_WIPEONFORK).expect("a number");
        without(libc::SYS_madvise, Some((2, advice)), EINVAL);
        assert_a_forked_child_takes_nothing();
    });
}

/// Emulators that take any advice for good.
#[test]
fn where_advice_on_memory_means_nothing_a_forked_child_still_takes_nothing() {
    whole_process(&this_test!(), || {
        without(libc::SYS_madvise, None, 0);
        assert_a_forked_child_takes_nothing();
    });
}

fn assert_a_forked_child_takes_nothing() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut parents = Some(hasty().create(&path).expect("create"));
    let ended = in_a_forked_child(|| {
        let server = parents.take().expect("fork copies");
        server.close().is_err_and(|error| error.kind() == ErrorKind::Forked)
    });
    assert_eq!(ended, 0);
    let ended = in_a_forked_child(|| {
        drop(parents.take());
        true
    });
    assert_eq!(ended, 0);
    let server = parents.expect("in the parent it was never taken");
    assert_eq!(server.status(), Status::Ours);
    assert_serves(&server, &path);
    server.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

/// NFS, ZFS before 2.2 and some FUSE have no flag for renameat2(2); before Linux 3.15 there is no such call.
#[test]
fn without_a_rename_that_replaces_nothing_long_names_are_had_and_nothing_is_replaced() {
    for errno in [EINVAL, ENOSYS] {
        whole_process(&this_test!(), move || {
            without(libc::SYS_renameat2, None, errno);
            let dir = Dir::new();
            let name = "n".repeat(100);
            let server = hasty().create(dir.join(&name)).expect("create");
            assert_serves(&server, &dir.join(&name));
            assert_error(&hasty().create(dir.join(&name)).expect_err("in use"), ErrorKind::InUse, libc::EADDRINUSE);
            server.close().expect("close");
            put_dead(&dir.join("dead")); // its own path would be too long to bind
            std::fs::rename(dir.join("dead"), dir.join(&name)).expect("rename");
            drop(hasty().create(dir.join(&name)).expect("over a dead one"));
            std::fs::write(dir.join(&name), "mine").expect("write");
            let error = hasty().create(dir.join(&name)).expect_err("a file");
            assert_error(&error, ErrorKind::NotASocket, libc::ENOTSOCK);
            assert_eq!(dir.names(), [name.as_str()]);
        });
    }
}

/// A file system without flock(2): NFS without a lock daemon, some FUSE.
#[test]
fn without_flock_nothing_is_made_nothing_is_removed_and_a_live_server_is_known() {
    // EBADF: as NFSv4 says it of a lock that is open for reading.
    for errno in [EOPNOTSUPP, ENOSYS, EBADF] {
        std::thread::scope(|scope| {
            // A thread of its own is filtered, and ends.
            scope.spawn(|| {
                let dir = Dir::new();
                let live = stranger(&dir.join("live"));
                put_dead(&dir.join("dead"));
                let before = dir.files();
                without(libc::SYS_flock, None, errno);
                for scope in [LockScope::Startup, LockScope::Lifetime] {
                    let hasty = hasty().lock_scope(scope);
                    for name in ["dead", "free"] {
                        let error = hasty.create(dir.join(name)).expect_err("no lock");
                        assert_error(&error, ErrorKind::System, errno);
                        assert!(error.to_string().contains("flock the lock file"), "{error}");
                        assert_error(&hasty.claim(dir.join(name)).expect_err("no lock"), ErrorKind::System, errno);
                    }
                    let error = hasty.create(dir.join("live")).expect_err("in use");
                    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
                }
                assert_error(&hasty().remove_dead(dir.join("dead")).expect_err("no lock"), ErrorKind::System, errno);
                assert_eq!(dir.files(), before);
                assert_serves(&live, &dir.join("live"));
            });
        });
    }
}

/// Before Linux 5.6, or under a filter that does not know the call.
#[test]
fn without_openat2_a_tree_is_cleaned_all_the_same() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        std::fs::create_dir_all(dir.join("a/b")).expect("mkdir");
        std::fs::write(dir.join("a/b/s.lock"), "").expect("a lock file");
        support::dir::chmod(&dir.join("a/b/s.lock"), 0o1400);
        without(libc::SYS_openat2, None, ENOSYS);
        let mut removed = Vec::new();
        let clean = CleanOptions::new().recursive(true).run(dir.path(), |event| {
            if let CleanEvent::Found { path, outcome: Outcome::Removed, .. } = event {
                removed.push(path.to_owned());
            }
        });
        clean.expect("clean");
        assert_eq!(removed, [dir.join("a/b/s.lock")]);
        assert_eq!(support::dir::names(&dir.join("a/b")), [""; 0]);
    });
}
