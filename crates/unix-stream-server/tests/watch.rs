//! Being told: at once when the path is lost or back, never of anything else, and never too late.

pub mod support;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libc::{EPERM, ESTALE};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, RenameFlags, inotify, renameat_with};
use rustix::io::Errno;
use support::child::{ordinary_user, whole_process};
use support::dir::{Dir, chmod, put_file};
use support::fork::in_a_forked_child;
use support::sockets::{assert_serves, stranger};
use support::unshared::with_own_limits;
use support::wait::Worker;
use support::{PATIENCE, assert_error, not_tried};
use unix_stream_server::{ErrorKind, ServerSocket, Status, Watch};

/// A server at a path, and its watch.
fn watched(path: &Path) -> (ServerSocket, Watch) {
    let server = ServerSocket::create(path).expect("create");
    let watch = server.watch().expect("watch");
    assert_eq!(watch.last(), Status::Ours);
    (server, watch)
}

#[track_caller]
fn told(watch: &mut Watch) -> Status {
    watch.wait_timeout(PATIENCE).expect("poll").expect("it is told in time")
}

/// Would a loop be woken?
fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&at_once)).expect("poll") > 0
}

/// Puts something over the path by a single step.
fn rename_over(dir: &Dir, path: &Path) {
    put_file(&dir.join("new"), b"precious", 0o600);
    fs::rename(dir.join("new"), path).expect("rename");
}

#[test]
fn it_tells_when_the_path_is_gone_replaced_and_back() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (server, mut watch) = watched(&path);
    assert!(!watch.is_polling() && !is_readable(watch.as_fd()));
    assert_eq!(watch.check().expect("a check"), None);
    fs::rename(&path, dir.join("away")).expect("rename");
    assert!(is_readable(watch.as_fd()));
    assert_eq!(watch.check().expect("a check"), Some(Status::Gone));
    assert!(!is_readable(watch.as_fd()), "a check takes all");
    put_file(&path, b"precious", 0o600);
    assert!(is_readable(watch.as_fd()));
    assert_eq!(watch.wait().expect("a wait"), Status::Replaced);
    fs::remove_file(&path).expect("unlink");
    assert_eq!(told(&mut watch), Status::Gone);
    fs::rename(dir.join("away"), &path).expect("rename back");
    assert!(is_readable(watch.as_fd()));
    assert_eq!((told(&mut watch), watch.last()), (Status::Ours, Status::Ours));
    assert!(!is_readable(watch.as_fd()), "a check takes all");
    rename_over(&dir, &path);
    assert_eq!(told(&mut watch), Status::Replaced);
    fs::remove_file(&path).expect("unlink");
    assert_eq!(told(&mut watch), Status::Gone);
    drop(server);
}

#[test]
fn a_path_exchanged_for_another_and_back_is_told_each_time() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (_server, mut watch) = watched(&path);
    let thief = stranger(&dir.join("new"));
    for _ in 0..100 {
        let exchange = || renameat_with(CWD, dir.join("new"), CWD, &path, RenameFlags::EXCHANGE).expect("exchange");
        exchange();
        assert_eq!(told(&mut watch), Status::Replaced);
        exchange();
        assert_eq!(told(&mut watch), Status::Ours);
    }
    drop(thief);
}

#[test]
fn a_hard_link_that_comes_back_is_ours_and_one_elsewhere_is_nothing() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (_server, mut watch) = watched(&path);
    fs::hard_link(&path, dir.join("other")).expect("link");
    assert_eq!(watch.check().expect("a check"), None);
    fs::remove_file(&path).expect("unlink");
    assert_eq!(told(&mut watch), Status::Gone);
    fs::hard_link(dir.join("other"), &path).expect("link");
    assert_eq!(told(&mut watch), Status::Ours);
    fs::remove_file(dir.join("other")).expect("unlink");
    assert_eq!(watch.check().expect("a check"), None);
}

#[test]
fn a_wait_in_another_thread_is_woken_and_one_with_a_time_ends() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (server, mut watch) = watched(&path);
    assert_eq!(watch.wait_timeout(Duration::ZERO).expect("a wait"), None);
    assert_eq!(watch.wait_timeout(Duration::from_millis(20)).expect("a wait"), None);
    let (said, first) = mpsc::channel();
    let waiter = Worker::start(move || {
        let status = watch.wait().expect("a wait");
        said.send(()).expect("the test listens");
        (status, watch.wait_timeout(Duration::MAX).expect("a wait"))
    });
    waiter.until_in(libc::SYS_ppoll);
    rename_over(&dir, &path);
    first.recv_timeout(PATIENCE).expect("it is told of the first before the second happens");
    fs::remove_file(&path).expect("unlink");
    assert_eq!(waiter.result(), (Status::Replaced, Some(Status::Gone)));
    drop(server);
}

