//! No client is lost while a server is replaced: each is served by the old one or by the new one, wherever it was on its
//! way, and the old one ends by itself when it has served all of its own.

pub mod support;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use support::child::whole_process;
use support::dir::Dir;
use support::sockets::{assert_serves, fill};
use support::succession::{GRACE, ask, hear, next_that_stays, replaceable, serve, successor};
use support::wait::{Worker, until, within};
use support::{PATIENCE, sockets::next_client};
use unix_stream_server::{PathState, PeerRules, ServerSocket, Status, connect, probe};

/// Clients that sleep in connect(), since the backlog is full, and those that fill it.
fn blocked_clients(path: &Path) -> (Vec<std::os::fd::OwnedFd>, Vec<Worker<std::io::Result<UnixStream>>>) {
    let filling = fill(path);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let path = path.to_owned();
            Worker::start(move || UnixStream::connect(path))
        })
        .collect();
    clients.iter().for_each(|client| client.until_in(libc::SYS_connect));
    (filling, clients)
}

#[test]
fn who_sleeps_in_connect_to_a_full_backlog_is_served_by_the_old_server_or_the_new_one() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = replaceable().backlog(2).create(&path).expect("create");
    let (filling, clients) = blocked_clients(&path);
    // Its backlog is full, which is life, and a mark can be read all the same.
    assert_eq!(probe(&path).expect("a path"), PathState::Busy);
    let new = successor().create(&path).expect("take over");
    assert_eq!((old.status(), new.status()), (Status::Replaced, Status::Ours));
    let (old, new) = (serve(old, "old", GRACE), serve(new, "new", GRACE));
    for client in filling {
        assert_eq!(hear(client.into()), "old");
    }
    for client in clients {
        let word = hear(client.result().expect("connected"));
        assert!(word == "old" || word == "new", "{word:?}");
    }
    assert!(old.result() > 0);
    drop(successor().create(&path).expect("take over"));
    let _ = new.result();
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn who_sleeps_in_connect_when_the_old_server_ends_at_once_looks_again_and_finds_the_new_one() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = replaceable().backlog(2).create(&path).expect("create");
    let (filling, clients) = blocked_clients(&path);
    let copy = std::os::fd::AsFd::as_fd(&old).try_clone_to_owned().expect("dup");
    let new = serve(successor().create(&path).expect("take over"), "new", GRACE);
    let drain = old.drain().expect("drain");
    assert_eq!(drain.status().expect("the lock was had"), Status::Replaced);
    for client in clients {
        assert_eq!(hear(client.result().expect("connected")), "new");
    }
    let drained = drain.map(|client| client.expect("accept").write_all(b"old").expect("write")).count();
    assert_eq!(drained, filling.len());
    for client in filling {
        assert_eq!(hear(client.into()), "old");
    }
    drop(copy);
    drop(successor().create(&path).expect("take over"));
    assert!(new.result() >= 8);
}

#[test]
fn a_server_asleep_in_accept_is_woken_and_sees_that_it_has_been_replaced() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = replaceable().create(&path).expect("create");
    let asleep = Worker::start(move || {
        // One that looks whenever accept() wakes, and serves whoever stays.
        let mut woken = 0;
        while !old.was_stolen() {
            drop(old.accept().expect("accept"));
            woken += 1;
        }
        (woken, old.status(), old.drain().expect("drain").count())
    });
    asleep.until_in(libc::SYS_accept4);
    let new = successor().create(&path).expect("take over");
    let (woken, status, _) = asleep.result();
    // By the question who lives there, and by the knock.
    assert!(woken >= 1);
    assert_eq!(status, Status::Replaced);
    assert_serves(&new, &path);
    new.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

/// The knock comes from a user whom no rule allows.
#[test]
fn nor_does_a_server_sleep_on_that_takes_only_whom_its_rules_allow() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = replaceable().create(&path).expect("create");
    let asleep = Worker::start(move || {
        let rules = PeerRules::new();
        while !old.was_stolen() {
            assert_eq!(old.accept_from(&rules).expect_err("nobody").kind(), std::io::ErrorKind::Interrupted);
        }
        old.status()
    });
    asleep.until_in(libc::SYS_accept4);
    let new = successor().create(&path).expect("take over");
    assert_eq!(asleep.result(), Status::Replaced);
    assert_serves(&new, &path);
    new.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_server_that_was_replaced_goes_on_accepting_hands_out_its_queue_and_ends() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = replaceable().create(&path).expect("create");
    let queued: Vec<_> = (0..20).map(|_| connect(&path).expect("connect")).collect();
    // A way to its socket that is none any more when it has been replaced: as one has who looked the path up before.
    let late = dir.join("late");
    fs::hard_link(&path, &late).expect("link");
    let new = successor().create(&path).expect("take over");
    let mut clients = old.until_replaced().grace(PATIENCE * 10);
    for client in queued {
        let mut served = clients.next().expect("queued").expect("accept");
        served.write_all(b"old").expect("write");
        drop(served);
        assert_eq!(hear(client), "old");
    }
    let too_late = connect(&late).expect("within the grace time");
    let mut served = clients.next().expect("still accepting").expect("accept");
    served.write_all(b"old").expect("write");
    drop(served);
    assert_eq!(hear(too_late), "old");
    // The server is not to be had back: it is not its path any more.
    assert!(clients.into_server().is_err());
    assert_serves(&new, &path);
    assert_eq!(new.close().expect("close"), Status::Ours);
    assert_eq!(dir.names(), ["late"]);
}

