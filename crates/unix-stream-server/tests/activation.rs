//! Sockets handed in by the environment: taken as the convention says, all or none, and never more than was handed over.

pub mod support;

#[path = "../examples/activated.rs"]
#[expect(dead_code, unreachable_pub, reason = "an example, of which the test calls what is below main")]
mod activated;

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use libc::{EAFNOSUPPORT, EALREADY, EBADF, EINVAL, ENOTSOCK, EPROTOTYPE, ESTALE, ETIMEDOUT};
use rustix::io::FdFlags;
use rustix::net::SocketType;
use support::child::{self, Program, Running, descriptors, role, say};
use support::dir::{Dir, exists};
use support::sockets::{assert_connected, bound, busy, next_client, put_dead, stranger};
use support::{PATIENCE, assert_error};
use unix_stream_server::{
    AdoptedSocket, Error, ErrorKind, ServerSocket, StartCommand, Status, connect, connect_or_start, connect_timeout,
    from_env, from_env_with_others, peer_credentials,
};

/// A child that is handed these.
fn activated(test: &str, dir: &Dir, fds: Vec<OwnedFd>, variables: &[(&str, &str)]) -> Running {
    Program::activated(test, "server", fds, variables).dir(dir).start()
}

fn copy(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().expect("dup")
}

/// The only socket that was handed in.
fn only() -> AdoptedSocket {
    let mut activation = from_env().expect("well-formed");
    assert_eq!(activation.len(), 1, "{activation:?}");
    activation.take_first().expect("one")
}

fn answer(mut client: UnixStream, word: &str) {
    client.write_all(word.as_bytes()).expect("write");
}

fn hear(mut client: UnixStream) -> String {
    client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer");
    text
}

fn owned(path: &Path) -> [(&'static str, &str); 1] {
    [("UNIX_SS_OWNED_PATH", path.to_str().expect("UTF-8"))]
}

#[test]
fn a_socket_that_is_handed_in_is_served_and_neither_unlinked_nor_shut() {
    if role().is_some() {
        let environment: Vec<_> = env::vars_os().collect();
        let open = descriptors();
        let socket = only();
        assert_eq!(env::vars_os().collect::<Vec<_>>(), environment);
        assert_eq!((socket.as_raw_fd(), socket.name()), (3, Some("web")));
        assert_eq!(rustix::io::fcntl_getfd(&socket), Ok(FdFlags::CLOEXEC));
        let path = child::dir().join("s");
        assert_eq!((socket.local_path(), socket.status()), (Some(path.as_path()), Some(Status::Ours)));
        assert!(!socket.owns_path() && !socket.was_stolen());
        answer(socket.accept().expect("accept").0, "served");
        match env::var("END").expect("given").as_str() {
            "drop" => drop(socket),
            "close" => assert_eq!(socket.close().expect("nothing can go wrong"), Some(Status::Ours)),
            "into_listener" => drop(socket.into_listener()),
            _ => {
                let mut drain = socket.drain().expect("the same process");
                assert_eq!((drain.status().ok(), drain.local_path()), (Some(Status::Ours), path.as_path()));
                assert!(drain.next().is_none(), "the queue is handed back, not out");
            }
        }
        let left: Vec<_> = open.into_iter().filter(|&(number, _)| number != 3).collect();
        assert_eq!(descriptors(), left, "nothing else was opened and left so");
        return;
    }
    for end in ["drop", "close", "into_listener", "drain"] {
        let dir = Dir::new();
        let path = dir.join("s");
        let manager = UnixListener::bind(&path).expect("bind");
        let clients: Vec<_> = (0..4).map(|_| connect(&path).expect("connect")).collect();
        let variables = [("LISTEN_FDNAMES", "web"), ("END", end)];
        activated(&this_test!(), &dir, vec![copy(&manager)], &variables).finish();
        // One was served by the child. The others wait for the next one to be started, and so does a new one.
        let mut clients = clients.into_iter();
        assert_eq!(hear(clients.next().expect("four")), "served", "{end}");
        for client in clients.chain([connect(&path).expect("the manager's socket is as it was")]) {
            assert_connected(client, next_client(&manager));
        }
        assert_eq!(dir.names(), ["s"], "{end}");
    }
}

#[test]
fn nothing_handed_in_or_to_another_process_is_nothing_and_no_error() {
    if let Some(role) = role() {
        for _ in 0..2 {
            assert!(from_env().expect("no error").is_empty());
            let (activation, others) = from_env_with_others().expect("no error");
            assert!(activation.is_empty() && others.is_empty());
        }
        if role == "server" {
            assert_eq!(inherited_flags(3), None, "it was left alone");
        }
        return;
    }
    let dir = Dir::new();
    let listener = stranger(&dir.join("s"));
    // Another's, and malformed at that, which is not our business.
    for variables in [[("LISTEN_PID", "1"), ("LISTEN_FDS", "junk")], [("LISTEN_FDS", "0"), ("LISTEN_FDNAMES", "a:b")]] {
        activated(&this_test!(), &dir, vec![copy(&listener)], &variables).finish();
    }
    // A process id that was given again, told by the number of its pidfd where the kernel has such.
    let of_another = [("LISTEN_PIDFDID", "1"), ("X", "")];
    if has_pidfd_numbers() {
        activated(&this_test!(), &dir, vec![copy(&listener)], &of_another).finish();
    }
    Program::new(&this_test!(), "started by hand").run();
}

/// The kernel gives each process a number that none other gets (pidfs, since Linux 6.9).
fn has_pidfd_numbers() -> bool {
    let me = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(me, rustix::process::PidfdFlags::empty()).expect("pidfd_open");
    let has = rustix::fs::fstatfs(&pidfd).is_ok_and(|stat| stat.f_type == 0x5049_4446);
    if !has {
        support::not_tried("LISTEN_PIDFDID: this kernel has no pidfs");
    }
    has
}

/// `Some` where the number is close-on-exec, as what was taken is.
fn inherited_flags(number: u64) -> Option<()> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).expect("open");
    let octal = text.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
    let flags = u64::from_str_radix(octal, 8).expect("octal");
    (flags & 0o2_000_000 != 0).then_some(())
}

