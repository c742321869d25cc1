//! Tidying up: what the dead left goes, and nothing else, whoever works in the directory meanwhile.

pub mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{chown, symlink};
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use libc::{EACCES, ENOENT, ENOTSOCK};
use rustix::fs::FlockOperation;
use rustix::net::SocketType;
use support::child::{self, Program, whole_process};
use support::cleaning::{age, clean, clean_dir, hashed, put_old_dead, removed, temporary};
use support::dir::{Dir, beside, chmod, exists, put_file};
use support::sockets::{assert_serves, bound, busy, put_dead, stranger};
use support::{NOBODY, as_user, assert_error, is_root, locks_are_listed, not_tried};
use unix_stream_server::{
    CleanEvent, CleanOptions, ErrorKind, Leftover, LockScope, Outcome, PathState, ServerSocket, inspect, probe,
};

/// The mark of our lock files.
const MARK: u32 = 0o1400;

/// Does the kernel list its sockets?
fn are_sockets_listed(dir: &Dir) -> bool {
    let server = stranger(&dir.join("is-listed"));
    let path = dir.join("is-listed");
    let is_listed = matches!(inspect(&path).expect("inspect").state, PathState::Live { .. })
        && server.set_nonblocking(true).is_ok()
        && server.accept().is_err();
    drop(server);
    fs::remove_file(path).expect("rm");
    is_listed
}

#[test]
fn dead_sockets_go_and_nothing_else_does() {
    let dir = Dir::new();
    for name in ["dead", "dead two", "guarded"] {
        put_dead(&dir.join(name));
    }
    let ours = ServerSocket::create(dir.join("ours")).expect("create");
    let theirs = stranger(&dir.join("theirs"));
    let _busy = busy(&dir.join("busy"));
    let _datagram = bound(&dir.join("datagram"), SocketType::DGRAM);
    put_file(&dir.join("file"), b"data", 0o600);
    put_file(&dir.join("empty"), b"", 0o400);
    fs::create_dir(dir.join("directory")).expect("mkdir");
    put_dead(&dir.join("directory/dead"));
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("mknod");
    symlink("dead", dir.join("link")).expect("symlink");
    symlink("nowhere", dir.join("dangling")).expect("symlink");
    symlink("directory", dir.join("link-to-directory")).expect("symlink");
    put_file(&dir.join("guarded.lock"), b"", 0o644); // git's, and it may be at work
    age(&dir.join("guarded"));
    let before = dir.files();
    let found = clean_dir(&CleanOptions::new(), dir.path());
    let outcome = |name: &str| found.iter().find(|(found, ..)| found == name).map(|(_, _, came)| came.as_str());
    for name in ["dead", "dead two"] {
        assert_eq!(outcome(name), Some("Removed"), "{found:?}");
    }
    assert_eq!(outcome("guarded"), Some("Locked 17"), "{found:?}");
    for name in ["ours", "theirs", "busy", "datagram"] {
        assert_eq!(outcome(name), Some("InUse"), "{found:?}");
    }
    assert_eq!(found.len(), 7, "{found:?}");
    let mut left = before;
    left.remove(&dir.join("dead"));
    left.remove(&dir.join("dead two"));
    assert_eq!(dir.files(), left);
    assert_serves(&ours, ours.local_path());
    assert_serves(&theirs, &dir.join("theirs"));
}

#[test]
fn a_socket_that_has_changed_within_a_second_stays() {
    let dir = Dir::new();
    put_dead(&dir.join("s"));
    let found = clean_dir(&CleanOptions::new(), dir.path());
    assert_eq!(found, [("s".to_owned(), Leftover::Socket, "Young".to_owned())]);
    age(&dir.join("s"));
    chmod(&dir.join("s"), 0o600); // a change
    assert_eq!(clean_dir(&CleanOptions::new(), &dir.join("s"))[0].2, "Young");
    age(&dir.join("s"));
    assert_eq!(clean_dir(&CleanOptions::new(), &dir.join("s")), removed(&[("s", Leftover::Socket)]));
    assert_eq!(dir.names(), [""; 0]);
}

