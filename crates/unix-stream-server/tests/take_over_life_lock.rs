//! With a life lock: the successor publishes first, and gets the lock when its predecessor has drained. Until then it is
//! not replaced itself.

pub mod support;

use std::time::Duration;

use libc::{EADDRINUSE, EPERM};
use support::assert_error;
use support::child::whole_process;
use support::dir::{Dir, mode};
use support::fork::in_a_forked_child;
use support::sockets::assert_serves;
use support::succession::{GRACE, hear, heir, replaceable, serve, successor};
use support::wait::Worker;
use unix_stream_server::{ErrorKind, LockScope, ServerSocket, Status, connect};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_successor_has_the_path_at_once_and_the_life_lock_when_its_predecessor_has_drained() {
    let dir = Dir::new();
    for name in ["s".to_owned(), "n".repeat(255)] {
        let path = dir.join(name);
        let old = heir().create(&path).expect("create");
        assert_eq!(mode(&path), 0o1600);
        let queued = connect(&path).expect("connect");
        let mut new = heir().create(&path).expect("take over");
        assert_eq!((old.status(), new.status()), (Status::Replaced, Status::Ours));
        assert_eq!(mode(&path), 0o600, "not to be replaced before it has the life lock");
        // Its own clients are in its queue meanwhile, or served.
        assert_serves(&new, &path);
        assert_error(&new.wait_for_predecessor(Duration::ZERO).expect_err("it lives"), ErrorKind::InUse, EADDRINUSE);

        let mut drain = old.drain().expect("drain");
        let error = new.wait_for_predecessor(SHORT).expect_err("it drains");
        assert_error(&error, ErrorKind::InUse, EADDRINUSE);
        assert!(error.to_string().contains("is preparing or draining"), "{error}");
        assert_eq!(mode(&path), 0o600);
        // Probes have gone; who stays is served.
        let mut served = drain.next().expect("queued").expect("accept");
        std::io::Write::write_all(&mut served, b"old").expect("write");
        drop(served);
        assert_eq!(hear(queued), "old");
        let waiting = Worker::start(move || new.wait_for_predecessor(support::PATIENCE * 10).map(|()| new));
        waiting.until_in(libc::SYS_clock_nanosleep);
        assert!(waiting.is_done().is_none());
        drop(drain);
        let mut new = waiting.result().expect("it has drained");
        assert_eq!(mode(&path), 0o1600);
        new.wait_for_predecessor(Duration::ZERO).expect("nothing more to wait for");
        let third = heir().create(&path).expect("take over");
        assert_eq!((new.status(), third.status()), (Status::Replaced, Status::Ours));
        drop(new);
        third.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn while_it_waits_a_successor_is_in_use_to_all_others() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let old = heir().create(&path).expect("create");
        let mut new = heir().create(&path).expect("take over");
        let before = dir.files();
        for builder in [heir(), successor(), ServerSocket::builder()] {
            assert_error(&builder.create(&path).expect_err("in use"), ErrorKind::InUse, EADDRINUSE);
            assert_eq!(dir.files(), before);
        }
        assert_eq!(old.until_replaced().grace(Duration::ZERO).count(), 0);
        new.wait_for_predecessor(support::PATIENCE).expect("it has ended");
        assert_serves(&new, &path);
        new.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    });
}

