//! A directory for sockets that is this user's alone: where it is, and what is refused.

pub mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{EINVAL, ENAMETOOLONG, ENOTDIR, EPERM};
use rustix::fs::Mode;
use support::child::{self, Program};
use support::dir::{Dir, chmod, mode, put_file};
use support::{NOBODY, as_user, is_root, not_tried};
use unix_stream_server::{ErrorKind, runtime_dir};

const SOMEBODY_ELSE: u32 = 65_533;

/// A name that no program has.
fn unlikely() -> String {
    format!("unix-stream-server-test-{}", std::process::id())
}

/// What the call says in a process with this environment: the path, or errno and message.
fn ask(test: &str, name: &str, set: &[(&str, &Path)], ordinary: bool) -> Result<PathBuf, (i32, String)> {
    let mut program = Program::new(test, "asks").value("name", name).no_env("XDG_RUNTIME_DIR");
    for (key, value) in set {
        program = program.env(key, value);
    }
    let mut asks = if ordinary { program.ordinary() } else { program }.start();
    let answer = asks.hear("answer");
    asks.finish();
    match answer.split_once(' ').expect("two words") {
        ("0", path) => Ok(PathBuf::from(path)),
        (errno, message) => Err((errno.parse().expect("a number"), message.to_owned())),
    }
}

/// In the child.
fn answer() {
    match runtime_dir(child::value("name")) {
        Ok(path) => child::say(&format!("answer 0 {}", path.display())),
        Err(error) => child::say(&format!("answer {} {error}", error.raw_os_error())),
    }
}

/// An empty directory of the user who asks.
fn own_dir(dir: &Dir, name: &str, ordinary: bool) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir(&path).expect("mkdir");
    chmod(&path, 0o700);
    if ordinary && is_root() {
        chown(&path, Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    path
}

#[test]
fn it_is_in_the_directory_that_the_session_says() {
    let test = this_test!();
    if child::role().is_some() {
        return answer();
    }
    for ordinary in [false, true] {
        let dir = Dir::new();
        let base = own_dir(&dir, "run", ordinary);
        for _ in 0..2 {
            let path = ask(&test, "prog", &[("XDG_RUNTIME_DIR", &base)], ordinary).expect("a directory");
            assert_eq!((&path, mode(&path)), (&base.join("prog"), 0o700));
        }
        // One that is there gets the same mode, whoever made it so that others can enter.
        for bits in [0o755, 0o711, 0o750, 0o500] {
            chmod(&base.join("prog"), bits);
            ask(&test, "prog", &[("XDG_RUNTIME_DIR", &base)], ordinary).expect("a directory");
            assert_eq!(mode(&base.join("prog")), 0o700);
        }
    }
}

#[test]
fn no_umask_spoils_it_and_none_is_changed() {
    let test = this_test!();
    if child::role().is_some() {
        let umask = Mode::from_raw_mode(child::value("umask").parse().expect("a number"));
        rustix::process::umask(umask);
        let path = runtime_dir("prog").expect("a directory");
        assert_eq!(mode(&path), 0o700);
        assert_eq!(rustix::process::umask(umask), umask);
        return;
    }
    for umask in [0, 0o777, 0o277, 0o077] {
        let dir = Dir::new();
        let base = own_dir(&dir, "run", true);
        let program = Program::new(&test, "asks").env("XDG_RUNTIME_DIR", &base).ordinary();
        program.value("umask", &umask.to_string()).run();
    }
}

#[test]
fn an_unfit_directory_of_the_session_is_passed_over() {
    let test = this_test!();
    if child::role().is_some() {
        return answer();
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o1777);
    let unfit = own_dir(&dir, "unfit", true);
    chmod(&unfit, 0o720);
    put_file(&dir.join("file"), b"", 0o600);
    let uid = if is_root() { NOBODY } else { rustix::process::geteuid().as_raw() };
    let name = unlikely();
    let mut bases = vec![unfit, dir.join("missing"), dir.join("file"), PathBuf::from("relative"), PathBuf::new()];
    if is_root() {
        bases.push(own_dir(&dir, "roots", false)); // as after su
    }
    for base in bases {
        let path = ask(&test, &name, &[("XDG_RUNTIME_DIR", &base), ("TMPDIR", dir.path())], true).expect("another");
        let session = PathBuf::from(format!("/run/user/{uid}"));
        let expected = if session.exists() { session.join(&name) } else { dir.join(format!("{name}-{uid}")) };
        assert_eq!((&path, mode(&path)), (&expected, 0o700), "{}", base.display());
        fs::remove_dir(&path).expect("rmdir");
    }
}

#[test]
fn roots_is_in_run_and_not_in_its_login_session() {
    let test = this_test!();
    if child::role().is_some() {
        return answer();
    }
    if !is_root() {
        return not_tried("root's directory: needs root");
    }
    let run = fs::metadata("/run").expect("/run");
    if run.uid() != 0 || run.mode() & 0o022 != 0 {
        return not_tried("root's directory: /run is not root's alone");
    }
    let name = unlikely();
    let session = Path::new("/run/user/0");
    for set in [&[][..], &[("XDG_RUNTIME_DIR", session)]] {
        let path = ask(&test, &name, set, false).expect("a directory");
        assert_eq!((path.clone(), mode(&path)), (Path::new("/run").join(&name), 0o700));
        fs::remove_dir(&path).expect("rmdir");
    }
}

#[test]
fn what_is_not_ours_alone_is_refused_and_the_message_says_which_and_why() {
    let test = this_test!();
    if child::role().is_some() {
        return answer();
    }
    let dir = Dir::new();
    let base = own_dir(&dir, "run", true);
    let refused = |errno: i32, parts: &[&str]| {
        let (was, message) = ask(&test, "prog", &[("XDG_RUNTIME_DIR", &base)], true).expect_err("refused");
        assert_eq!(was, errno, "{message}");
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
        assert!(message.contains(&base.join("prog").display().to_string()), "{message}");
    };
    let at = base.join("prog");
    let give = |path: &Path, uid| {
        if is_root() {
            chown(path, Some(uid), Some(uid)).expect("chown");
        }
    };
    fs::create_dir(&at).expect("mkdir");
    give(&at, NOBODY);
    for bits in [0o770, 0o702, 0o1777] {
        chmod(&at, bits);
        refused(EPERM, &["others may write to it", "chmod 700"]);
        assert_eq!(mode(&at), bits, "it was not touched");
    }
    if is_root() {
        chmod(&at, 0o700);
        give(&at, SOMEBODY_ELSE);
        refused(EPERM, &["of uid 65533, not 65534"]);
    }
    fs::remove_dir(&at).expect("rmdir");
    put_file(&at, b"data", 0o600);
    refused(ENOTDIR, &["a regular file is there"]);
    fs::remove_file(&at).expect("rm");
    let elsewhere = own_dir(&dir, "elsewhere", true);
    chmod(&elsewhere, 0o500);
    symlink(&elsewhere, &at).expect("symlink");
    refused(ENOTDIR, &["a symbolic link is there"]);
    assert_eq!(mode(&elsewhere), 0o500);
}

#[test]
fn without_a_fit_directory_the_message_tells_of_each() {
    let test = this_test!();
    if child::role().is_some() {
        return answer();
    }
    let uid = if is_root() { NOBODY } else { rustix::process::geteuid().as_raw() };
    let session = format!("/run/user/{uid}");
    if Path::new(&session).exists() {
        return not_tried("no fit directory at all: this user has a session");
    }
    let dir = Dir::new(); // writable by everybody, and not sticky
    let (errno, message) =
        ask(&test, "prog", &[("XDG_RUNTIME_DIR", Path::new("here")), ("TMPDIR", dir.path())], true).expect_err("none");
    assert_eq!(errno, EPERM, "{message}");
    let shared = format!("{} may be written by others (mode 0777) and is not sticky", dir.path().display());
    for part in ["here is no absolute path", &format!("{session} cannot be used: no such file"), &shared] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_name_is_that_of_a_program() {
    for name in ["", ".", "..", "a/b", "/", "a\0b"] {
        let error = runtime_dir(name).expect_err(name);
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Invalid, EINVAL), "{name:?}");
    }
    let test = this_test!();
    if child::role().is_some() {
        return answer();
    }
    let dir = Dir::new();
    let base = own_dir(&dir, "run", true);
    let long = ask(&test, &"x".repeat(256), &[("XDG_RUNTIME_DIR", &base)], true);
    assert_eq!(long.expect_err("too long").0, ENAMETOOLONG);
    ask(&test, &"x".repeat(255), &[("XDG_RUNTIME_DIR", &base)], true).expect("just right");
}

