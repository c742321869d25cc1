//! Who is at the other end: servers that take only some, clients that expect someone.

pub mod support;

use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use libc::{EPERM, ESRCH};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::process::{getegid, geteuid, getgroups};
use support::child::{self, Program};
use support::dir::{Dir, chmod};
use support::fork::in_a_forked_child;
use support::sockets::next_client;
use support::unshared::into_user_namespace;
use support::wait::within;
use support::{NOBODY, PATIENCE, as_user, assert_error, is_root, not_tried};
use unix_stream_server::{
    ConnectOptions, ErrorKind, PeerRules, ServerSocket, connect, peer_credentials, peer_groups, peer_pidfd,
};

const SOMEBODY_ELSE: u32 = 65_533;

fn ids() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

/// A client of everybody's server, and the server's end of it.
fn pair(server: &ServerSocket, user: Option<(u32, u32, &[u32])>) -> (UnixStream, UnixStream) {
    let path = server.local_path();
    let client = match user {
        Some((uid, gid, groups)) => as_user(uid, gid, groups, || connect(path).expect("connect")),
        None => connect(path).expect("connect"),
    };
    (client, next_client(server))
}

fn open_server(dir: &Dir) -> ServerSocket {
    ServerSocket::builder().mode(0o666).create(dir.join("s")).expect("create")
}

#[test]
fn without_a_rule_nobody_is_allowed() {
    let dir = Dir::new();
    let server = open_server(&dir);
    let (_client, accepted) = pair(&server, None);
    let refused = PeerRules::new().check(&accepted).expect_err("no rule");
    assert_eq!(refused.peer.map(|peer| peer.uid), Some(ids().0));
    assert!(refused.to_string().contains("no rule allows process"), "{refused}");
    assert_eq!(std::io::Error::from(refused).raw_os_error(), Some(EPERM));
}

#[test]
fn a_client_is_allowed_by_any_one_rule_and_by_nothing_else() {
    let dir = Dir::new();
    let server = open_server(&dir);
    let (uid, gid) = ids();
    let (_client, accepted) = pair(&server, None);
    let none = || PeerRules::new().uid(uid + 1).gid(4_000_000_000).predicate(|_| false);
    none().check(&accepted).expect_err("no rule fits");
    let pid = std::process::id();
    for rules in [none().uid(uid), none().gid(gid), none().predicate(move |peer| peer.pid == Some(pid))] {
        assert_eq!(rules.check(&accepted).expect("allowed").uid, uid, "{rules:?}");
    }
    // The ids that mean "none" to the system are nobody's.
    PeerRules::new().uid(u32::MAX).gid(u32::MAX).check(&accepted).expect_err("nobody");
}

#[test]
fn root_is_allowed_only_where_it_is_named() {
    if !is_root() {
        return not_tried("a client that is root: needs root");
    }
    let dir = Dir::new();
    let server = open_server(&dir);
    let (_client, root) = pair(&server, None);
    let rules = PeerRules::new().uid(NOBODY).gid(NOBODY);
    rules.check(&root).expect_err("root is not named");
    rules.uid(0).check(&root).expect("now it is");
}

#[test]
fn a_client_is_whoever_called_connect() {
    if !is_root() {
        return not_tried("clients of several users: needs root");
    }
    let dir = Dir::new();
    let server = open_server(&dir);
    // The client's end is ours by now.
    let (_client, accepted) = pair(&server, Some((NOBODY, SOMEBODY_ELSE, &[])));
    assert_eq!(PeerRules::new().uid(NOBODY).check(&accepted).expect("allowed").gid, SOMEBODY_ELSE);
    PeerRules::new().gid(SOMEBODY_ELSE).check(&accepted).expect("allowed");
    PeerRules::new().uid(0).gid(0).uid(SOMEBODY_ELSE).gid(NOBODY).check(&accepted).expect_err("none of these");
}