#[test]
fn no_way_of_losing_it_is_missed() {
    let dir = Dir::new();
    let path = dir.join("s");
    for round in 0..300 {
        let server = ServerSocket::create(&path).expect("create");
        let mut watch = server.watch().expect("watch");
        let expected = match round % 3 {
            0 => {
                rename_over(&dir, &path);
                Status::Replaced
            }
            1 => {
                fs::remove_file(&path).expect("unlink");
                Status::Gone
            }
            _ => {
                fs::rename(&path, dir.join("away")).expect("rename");
                Status::Gone
            }
        };
        assert!(is_readable(watch.as_fd()));
        assert_eq!(watch.check().expect("a check"), Some(expected), "round {round}");
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn a_loss_between_the_look_and_the_sleep_wakes_it() {
    let dir = Dir::new();
    let path = dir.join("s");
    for _ in 0..300 {
        let (server, mut watch) = watched(&path);
        thread::scope(|scope| {
            // However the two fall: the second step is the one that must be told in the end.
            scope.spawn(|| {
                fs::remove_file(&path).expect("unlink");
                put_file(&path, b"", 0o600);
            });
            while told(&mut watch) != Status::Replaced {}
        });
        drop(server);
        fs::remove_file(&path).expect("unlink");
    }
}

#[test]
fn a_chmod_is_no_theft_and_neither_is_a_storm_of_them() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (_server, mut watch) = watched(&path);
    for mode in [0o600, 0o666, 0o000, 0o700] {
        chmod(&path, mode);
        assert!(is_readable(watch.as_fd()), "else this would try nothing");
        assert_eq!(watch.check().expect("a check"), None);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..20_000 {
                chmod(&path, 0o600 + round % 8);
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut woken = 0;
        while !done.load(Ordering::SeqCst) {
            assert_eq!(watch.wait_timeout(Duration::from_millis(1)).expect("a wait"), None);
            woken += 1;
        }
        assert!(woken > 0);
    });
    rename_over(&dir, &path);
    assert_eq!(told(&mut watch), Status::Replaced);
}

#[test]
fn other_files_in_the_directory_wake_nobody_while_the_path_is_ours() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (server, mut watch) = watched(&path);
    let client = unix_stream_server::connect(&path).expect("connect");
    for round in 0..1_000 {
        let name = dir.join(format!("{}", round % 7));
        put_file(&name, b"content", 0o600);
        fs::rename(&name, dir.join("other")).expect("rename");
        symlink("other", dir.join("link")).expect("symlink");
        fs::remove_file(dir.join("link")).expect("unlink");
        assert!(!is_readable(watch.as_fd()));
    }
    drop((client, server.accept().expect("accept")));
    assert!(!is_readable(watch.as_fd()));
    rename_over(&dir, &path);
    assert_eq!(told(&mut watch), Status::Replaced);
    // Now the directory is listened to: others are heard, taken, and not told.
    put_file(&dir.join("more"), b"", 0o600);
    assert!(is_readable(watch.as_fd()));
    assert_eq!(watch.check().expect("a check"), None);
    assert!(!is_readable(watch.as_fd()));
}

/// The queue of events holds 16,384 unless the administrator says otherwise; then one of overflow comes, and the rest is
/// lost.
#[test]
fn an_overflow_of_the_queue_loses_nothing() {
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("/proc").trim().parse().expect("a number");
    let dir = Dir::new();
    let path = dir.join("s");
    let (_server, mut watch) = watched(&path);
    fs::rename(&path, dir.join("away")).expect("rename");
    assert_eq!(told(&mut watch), Status::Gone);
    // Two kinds in turn, since equal ones that follow each other count as one.
    for round in 0..=most {
        let (from, to) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        if round == 0 {
            put_file(&dir.join("a"), b"", 0o600);
        }
        fs::rename(dir.join(from), dir.join(to)).expect("rename");
    }
    // Not heard any more.
    rename_over(&dir, &path);
    assert_eq!(watch.check().expect("a check"), Some(Status::Replaced));
    assert_eq!(watch.check().expect("a check"), None);
    assert!(!is_readable(watch.as_fd()), "all is taken");
    fs::rename(dir.join("away"), &path).expect("rename");
    assert_eq!(told(&mut watch), Status::Ours);
}