#[test]
fn one_server_after_the_other_serves_drains_and_gives_the_life_lock_on() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut old = serve(heir().create(&path).expect("create"), "0", GRACE / 20);
    for number in 1..=5 {
        let before = connect(&path).expect("connect");
        let mut new = heir().create(&path).expect("take over");
        let after = connect(&path).expect("connect");
        assert_eq!(hear(before), (number - 1).to_string());
        assert!(old.result() >= 1);
        new.wait_for_predecessor(support::PATIENCE).expect("it has ended");
        old = serve(new, &number.to_string(), GRACE / 20);
        assert_eq!(hear(after), number.to_string());
    }
    let mut last = heir().create(&path).expect("take over");
    assert!(old.result() >= 1);
    last.wait_for_predecessor(support::PATIENCE).expect("it has ended");
    assert_eq!(dir.names(), ["s", "s.owner"]);
    last.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn where_there_is_nobody_to_wait_for_it_returns_at_once() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut alone = heir().create(&path).expect("create");
    alone.wait_for_predecessor(Duration::ZERO).expect("it has its life lock");
    assert_eq!(mode(&path), 0o1600);
    alone.close().expect("close");
    let old = replaceable().create(&path).expect("create");
    let mut new = successor().create(&path).expect("take over");
    new.wait_for_predecessor(Duration::ZERO).expect("it wants none");
    drop(old);
    // From a predecessor without a life lock there is none to wait for: it is had at once.
    let mut with = heir().create(&path).expect("take over");
    assert_eq!(mode(&path), 0o1600);
    assert_eq!(dir.names(), ["s", "s.owner"]);
    with.wait_for_predecessor(Duration::ZERO).expect("it has its life lock");
    // And one without a life lock does not ask after it.
    let without = successor().create(&path).expect("take over");
    assert_eq!((with.status(), without.status()), (Status::Replaced, Status::Ours));
    drop((new, with, without));
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_successor_that_lost_the_path_while_it_waited_marks_nothing_of_others() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = heir().create(&path).expect("create");
    let mut new = heir().create(&path).expect("take over");
    std::fs::remove_file(&path).expect("unlink");
    let stranger = support::sockets::stranger(&path);
    let before = support::dir::file(&path);
    drop(old);
    new.wait_for_predecessor(support::PATIENCE).expect("the life lock is free");
    assert_eq!(new.status(), Status::Replaced);
    assert_eq!(support::dir::file(&path), before);
    new.close().expect("close");
    assert_eq!(support::dir::file(&path), before);
    assert_eq!(dir.names(), ["s"]);
    assert_serves(&stranger, &path);
}

#[test]
fn the_parts_of_a_successor_wait_for_its_predecessor_too() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = heir().create(&path).expect("create");
    let (listener, mut ownership) = heir().create(&path).expect("take over").into_parts().expect("parts");
    assert!(ownership.life_lock().is_none());
    assert_error(&ownership.wait_for_predecessor(SHORT).expect_err("it lives"), ErrorKind::InUse, EADDRINUSE);
    drop(old);
    ownership.wait_for_predecessor(support::PATIENCE).expect("it has ended");
    assert!(ownership.life_lock().is_some());
    assert_eq!(mode(&path), 0o1600);
    assert_serves(&listener, &path);
    assert_eq!(ownership.close().expect("close"), Status::Ours);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_forked_child_does_not_get_the_life_lock() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let old = heir().create(&path).expect("create");
        let mut new = heir().create(&path).expect("take over");
        drop(old);
        let status = in_a_forked_child(|| {
            let error = new.wait_for_predecessor(Duration::ZERO).expect_err("forked");
            (error.kind(), error.raw_os_error()) == (ErrorKind::Forked, EPERM)
        });
        assert_eq!(status, 0);
        assert_eq!((dir.names(), mode(&path)), (vec!["s".to_owned()], 0o600));
        new.wait_for_predecessor(Duration::ZERO).expect("it is free");
        assert_eq!(mode(&path), 0o1600);
        new.close().expect("close");
    });
}

#[test]
fn without_being_replaceable_it_gets_the_life_lock_and_no_mark() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = heir().create(&path).expect("create");
    let last = ServerSocket::builder().take_over(true).lock_scope(LockScope::Lifetime);
    let mut last = last.create(&path).expect("take over");
    drop(old);
    last.wait_for_predecessor(support::PATIENCE).expect("it has ended");
    assert_eq!((mode(&path), dir.names().len()), (0o600, 2));
    assert_error(&heir().create(&path).expect_err("in use"), ErrorKind::InUse, EADDRINUSE);
    last.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}