#[test]
fn a_client_is_allowed_by_a_supplementary_group() {
    let dir = Dir::new();
    let server = open_server(&dir);
    if !is_root() {
        let own: Vec<u32> = getgroups().expect("getgroups").iter().map(|gid| gid.as_raw()).collect();
        let (_client, accepted) = pair(&server, None);
        let mut known = peer_groups(&accepted).expect("getsockopt");
        known.sort_unstable();
        let mut sorted = own.clone();
        sorted.sort_unstable();
        assert_eq!(known, sorted);
        for gid in own {
            PeerRules::new().gid(gid).check(&accepted).expect("allowed");
        }
        return;
    }
    // More of them than fit at first.
    let many: Vec<u32> = (4_000..4_300).collect();
    for groups in [&[4_242][..], &many] {
        let (_client, accepted) = pair(&server, Some((NOBODY, NOBODY, groups)));
        assert_eq!(peer_groups(&accepted).expect("getsockopt"), groups);
        PeerRules::new().gid(groups[groups.len() - 1]).check(&accepted).expect("allowed");
        PeerRules::new().gid(4_300).check(&accepted).expect_err("not in it");
    }
    let (_client, accepted) = pair(&server, Some((NOBODY, NOBODY, &[])));
    assert_eq!(peer_groups(&accepted).expect("getsockopt"), []);
    PeerRules::new().gid(4_242).check(&accepted).expect_err("in no group");
}

/// The overflow id stands for all users who have no number in a user namespace.
#[test]
fn a_peer_whose_user_has_no_number_here_is_unknown() {
    let test = this_test!();
    if child::role().is_some() {
        return assert_eq!(in_a_forked_child(in_a_user_namespace), 0);
    }
    if !is_root() {
        return not_tried("a user namespace without its maker's peer: needs root");
    }
    let dir = Dir::new();
    let _rooted = ServerSocket::builder().mode(0o666).create(dir.join("root")).expect("create");
    let mut inside = Program::new(&test, "inside").dir(&dir).ordinary().start();
    if inside.hear("serves") == "no" {
        inside.finish();
        return not_tried("a user namespace: the system forbids it");
    }
    let _client = connect(dir.join("s")).expect("connect");
    inside.hear("refused");
    inside.finish();
}

fn in_a_user_namespace() -> bool {
    if !into_user_namespace() {
        child::say("serves no");
        return true;
    }
    let server = open_server_at("s");
    child::say("serves");
    let accepted = next_client(&server);
    let peer = peer_credentials(&accepted).expect("getsockopt").expect("known to the kernel");
    assert_eq!(peer.uid, NOBODY, "root, who has no number here");
    let rules = PeerRules::new().uid(NOBODY).gid(NOBODY).predicate(|_| true);
    rules.check(&accepted).expect_err("it may be anybody");
    // The other way round: as a client of a server whose user has no number here.
    let error = ConnectOptions::new().expect_uid(NOBODY).connect(child::dir().join("root")).expect_err("anybody's");
    assert_error(&error, ErrorKind::WrongPeer, EPERM);
    server.close().expect("close");
    child::say("refused");
    true
}

fn open_server_at(name: &str) -> ServerSocket {
    ServerSocket::builder().mode(0o666).create(child::dir().join(name)).expect("create")
}

#[test]
fn a_refused_client_is_hung_up_on_unread() {
    let dir = Dir::new();
    let server = open_server(&dir);
    let mut first = connect(server.local_path()).expect("connect");
    first.write_all(b"open, sesame").expect("write");
    let _second = connect(server.local_path()).expect("connect");
    let asked = Arc::new(AtomicUsize::new(0));
    let times = Arc::clone(&asked);
    let rules = PeerRules::new().predicate(move |_| times.fetch_add(1, Ordering::SeqCst) == 1);
    server.accept_from(&rules).expect("the second");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    first.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    match first.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == IoErrorKind::ConnectionReset => {} // what it has sent was not read
        other => panic!("not hung up on: {other:?}"),
    }
}