#[test]
fn it_stays_true_when_the_listener_has_gone_into_a_runtime_and_after_its_end() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (server, mut before) = watched(&path);
    let (listener, ownership) = server.into_parts().expect("parts");
    let mut after = ownership.watch().expect("watch");
    fs::rename(&path, dir.join("away")).expect("rename");
    let mut late = ownership.watch().expect("of a path that is lost already");
    assert!(is_readable(late.as_fd()), "it has something to tell");
    for watch in [&mut before, &mut after, &mut late] {
        assert_eq!(told(watch), Status::Gone);
    }
    fs::rename(dir.join("away"), &path).expect("rename");
    for watch in [&mut before, &mut after, &mut late] {
        assert_eq!(told(watch), Status::Ours);
    }
    drop(listener);
    assert_eq!(before.check().expect("a check"), None, "dead or alive, it is the same socket");
    ownership.close().expect("close");
    // The inode number is pinned, so that none of these gets it.
    for _ in 0..100 {
        assert_ne!(before.check().expect("a check"), Some(Status::Ours));
        let other = ServerSocket::create(&path).expect("create");
        assert_ne!(before.check().expect("a check"), Some(Status::Ours));
        other.close().expect("close");
    }
}

#[test]
fn a_path_that_is_lost_already_cannot_be_watched_by_its_listener() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    rename_over(&dir, &path);
    assert_error(&server.watch().expect_err("lost"), ErrorKind::Moved, ESTALE);
    fs::remove_file(&path).expect("unlink");
    assert_error(&server.watch().expect_err("lost"), ErrorKind::System, libc::ENOENT);
}

#[test]
fn a_renamed_directory_is_no_loss_and_a_removed_one_is() {
    let dir = Dir::new();
    fs::create_dir(dir.join("old")).expect("mkdir");
    let (server, mut watch) = watched(&dir.join("old/s"));
    fs::rename(dir.join("old"), dir.join("new")).expect("rename");
    assert_eq!(watch.check().expect("a check"), None);
    fs::remove_dir_all(dir.join("new")).expect("rm -r");
    assert_eq!(told(&mut watch), Status::Gone);
    assert_eq!(watch.wait_timeout(Duration::from_millis(50)).expect("a wait"), None);
    assert!(!is_readable(watch.as_fd()), "it does not spin");
    drop(server);
}

#[test]
fn a_file_that_may_not_be_read_is_watched_by_its_directory() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = ServerSocket::builder().mode(0o222).create(&path).expect("create");
        let mut watch = server.watch().expect("watch");
        assert!(!watch.is_polling());
        put_file(&dir.join("other"), b"", 0o600);
        assert_eq!(watch.check().expect("a check"), None);
        assert!(!is_readable(watch.as_fd()), "a check takes all");
        for _ in 0..10 {
            fs::rename(&path, dir.join("away")).expect("rename");
            assert!(is_readable(watch.as_fd()));
            assert_eq!(watch.check().expect("a check"), Some(Status::Gone));
            put_file(&path, b"", 0o600);
            assert_eq!(watch.check().expect("a check"), Some(Status::Replaced));
            fs::rename(dir.join("away"), &path).expect("rename back");
            assert_eq!(watch.check().expect("a check"), Some(Status::Ours));
        }
    });
}

#[test]
fn where_neither_may_be_read_it_looks_once_in_a_while() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir(dir.join("d")).expect("mkdir");
        let path = dir.join("d/s");
        let server = ServerSocket::builder().mode(0o222).create(&path).expect("create");
        chmod(&dir.join("d"), 0o300);
        let mut watch = server.watch().expect("watch");
        assert!(watch.is_polling());
        polls(&mut watch, &path, &dir);
        chmod(&dir.join("d"), 0o700);
    });
}

/// A directory that may be written but not read: the file tells of the loss, and what comes after is looked for.
#[test]
fn where_only_the_file_may_be_read_its_loss_is_told_at_once_and_the_rest_soon() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir(dir.join("d")).expect("mkdir");
        chmod(&dir.join("d"), 0o300);
        let path = dir.join("d/s");
        let (server, mut watch) = watched(&path);
        assert!(!watch.is_polling());
        fs::rename(&path, dir.join("away")).expect("rename");
        assert!(is_readable(watch.as_fd()));
        assert_eq!(watch.check().expect("a check"), Some(Status::Gone));
        assert!(watch.is_polling());
        put_file(&path, b"", 0o600);
        assert_eq!(told(&mut watch), Status::Replaced);
        fs::rename(dir.join("away"), &path).expect("rename back");
        assert!(is_readable(watch.as_fd()));
        assert_eq!(watch.check().expect("a check"), Some(Status::Ours));
        assert!(!watch.is_polling());
        drop(server);
        chmod(&dir.join("d"), 0o700);
    });
}

