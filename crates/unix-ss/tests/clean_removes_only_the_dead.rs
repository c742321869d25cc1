//! `clean`: what it says, and how it ends.

mod common;

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::users::{NOBODY, copy, is_root};
use common::{Place, eventually, put_dead, run, status_of, text, unix_ss};

fn age(path: &Path) {
    let changed = std::fs::symlink_metadata(path).expect("stat");
    let seconds = Duration::from_secs(u64::try_from(changed.ctime()).expect("now") + 2);
    eventually("it is old", || SystemTime::now().duration_since(UNIX_EPOCH).expect("now") > seconds);
}

fn clean(place: &Place, args: &[&str]) -> (i32, Vec<String>, String) {
    let output = run(unix_ss(&["clean"]).args(args).current_dir(place.path(".")));
    let mut lines: Vec<_> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    (status_of(&output), lines, text(&output.stderr))
}

#[test]
fn it_removes_what_the_dead_left_and_says_so() {
    let place = Place::new();
    let mut server = place.serve(&[], "live", &["true"]);
    put_dead(&place.path("dead"));
    put_dead(&place.path("new\nline"));
    std::fs::write(place.path("killed.lock"), b"").expect("write");
    std::fs::set_permissions(place.path("killed.lock"), std::fs::Permissions::from_mode(0o1400)).expect("chmod");
    age(&place.path("killed.lock"));
    let all = ["./dead, a dead socket", "./killed.lock, a lock of a killed starter", "./new\\nline, a dead socket"];
    let (status, lines, errors) = clean(&place, &["--dry-run", "."]);
    assert_eq!((status, lines.len(), errors.as_str()), (0, 3, ""), "{lines:?}");
    assert_eq!(lines[0], "would remove ./dead, a dead socket");
    let (status, lines, errors) = clean(&place, &["."]);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert_eq!(lines, all.map(|line| format!("removed {line}")));
    assert_eq!(clean(&place, &["."]), (0, vec![], String::new()), "nothing is left to do");
    assert_eq!(server.end(), 0);
    assert!(place.path("live.stderr").exists());
}

#[test]
fn the_exit_status_tells_what_was_in_the_way() {
    let place = Place::new();
    let mut server = place.serve(&[], "live", &["true"]);
    put_dead(&place.path("guarded"));
    std::fs::write(place.path("guarded.lock"), b"").expect("write"); // another program's
    std::fs::write(place.path("file"), b"data").expect("write");
    symlink("guarded", place.path("link")).expect("symlink");
    put_dead(&place.path("dead"));
    age(&place.path("dead"));
    for (paths, status, word) in [
        (&["none"][..], 0, ""),
        (&["live"], 3, "in use by process"),
        (&["guarded"], 3, "made by another program"),
        (&["file"], 4, "a regular file is there"),
        (&["link"], 4, "a symbolic link is there"),
        (&["none/s"], 1, "its directory is not there"),
        (&[""], 1, "the path is empty"),
        (&["live", "file", "none"], 4, "in use by"),
        (&["."], 3, "made by another program"),
    ] {
        let (was, _, errors) = clean(&place, paths);
        assert_eq!(was, status, "{paths:?}: {errors}");
        assert!(errors.contains(word), "{paths:?}: {errors}");
    }
    assert_eq!(clean(&place, &[]).0, 2);
    assert!(!place.path("dead").exists() && place.path("guarded").exists() && place.path("live").exists());
    assert_eq!(server.end(), 0);
}

#[test]
fn json_has_a_line_for_each_thing_found() {
    let place = Place::new();
    let mut server = place.serve(&[], "live", &["true"]);
    put_dead(&place.path("dead"));
    put_dead(&place.path("guarded"));
    std::fs::write(place.path("guarded.lock"), b"").expect("write");
    age(&place.path("guarded"));
    let (_, lines, _) = clean(&place, &["--json", "."]);
    let parsed: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said: Vec<_> = parsed.iter().map(|line| (line["path"].as_str(), line["outcome"].as_str())).collect();
    let expected = [("./dead", "removed"), ("./guarded", "failed"), ("./live", "in_use")];
    assert_eq!(said, expected.map(|(path, outcome)| (Some(path), Some(outcome))));
    assert_eq!(parsed[1]["errno"], "EEXIST");
    assert!(parsed.iter().all(|line| line["kind"] == "socket"));
    assert_eq!(server.end(), 0);
}

#[test]
fn of_a_young_one_it_says_that_it_was_left() {
    let place = Place::new();
    let left = "left young alone: it has changed within a second, and its server may be about to listen";
    let outcome = "\"outcome\":\"young\"";
    for (options, said) in [(&["young"][..], left), (&["--json", "young"], outcome)] {
        // It may grow old before it is looked at, and then goes.
        eventually("it is found while it is young", || {
            if !place.path("young").exists() {
                put_dead(&place.path("young"));
            }
            let (status, lines, errors) = clean(&place, options);
            assert_eq!((status, errors.as_str()), (0, ""));
            lines.iter().any(|line| line.contains(said))
        });
    }
}

#[test]
fn json_is_json_whatever_the_name() {
    let place = Place::new();
    let names = ["del\u{7f}", "c1\u{85}", "line\nline", "quote\"'\\"];
    for name in names {
        put_dead(&place.path(name));
        age(&place.path(name));
    }
    let (status, lines, _) = clean(&place, &["--json", "--dry-run", "."]);
    assert_eq!(status, 0);
    let mut said: Vec<_> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["path"].as_str().map(str::to_owned))
        .collect();
    said.sort();
    let mut expected = names.map(|name| Some(format!("./{name}")));
    expected.sort();
    assert_eq!(said, expected);
}

#[test]
fn it_goes_on_when_nobody_reads_and_when_nothing_can_be_written() {
    for full in [false, true] {
        let place = Place::new();
        (0..50).for_each(|number| put_dead(&place.path(&format!("s{number}"))));
        age(&place.path("s49"));
        let mut command = unix_ss(&["clean", &place.name("")]);
        if full {
            command.stdout(File::options().write(true).open("/dev/full").expect("open"));
        } else {
            let (reader, writer) = rustix::pipe::pipe().expect("pipe");
            drop(reader);
            command.stdout(writer);
        }
        let output = command.stderr(Stdio::piped()).output().expect("unix-ss");
        assert_eq!(status_of(&output), i32::from(full), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"));
        let left = std::fs::read_dir(place.path(".")).expect("read").count();
        assert_eq!(left, 0);
    }
}

#[test]
fn a_lock_that_may_not_be_removed_is_not_said_to_be() {
    if !is_root("files of another user") {
        return;
    }
    let place = Place::new();
    let lock = place.path("s.lock");
    std::fs::write(&lock, "").expect("write");
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o1400)).expect("chmod");
    chown(&lock, Some(NOBODY), None).expect("chown");
    std::fs::set_permissions(place.path(""), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut clean = Command::new(copy(&place));
    let output = run(clean.arg("clean").arg(place.path("s")).uid(NOBODY).gid(NOBODY).current_dir("/"));
    let errors = text(&output.stderr);
    assert_eq!((status_of(&output), text(&output.stdout)), (1, String::new()), "{errors}");
    assert!(errors.contains("unlink the lock file: permission denied"), "{errors}");
    assert!(lock.exists());
}