#[test]
fn a_flood_of_refused_clients_keeps_no_allowed_one_out() {
    const FLOOD: usize = 3_000;
    let dir = Dir::new();
    let server = ServerSocket::builder().backlog(16).create(dir.join("s")).expect("create");
    let path = server.local_path().to_owned();
    let asked = Arc::new(AtomicUsize::new(0));
    let times = Arc::clone(&asked);
    let rules = PeerRules::new().predicate(move |_| times.fetch_add(1, Ordering::SeqCst) >= FLOOD);
    let flood = thread::spawn(move || {
        (0..=FLOOD).map(|_| connect(&path).expect("connect")).last().expect("the last is let in")
    });
    within(PATIENCE, move || server.accept_from(&rules).map(|_| server.close())).expect("accept").expect("close");
    assert_eq!(asked.load(Ordering::SeqCst), FLOOD + 1);
    flood.join().expect("no panic");
}

#[test]
fn a_server_that_does_not_block_gives_others_a_turn_in_a_flood() {
    let dir = Dir::new();
    let server = open_server(&dir);
    server.set_nonblocking(true).expect("fcntl");
    let clients: Vec<_> = (0..100).map(|_| connect(server.local_path()).expect("connect")).collect();
    let rules = PeerRules::new();
    assert_eq!(server.accept_from(&rules).expect_err("a pause").kind(), IoErrorKind::Interrupted);
    assert_eq!(server.accept_from(&rules).expect_err("the queue's end").kind(), IoErrorKind::WouldBlock);
    drop(clients);
}

/// On a small stack, which a call for each refused client would soon use up.
#[test]
fn any_number_of_refused_clients_takes_no_more_stack() {
    let few = thread::Builder::new().stack_size(128 * 1024).spawn(|| {
        let clients = (0..50_000).map(|_| UnixStream::pair().map(|(one, _)| one));
        PeerRules::new().filter(clients).count()
    });
    assert_eq!(few.expect("a thread").join().expect("no overflow"), 0);
}

#[test]
fn a_drain_hands_out_only_the_allowed() {
    let dir = Dir::new();
    let server = open_server(&dir);
    let clients: Vec<_> = (0..10).map(|_| connect(server.local_path()).expect("connect")).collect();
    let asked = AtomicUsize::new(0);
    let rules = PeerRules::new().predicate(move |_| asked.fetch_add(1, Ordering::SeqCst) % 2 == 0);
    let served = rules.filter(server.drain().expect("drain")).map(|client| client.expect("accept")).count();
    assert_eq!((served, clients.len()), (5, 10));
}

#[test]
fn an_error_of_accept_passes_a_filter() {
    let errors = ["one", "two"].map(|what| Err(std::io::Error::other(what)));
    assert_eq!(PeerRules::new().filter(errors).count(), 2);
}

#[test]
fn a_client_speaks_only_to_the_user_it_expects() {
    let dir = Dir::new();
    let server = open_server(&dir);
    let (uid, _) = ids();
    let long = dir.join("l".repeat(180));
    std::os::unix::fs::symlink(server.local_path(), &long).expect("symlink");
    for path in [server.local_path(), &long] {
        for options in [ConnectOptions::new(), ConnectOptions::new().timeout(PATIENCE)] {
            options.connect(path).expect("anybody will do");
            options.clone().expect_uid(uid).connect(path).expect("as expected");
            options.clone().expect_uid(uid + 1).expect_uid(uid).connect(path).expect("one of those expected");
            let error = options.expect_uid(uid + 1).connect(path).expect_err("another's");
            assert_error(&error, ErrorKind::WrongPeer, EPERM);
            assert_eq!(error.peer().and_then(|peer| peer.pid), Some(std::process::id()));
            assert!(error.reason().contains(&format!("not of uid {}", uid + 1)), "{error}");
        }
    }
    // All of them have gone by now, and nobody has said a word.
    for client in server.drain().expect("drain") {
        let mut said = Vec::new();
        client.expect("accept").read_to_end(&mut said).expect("read");
        assert_eq!(said, b"");
    }
}