#[test]
fn without_a_grace_time_it_still_hands_out_its_queue() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let old = replaceable().create(&path).expect("create");
        let queued: Vec<_> = (0..20).map(|_| connect(&path).expect("connect")).collect();
        let new = successor().create(&path).expect("take over");
        assert_eq!(serve(old, "old", Duration::ZERO).result(), 20);
        for client in queued {
            assert_eq!(hear(client), "old");
        }
        assert_eq!(new.status(), Status::Ours);
    });
}

#[test]
fn who_asked_or_knocked_and_left_is_no_client() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let old = replaceable().create(&path).expect("create");
        let new = successor().create(&path).expect("take over");
        // Two connections are in its queue, and nobody behind them.
        assert_eq!(old.until_replaced().grace(Duration::ZERO).count(), 0);
        // Whoever has spoken and left is one.
        let mut client = connect(&path).expect("connect");
        client.write_all(b"fire and forget").expect("write");
        drop(client);
        let last = successor().create(&path).expect("take over");
        assert_eq!(new.until_replaced().grace(Duration::ZERO).count(), 1);
        last.close().expect("close");
    });
}

#[test]
fn a_server_that_nobody_woke_notices_by_itself() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = serve(replaceable().create(&path).expect("create"), "old", Duration::ZERO);
    assert_eq!(ask(&path), "old");
    // What a successor leaves that is killed before it can knock: a dead socket in the place of a live one.
    let staging = dir.join("m");
    support::sockets::put_dead(&staging);
    fs::rename(&staging, &path).expect("rename");
    assert_eq!(within(PATIENCE, move || old.result()), 1);
    let third = successor().create(&path).expect("over a dead socket");
    assert_serves(&third, &path);
    third.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_successor_that_closes_at_once_ends_the_old_server_too_and_leaves_nothing() {
    let dir = Dir::new();
    let path = dir.join("s");
    for ends in [|server: ServerSocket| server.close().map(drop), |server: ServerSocket| server.drain().map(drop)] {
        let old = serve(replaceable().create(&path).expect("create"), "old", GRACE);
        let client = connect(&path).expect("connect");
        ends(successor().create(&path).expect("take over")).expect("the end");
        assert_eq!(dir.names(), [""; 0]);
        assert_eq!(hear(client), "old");
        assert!(old.result() >= 1); // and those who only asked, or knocked, if it was quick to accept them
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn until_it_is_replaced_it_can_be_had_back_and_ended_otherwise() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = replaceable().create(&path).expect("create");
    let client = connect(&path).expect("connect");
    let mut clients = server.until_replaced();
    clients.next().expect("a client").expect("accept").write_all(b"hello").expect("write");
    assert_eq!(hear(client), "hello");
    let server = clients.into_server().expect("not replaced");
    assert_eq!(server.status(), Status::Ours);
    let waiting = connect(&path).expect("connect");
    let mut drain = server.drain().expect("drain");
    drain.next().expect("queued").expect("accept").write_all(b"bye").expect("write");
    assert_eq!(hear(waiting), "bye");
    assert_eq!(drain.count(), 0);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_path_that_is_only_deleted_ends_it_as_well() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = replaceable().create(&path).expect("create");
    let queued = connect(&path).expect("connect");
    fs::remove_file(&path).expect("unlink");
    assert_eq!(serve(server, "still here", Duration::ZERO).result(), 1);
    assert_eq!(hear(queued), "still here");
}

#[test]
fn from_the_moment_it_has_the_path_each_new_client_is_the_successors() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut old = replaceable().create(&path).expect("create");
    for _ in 0..50 {
        let before = connect(&path).expect("connect");
        let new = successor().create(&path).expect("take over");
        let after = connect(&path).expect("connect");
        next_that_stays(&new).write_all(b"new").expect("write");
        assert_eq!(hear(after), "new");
        next_that_stays(&old).write_all(b"old").expect("write");
        assert_eq!(hear(before), "old");
        drop(next_client(&old)); // the knock, and nobody behind it
        drop(old);
        assert_eq!(dir.names(), ["s"]);
        old = new;
    }
    until("the last one is alone", || dir.names() == ["s"]);
}