/// Somebody puts links and directories of his own at the name, as fast as he can.
#[test]
fn a_race_for_the_name_in_a_shared_directory_is_never_lost_unnoticed() {
    let test = this_test!();
    if child::role().is_some() {
        let me = rustix::process::geteuid().as_raw();
        let mut had = 0;
        for _ in 0..1_000 {
            let Ok(path) = runtime_dir("prog") else { continue };
            had += 1;
            // Once it is ours, it stays so: nobody else can take it away from a sticky directory.
            let now = fs::symlink_metadata(&path).expect("there");
            assert!(now.is_dir() && now.uid() == me && now.mode() & 0o777 == 0o700, "{now:?}");
            fs::remove_dir(&path).expect("rmdir");
        }
        return child::say(&format!("had {had}"));
    }
    if !is_root() {
        return not_tried("a race with another user: needs root");
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o1777);
    let target = own_dir(&dir, "target", true); // the victim's: what a followed link would spoil
    chmod(&target, 0o500);
    let at = dir.join(format!("prog-{NOBODY}"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            as_user(SOMEBODY_ELSE, SOMEBODY_ELSE, &[], || {
                while !is_over.load(Ordering::SeqCst) {
                    let _ = symlink(&target, &at);
                    let _ = fs::remove_file(&at);
                    let _ = fs::create_dir(&at);
                    let _ = fs::remove_dir(&at);
                }
            });
        });
        let asks = Program::new(&test, "asks").no_env("XDG_RUNTIME_DIR").env("TMPDIR", dir.path()).ordinary();
        let mut asks = asks.start();
        let had: u32 = asks.hear("had").parse().expect("a number");
        asks.finish();
        is_over.store(true, Ordering::SeqCst);
        assert!(had > 0, "it was never had");
    });
    assert_eq!(mode(&target), 0o500);
}
