//! A cleaning that enters directories: what is asked for and no further, wherever somebody would lead it.

pub mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use libc::{EACCES, ENOENT};
use support::cleaning::{age, clean, clean_dir, put_old_dead};
use support::dir::{Dir, beside, chmod, exists, put_file};
use support::sockets::{assert_serves, put_dead, stranger};
use support::wait::until;
use support::{assert_error, not_tried};
use unix_stream_server::{CleanEvent, CleanOptions, ErrorKind, Leftover, Outcome, ServerSocket};

/// The mark of our lock files.
const MARK: u32 = 0o1400;

#[test]
fn directories_below_are_entered_only_when_asked_and_links_never() {
    let dir = Dir::new();
    let outside = Dir::new();
    put_dead(&outside.join("dead"));
    let deep = dir.join("a/b/c");
    fs::create_dir_all(&deep).expect("mkdir");
    put_dead(&deep.join("dead"));
    put_dead(&dir.join("a/dead"));
    symlink(outside.path(), dir.join("a/link")).expect("symlink");
    age(&dir.join("a/dead"));
    assert_eq!(clean_dir(&CleanOptions::new(), dir.path()), []);
    let mut paths = Vec::new();
    let all = CleanOptions::new().recursive(true);
    all.run(dir.path(), |event| {
        if let CleanEvent::Found { path, outcome: Outcome::Removed, .. } = event {
            paths.push(path.to_owned());
        }
    })
    .expect("cleaned");
    paths.sort();
    assert_eq!(paths, [dir.join("a/b/c/dead"), dir.join("a/dead")]);
    assert!(exists(&outside.join("dead")));
}

#[test]
fn a_tower_of_directories_is_climbed_down_only_so_far() {
    let dir = Dir::new();
    let tower: PathBuf = std::iter::once(dir.path().as_os_str()).chain((0..150).map(|_| "d".as_ref())).collect();
    fs::create_dir_all(&tower).expect("mkdir");
    let (mut failed, mut directories) = (0, 0);
    CleanOptions::new()
        .recursive(true)
        .run(dir.path(), |event| match event {
            CleanEvent::Directory { .. } => directories += 1,
            CleanEvent::Found { what: Leftover::Directory, outcome: Outcome::Failed(_), .. } => failed += 1,
            _ => {}
        })
        .expect("cleaned");
    assert_eq!((directories, failed), (101, 1));
}

#[test]
fn a_directory_that_may_not_be_read_is_told() {
    let test = this_test!();
    support::child::ordinary_user(&test, || {
        let dir = Dir::new();
        fs::create_dir(dir.join("closed")).expect("mkdir");
        chmod(&dir.join("closed"), 0);
        let error = clean(&CleanOptions::new(), &dir.join("closed")).1.expect_err("closed");
        assert_error(&error, ErrorKind::System, EACCES);
        let found = clean_dir(&CleanOptions::new().recursive(true), dir.path());
        assert_eq!(found, [("closed".to_owned(), Leftover::Directory, format!("System {EACCES}"))]);
        // One in which nothing can be removed.
        fs::create_dir(dir.join("fixed")).expect("mkdir");
        put_old_dead(&dir.join("fixed/s"));
        chmod(&dir.join("fixed"), 0o500);
        let found = clean_dir(&CleanOptions::new(), &dir.join("fixed"));
        assert_eq!(found, [("s".to_owned(), Leftover::Socket, format!("System {EACCES}"))]);
        chmod(&dir.join("fixed"), 0o700);
        chmod(&dir.join("closed"), 0o700);
    });
}

#[test]
fn a_mount_point_is_not_entered() {
    // As everywhere.
    let mut mounted = Vec::new();
    let below = CleanOptions::new().recursive(true).dry_run(true);
    if !Path::new("/proc/sys/fs/binfmt_misc").exists() || !is_mount_point(Path::new("/dev/pts")) {
        return not_tried("mount points: none is where it usually is");
    }
    below
        .run("/dev", |event| {
            if let CleanEvent::Found { path, outcome: Outcome::MountPoint, .. } = event {
                mounted.push(path.to_owned());
            }
        })
        .expect("cleaned");
    assert!(mounted.contains(&PathBuf::from("/dev/pts")), "{mounted:?}");
}

fn is_mount_point(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == path))
}

#[test]
fn a_directory_that_vanishes_meanwhile_is_no_disaster() {
    for _ in 0..20 {
        let dir = Dir::new();
        let doomed = dir.join("doomed");
        fs::create_dir_all(doomed.join("below")).expect("mkdir");
        for number in 0..100 {
            put_dead(&doomed.join(format!("s{number}")));
            put_dead(&doomed.join(format!("below/s{number}")));
        }
        thread::scope(|scope| {
            scope.spawn(|| until("it is gone", || fs::remove_dir_all(&doomed).is_ok()));
            let result = CleanOptions::new().recursive(true).run(&doomed, |_| {});
            if let Err(error) = result {
                assert_error(&error, ErrorKind::System, ENOENT);
            }
        });
        assert_eq!(dir.names(), [""; 0]);
    }
}

/// Entries change their kind, their name and their target under the cleaner's hands; what is outside is not reached.
#[test]
fn a_hostile_directory_leads_a_cleaning_nowhere_else() {
    let outside = Dir::new();
    put_dead(&outside.join("dead"));
    put_file(&outside.join("x.lock"), b"", MARK);
    fs::create_dir(outside.join("d")).expect("mkdir");
    put_dead(&outside.join("d/dead"));
    let kept = stranger(&outside.join("live"));
    age(&outside.join("live"));
    let before = outside.files();
    let dir = Dir::new();
    let live = ServerSocket::create(dir.join("live")).expect("create");
    put_dead(&dir.join("spare"));
    age(&dir.join("spare"));
    let rounds = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let act = || {
            let at = dir.join("x");
            let clear = || drop((fs::remove_file(&at), fs::remove_dir_all(&at)));
            while !is_over.load(Ordering::SeqCst) {
                let _ = fs::rename(dir.join("spare"), &at);
                let _ = fs::rename(&at, dir.join("spare"));
                let _ = symlink(outside.join("dead"), &at);
                clear();
                let _ = symlink(outside.join("d"), &at);
                clear();
                let _ = fs::create_dir(&at);
                let _ = fs::rename(&at, dir.join("y"));
                let _ = symlink(outside.path(), &at);
                clear();
                let _ = fs::remove_dir(dir.join("y"));
                let _ = symlink(outside.join("x.lock"), beside(&at, ".lock"));
                let _ = fs::remove_file(beside(&at, ".lock"));
                let _ = fs::write(beside(&at, ".lock"), b"");
                let _ = fs::remove_file(beside(&at, ".lock"));
                if !exists(&dir.join("spare")) {
                    drop(UnixListener::bind(dir.join("spare")));
                }
                rounds.fetch_add(1, Ordering::SeqCst);
            }
        };
        scope.spawn(act);
        for _ in 0..300 {
            let result = CleanOptions::new().recursive(true).run(dir.path(), |_| {});
            result.expect("cleaned");
        }
        until("both were at work", || rounds.load(Ordering::SeqCst) > 100);
        is_over.store(true, Ordering::SeqCst);
    });
    assert_eq!(outside.files(), before);
    assert_serves(&kept, &outside.join("live"));
    assert_serves(&live, live.local_path());
}