/// Nothing of it is to be removed, so no lock is made, nor waited for; and the life lock, which is what proves its death
/// where other kernels may serve, stays as long as the socket does.
#[test]
fn what_belongs_to_a_socket_that_stays_stays_too() {
    let dir = Dir::new();
    let path = dir.join("s");
    let young = [("s".to_owned(), Leftover::Socket, "Young".to_owned())];
    put_dead(&path);
    put_file(&beside(&path, ".lock"), b"", 0o644); // another program's
    assert_eq!(clean_dir(&CleanOptions::new(), &path), young);
    fs::remove_file(beside(&path, ".lock")).expect("rm");

    put_file(&beside(&path, ".owner"), b"", MARK);
    chmod(&path, 0o600); // a change, so that it is young
    assert_eq!(clean_dir(&CleanOptions::new(), &path), young);
    assert_eq!(dir.names(), ["s", "s.owner"]);
}

/// To ask it takes a change of its mode, which is not to make it look young.
#[test]
fn a_dead_socket_that_its_owner_may_not_connect_to_goes_too() {
    let test = this_test!();
    if child::role().is_some() {
        for mode in [0o060, 0o000] {
            let path = child::dir().join(format!("{mode:03o}"));
            put_dead(&path);
            chmod(&path, mode);
            let young = clean(&CleanOptions::new(), &path).0;
            assert_eq!(young[&path], (Leftover::Socket, "Young".to_owned()));
            age(&path);
            let error = clean(&CleanOptions::new().dry_run(true), &path).1.expect_err("it cannot tell");
            assert_error(&error, ErrorKind::CannotTell, EACCES);
            assert!(error.to_string().contains("by a real run"), "{error}");
            let found = clean(&CleanOptions::new(), &path).0;
            assert_eq!(found[&path], (Leftover::Socket, "Removed".to_owned()));
            assert!(!exists(&path));
        }
        return;
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o777);
    Program::new(&test, "cleans").dir(dir.path()).ordinary().run();
    assert_eq!(dir.names(), [""; 0]);
}

/// However long a program that ignores the lock takes from bind to listen.
#[test]
fn a_socket_that_is_bound_and_does_not_listen_yet_stays_as_long_as_it_is_open() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        if !are_sockets_listed(&dir) {
            return not_tried("sockets between bind and listen: the kernel does not list them");
        }
        let socket = bound(&dir.join("s"), SocketType::STREAM);
        age(&dir.join("s"));
        assert_eq!(probe(dir.join("s")).expect("probe"), PathState::Dead, "as far as a connection tells");
        for dry in [true, false] {
            let found = clean_dir(&CleanOptions::new().dry_run(dry), dir.path());
            assert_eq!(found, [("s".to_owned(), Leftover::Socket, "InUse".to_owned())]);
        }
        rustix::net::listen(&socket, 1).expect("listen");
        assert_serves(&socket, &dir.join("s"));
        drop(socket);
        assert_eq!(clean_dir(&CleanOptions::new(), dir.path()), removed(&[("s", Leftover::Socket)]));
    });
}

/// By the kernel's list, so that an on-demand server is not started.
#[test]
fn live_servers_are_not_disturbed() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        if !are_sockets_listed(&dir) {
            return not_tried("to leave live servers undisturbed: the kernel does not list them");
        }
        let server = ServerSocket::create(dir.join("s")).expect("create");
        age(server.local_path());
        clean_dir(&CleanOptions::new(), dir.path());
        let error = clean(&CleanOptions::new(), server.local_path()).1.expect_err("live");
        assert_error(&error, ErrorKind::InUse, libc::EADDRINUSE);
        assert_eq!(error.peer().and_then(|peer| peer.pid), Some(std::process::id()), "{error}");
        server.set_nonblocking(true).expect("fcntl");
        server.accept().expect_err("nobody has come");
    });
}