/// Everything that is no listening stream Unix socket, with the errno that says so.
fn foreign(dir: &Dir) -> Vec<(OwnedFd, i32, &'static str)> {
    let file = dir.join("file");
    fs::write(&file, "precious").expect("write");
    let (one, _) = UnixStream::pair().expect("socketpair");
    let seqpacket = bound(&dir.join("seqpacket"), SocketType::SEQPACKET);
    rustix::net::listen(&seqpacket, 1).expect("listen");
    put_dead(&dir.join("dead"));
    let node = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let node = rustix::fs::open(dir.join("dead"), node, rustix::fs::Mode::empty()).expect("open");
    vec![
        (File::open(&file).expect("open").into(), ENOTSOCK, "a regular file"),
        (File::open(dir.path()).expect("open").into(), ENOTSOCK, "a directory"),
        (File::open("/dev/null").expect("open").into(), ENOTSOCK, "a device"),
        (rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe").0, ENOTSOCK, "a pipe"),
        (node, EBADF, "the file of a socket"),
        (TcpListener::bind("127.0.0.1:0").expect("bind").into(), EAFNOSUPPORT, "an internet socket"),
        (bound(&dir.join("datagram"), SocketType::DGRAM), EPROTOTYPE, "a datagram socket"),
        (seqpacket, EPROTOTYPE, "a seqpacket socket"),
        (one.into(), EINVAL, "a connected socket"),
        (bound(&dir.join("bound"), SocketType::STREAM), EINVAL, "a socket that does not listen"),
    ]
}

fn assert_names(error: &Error, number: i32, errno: i32, is: &str) {
    assert_error(error, ErrorKind::NotAListener, errno);
    assert_eq!(error.path(), Path::new(&format!("/proc/self/fd/{number}")));
    let named = format!("descriptor {number} (`b`) is {is}, ");
    assert!(error.to_string().contains(&named), "{error}, not {named}");
}

#[test]
fn a_foreign_descriptor_is_named_and_nothing_is_lost() {
    if role().is_some() {
        let errno = env::var("ERRNO").expect("given").parse().expect("a number");
        let is = env::var("IS").expect("given");
        for _ in 0..2 {
            // Not AlreadyTaken the second time, for nothing was taken.
            assert_names(&from_env().expect_err("foreign"), 4, errno, &is);
            assert_eq!((inherited_flags(3), inherited_flags(4)), (None, None), "both as they were");
        }
        let (mut activation, mut others) = from_env_with_others().expect("both have a place");
        let socket = activation.take("a").expect("the first");
        answer(socket.accept().expect("accept").0, "served");
        let other = others.pop().expect("the second");
        assert_eq!((other.fd.as_raw_fd(), other.name.as_str()), (4, "b"));
        assert_names(&other.why, 4, errno, &is);
        assert!(activation.is_empty() && others.is_empty());
        assert_eq!((inherited_flags(3), inherited_flags(4)), (Some(()), Some(())));
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let listener = stranger(&path);
    for (fd, errno, is) in foreign(&dir) {
        let client = connect(&path).expect("connect");
        let variables = [("LISTEN_FDNAMES", "a:b"), ("ERRNO", &errno.to_string()), ("IS", is)];
        activated(&this_test!(), &dir, vec![copy(&listener), fd], &variables).finish();
        assert_eq!(hear(client), "served", "beside {is}");
    }
    assert_eq!(fs::read(dir.join("file")).expect("there"), b"precious");
}

#[test]
fn a_number_that_is_closed_is_named() {
    if role().is_some() {
        for error in [from_env().expect_err("closed"), from_env_with_others().expect_err("closed")] {
            assert_error(&error, ErrorKind::NotAListener, EBADF);
            assert!(error.to_string().contains("descriptor 4 (`unknown`) is not open"), "{error}: {:?}", descriptors());
        }
        assert_eq!(inherited_flags(3), None);
        return;
    }
    let dir = Dir::new();
    // The largest number that the variable can say is no reason to count so far.
    for count in ["2", "2147483644"] {
        let listener = stranger(&dir.join(count));
        activated(&this_test!(), &dir, vec![listener.into()], &[("LISTEN_FDS", count)]).finish();
    }
}

#[test]
fn malformed_variables_are_an_error_that_takes_nothing() {
    if role().is_some() {
        let variable = env::var("VARIABLE").expect("given");
        let error = from_env().expect_err("malformed");
        assert_error(&error, ErrorKind::Invalid, EINVAL);
        assert!(
            error.to_string().contains(&format!("{variable} is `{}`", env::var(&variable).expect("set"))),
            "{error}"
        );
        assert_eq!(inherited_flags(3), None);
        return;
    }
    let dir = Dir::new();
    let listener = stranger(&dir.join("s"));
    for (variable, value) in [
        ("LISTEN_PID", "seven"),
        ("LISTEN_FDS", "-1"),
        ("LISTEN_FDS", "2147483647"),
        ("LISTEN_FDNAMES", "one:two"),
        ("LISTEN_PIDFDID", "x"),
        ("UNIX_SS_OWNED_PATH", "relative"),
    ] {
        let variables = [(variable, value), ("VARIABLE", variable)];
        activated(&this_test!(), &dir, vec![copy(&listener)], &variables).finish();
    }
}

#[test]
fn a_second_call_and_what_another_library_has_taken_are_already_taken() {
    if role().is_some() {
        let mut first = from_env().expect("well-formed");
        for again in [from_env().map(drop), from_env_with_others().map(drop)] {
            assert_error(&again.expect_err("taken"), ErrorKind::AlreadyTaken, EALREADY);
        }
        assert!(first.take("unknown").is_some() && first.take("unknown").is_none());
        return;
    }
    let dir = Dir::new();
    activated(&this_test!(), &dir, vec![stranger(&dir.join("s")).into()], &[]).finish();
}

#[test]
fn what_is_close_on_exec_was_not_handed_in() {
    if role().is_some() {
        // The number is free, and this process gives it to a file of its own.
        let own = File::open("/dev/null").expect("open");
        assert_eq!(own.as_raw_fd(), 3, "{:?}", descriptors());
        let error = from_env().expect_err("not handed in");
        assert_error(&error, ErrorKind::AlreadyTaken, EALREADY);
        assert!(error.to_string().contains("descriptor 3 (`unknown`) is close-on-exec"), "{error}");
        assert!(own.metadata().is_ok(), "it is still ours");
        return;
    }
    activated(&this_test!(), &Dir::new(), vec![], &[("LISTEN_FDS", "1")]).finish();
}

#[test]
fn new_clients_see_the_credentials_of_the_one_who_adopted_and_the_queue_stays() {
    if role().is_some() {
        let socket = only();
        say("adopted");
        for word in ["first", "second"] {
            answer(socket.accept().expect("accept").0, word);
        }
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let manager = UnixListener::bind(&path).expect("bind");
    let pid = |client: &UnixStream| peer_credentials(client).expect("a socket").and_then(|peer| peer.pid);
    let first = connect(&path).expect("connect");
    assert_eq!(pid(&first), Some(std::process::id()));
    let mut server = activated(&this_test!(), &dir, vec![manager.into()], &[]);
    server.hear("adopted");
    let second = connect(&path).expect("connect");
    assert_eq!(pid(&second), Some(server.pid()));
    assert_eq!((hear(first), hear(second)), ("first".to_owned(), "second".to_owned()));
    server.finish();
}

#[test]
fn the_backlog_stays_what_it_was() {
    if role().is_some() {
        let socket = only();
        let full = |path: &Path| connect_timeout(path, Duration::ZERO).map(drop).map_err(|error| error.raw_os_error());
        let path = child::dir().join("s");
        assert_eq!(full(&path), Err(ETIMEDOUT), "as full as it was");
        socket.refresh_credentials().expect("listen");
        assert_eq!(full(&path), Err(ETIMEDOUT));
        socket.set_backlog(10).expect("listen");
        assert_eq!(full(&path), Ok(()));
        return;
    }
    let dir = Dir::new();
    let (server, _clients) = busy(&dir.join("s"));
    activated(&this_test!(), &dir, vec![server], &[]).finish();
}

#[test]
fn the_duty_to_remove_the_path_is_handed_over_with_the_socket() {
    if role().is_some() {
        let socket = only();
        assert!(socket.owns_path());
        assert_eq!(socket.status(), Some(Status::Ours));
        answer(socket.accept().expect("accept").0, "served");
        match env::var("END").expect("given").as_str() {
            "drop" => drop(socket),
            "close" => assert_eq!(socket.close().expect("close"), Some(Status::Ours)),
            "drain" => socket.drain().expect("drain").for_each(|client| answer(client.expect("accept"), "drained")),
            "into_server" => drop(socket.into_server().expect("it owns its path").close().expect("close")),
            _ => drop(socket.into_listener()),
        }
        return;
    }
    for end in ["drop", "close", "drain", "into_server", "into_listener"] {
        let dir = Dir::new();
        // Beyond an address, where the bound name is one that leads nowhere in another process; and beyond that.
        for name in ["s".to_owned(), "l".repeat(70), "x".repeat(250)] {
            let path = dir.join(&name);
            let server = ServerSocket::create(&path).expect("create");
            let (first, second) = (connect(&path).expect("connect"), connect(&path).expect("connect"));
            let variables = [owned(&path)[0], ("END", end)];
            let child = activated(&this_test!(), &dir, vec![server.into_listener().into()], &variables);
            assert_eq!(hear(first), "served");
            child.finish();
            if end == "drain" {
                assert_eq!(hear(second), "drained");
            }
            if end == "into_listener" {
                assert_eq!(dir.names(), [name], "left behind on purpose");
                fs::remove_file(&path).expect("there");
            }
            assert_eq!(dir.names(), [""; 0], "{end}");
        }
    }
}

#[test]
fn without_proof_that_the_path_is_the_sockets_there_is_no_duty_and_nothing_foreign_is_removed() {
    if role().is_some() {
        let socket = only();
        assert!(!socket.owns_path());
        let status = socket.status().expect("a path was named");
        assert_eq!(status, Status::Unknown { errno: ESTALE });
        assert!(!socket.was_stolen());
        answer(socket.accept().expect("accept").0, "served");
        drop(socket);
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let mut others = Vec::new();
    for what in ["nothing", "a live server", "a dead socket", "a file"] {
        let server = ServerSocket::create(&path).expect("create").into_listener();
        let client = connect(&path).expect("connect");
        fs::remove_file(&path).expect("there");
        match what {
            "a live server" => others.push(stranger(&path)),
            "a dead socket" => put_dead(&path),
            "a file" => fs::write(&path, "precious").expect("write"),
            _ => {}
        }
        let before = dir.files();
        activated(&this_test!(), &dir, vec![server.into()], &owned(&path)).finish();
        assert_eq!(hear(client), "served", "{what}");
        assert_eq!(dir.files(), before, "{what}");
        let _ = fs::remove_file(&path);
    }
    // A live server that has nothing to do with it, named by a variable that is left from somebody else.
    let (foreign, own) = (stranger(&dir.join("foreign")), UnixListener::bind(dir.join("own")).expect("bind"));
    let client = connect(dir.join("own")).expect("connect");
    fs::remove_file(dir.join("own")).expect("there");
    activated(&this_test!(), &dir, vec![own.into()], &owned(&dir.join("foreign"))).finish();
    assert_eq!(hear(client), "served");
    assert!(exists(&dir.join("foreign")));
    foreign.set_nonblocking(true).expect("fcntl");
    assert!(foreign.accept().is_err(), "it was not even asked");
}

#[test]
fn of_several_sockets_the_one_at_the_path_gets_the_duty() {
    if role().is_some() {
        let activation = from_env().expect("well-formed");
        let owning: Vec<_> = activation.iter().map(AdoptedSocket::owns_path).collect();
        assert_eq!(owning, [false, true]);
        assert_eq!((&activation).into_iter().filter_map(AdoptedSocket::name).collect::<Vec<_>>(), ["a", "b"]);
        drop(activation);
        return;
    }
    let dir = Dir::new();
    let (first, second) = (dir.join("first"), dir.join("second"));
    let fds = [&first, &second].map(|path| ServerSocket::create(path).expect("create").into_listener().into());
    let variables = [owned(&second)[0], ("LISTEN_FDNAMES", "a:b")];
    activated(&this_test!(), &dir, fds.into(), &variables).finish();
    assert_eq!(dir.names(), ["first"]);
}

#[test]
fn where_the_kernel_lists_no_sockets_the_duty_is_proven_by_asking() {
    if role().is_some() {
        support::unshared::with_own_network();
        let mut activation = from_env().expect("well-formed");
        let (right, wrong) = (activation.take("a").expect("named"), activation.take("b").expect("named"));
        assert!(right.owns_path() && !wrong.owns_path());
        // Not told by the kernel where it is bound.
        assert!(matches!(wrong.status(), Some(Status::Unknown { errno }) if errno != ESTALE), "{:?}", wrong.status());
        right.set_nonblocking(true).expect("fcntl");
        let mut clients = 0;
        while let Ok((client, _)) = right.accept() {
            clients += usize::from(hear(client) != "a client");
        }
        assert_eq!(clients, 1, "the question is a client that leaves without a word");
        drop((right, wrong));
        return;
    }
    if !support::is_root() {
        return support::not_tried("a network namespace, which needs root");
    }
    let dir = Dir::new();
    let (first, second) = (dir.join("first"), dir.join("second"));
    let fds = [&first, &second].map(|path| ServerSocket::create(path).expect("create").into_listener().into());
    let mut client = connect(&first).expect("connect");
    client.write_all(b"a client").expect("write");
    drop(client);
    let variables = [owned(&first)[0], ("LISTEN_FDNAMES", "a:b")];
    activated(&this_test!(), &dir, fds.into(), &variables).finish();
    assert_eq!(dir.names(), ["second"]);
}

#[test]
fn a_socket_without_a_path_is_served_and_has_none_to_lose() {
    if role().is_some() {
        let socket = only();
        assert_eq!((socket.local_path(), socket.status(), socket.was_stolen()), (None, None, false));
        answer(socket.accept().expect("accept").0, "served");
        let mut drain = socket.drain().expect("the same process");
        assert!(drain.next().is_none() && drain.local_path() == Path::new(""));
        assert!(matches!(drain.status(), Ok(Status::Unknown { .. })));
        return;
    }
    let dir = Dir::new();
    let name = format!("unix-stream-server test of {}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("short");
    let listener = UnixListener::bind_addr(&address).expect("bind");
    let client = UnixStream::connect_addr(&address).expect("connect");
    activated(&this_test!(), &dir, vec![listener.into()], &[]).finish();
    assert_eq!(hear(client), "served");
}

#[test]
fn no_client_is_lost_while_one_server_after_another_serves_the_managers_socket() {
    const SERVERS: usize = 20;
    const EACH: usize = 20;
    if role().is_some() {
        let socket = only();
        for client in socket.incoming().take(EACH) {
            answer(client.expect("accept"), "served");
        }
        assert_eq!(socket.drain().expect("the same process").count(), 0);
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let manager = UnixListener::bind(&path).expect("bind");
    let test = this_test!();
    std::thread::scope(|scope| {
        for _ in 0..EACH {
            scope.spawn(|| {
                for _ in 0..SERVERS {
                    assert_eq!(hear(connect(&path).expect("the manager listens")), "served");
                }
            });
        }
        for _ in 0..SERVERS {
            activated(&test, &dir, vec![copy(&manager)], &[]).finish();
        }
    });
    manager.set_nonblocking(true).expect("fcntl");
    assert!(manager.accept().is_err(), "nobody was left");
}

#[test]
fn the_example_serves_what_is_handed_in_and_its_own_socket_otherwise() {
    match role().as_deref() {
        Some("server") => return activated::run(None).expect("it ends well"),
        Some(_) => return activated::run(Some(child::dir().join("own").into())).expect("it ends well"),
        None => {}
    }
    let dir = Dir::new();
    let say_quit = |path: &Path| {
        let mut client = connect(path).expect("connect");
        client.write_all(b"hello\nquit\n").expect("write");
        assert_eq!(hear(client), "hello\nquit\n");
    };
    let path = dir.join("s");
    let manager = UnixListener::bind(&path).expect("bind");
    for _ in 0..2 {
        let server = activated(&this_test!(), &dir, vec![copy(&manager)], &[]);
        say_quit(&path);
        server.finish();
        assert!(exists(&path), "the manager's");
    }
    let own = dir.join("own");
    let server = Program::new(&this_test!(), "by hand").dir(&dir).start();
    support::wait::until("it listens", || connect(&own).is_ok());
    say_quit(&own);
    server.finish();
    assert!(!exists(&own));
}

#[test]
fn a_server_that_was_started_on_demand_removes_its_socket_when_it_ends() {
    if role().is_some() {
        // Nobody's child: so that it ends even if the test does not come to tell it.
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            std::process::exit(1);
        });
        return activated::run(None).expect("it ends well");
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let server = StartCommand::new("/proc/self/exe")
        .args(["--exact", &this_test!(), "--nocapture", "--test-threads=1"])
        .env("UNIX_STREAM_SERVER_TEST_ROLE", "server");
    for _ in 0..2 {
        let mut client = connect_or_start(&path, &server).expect("it starts");
        // Its starter has let go, so that it alone has the path.
        client.write_all(b"hello\nquit\n").expect("write");
        assert_eq!(hear(client), "hello\nquit\n");
        support::wait::until("it has ended", || dir.names().is_empty());
    }
}
