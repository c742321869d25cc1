//! The lock: kept out by others' and keeping others out, recovered from the dead, waited for within bounds, and never
//! taken from anybody.

pub mod support;

use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libc::{EACCES, EADDRINUSE, EEXIST, EINTR};
use rustix::fs::Mode;
use rustix::net::SocketType;
use rustix::process::umask;
use support::child::{self, Program, Running, ordinary_user, whole_process};
use support::dir::{Dir, beside, chmod, exists, file, lock_as_git, mode, put_file};
use support::sockets::{assert_serves, bound, put_dead, stranger};
use support::wait::{Worker, within};
use support::{PATIENCE, assert_error, is_root, locks_are_listed, not_tried};
use unix_stream_server::{Builder, ErrorKind, LockScope, LockState, PathState, ServerSocket, connect, inspect};

const AT_ONCE: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_millis(50);
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

fn wait(timeout: Duration) -> Builder {
    ServerSocket::builder().lock_timeout(timeout)
}

/// The file at the lock's name is respected: not had in time, nothing changed, and had once it has gone.
#[track_caller]
fn assert_respected(dir: &Dir, path: &Path, remove: impl FnOnce()) {
    let before = dir.files();
    for timeout in [AT_ONCE, SOON] {
        let builder = wait(timeout);
        let at = path.to_owned();
        let error = within(PATIENCE, move || builder.create(at)).expect_err("locked");
        assert_error(&error, ErrorKind::Locked, EEXIST);
        assert!(error.to_string().contains(&beside(path, ".lock").display().to_string()), "{error}");
        assert_eq!(dir.files(), before, "{error}");
    }
    let (builder, at) = (wait(NEVER), path.to_owned());
    let waiting = Worker::start(move || builder.create(at));
    waiting.until_in(libc::SYS_clock_nanosleep);
    assert_eq!(dir.files(), before);
    remove();
    let server = waiting.result().expect("the lock is free");
    assert_serves(&server, path);
    assert!(!exists(&beside(path, ".lock")));
    server.close().expect("close");
    assert!(!exists(path) && !exists(&beside(path, ".lock")));
}

#[test]
fn gits_lock_file_is_waited_for_and_never_removed() {
    let dir = Dir::new();
    for dead in [false, true] {
        let path = dir.join("s");
        if dead {
            put_dead(&path);
        }
        let lock = lock_as_git(&path).expect("free");
        // git keeps it open, and closes it before it unlinks it: nothing hangs on that.
        chmod(&beside(&path, ".lock"), 0o644);
        assert_respected(&dir, &path, || {
            drop(lock);
            fs::remove_file(beside(&path, ".lock")).expect("git removes it");
        });
    }
}

#[test]
fn a_wait_for_the_lock_is_called_off_by_a_flag_and_the_end_of_a_server_is_not() {
    for claims in [false, true] {
        let dir = Dir::new();
        let path = dir.join("s");
        let flag = Arc::new(AtomicBool::new(false));
        let builder = wait(NEVER).lock_interrupt(Arc::clone(&flag));
        let lock = lock_as_git(&path).expect("free");
        let (starter, at) = (builder.clone(), path.clone());
        let waiting = Worker::start(move || match claims {
            true => starter.claim(at).map(drop),
            false => starter.create(at).map(drop),
        });
        waiting.until_in(libc::SYS_clock_nanosleep);
        flag.store(true, Ordering::SeqCst);
        let error = waiting.result().expect_err("called off");
        assert_error(&error, ErrorKind::Locked, EINTR);
        assert!(error.to_string().contains(&beside(&path, ".lock").display().to_string()), "{error}");
        assert_eq!(dir.files().len(), 1);
        drop(lock);
        fs::remove_file(beside(&path, ".lock")).expect("git removes it");
        // Where there is nothing to wait for, it says nothing.
        let server = builder.create(&path).expect("the lock is free");
        let lock = lock_as_git(&path).expect("free");
        let waiting = Worker::start(move || server.close());
        waiting.until_in(libc::SYS_clock_nanosleep);
        assert!(exists(&path));
        drop(lock);
        fs::remove_file(beside(&path, ".lock")).expect("git removes it");
        assert!(waiting.result().is_ok() && dir.files().is_empty());
    }
}