#[test]
fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let dir = Dir::new();
    put_dead(&dir.join("dead"));
    put_dead(&dir.join("killed"));
    put_file(&dir.join("killed.lock"), b"", MARK);
    put_file(&dir.join("other.owner"), b"", MARK);
    let long = "n".repeat(120);
    put_dead(&dir.join(temporary(&long)));
    put_file(&dir.join(format!("{long}.lock")), b"", MARK);
    let _live = ServerSocket::create(dir.join("live")).expect("create");
    let life = ServerSocket::builder().lock_scope(LockScope::Lifetime).create(dir.join("life")).expect("create");
    for guarded in ["foreign", "held", "linked"] {
        put_dead(&dir.join(guarded));
    }
    put_file(&dir.join("foreign.lock"), b"", 0o644);
    put_file(&dir.join("held.lock"), b"", MARK);
    let holder = fs::File::open(dir.join("held.lock")).expect("open");
    rustix::fs::flock(&holder, FlockOperation::NonBlockingLockExclusive).expect("flock");
    for linked in ["linked.lock", "owned.owner", "begun.start"] {
        put_file(&dir.join(linked), b"", MARK);
        fs::hard_link(dir.join(linked), dir.join(format!("link to {linked}"))).expect("link");
    }
    put_dead(&dir.join("owned"));
    age(&dir.join("owned"));
    let before = dir.files();
    let would = clean_dir(&CleanOptions::new().dry_run(true), dir.path());
    assert_eq!(dir.files(), before);
    let did = clean_dir(&CleanOptions::new(), dir.path());
    if locks_are_listed(dir.path()) {
        let said = |found: &[(String, Leftover, String)]| -> Vec<_> {
            found
                .iter()
                .map(|(name, what, came)| (name.clone(), *what, came.replace("WouldRemove", "Removed")))
                .collect()
        };
        assert_eq!(said(&would), said(&did));
    }
    assert_eq!(did.iter().filter(|(.., came)| came == "Removed").count(), 6, "{did:?}");
    assert_eq!(did.iter().filter(|(.., came)| came == "Locked 17").count(), 8, "{did:?}");
    assert!(did.iter().all(|(name, ..)| before.contains_key(&dir.join(name))), "only what is there: {did:?}");
    let mut left =
        vec!["foreign", "foreign.lock", "held", "held.lock", "life", "life.owner", "linked", "linked.lock", "live"];
    left.extend([
        "begun.start",
        "link to begun.start",
        "link to linked.lock",
        "link to owned.owner",
        "owned",
        "owned.owner",
    ]);
    left.sort_unstable();
    assert_eq!(dir.names(), left);
    life.close().expect("close");
}

/// Who is not root may not remove everything that the dead have left.
#[test]
fn a_dry_run_says_what_a_real_run_by_an_ordinary_user_may_do() {
    let test = this_test!();
    if child::role().is_some() {
        let shown = |found: Vec<(String, Leftover, String)>| -> Vec<String> {
            found
                .into_iter()
                .map(|(name, _, came)| format!("{name}: {}", came.replace("WouldRemove", "Removed")))
                .collect()
        };
        let would = shown(clean_dir(&CleanOptions::new().dry_run(true), &child::dir()));
        assert_eq!(would.join(", "), child::value("FOUND"));
        // Which ends where it is refused something, and says no more of that name.
        let did = shown(clean_dir(&CleanOptions::new(), &child::dir()));
        let was_removed =
            |told: &[String]| -> Vec<_> { told.iter().filter(|told| told.ends_with("Removed")).cloned().collect() };
        assert_eq!(was_removed(&would), was_removed(&did));
        assert!(did.iter().all(|told| would.contains(told)), "{did:?}, not {would:?}");
        return;
    }
    let found_by_nobody = |dir: &Path, found: &[&str]| {
        Program::new(&test, "cleans").dir(dir).ordinary().value("FOUND", &found.join(", ")).run();
    };
    if is_root() {
        let dir = Dir::new();
        for name in ["dead", "guarded", "own", "killed"] {
            put_dead(&dir.join(name));
            chmod(&dir.join(name), 0o666);
        }
        for (lock, owner) in [("guarded.lock", 0), ("own.lock", NOBODY), ("killed.owner", NOBODY), ("other.lock", 0)] {
            put_file(&dir.join(lock), b"", MARK);
            chown(dir.join(lock), Some(owner), None).expect("chown");
            chmod(&dir.join(lock), MARK);
        }
        put_file(&dir.join("own.owner"), b"", 0o600); // another program's
        chown(dir.join("own"), Some(NOBODY), None).expect("chown");
        age(&dir.join("own"));
        chmod(dir.path(), 0o1777);
        let denied = ["dead: System 1", "guarded: Locked 13", "guarded.lock: Locked 13", "killed: System 1"];
        let others = ["other.lock: Locked 13", "own: Removed", "own.lock: Removed"];
        found_by_nobody(dir.path(), &[&denied[..], &others].concat());
        let left = ["dead", "guarded", "guarded.lock", "killed", "killed.owner", "other.lock", "own.owner"];
        assert_eq!(dir.names(), left);
    }
    let dir = Dir::new();
    put_dead(&dir.join("dead"));
    chmod(&dir.join("dead"), 0o666);
    age(&dir.join("dead"));
    put_file(&dir.join("left.lock"), b"", MARK);
    let beside = temporary("left");
    put_old_dead(&dir.join(&beside));
    if is_root() {
        chown(dir.join("left.lock"), Some(NOBODY), None).expect("chown");
        chmod(&dir.join("left.lock"), MARK);
        chown(dir.join(&beside), Some(NOBODY), None).expect("chown");
        age(&dir.join(&beside));
    }
    chmod(dir.path(), 0o555);
    let of_beside = format!("{beside}: System 13");
    found_by_nobody(dir.path(), &[&of_beside, "dead: System 13", "left.lock: System 13"]);
    chmod(dir.path(), 0o755);
    assert_eq!(dir.names(), [&beside, "dead", "left.lock"]);
}

