//! A server that has been replaced removes nothing of its successor's, however it ends; and no outcome of a take-over
//! leaks a descriptor, on either side.

pub mod support;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use libc::EPERM;
use support::child::{descriptors, whole_process};
use support::dir::{Dir, file, put_file};
use support::fork::in_a_forked_child;
use support::sockets::{assert_serves, put_dead, stranger};
use support::succession::{heir, replaceable, successor, temporary};
use unix_stream_server::{Error, ErrorKind, ServerSocket, Status, connect};

type End = fn(ServerSocket);

/// Each of a server that has one client in its queue.
const ENDS: [(&str, End); 11] = [
    ("drop", drop),
    ("close", |server| assert_eq!(server.close().expect("close"), Status::Replaced)),
    ("drain", |server| {
        let drain = server.drain().expect("drain");
        assert_eq!(drain.status().expect("looked"), Status::Replaced);
        assert!(drain.count() >= 1);
    }),
    ("until replaced", |server| assert_eq!(server.until_replaced().grace(Duration::ZERO).count(), 1)),
    ("until replaced, dropped", |server| drop(server.until_replaced())),
    ("until replaced, dropped in the grace time", |server| {
        let mut clients = server.until_replaced().grace(Duration::MAX);
        drop(clients.next().expect("queued").expect("accept"));
    }),
    ("into_listener", |server| drop(server.into_listener())),
    ("into_parts", |server| {
        // There is nothing to pin any more; the server is handed back.
        let refused = server.into_parts().expect_err("not at its path");
        assert_eq!(refused.error.kind(), ErrorKind::Moved);
        assert_eq!(refused.server.close().expect("close"), Status::Replaced);
    }),
    ("in a forked child", |server| {
        let mut server = Some(server);
        assert_eq!(in_a_forked_child(|| server.take().expect("one").close().is_err_and(|e| is_forked(&e))), 0);
        assert_eq!(in_a_forked_child(|| server.take().expect("one").drain().is_err_and(|e| is_forked(&e))), 0);
        let count = |server: ServerSocket| server.until_replaced().grace(Duration::ZERO).take(1).count();
        assert!(in_a_forked_child(|| count(server.take().expect("one")) == 1) <= 1);
    }),
    ("a forked child drops it", |server| {
        let mut server = Some(server);
        assert_eq!(in_a_forked_child(|| server.take().is_some()), 0);
        assert_eq!(server.expect("ours still").close().expect("close"), Status::Replaced);
    }),
    ("moved to this process", |mut server| {
        server.move_to_this_process();
        drop(server);
    }),
];

fn is_forked(error: &Error) -> bool {
    (error.kind(), error.raw_os_error()) == (ErrorKind::Forked, EPERM)
}

#[test]
fn a_server_that_was_replaced_removes_nothing_of_its_successors() {
    whole_process(&this_test!(), || {
        for builder in [successor(), heir()] {
            for (name, end) in ENDS {
                let dir = Dir::new();
                let path = dir.join("s");
                let open = descriptors();
                let old = builder.create(&path).expect("create");
                let queued = connect(&path).expect("connect");
                let mut new = builder.create(&path).expect("take over");
                let before = file(&path);
                assert_eq!((old.status(), old.was_stolen()), (Status::Replaced, true));
                end(old);
                assert_eq!(file(&path), before, "{name}");
                assert_eq!(new.status(), Status::Ours, "{name}");
                new.wait_for_predecessor(support::PATIENCE).expect("it has ended");
                assert_serves(&new, &path);
                assert_eq!(new.close().expect("close"), Status::Ours);
                assert_eq!(dir.names(), [""; 0], "{name}");
                drop(queued);
                assert_eq!(descriptors(), open, "{name}");
            }
        }
    });
}