/// The instances of inotify that a user may have are all taken: in a user namespace of our own, lest others lack them.
#[test]
fn without_inotify_it_looks_once_in_a_while() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let status = in_a_forked_child(|| {
            if let Err(errno) = with_own_limits() {
                not_tried(&format!("inotify's EMFILE: no user namespace is to be had: {errno}"));
                return true;
            }
            fs::write("/proc/sys/user/max_inotify_instances", "3").expect("our own limit");
            let new = || inotify::init(inotify::CreateFlags::CLOEXEC);
            let taken: Vec<_> = std::iter::from_fn(|| new().ok()).collect();
            assert_eq!((taken.len(), new().expect_err("the limit")), (3, Errno::MFILE));
            let path = dir.join("s");
            let (server, mut watch) = watched(&path);
            assert!(watch.is_polling());
            polls(&mut watch, &path, &dir);
            drop((server, taken));
            true
        });
        assert_eq!(status, 0);
    });
}

#[test]
fn an_interval_that_no_clock_can_say_is_an_error_also_while_none_is_needed() {
    let dir = Dir::new();
    let (_server, mut watch) = watched(&dir.join("s"));
    let error = watch.set_interval(Duration::MAX).expect_err("too long");
    assert_error(&error, ErrorKind::System, libc::EINVAL);
    watch.set_interval(Duration::from_secs(3600)).expect("an interval");
}

/// Gone, replaced and back are all told by looking.
fn polls(watch: &mut Watch, path: &Path, dir: &Dir) {
    fs::rename(path, dir.join("away")).expect("rename");
    assert_eq!(told(watch), Status::Gone);
    assert!(watch.set_interval(Duration::MAX).is_err());
    watch.set_interval(Duration::from_millis(5)).expect("an interval");
    put_file(path, b"", 0o600);
    assert_eq!(told(watch), Status::Replaced);
    fs::rename(dir.join("away"), path).expect("rename back");
    assert_eq!(told(watch), Status::Ours);
    // The descriptor ticks, for event loops.
    let seconds = Timespec { tv_sec: PATIENCE.as_secs().try_into().expect("few"), tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&seconds)).expect("poll"), 1);
    assert_eq!(watch.check().expect("a check"), None);
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_unknown_and_known_again_later() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir(dir.join("d")).expect("mkdir");
        let path = dir.join("d/s");
        let (server, mut watch) = watched(&path);
        chmod(&path, 0o660);
        chmod(&dir.join("d"), 0);
        assert_eq!(told(&mut watch), Status::Unknown { errno: libc::EACCES });
        assert!(watch.is_polling(), "no event tells that it may look again");
        chmod(&dir.join("d"), 0o700);
        assert_eq!(told(&mut watch), Status::Ours);
        assert!(!watch.is_polling());
        drop(server);
        // Nor where the directory is listened to: it tells of what is in it, and not of its own mode.
        let server = ServerSocket::builder().mode(0o222).create(&path).expect("create");
        let mut watch = server.watch().expect("watch");
        chmod(&dir.join("d"), 0);
        assert_eq!(watch.check().expect("a check"), Some(Status::Unknown { errno: libc::EACCES }));
        assert!(watch.is_polling());
        chmod(&dir.join("d"), 0o700);
        assert_eq!(told(&mut watch), Status::Ours);
        assert!(!watch.is_polling());
        drop(server);
    });
}

#[test]
fn without_descriptors_there_is_no_watch_and_nothing_is_lost() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let server = ServerSocket::create(dir.join("s")).expect("create");
        let before = support::child::descriptors();
        let mut free = 0;
        let mut watch = loop {
            match support::child::with_descriptors(free, || server.watch()) {
                Ok(watch) => break watch,
                Err(error) => assert_error(&error, ErrorKind::System, libc::EMFILE),
            }
            assert_eq!(support::child::descriptors(), before);
            free += 1;
            assert!(free < 10);
        };
        // Three do; the fourth is inotify's.
        assert_eq!((free, watch.is_polling()), (3, true));
        fs::remove_file(dir.join("s")).expect("unlink");
        assert_eq!(told(&mut watch), Status::Gone);
        drop(watch);
        assert_eq!(support::child::descriptors(), before);
    });
}