#[test]
fn gits_lock_file_under_a_umask_of_0222_is_still_gits() {
    let test = this_test!();
    if child::role().is_some() {
        let path = child::dir().join("s");
        umask(Mode::from_raw_mode(0o222));
        let _lock = lock_as_git(&path).expect("free");
        child::say("locked");
        child::listen();
        fs::remove_file(beside(&path, ".lock")).expect("git removes it");
        child::say("unlocked");
        child::listen();
        return;
    }
    let dir = Dir::new();
    let mut git = Program::new(&test, "git").dir(&dir).start();
    git.hear("locked");
    assert_eq!(mode(&dir.join("s.lock")), 0o444);
    assert_respected(&dir, &dir.join("s"), || git.tell("go on"));
    git.hear("unlocked");
    git.finish();
}

#[test]
fn git_is_kept_out_while_we_change_the_name() {
    let dir = Dir::new();
    let path = dir.join("s");
    let claim = ServerSocket::builder().claim(&path).expect("claim");
    assert_eq!(mode(&dir.join("s.lock")), 0o1400);
    assert_eq!(file(&dir.join("s.lock")).content, b"");
    for _ in 0..3 {
        assert_eq!(lock_as_git(&path).expect_err("locked").kind(), IoErrorKind::AlreadyExists);
    }
    let server = claim.listen().expect("listen");
    drop(lock_as_git(&path).expect("the lock was given back"));
    fs::remove_file(dir.join("s.lock")).expect("unlink");
    assert_serves(&server, &path);
    server.close().expect("close");
    drop(lock_as_git(&path).expect("nothing was left"));
}

/// A child that claims the path in a test of this name and waits.
fn start_holder(test: &str, dir: &Dir) -> Running {
    let mut holder = Program::new(test, "holder").dir(dir).start();
    holder.hear("claimed");
    holder
}

/// That child. Told to go on, it says what came of its claim.
fn hold() {
    let claim = wait(AT_ONCE).claim(child::dir().join("s")).expect("claim");
    child::say("claimed");
    if child::listen().is_empty() {
        return;
    }
    match claim.listen() {
        Ok(server) => {
            child::say("listens");
            child::listen();
            server.close().expect("close");
        }
        Err(error) => {
            assert_error(&error, ErrorKind::InUse, EADDRINUSE);
            child::say("in use");
            child::listen();
        }
    }
}