#[test]
fn nor_do_the_parts_of_one() {
    for builder in [successor(), heir()] {
        type EndOfParts = fn(unix_stream_server::Ownership, OwnedFd);
        let ends: [(&str, EndOfParts); 4] = [
            ("drop", |ownership, listener| drop((ownership, listener))),
            ("close", |ownership, _| assert_eq!(ownership.close().expect("close"), Status::Replaced)),
            ("unpublish", |mut ownership, _| assert_eq!(ownership.unpublish().expect("looked"), Status::Replaced)),
            ("drain", |ownership, listener| assert!(ownership.drain(listener).expect("drain").count() >= 1)),
        ];
        for (name, end) in ends {
            let dir = Dir::new();
            let path = dir.join("s");
            let (listener, ownership) = builder.create(&path).expect("create").into_parts().expect("parts");
            let queued = connect(&path).expect("connect");
            let mut new = builder.create(&path).expect("take over");
            let before = file(&path);
            assert_eq!((ownership.status(), ownership.was_stolen()), (Status::Replaced, true));
            end(ownership, listener.into());
            assert_eq!(file(&path), before, "{name}");
            new.wait_for_predecessor(support::PATIENCE).expect("it has ended");
            assert_serves(&new, &path);
            assert_eq!(new.close().expect("close"), Status::Ours, "{name}");
            assert_eq!(dir.names(), [""; 0], "{name}");
            drop(queued);
        }
    }
}

#[test]
fn a_server_that_was_replaced_ends_without_waiting_for_a_lock_that_it_does_not_need() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = replaceable().lock_timeout(Duration::ZERO).create(&path).expect("create");
    let new = successor().create(&path).expect("take over");
    // Another program's lock, and for ever: the name is not ours, so that no error is to be had from it.
    put_file(&dir.join("s.lock"), b"", 0o644);
    let before = dir.files();
    assert_eq!(old.close().expect("nothing was to be removed"), Status::Replaced);
    assert_eq!(dir.files(), before);
    std::fs::remove_file(dir.join("s.lock")).expect("unlink");
    assert_serves(&new, &path);
}

#[test]
fn no_outcome_of_a_take_over_changes_the_process() {
    type Put = fn(&Path) -> Option<OwnedFd>;
    let puts: [(&str, Put); 7] = [
        ("nothing", |_| None),
        ("a dead socket", |path| {
            put_dead(path);
            None
        }),
        ("a replaceable server", |path| Some(replaceable().create(path).expect("create").into_listener().into())),
        ("a server that is not", |path| Some(ServerSocket::create(path).expect("create").into_listener().into())),
        ("a file", |path| {
            put_file(path, b"", 0o600);
            None
        }),
        ("something at the temporary name", |path| {
            put_file(&temporary(path), b"", 0o600);
            Some(replaceable().create(path).expect("create").into_listener().into())
        }),
        ("a dead socket at the temporary name", |path| {
            put_dead(&temporary(path));
            Some(replaceable().create(path).expect("create").into_listener().into())
        }),
    ];
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let threads = || std::fs::read_dir("/proc/self/task").expect("/proc").count();
        for (name, put) in puts {
            for builder in [successor(), heir()] {
                let kept = put(&path);
                let before = (descriptors(), threads());
                match builder.create(&path) {
                    Ok(server) => {
                        // The socket, the directory, and a life lock: not the pin of the one that was replaced.
                        let more = descriptors().len() - before.0.len();
                        assert!(more <= 3, "{name}: {more} descriptors");
                        drop(server);
                    }
                    Err(error) => assert!(!error.reason().is_empty()),
                }
                assert_eq!((descriptors(), threads()), before, "{name}");
                drop(kept);
                for left in dir.names() {
                    std::fs::remove_file(dir.join(left)).expect("unlink");
                }
            }
        }
        // And the sockets that were opened in between go to no program that is started.
        let old = replaceable().create(&path).expect("create");
        let new = successor().create(&path).expect("take over");
        for socket in [std::os::fd::AsFd::as_fd(&old), std::os::fd::AsFd::as_fd(&new)] {
            assert_eq!(rustix::io::fcntl_getfd(socket), Ok(rustix::io::FdFlags::CLOEXEC));
        }
        let stranger = stranger(&dir.join("other"));
        assert_serves(&stranger, &dir.join("other"));
    });
}