#[test]
fn a_watch_takes_four_descriptors_and_three_where_the_inode_is_pinned_already() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let number = || support::child::descriptors().len();
        let before = number();
        let (server, watch) = watched(&dir.join("s"));
        assert_eq!(number(), before + 2 + 4);
        drop(watch);
        let (listener, ownership) = server.into_parts().expect("parts");
        assert_eq!(number(), before + 3);
        let mut watches = [ownership.watch().expect("watch"), ownership.watch().expect("another")];
        assert_eq!(number(), before + 3 + 2 * 3);
        // What they share is theirs as long as they are there.
        drop((listener, ownership));
        assert_eq!(number(), before + 2 + 2 * 3);
        assert_eq!(watches.each_mut().map(told), [Status::Gone; 2]);
        drop(watches);
        assert_eq!(number(), before);
    });
}

#[test]
fn its_descriptors_are_close_on_exec_and_it_goes_to_any_thread() {
    fn is_free<T: Send + Sync + 'static>(_: &T) {}
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let before = support::child::descriptors();
        let (server, watch) = watched(&dir.join("s"));
        is_free(&watch);
        let path_watch = unix_stream_server::PathWatch::new(dir.join("s")).expect("watch");
        is_free(&path_watch);
        for (number, file) in support::child::descriptors() {
            if before.iter().any(|(other, _)| *other == number) {
                continue;
            }
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).expect("/proc");
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
            let flags = i32::from_str_radix(flags, 8).expect("octal");
            assert!(flags & libc::O_CLOEXEC != 0, "{number} -> {}", file.display());
        }
        assert!(watch.as_raw_fd() > 2);
        drop((server, watch, path_watch));
    });
}

#[test]
fn a_forked_child_takes_no_event_from_its_parent() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let (server, watch) = watched(&path);
        let mut watch = Some(watch);
        rename_over(&dir, &path);
        let status = in_a_forked_child(|| {
            let mut copy = watch.take().expect("a copy");
            assert_error(&copy.check().expect_err("a child"), ErrorKind::Forked, EPERM);
            assert_error(&copy.wait().expect_err("a child"), ErrorKind::Forked, EPERM);
            drop(copy);
            true
        });
        assert_eq!(status, 0);
        assert_eq!(told(watch.as_mut().expect("the parent's")), Status::Replaced);
        drop(server);
    });
}

/// As tokio and mio do it: only a change of readiness wakes, so that a check has to take all.
#[test]
fn an_edge_triggered_loop_misses_nothing() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (_server, mut watch) = watched(&path);
    let thief = stranger(&dir.join("new"));
    let outer = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    epoll::add(&outer, watch.as_fd(), EventData::new_u64(7), EventFlags::IN | EventFlags::ET).expect("epoll");
    let wait = |limit: Duration| {
        let mut events = Vec::with_capacity(4);
        let limit = Timespec::try_from(limit).expect("short");
        epoll::wait(&outer, rustix::buffer::spare_capacity(&mut events), Some(&limit)).expect("epoll") > 0
    };
    thread::scope(|scope| {
        let (turn, turns) = std::sync::mpsc::sync_channel::<()>(0);
        let (dir, path) = (&dir, &path);
        scope.spawn(move || {
            while let Ok(()) = turns.recv() {
                chmod(&dir.join("new"), 0o600); // noise
                renameat_with(CWD, dir.join("new"), CWD, path, RenameFlags::EXCHANGE).expect("exchange");
            }
        });
        for round in 0..500 {
            turn.send(()).expect("the other thread");
            let expected = if round % 2 == 0 { Status::Replaced } else { Status::Ours };
            loop {
                assert!(wait(PATIENCE), "round {round}: it was never woken");
                if let Some(status) = watch.check().expect("a check") {
                    assert_eq!(status, expected, "round {round}");
                    break;
                }
            }
        }
    });
    while wait(Duration::ZERO) {
        watch.check().expect("a check");
    }
    drop(thief);
}

#[test]
fn a_serving_server_is_not_disturbed_by_its_watch() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (server, mut watch) = watched(&path);
    for _ in 0..10 {
        assert_eq!(watch.check().expect("a check"), None);
        assert_serves(&server, &path);
    }
    server.set_nonblocking(true).expect("fcntl");
    assert_eq!(server.accept().expect_err("nobody").kind(), std::io::ErrorKind::WouldBlock);
}