/// A lock goes if nobody holds it, and if it is ours beyond doubt.
#[test]
fn locks_of_the_killed_go_and_those_of_the_living_and_of_others_stay() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        for name in ["left.lock", "left.owner", "held.lock", "held.owner", "linked.lock"] {
            put_file(&dir.join(name), b"", MARK);
        }
        put_file(&dir.join("full.lock"), b"x", MARK);
        put_file(&dir.join("git.lock"), b"", 0o444);
        put_file(&dir.join(".lock"), b"", MARK);
        fs::create_dir(dir.join("d.lock")).expect("mkdir");
        fs::hard_link(dir.join("linked.lock"), dir.join("link")).expect("link");
        put_dead(&dir.join("held"));
        age(&dir.join("held"));
        let holders = ["held.lock", "held.owner"].map(|name| {
            let file = fs::File::open(dir.join(name)).expect("open");
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).expect("flock");
            file
        });
        let found = clean_dir(&CleanOptions::new(), dir.path());
        let gone = found.iter().filter(|(.., came)| came == "Removed").map(|(name, what, _)| (name.as_str(), *what));
        assert_eq!(
            gone.collect::<Vec<_>>(),
            [("left.lock", Leftover::Lock), ("left.owner", Leftover::LifeLock)],
            "{found:?}"
        );
        let all =
            [".lock", "d.lock", "full.lock", "git.lock", "held", "held.lock", "held.owner", "link", "linked.lock"];
        assert_eq!(dir.names(), all);
        // The server that holds only its life lock drains or prepares: its path is not to be touched.
        let [short, life] = holders;
        drop(short);
        let found = clean_dir(&CleanOptions::new(), dir.path());
        assert!(found.contains(&("held".to_owned(), Leftover::Socket, "InUse".to_owned())), "{found:?}");
        assert!(exists(&dir.join("held")) && exists(&dir.join("held.owner")));
        drop(life);
        clean_dir(&CleanOptions::new(), dir.path());
        assert!(!exists(&dir.join("held")) && !exists(&dir.join("held.owner")));
    });
}

#[test]
fn what_is_left_beside_a_path_goes_with_it() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_old_dead(&path);
    put_file(&beside(&path, ".lock"), b"", MARK);
    put_file(&beside(&path, ".owner"), b"", MARK);
    put_file(&dir.join("t.lock"), b"", MARK);
    let all = [("s", Leftover::Socket), ("s.lock", Leftover::Lock), ("s.owner", Leftover::LifeLock)];
    assert_eq!(clean_dir(&CleanOptions::new(), &path), removed(&all));
    // Where the socket itself has gone already; and where there is nothing at all.
    put_file(&beside(&path, ".lock"), b"", MARK);
    assert_eq!(clean_dir(&CleanOptions::new(), &path), removed(&[("s.lock", Leftover::Lock)]));
    assert_eq!(clean_dir(&CleanOptions::new(), &path), []);
    assert_eq!(dir.names(), ["t.lock"]);
}