#[test]
fn a_killed_holders_lock_is_recovered_at_once() {
    if child::role().is_some() {
        return hold();
    }
    let test = this_test!();
    for dead in [false, true] {
        let dir = Dir::new();
        let path = dir.join("s");
        if dead {
            put_dead(&path);
        }
        let mut holder = start_holder(&test, &dir);
        let error = wait(AT_ONCE).create(&path).expect_err("held");
        assert_error(&error, ErrorKind::Locked, EEXIST);
        holder.kill();
        assert_eq!(mode(&dir.join("s.lock")), 0o1400);
        let claim = wait(AT_ONCE).claim(&path).expect("recovered");
        assert_eq!(claim.state(), if dead { PathState::Dead } else { PathState::Absent });
        let server = claim.listen().expect("listen");
        assert_eq!(dir.names(), ["s"]);
        assert_serves(&server, &path);
        server.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn a_paused_holder_times_out_with_its_pid_and_goes_on_later() {
    if child::role().is_some() {
        return hold();
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let mut holder = start_holder(&this_test!(), &dir);
    holder.pause();
    let before = dir.files();
    for timeout in [AT_ONCE, SOON] {
        let error = wait(timeout).create(&path).expect_err("held");
        assert_error(&error, ErrorKind::Locked, EEXIST);
        assert!(error.to_string().contains(&format!("process {} ", holder.pid())), "{error}");
    }
    assert_eq!(dir.files(), before);
    holder.go_on();
    holder.tell("listen");
    holder.hear("listens");
    assert_eq!(wait(AT_ONCE).create(&path).expect_err("lives").peer().and_then(|peer| peer.pid), Some(holder.pid()));
    drop(connect(&path).expect("connect"));
    holder.finish();
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_paused_holder_whose_lock_somebody_removed_harms_nobody_later() {
    if child::role().is_some() {
        return hold();
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let mut holder = start_holder(&this_test!(), &dir);
    holder.pause();
    fs::remove_file(dir.join("s.lock")).expect("somebody removes it by hand");
    let server = wait(AT_ONCE).create(&path).expect("create");
    let _git = lock_as_git(&path).expect("free");
    let before = dir.files();
    holder.go_on();
    holder.tell("listen");
    holder.hear("in use");
    holder.finish();
    assert_eq!(dir.files(), before);
    assert_serves(&server, &path);
}

#[test]
fn what_is_not_a_lock_of_ours_is_never_removed_and_never_hangs() {
    everything_foreign_is_respected();
}

/// Whether it can be opened or not.
#[test]
fn what_is_not_a_lock_of_ours_is_the_same_to_who_may_not_open_it() {
    ordinary_user(&this_test!(), everything_foreign_is_respected);
}

fn everything_foreign_is_respected() {
    let dir = Dir::new();
    let path = dir.join("s");
    let lock = dir.join("s.lock");
    let remove = || fs::remove_file(&lock).expect("unlink");

    let fifo = Mode::from_raw_mode(0o400);
    rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, fifo, 0).expect("mkfifo");
    chmod(&lock, 0o400);
    assert_respected(&dir, &path, remove);
    let fifo = Mode::from_raw_mode(0o400);
    rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, fifo, 0).expect("mkfifo");
    chmod(&lock, 0o1400);
    assert_respected(&dir, &path, remove);

    fs::create_dir(&lock).expect("mkdir");
    assert_respected(&dir, &path, || fs::remove_dir(&lock).expect("rmdir"));
    fs::create_dir(&lock).expect("mkdir");
    chmod(&lock, 0o1400);
    assert_respected(&dir, &path, || fs::remove_dir(&lock).expect("rmdir"));

    put_file(&dir.join("mark"), b"", 0o1400);
    for target in ["nowhere", "mark", "s.lock"] {
        symlink(target, &lock).expect("symlink");
        assert_respected(&dir, &path, remove);
    }
    let socket = stranger(&lock);
    assert_respected(&dir, &path, remove);
    drop(socket);

    for mode in [0o400, 0o1400] {
        put_file(&lock, b"12345\n", mode);
        assert_respected(&dir, &path, remove);
    }
    for mode in [0o000, 0o200, 0o400, 0o444, 0o600, 0o644, 0o1600, 0o1440, 0o2400, 0o4400, 0o5400] {
        put_file(&lock, b"", mode);
        assert_respected(&dir, &path, remove);
    }
    fs::hard_link(dir.join("mark"), &lock).expect("link");
    let error = wait(AT_ONCE).create(&path).expect_err("it may be someone's");
    assert!(error.to_string().contains("s.lock has a second link somewhere"), "{error}");
    assert_respected(&dir, &path, remove);
    assert_eq!(dir.names(), ["mark"]);
}

#[test]
fn another_users_leftover_is_an_error_that_names_owner_and_remedy() {
    let test = this_test!();
    if child::role().is_some() {
        assert!(!is_root());
        let path = child::dir().join("s");
        let owner = child::value("OWNER");
        // Told long before the timeout, where the kernel says that nobody holds it: nobody will ever give it back.
        let timeout = if locks_are_listed(&child::dir()) { NEVER } else { SOON };
        let begun = Instant::now();
        let error = within(PATIENCE, move || wait(timeout).create(path)).expect_err("not ours");
        assert_error(&error, ErrorKind::Locked, EACCES);
        // But not at the first look: its owner may be between open and flock.
        assert!(begun.elapsed() >= timeout.min(Duration::from_millis(100)));
        let words = error.to_string();
        assert!(words.contains(&format!("uid {owner} ")) || words.contains(&format!("uid {owner};")), "{words}");
        assert!(words.contains("remove it"), "{words}");
        let error = wait(AT_ONCE).create(child::dir().join("s")).expect_err("not ours");
        assert_error(&error, ErrorKind::Locked, EACCES);
        return;
    }
    let dir = Dir::new();
    let lock = dir.join("s.lock");
    if !is_root() {
        return not_tried("the lock files of other users: only root can make one");
    }
    for owner in [12_345, 0] {
        put_file(&lock, b"", 0o1400);
        std::os::unix::fs::chown(&lock, Some(owner), None).expect("chown");
        chmod(&lock, 0o1400);
        let before = dir.files();
        Program::new(&test, "starter").ordinary().dir(&dir).value("OWNER", &owner.to_string()).run();
        assert_eq!(dir.files(), before);
        fs::remove_file(&lock).expect("unlink");
    }
    put_file(&lock, b"", 0o1400);
    std::os::unix::fs::chown(&lock, Some(12_345), None).expect("chown");
    chmod(&lock, 0o1400);
    wait(AT_ONCE).create(dir.join("s")).expect("root recovers everybody's").close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

/// Whoever prepares or drains is as alive for other users as for one's own.
#[test]
fn another_users_held_life_lock_is_a_server_that_lives() {
    let test = this_test!();
    let lifetime = wait(AT_ONCE).lock_scope(LockScope::Lifetime);
    if child::role().is_some() {
        let error = lifetime.create(child::dir().join("s")).expect_err("held");
        if locks_are_listed(&child::dir()) {
            assert_error(&error, ErrorKind::InUse, libc::EADDRINUSE);
            let who = format!("process {} of uid 0 is preparing or draining", child::value("PID"));
            assert!(error.to_string().contains(&who) && !error.to_string().contains("remove"), "{error}");
        } else {
            assert_error(&error, ErrorKind::Locked, EACCES);
        }
        return;
    }
    if !is_root() {
        return not_tried("a life lock of another user: only root can be two users");
    }
    let dir = Dir::new();
    let claim = lifetime.claim(dir.join("s")).expect("claim");
    let starter = Program::new(&test, "starter").ordinary().dir(&dir);
    starter.value("PID", &std::process::id().to_string()).run();
    assert_eq!(dir.names(), ["s.owner"]);
    drop(claim);
}

#[test]
fn another_users_live_holder_is_waited_for_up_to_the_timeout() {
    if !is_root() && child::role().is_none() {
        not_tried("a holder of another user: only root can be two users");
        let dir = Dir::new();
        let _claim = wait(AT_ONCE).claim(dir.join("s")).expect("claim");
        assert_error(&wait(SOON).create(dir.join("s")).expect_err("held"), ErrorKind::Locked, EEXIST);
        return;
    }
    if child::role().is_some() {
        let path = child::dir().join("s");
        let (begun, timeout) = (Instant::now(), Duration::from_millis(400));
        let error = wait(timeout).create(&path).expect_err("held");
        assert_error(&error, ErrorKind::Locked, EEXIST);
        assert!(begun.elapsed() >= timeout, "given up for left behind");
        assert!(
            error.to_string().contains(&format!("process {} of uid 0 held its lock", child::value("PID"))),
            "{error}"
        );
        let waiting = Worker::start(move || wait(NEVER).create(path));
        waiting.until_in(libc::SYS_clock_nanosleep);
        child::say("waiting");
        waiting.result().expect("it was given back").close().expect("close");
        return;
    }
    let dir = Dir::new();
    let claim = wait(AT_ONCE).claim(dir.join("s")).expect("claim");
    let starter = Program::new(&this_test!(), "starter").ordinary().dir(&dir);
    let mut starter = starter.value("PID", &std::process::id().to_string()).start();
    starter.hear("waiting");
    drop(claim);
    starter.finish();
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn waiting_ends_at_once_when_a_server_goes_live_at_the_path() {
    for dead in [false, true] {
        let dir = Dir::new();
        let path = dir.join("s");
        if dead {
            put_dead(&path);
        }
        put_file(&dir.join("s.lock"), b"", 0o644);
        let at = path.clone();
        let waiting = Worker::start(move || wait(NEVER).create(at));
        waiting.until_in(libc::SYS_clock_nanosleep);
        assert!(waiting.is_done().is_none());
        if dead {
            fs::remove_file(&path).expect("unlink");
        }
        let server = stranger(&path);
        let error = waiting.result().expect_err("in use");
        assert_error(&error, ErrorKind::InUse, EADDRINUSE);
        assert_eq!(error.peer().and_then(|peer| peer.pid), Some(std::process::id()));
        assert_eq!(dir.names(), ["s", "s.lock"]);
        assert_serves(&server, &path);
    }
}

/// A socket refuses until its server calls listen(), and nothing about its file tells when that was.
#[test]
fn waiting_ends_also_when_what_looked_dead_begins_to_listen() {
    let dir = Dir::new();
    let path = dir.join("s");
    let bound = bound(&path, SocketType::STREAM);
    put_file(&dir.join("s.lock"), b"", 0o644);
    let at = path.clone();
    let waiting = Worker::start(move || wait(NEVER).create(at));
    waiting.until_in(libc::SYS_clock_nanosleep);
    rustix::net::listen(&bound, 16).expect("listen");
    assert_error(&waiting.result().expect_err("in use"), ErrorKind::InUse, EADDRINUSE);
    assert_serves(&bound, &path);
}

#[test]
fn a_live_server_is_in_use_whatever_lies_at_the_locks_name() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    put_file(&dir.join("s.lock"), b"", 0o644);
    assert_error(&wait(NEVER).create(&path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
    fs::remove_file(dir.join("s.lock")).expect("unlink");
    put_file(&dir.join("s.lock"), b"", 0o1400);
    assert_error(&wait(AT_ONCE).create(&path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
    assert_serves(&server, &path);
    server.close().expect("close takes the leftover over");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_dropped_claim_leaves_nothing_and_changes_nothing() {
    for scope in [LockScope::Startup, LockScope::Lifetime] {
        for dead in [false, true] {
            let dir = Dir::new();
            let path = dir.join("s");
            if dead {
                put_dead(&path);
            }
            let before = dir.files();
            let claim = wait(AT_ONCE).lock_scope(scope).claim(&path).expect("claim");
            assert_ne!(dir.files(), before);
            assert_eq!(claim.local_path(), path);
            drop(claim);
            assert_eq!(dir.files(), before);
        }
    }
}

#[test]
fn no_umask_keeps_us_from_our_own_lock() {
    ordinary_user(&this_test!(), || {
        for mask in [0o777, 0o400, 0o500, 0o277, 0o077, 0o000] {
            let dir = Dir::new();
            let path = dir.join("s");
            umask(Mode::from_raw_mode(mask));
            for scope in [LockScope::Startup, LockScope::Lifetime] {
                let claim = wait(AT_ONCE).lock_scope(scope).claim(&path).expect("claim");
                let held = if scope == LockScope::Startup { "s.lock" } else { "s.owner" };
                assert_eq!(mode(&dir.join(held)), 0o1400, "umask {mask:o}");
                let error = wait(AT_ONCE).lock_scope(scope).create(&path).expect_err("held");
                assert!(matches!(error.kind(), ErrorKind::Locked | ErrorKind::InUse), "{error}");
                let server = claim.listen().expect("listen");
                assert_eq!(mode(&path), 0o600, "umask {mask:o}");
                assert_serves(&server, &path);
                server.close().expect("close");
                assert_eq!(dir.names(), [""; 0]);
            }
            umask(Mode::from_raw_mode(0o022));
        }
    });
}

/// What a starter leaves that is killed between the creation of its lock and the return of the read bit.
fn leave_masked_lock(dir: &Dir, name: &str) {
    umask(Mode::from_raw_mode(0o777));
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o1400).open(dir.join(name));
    drop(file.expect("create"));
    umask(Mode::from_raw_mode(0o022));
    assert_eq!(mode(&dir.join(name)), 0o1000);
}

#[test]
fn a_lock_left_by_a_kill_before_its_read_bit_was_given_back_is_mended() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        leave_masked_lock(&dir, "s.lock");
        wait(AT_ONCE).create(&path).expect("mended").close().expect("close");
        assert_eq!(dir.names(), [""; 0]);

        // With something in it, it is not that.
        put_file(&dir.join("s.lock"), b"precious", 0o1000);
        assert_error(&wait(SOON).create(&path).expect_err("not ours"), ErrorKind::Locked, EEXIST);
        chmod(&dir.join("s.lock"), 0o600);
        assert_eq!(fs::read(dir.join("s.lock")).expect("untouched"), b"precious");
    });
}

/// Root needs no read bit, so it opens such a file without mending it.
#[test]
fn a_lock_left_by_a_kill_before_its_read_bit_was_given_back_is_recovered_by_root_too() {
    whole_process(&this_test!(), || {
        for scope in [LockScope::Startup, LockScope::Lifetime] {
            let dir = Dir::new();
            let path = dir.join("s");
            leave_masked_lock(&dir, "s.lock");
            leave_masked_lock(&dir, if scope == LockScope::Lifetime { "s.owner" } else { "t.lock" });
            assert!(matches!(inspect(&path).expect("inspect").lock, LockState::Left { .. }));
            let server = wait(AT_ONCE).lock_scope(scope).create(&path).expect("recovered");
            assert_serves(&server, &path);
            server.close().expect("close");
            assert!(!exists(&dir.join("s.lock")) && !exists(&dir.join("s.owner")) && !exists(&path));
            // With something in it, it is not that.
            put_file(&dir.join("s.lock"), b"precious", 0o1000);
            let before = dir.files();
            assert_eq!(wait(SOON).create(&path).expect_err("not ours").kind(), ErrorKind::Locked);
            assert_eq!(dir.files(), before);
        }
    });
}

#[test]
fn a_directory_that_may_not_be_written_is_told_at_once() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        chmod(dir.path(), 0o555);
        let error = wait(NEVER).create(&path).expect_err("no permission");
        assert_error(&error, ErrorKind::System, EACCES);
        chmod(dir.path(), 0o777);
        assert_eq!(dir.names(), [""; 0]);
    });
}
