//! No side effects: whatever comes of create, the process is as it was, and a program it starts inherits nothing.

pub mod support;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::io::FdFlags;
use support::child::{descriptors, whole_process};
use support::dir::{Dir, beside, put_file};
use support::sockets::{bound, busy, put_dead, stranger};
use unix_stream_server::{Builder, LockScope, ServerSocket, connect, connect_timeout, inspect, probe};

/// All of a process that a library could change.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    descriptors: Vec<(u64, PathBuf)>,
    /// Signals, umask and threads, as the kernel lists them.
    status: Vec<String>,
    directory: PathBuf,
    environment: Environment,
    threads: usize,
}

#[derive(PartialEq, Eq)]
struct Environment(BTreeMap<OsString, OsString>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names only: no failure message should print what others keep in there.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn process() -> Process {
    // Of this thread: the harness's own may still be busy with having started it, with all signals blocked.
    let status = fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let wanted = ["Umask:", "Threads:", "SigIgn:", "SigCgt:", "SigBlk:", "ShdPnd:", "SigPnd:", "CapEff:", "Uid:"];
    let status: Vec<_> =
        status.lines().filter(|line| wanted.iter().any(|word| line.starts_with(word))).map(str::to_owned).collect();
    assert_eq!(status.len(), wanted.len());
    Process {
        descriptors: descriptors(),
        status,
        directory: env::current_dir().expect("a directory"),
        environment: Environment(env::vars_os().collect()),
        threads: fs::read_dir("/proc/self/task").expect("/proc").count(),
    }
}

/// Something at a path, and how to make it there; it is kept while the outcome is looked at.
type Scene = (&'static str, fn(&Path) -> Box<dyn std::any::Any>);

const SCENES: [Scene; 9] = [
    ("nothing", |_| Box::new(())),
    ("a dead socket", |path| {
        put_dead(path);
        Box::new(())
    }),
    ("a live server", |path| Box::new(stranger(path))),
    ("a busy server", |path| Box::new(busy(path))),
    ("a seqpacket server", |path| {
        let socket = bound(path, rustix::net::SocketType::SEQPACKET);
        rustix::net::listen(&socket, 1).expect("listen");
        Box::new(socket)
    }),
    ("a file", |path| {
        put_file(path, b"precious", 0o644);
        Box::new(())
    }),
    ("a directory", |path| {
        fs::create_dir(path).expect("mkdir");
        Box::new(())
    }),
    ("git's lock", |path| {
        put_file(&beside(path, ".lock"), b"", 0o644);
        Box::new(())
    }),
    ("a dead socket and a killed holder's lock", |path| {
        put_dead(path);
        put_file(&beside(path, ".lock"), b"", 0o1400);
        Box::new(())
    }),
];

fn builders() -> Vec<Builder> {
    let builder = ServerSocket::builder().lock_timeout(Duration::ZERO);
    vec![
        builder.clone(),
        builder.clone().lock_scope(LockScope::Lifetime),
        builder.clone().group(rustix::process::getegid().as_raw()).mode(0o666),
        builder.mode(0o7777),
    ]
}

/// A short path, one that is too long for an address, and one that is too long for every address.
fn places(dir: &Dir) -> Vec<PathBuf> {
    ["s".to_owned(), "l".repeat(80), "x".repeat(250)].iter().map(|name| dir.join(name)).collect()
}

fn clean(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
    let _ = fs::remove_file(beside(path, ".lock"));
}

#[test]
fn no_outcome_of_create_changes_the_process() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        for (name, scene) in SCENES {
            for builder in builders() {
                let path = dir.join("s");
                let at_path = scene(&path);
                let before = process();
                let server = builder.create(&path);
                if server.is_ok() {
                    let during = process();
                    assert_eq!(during.threads, before.threads);
                    assert_eq!((&during.status, &during.directory), (&before.status, &before.directory), "{name}");
                }
                drop(server);
                assert_eq!(process(), before, "{name}");
                drop(builder.claim(&path).map(|claim| claim.listen().map(ServerSocket::close)));
                assert_eq!(process(), before, "{name}");
                drop(builder.claim(&path));
                assert_eq!(process(), before, "{name}");
                drop((probe(&path), inspect(&path), connect_timeout(&path, Duration::ZERO)));
                assert_eq!(process(), before, "{name}");
                drop(at_path);
                clean(&path);
            }
        }
        let before = process();
        for path in places(&dir) {
            for end in [drop as fn(ServerSocket), |server| drop(server.close()), |server| drop(server.drain())] {
                let server = ServerSocket::create(&path).expect("create");
                drop((connect(&path).expect("connect"), server.accept().expect("accept")));
                end(server);
                assert_eq!(process(), before);
            }
            let (listener, ownership) = ServerSocket::create(&path).expect("create").into_parts().expect("parts");
            drop(ownership.drain(listener));
            assert_eq!(process(), before);
        }
        for path in ["", "no/such/dir/s", "a/", "/dev/null/s"] {
            drop(ServerSocket::create(path).expect_err("no such path"));
            assert_eq!(process(), before);
        }
    });
}