#[test]
fn a_path_that_is_something_else_is_an_error() {
    let dir = Dir::new();
    put_file(&dir.join("file"), b"data", 0o600);
    put_old_dead(&dir.join("dead"));
    symlink("dead", dir.join("link")).expect("symlink");
    fs::create_dir(dir.join("d")).expect("mkdir");
    symlink("d", dir.join("link-to-d")).expect("symlink");
    for name in ["file", "link", "link-to-d"] {
        let error = clean(&CleanOptions::new(), &dir.join(name)).1.expect_err(name);
        assert_error(&error, ErrorKind::NotASocket, ENOTSOCK);
    }
    assert!(exists(&dir.join("dead")) && exists(&dir.join("file")));
    // With a slash it is the directory.
    let mut with_slash = dir.join("link-to-d").into_os_string();
    put_old_dead(&dir.join("d/dead"));
    with_slash.push("/");
    assert_eq!(clean_dir(&CleanOptions::new(), Path::new(&with_slash)), removed(&[("dead", Leftover::Socket)]));
    let error = clean(&CleanOptions::new(), Path::new("")).1.expect_err("empty");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("cannot clean \"\": the path is empty"), "{error}");
    for missing in ["none/", "none/s"] {
        let error = clean(&CleanOptions::new(), &dir.join(missing)).1.expect_err("missing");
        assert_error(&error, ErrorKind::System, ENOENT);
        assert!(error.to_string().contains("so there is nothing to clean"), "{error}");
    }
}

/// A start of a long name binds beside it first. Its lock is the name's, which only the hash of the name tells.
#[test]
fn the_temporary_name_of_a_killed_start_goes_and_that_of_one_at_work_stays() {
    whole_process(&this_test!(), || {
        // With a lock of its own name; with one that is a hash; with a life lock alone that is a hash.
        for length in [80, 249, 250, 255] {
            let name = "n".repeat(length);
            let lock = if length > 250 { hashed(&name, ".lock") } else { format!("{name}.lock") };
            let dir = Dir::new();
            put_dead(&dir.join(temporary(&name)));
            put_file(&dir.join(&lock), b"", MARK);
            let owner = if length > 249 { hashed(&name, ".owner") } else { format!("{name}.owner") };
            put_file(&dir.join(owner), b"", MARK);
            age(&dir.join(temporary(&name)));
            let holder = fs::File::open(dir.join(&lock)).expect("open");
            rustix::fs::flock(&holder, FlockOperation::NonBlockingLockExclusive).expect("flock");
            let before = dir.files();
            clean_dir(&CleanOptions::new(), dir.path());
            assert_eq!(dir.files(), before, "a start stands between bind and rename");
            drop(holder);
            clean_dir(&CleanOptions::new(), dir.path());
            assert_eq!(dir.names(), [""; 0], "{length}");
            // Beside a server of that name; and left alone by its lock, which somebody took away.
            let server = ServerSocket::create(dir.join(&name));
            put_dead(&dir.join(temporary(&name)));
            age(&dir.join(temporary(&name)));
            clean_dir(&CleanOptions::new(), dir.path());
            assert!(!exists(&dir.join(temporary(&name))), "{length}: {:?}", dir.names());
            let server = server.expect("create");
            assert_serves(&server, server.local_path());
            drop(server);
            put_old_dead(&dir.join(temporary(&name)));
            assert_eq!(
                clean_dir(&CleanOptions::new(), dir.path()),
                removed(&[(&temporary(&name), Leftover::Temporary)])
            );
        }
    });
}