#[test]
fn other_errors_of_connect_are_what_they_were() {
    let dir = Dir::new();
    let options = ConnectOptions::new().expect_uid(ids().0).timeout(Duration::ZERO);
    assert_error(&options.connect(dir.join("none")).expect_err("absent"), ErrorKind::System, libc::ENOENT);
    assert_error(&options.connect(dir.path()).expect_err("a directory"), ErrorKind::NotASocket, libc::ENOTSOCK);
}

#[test]
fn the_server_is_whoever_listened_last() {
    if !is_root() {
        return not_tried("a server of several users: needs root");
    }
    let dir = Dir::new();
    let expect = |uid| ConnectOptions::new().expect_uid(uid).connect(dir.join("s"));
    let squatter = as_user(SOMEBODY_ELSE, SOMEBODY_ELSE, &[], || {
        ServerSocket::builder().mode(0o666).create(dir.join("s")).expect("create")
    });
    assert_error(&expect(0).expect_err("a squatter"), ErrorKind::WrongPeer, EPERM);
    as_user(NOBODY, NOBODY, &[], || rustix::net::listen(&squatter, 16).expect("listen"));
    assert_error(&expect(SOMEBODY_ELSE).expect_err("handed on"), ErrorKind::WrongPeer, EPERM);
    expect(NOBODY).expect("who listened last");
}

#[test]
fn a_pidfd_of_the_peer_tells_its_end() {
    let test = this_test!();
    if child::role().is_some() {
        let server = open_server_at("s");
        child::say("serves");
        let _accepted = next_client(&server);
        let _ = child::listen();
        return;
    }
    let dir = Dir::new();
    let mut server = Program::new(&test, "server").dir(&dir).start();
    server.hear("serves");
    let client = connect(dir.join("s")).expect("connect");
    let Some(pidfd) = peer_pidfd(&client).expect("getsockopt") else {
        return not_tried("a pidfd of a peer: needs Linux 6.5");
    };
    assert!(rustix::io::fcntl_getfd(&pidfd).expect("fcntl").contains(FdFlags::CLOEXEC));
    let has_ended = |seconds| {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time)).expect("poll") == 1
    };
    assert!(!has_ended(0));
    server.kill();
    assert!(has_ended(60), "it never told the end");
    // It has been waited for. Kernels differ, and none gives another process's.
    match peer_pidfd(&client) {
        Ok(Some(late)) => {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            assert_eq!(poll(&mut [PollFd::new(&late, PollFlags::IN)], Some(&now)).expect("poll"), 1);
        }
        Ok(None) => {}
        Err(error) => assert_eq!(error.raw_os_error(), Some(ESRCH)),
    }
}

#[test]
fn what_is_no_socket_has_no_peer() {
    let file = std::fs::File::open("/dev/null").expect("open");
    assert_eq!(peer_pidfd(&file).expect_err("no socket").raw_os_error(), Some(libc::ENOTSOCK));
    assert_eq!(peer_groups(&file).expect_err("no socket").raw_os_error(), Some(libc::ENOTSOCK));
    let refused = PeerRules::new().predicate(|_| true).check(&file).expect_err("no socket");
    assert_eq!((refused.peer, refused.errno), (None, Some(libc::ENOTSOCK)));
}

#[test]
fn a_directory_that_others_may_write_is_where_a_client_should_expect_someone() {
    if !is_root() {
        return not_tried("a squatter in a shared directory: needs root");
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o1777);
    let squatter =
        as_user(NOBODY, NOBODY, &[], || ServerSocket::builder().mode(0o666).create(dir.join("s")).expect("create"));
    let error = ConnectOptions::new().expect_uid(0).connect(dir.join("s")).expect_err("a squatter");
    assert_eq!(error.peer().map(|peer| peer.uid), Some(NOBODY));
    drop(squatter);
}