#[test]
fn every_descriptor_is_close_on_exec() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let before = descriptors();
        for path in places(&dir) {
            let server = ServerSocket::builder().lock_scope(LockScope::Lifetime).create(&path).expect("create");
            let client = connect(&path).expect("connect");
            let accepted = server.accept().expect("accept").0;
            let queued = connect_timeout(&path, Duration::from_secs(1)).expect("connect");
            let at_once = connect_timeout(&path, Duration::ZERO).expect("connect");
            let claim = ServerSocket::builder().claim(dir.join("claimed")).expect("claim");
            let mut drain = server.drain().expect("drain");
            let drained = drain.next().expect("queued").expect("accept");
            for fd in [client.as_fd(), accepted.as_fd(), queued.as_fd(), at_once.as_fd(), drained.as_fd()] {
                assert_eq!(rustix::io::fcntl_getfd(fd), Ok(FdFlags::CLOEXEC));
            }
            let open = descriptors();
            assert!(open.len() >= before.len() + 8, "{open:?}");
            assert_eq!(inherited(), inherited_without(&before), "{open:?}");
            drop(claim);
        }
    });
}

/// What a program that is started now has open, by number, less the pipe to us and its own directory.
fn inherited() -> Vec<u64> {
    let output = Command::new("ls").arg("/proc/self/fd").output().expect("ls");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut numbers: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

/// The standard three and the directory that `ls` reads, which takes the next number; and whatever we inherited
/// without close-on-exec ourselves.
fn inherited_without(before: &[(u64, PathBuf)]) -> Vec<u64> {
    let flags = |number: u64| fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let is_inherited = |number: u64| {
        let text = flags(number);
        let octal = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0").trim().to_owned();
        u64::from_str_radix(&octal, 8).is_ok_and(|flags| flags & 0o2_000_000 == 0)
    };
    let mut numbers: Vec<u64> =
        before.iter().map(|&(number, _)| number).filter(|&n| n < 3 || is_inherited(n)).collect();
    let next = (0..).find(|number| !numbers.contains(number)).expect("a number");
    numbers.push(next);
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_program_started_by_another_thread_in_the_middle_inherits_nothing() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let expected = inherited_without(&descriptors());
        let watcher = std::thread::spawn(move || {
            for _ in 0..100 {
                assert_eq!(inherited(), expected);
            }
        });
        while !watcher.is_finished() {
            for (_, scene) in SCENES {
                for path in places(&dir).iter().take(1) {
                    let at_path = scene(path);
                    for builder in builders() {
                        drop(builder.create(path).map(ServerSocket::drain));
                    }
                    drop((probe(path), inspect(path), connect_timeout(path, Duration::ZERO)));
                    drop(at_path);
                    clean(path);
                }
            }
            for path in places(&dir) {
                let server = ServerSocket::create(&path).expect("create");
                drop(connect(&path));
                drop(server.drain().map(Iterator::count));
            }
        }
        watcher.join().expect("nothing was inherited");
    });
}