#[test]
fn names_of_any_bytes_are_cleaned() {
    let dir = Dir::new();
    let odd = [&b"new\nline"[..], b"\x1b[2J", b"\xff\xfe", b" ", b"-rf", b"*", b".hidden", &[b'x'; 107]];
    for name in odd {
        // Bound through the directory: the whole path need not fit an address.
        let server = ServerSocket::create(dir.join(OsString::from_vec(name.to_vec()))).expect("create");
        drop(server.into_listener());
    }
    let last = dir.join(std::ffi::OsStr::from_bytes(odd[odd.len() - 1]));
    age(&last);
    let (found, result) = clean(&CleanOptions::new(), dir.path());
    result.expect("cleaned");
    assert_eq!(found.len(), odd.len());
    assert_eq!(dir.names(), [""; 0]);
}

/// An ordinary user in a directory like /tmp.
#[test]
fn another_users_socket_stays_and_the_error_says_whose_it_is() {
    let test = this_test!();
    if child::role().is_some() {
        let mut seen = BTreeMap::new();
        let result = CleanOptions::new().run(child::dir(), |event| {
            if let CleanEvent::Found { path, outcome, .. } = event {
                seen.insert(path.file_name().expect("a name").to_owned(), format!("{outcome:?}"));
            }
        });
        result.expect("cleaned");
        child::say(&format!("seen {seen:?}").replace('\n', " "));
        return;
    }
    if !is_root() {
        return not_tried("another user's sockets: needs root");
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o1777);
    put_dead(&dir.join("dead"));
    chmod(&dir.join("dead"), 0o600);
    put_dead(&dir.join("open-to-all"));
    chmod(&dir.join("open-to-all"), 0o666);
    put_file(&dir.join("killed.lock"), b"", MARK);
    let live = ServerSocket::create(dir.join("live")).expect("create");
    let is_listed = are_sockets_listed(&dir);
    put_dead(&dir.join("own"));
    chown(dir.join("own"), Some(NOBODY), Some(NOBODY)).expect("chown");
    age(&dir.join("own"));
    let before = dir.files();
    let mut cleans = Program::new(&test, "cleans").dir(&dir).ordinary().start();
    let seen = cleans.hear("seen");
    cleans.finish();
    let mut left = before;
    left.remove(&dir.join("own"));
    assert_eq!(dir.files(), left, "{seen}");
    let errno = format!("errno: Os {{ code: {EACCES}");
    for part in
        ["\"own\": \"Removed\"", "CannotTell", &errno, "it is of uid 0: that user or root can", "unlink the dead"]
    {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(!is_listed || seen.contains("\"live\": \"InUse\""), "{seen}");
    drop(live);
}

/// No live server is lost to a cleaning, ever: of our own, and of strangers who do not know the lock.
#[test]
fn of_a_thousand_starts_beside_cleaners_none_is_lost() {
    const STARTS: usize = 1_000;
    let dir = Dir::new();
    // Old and dead, so that a cleaner and a starter want the same name at the same moment.
    for number in 0..STARTS {
        put_dead(&dir.join(format!("s{number}")));
    }
    age(&dir.join(format!("s{}", STARTS - 1)));
    let next = AtomicUsize::new(0);
    let working = AtomicUsize::new(4);
    let (cleaned, replaced) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for starter in 0..4 {
            let (next, working, dir, replaced) = (&next, &working, &dir, &replaced);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= STARTS {
                        break;
                    }
                    let path = dir.join(format!("s{number}"));
                    replaced.fetch_add(usize::from(exists(&path)), Ordering::SeqCst);
                    let scope = if starter == 0 { LockScope::Lifetime } else { LockScope::Startup };
                    let server = ServerSocket::builder().lock_scope(scope).create(&path).expect("create");
                    // By hand, as others do it: no lock, and a moment between bind and listen.
                    let by_hand = dir.join(format!("t{number}"));
                    let socket = bound(&by_hand, SocketType::STREAM);
                    thread::yield_now();
                    rustix::net::listen(&socket, 16).expect("listen");
                    thread::sleep(Duration::from_millis(3)); // a while for the cleaners
                    assert!(!server.was_stolen(), "{}: {}", path.display(), server.status());
                    assert_serves(&server, &path);
                    assert_serves(&socket.as_fd(), &by_hand);
                    server.close().expect("close");
                    fs::remove_file(&by_hand).expect("its name is there to the end");
                }
                working.fetch_sub(1, Ordering::SeqCst);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while working.load(Ordering::SeqCst) > 0 {
                    let result = CleanOptions::new().run(dir.path(), |event| {
                        if let CleanEvent::Found { path, outcome, .. } = event {
                            match outcome {
                                Outcome::Removed => drop(cleaned.fetch_add(1, Ordering::SeqCst)),
                                Outcome::Failed(error) => {
                                    let kind = error.kind();
                                    assert_eq!(kind, ErrorKind::Locked, "{}: {error}", path.display());
                                }
                                _ => {}
                            }
                        }
                    });
                    result.expect("cleaned");
                }
            });
        }
    });
    assert!(cleaned.into_inner() > 0 && replaced.into_inner() > 0, "they never met");
    let left = dir.names();
    assert!(left.is_empty(), "{left:?}");
}

/// Root cleans where an ordinary user starts servers.
#[test]
fn a_cleaning_by_root_takes_nothing_from_another_users_servers() {
    if !is_root() {
        return not_tried("a cleaning by root: needs root");
    }
    // Children of other tests would have copies of the listeners, for a moment, and those are as good as live servers.
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let cleaner = scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    CleanOptions::new().run(dir.path(), |_| {}).expect("cleaned");
                }
            });
            // A failure is told once the cleaner has ended, who would go on for ever.
            let done = catch_unwind(|| {
                as_user(NOBODY, NOBODY, &[], || {
                    for _ in 0..300 {
                        let server = ServerSocket::create(dir.join("s")).expect("create");
                        assert!(!server.was_stolen());
                        drop(server.into_listener()); // left behind
                    }
                });
            });
            is_over.store(true, Ordering::SeqCst);
            cleaner.join().expect("no panic");
            done.unwrap_or_else(|panic| resume_unwind(panic));
        });
    });
}

/// `connect_or_start` and `unix-ss ensure` have a lock of their own.
#[test]
fn the_lock_of_a_killed_client_that_was_starting_a_server_goes() {
    let dir = Dir::new();
    put_file(&dir.join("s.start"), b"", MARK);
    put_file(&dir.join("t.start"), b"", MARK);
    put_file(&dir.join("foreign.start"), b"", 0o600);
    let server = ServerSocket::builder().lock_scope(LockScope::Lifetime).create(dir.join("s")).expect("create");
    let held = unix_stream_server::StartLock::try_take(dir.join("held")).expect("free");
    clean_dir(&CleanOptions::new(), dir.path());
    assert_eq!(dir.names(), ["foreign.start", "held.start", "s", "s.owner"]);
    // Beside a path that is given by its name, too.
    put_file(&dir.join("s.start"), b"", MARK);
    put_file(&dir.join("u.start"), b"", MARK);
    assert_eq!(clean(&CleanOptions::new(), &dir.join("s")).1.expect_err("live").kind(), ErrorKind::InUse);
    assert_eq!(clean_dir(&CleanOptions::new(), &dir.join("u")), removed(&[("u.start", Leftover::Lock)]));
    assert_eq!(dir.names(), ["foreign.start", "held.start", "s", "s.owner"]);
    drop(held);
    server.close().expect("close");
}

/// A successor stands beside the name for a moment, and after it the one that it has replaced.
#[test]
fn what_a_killed_take_over_left_beside_the_name_goes_when_it_is_dead() {
    let dir = Dir::new();
    let server = ServerSocket::builder().replaceable(true).create(dir.join("s")).expect("create");
    let beside = dir.join(temporary("s"));
    put_dead(&beside);
    age(&beside);
    assert_eq!(clean_dir(&CleanOptions::new(), dir.path()).last().expect("something").2, "InUse");
    assert!(!exists(&beside), "{:?}", dir.names());
    // Replaced, and still draining: it is live.
    let draining = stranger(&beside);
    age(&beside);
    clean_dir(&CleanOptions::new(), dir.path());
    let client = std::os::unix::net::UnixStream::connect(&beside); // as the library's connect() does not
    assert!(client.is_ok() && draining.accept().is_ok(), "{client:?}");
    assert_serves(&server, server.local_path());
}
