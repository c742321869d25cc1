//! Locks, and what the dead have left.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn another_users_leftovers_are_told_to_an_ordinary_user() {
    if !is_root("files of other users") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o1777);
    put_dead(&place.path("s"));
    chmod(&place.path("s"), 0o666);
    mark(&place.path("lonely.lock"));
    let findings = found(as_nobody(&place).arg(place.path("s")));
    findings.has("warning", "socket-of-another-user", &place.path("s"));
    // Root may have given him the socket of its own server.
    chown(place.path("s"), Some(NOBODY), None).expect("chown");
    chmod(&place.path(""), 0o755);
    let findings = examined(&place, &place.path("s"));
    let about = place.path("").components().collect::<PathBuf>();
    findings.has("note", "parent-not-writable", &about);
    chmod(&place.path(""), 0o1777);
    chown(place.path("s"), Some(0), None).expect("chown");
    let findings = found(as_nobody(&place).arg(place.path("lonely")));
    findings.has("error", "lock-left-by-another-user", &place.path("lonely.lock"));
    chmod(&place.path("s"), 0o600);
    let findings = found(as_nobody(&place).arg(place.path("s")));
    findings.has("error", "cannot-tell", &place.path("s"));
    assert_eq!(findings.status, 4);
}

#[test]
fn locks_are_told_apart() {
    let place = Place::new();
    mark(&place.path("left.lock"));
    examined(&place, &place.path("left")).has("warning", "lock-left", &place.path("left.lock"));
    mark(&place.path("life.owner"));
    examined(&place, &place.path("life")).has("warning", "life-lock-left", &place.path("life.owner"));
    mark(&place.path("begun.start"));
    examined(&place, &place.path("begun")).has("warning", "start-lock-left", &place.path("begun.start"));
    for name in ["git.lock", "foreign.owner", "foreign.start"] {
        fs::write(place.path(name), "1").expect("a file");
        let path = place.path(name).with_extension("");
        let findings = examined(&place, &path);
        findings.has(if name == "git.lock" { "error" } else { "warning" }, "lock-foreign", &place.path(name));
    }
    let claim = unix_stream_server::ServerSocket::builder().claim(place.path("held")).expect("a claim");
    let findings = examined(&place, &place.path("held"));
    // It is no start that takes a moment: whoever has a claim prepares, or is stuck.
    let held = findings.has("warning", "lock-held", &place.path("held.lock"));
    let us = std::process::id().to_string();
    assert!(held["why"].as_str().is_some_and(|why| why.contains(&us) || why.contains("cannot be seen")), "{held}");
    drop(claim);
}

#[test]
fn a_lock_that_somebody_holds_is_not_to_be_removed_whatever_its_mode() {
    let place = Place::new();
    // As where the file system drops the sticky bit.
    for name in ["s.lock", "s.owner", "s.start"] {
        let file = fs::File::create(place.path(name)).expect("a file");
        chmod(&place.path(name), 0o400);
        flock(&file, FlockOperation::NonBlockingLockExclusive).expect("a lock");
        let findings = examined(&place, &place.path("s"));
        let severity = if name == "s.lock" { "error" } else { "warning" }; // without it nobody starts
        let held = findings.has(severity, "lock-unmarked", &place.path(name));
        let us = format!("process {}", std::process::id());
        assert!(held["why"].as_str().is_some_and(|why| why.contains(&us) || why.contains("a process")), "{held}");
        assert!(!held["remedy"].as_str().is_some_and(|remedy| remedy.contains("remove")), "{held}");
        drop(file);
        let findings = in_the_end(&place, &place.path("s"), "lock-foreign");
        findings.has(severity, "lock-foreign", &place.path(name));
        fs::remove_file(place.path(name)).expect("removed");
    }
}

/// Made anew, with our mark, and held as long as this lives.
fn held_life_lock(path: &Path) -> fs::File {
    mark(path);
    chmod(path, 0o1400);
    // Its owner may read it.
    let held = fs::File::open(path).expect("a file");
    flock(&held, FlockOperation::NonBlockingLockExclusive).expect("a lock");
    held
}

#[test]
fn a_held_life_lock_is_told_where_no_server_is() {
    let place = Place::new();
    let held = held_life_lock(&place.path("s.owner"));
    let findings = examined(&place, &place.path("s"));
    let finding = findings.has("note", "life-lock-held", &place.path("s.owner"));
    let us = format!("process {}", std::process::id());
    assert!(
        finding["why"].as_str().is_some_and(|why| why.contains(&us) || why.contains("cannot be seen")),
        "{finding}"
    );
    drop(held);
    let findings = in_the_end(&place, &place.path("s"), "life-lock-left");
    findings.has_not("life-lock-held");
    let left = findings.has("warning", "life-lock-left", &place.path("s.owner"));
    assert!(left["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("unix-ss clean ")), "{left}");
}

/// As of a server that drains, or was killed while its child keeps the lock.
#[test]
fn a_held_life_lock_is_told_beside_a_dead_socket_too() {
    let place = Place::new();
    put_dead(&place.path("s"));
    let _held = held_life_lock(&place.path("s.owner"));
    // The socket is young for a second.
    let findings = in_the_end(&place, &place.path("s"), "life-lock-held");
    findings.has("note", "life-lock-held", &place.path("s.owner"));
    let dead = findings.has("warning", "socket-dead", &place.path("s"));
    assert!(dead["remedy"].as_str().is_some_and(|remedy| remedy.contains("life-lock-held")), "{dead}");
}

/// Their locks have hashes for names.
#[test]
fn of_long_names_the_locks_are_looked_at_too() {
    let place = Place::new();
    let path = place.path(&"n".repeat(250));
    let claim = unix_stream_server::ServerSocket::builder()
        .lock_scope(unix_stream_server::LockScope::Lifetime)
        .claim(&path)
        .expect("a claim");
    let mut names = fs::read_dir(place.path("")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let life_lock = names.find(|path| path.extension().is_some_and(|end| end == "owner")).expect("a lock");
    drop(claim);
    put_dead(&path);
    fs::write(&life_lock, "another's").expect("a file");
    chmod(&life_lock, 0o644);
    let findings = examined(&place, &path);
    findings.has("warning", "lock-foreign", &life_lock);
    fs::remove_file(&life_lock).expect("removed");
    let _held = held_life_lock(&life_lock);
    let findings = in_the_end(&place, &path, "life-lock-held");
    findings.has("note", "life-lock-held", &life_lock);
    findings.has_not("socket-not-listening");
}

#[test]
fn a_live_server_with_a_life_lock_is_well() {
    let place = Place::new();
    let _server = place.serve(&["--lock-scope", "lifetime"], "s", &["cat"]);
    let findings = examined(&place, &place.path("s"));
    findings.is_well();
    findings.has_not("life-lock-held");
}

#[test]
fn locks_beside_a_link_are_those_of_what_it_leads_to_and_their_remedy_works() {
    let place = Place::new();
    put_dead(&place.path("dead"));
    mark(&place.path("dead.lock"));
    symlink("dead", place.path("link")).expect("a link");
    let findings = examined(&place, &place.path("link"));
    let left = findings.has("warning", "lock-left", &place.path("dead.lock"));
    let clean = format!("unix-ss clean {}", fs::canonicalize(place.path("dead")).expect("a path").display());
    assert!(left["remedy"].as_str().is_some_and(|remedy| remedy.ends_with(&clean)), "{left}");
}

#[test]
fn what_is_left_is_named_from_the_root_on_and_by_its_own_name() {
    let place = Place::new();
    mark(&place.path("s.owner"));
    mark(&place.path("s.start"));
    let mut command = unix_ss(&["doctor", "--json", "s"]);
    let findings = found(command.current_dir(place.path("")));
    findings.has("warning", "life-lock-left", &place.path("s.owner"));
    findings.has("warning", "start-lock-left", &place.path("s.start"));
    // The lock of a long name has a hash for its name.
    let long = "l".repeat(252);
    let claim = unix_stream_server::ServerSocket::builder().claim(place.path(&long)).expect("a claim");
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lock");
    let lock = files(&place.path("")).into_keys().find(is_lock).expect("a lock");
    let kept = place.path("kept");
    fs::rename(&lock, &kept).expect("renamed");
    drop(claim);
    fs::rename(&kept, &lock).expect("renamed");
    in_the_end(&place, &place.path(&long), "lock-left").has("warning", "lock-left", &lock);
}

#[test]
fn a_temporary_name_of_a_killed_starter_is_found() {
    let place = Place::new();
    // A name that a server is bound beside, since it does not fit: taken by one, and left at its temporary name.
    let name = "t".repeat(120);
    let server = unix_stream_server::ServerSocket::create(place.path(&name)).expect("a server");
    let bound = server.local_addr().expect("an address");
    let temporary = bound.as_pathname().expect("a name").file_name().expect("a name").to_owned();
    drop(server.into_listener());
    fs::rename(place.path(&name), place.path("").join(&temporary)).expect("renamed");
    eventually("it is old enough to be called left", || {
        let findings = examined(&place, &place.path(&name));
        findings.ids().contains(&"temporary-left")
    });
    if is_root("files of other users") {
        chmod(&place.path(""), 0o1777);
        for mode in [0o600, 0o666] {
            chmod(&place.path("").join(&temporary), mode);
            let findings = found(as_nobody(&place).arg(place.path(&name)));
            findings.has("warning", "temporary-of-another-user", &place.path("").join(&temporary));
            findings.has_not("temporary-left");
        }
    }
    fs::remove_file(place.path("").join(&temporary)).expect("removed");
    fs::create_dir(place.path("").join(&temporary)).expect("a directory");
    let findings = examined(&place, &place.path(&name));
    findings.has("warning", "temporary-name-taken", &place.path("").join(&temporary));
}

#[test]
fn the_other_locks_of_another_user_are_told_apart_as_well() {
    if !is_root("files of other users") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o1777);
    mark(&place.path("s.owner"));
    mark(&place.path("s.start"));
    let findings = found(as_nobody(&place).arg(place.path("s")));
    for name in ["s.owner", "s.start"] {
        findings.has("warning", "lock-left-by-another-user", &place.path(name));
    }
    findings.has_not("life-lock-left");
    findings.has_not("start-lock-left");
    // Where he may not remove them, their owner is not to be asked.
    let remedies = |findings: &Findings| -> Vec<String> {
        let left = findings.all.iter().filter(|finding| finding["finding"] == "lock-left-by-another-user");
        left.map(|finding| finding["remedy"].as_str().expect("a remedy").to_owned()).collect()
    };
    assert!(remedies(&findings).iter().all(|remedy| remedy.starts_with("let that user, or root")), "{findings:?}");
    chmod(&place.path(""), 0o755);
    chown(place.path("s.owner"), Some(12_345), None).expect("chown");
    let findings = found(as_nobody(&place).arg(place.path("s")));
    assert!(remedies(&findings).iter().any(|remedy| remedy.starts_with("let root do it")), "{findings:?}");
    chmod(&place.path(""), 0o1777);
    chown(place.path("s.owner"), Some(0), None).expect("chown");
    // Root takes over whatever there is.
    let findings = examined(&place, &place.path("s"));
    findings.has_not("lock-left-by-another-user");
    findings.has("warning", "life-lock-left", &place.path("s.owner"));
    // Beside a dead socket it is one for the server's user to remove, whoever looks.
    put_dead(&place.path("s"));
    chmod(&place.path("s"), 0o666);
    in_the_end(&place, &place.path("s"), "life-lock-left");
    for mode in [0o755, 0o1777] {
        chmod(&place.path(""), mode);
        found(as_nobody(&place).arg(place.path("s"))).has("warning", "life-lock-left", &place.path("s.owner"));
    }
}

#[test]
fn a_lock_with_a_second_link_is_not_called_left() {
    let place = Place::new();
    for name in ["s.lock", "s.owner", "s.start"] {
        mark(&place.path(name));
        fs::hard_link(place.path(name), place.path("link")).expect("a link");
        let findings = examined(&place, &place.path("s"));
        let severity = if name == "s.lock" { "error" } else { "warning" };
        findings.has(severity, "lock-linked", &place.path(name));
        for id in ["lock-left", "life-lock-left", "life-lock-held", "start-lock-left", "lock-foreign"] {
            findings.has_not(id);
        }
        let clean = |options: &[&str]| status_of(&run(unix_ss(&["clean"]).args(options).arg(place.path("s"))));
        assert_eq!((clean(&["--dry-run"]), clean(&[])), (3, 3), "{name}");
        fs::remove_file(place.path("link")).expect("removed");
        fs::remove_file(place.path(name)).expect("removed");
    }
}

/// The link may be the lock of another path.
#[test]
fn a_lock_with_a_second_link_that_somebody_holds_is_not_to_be_removed() {
    let place = Place::new();
    let _held = held_life_lock(&place.path("other.owner"));
    fs::hard_link(place.path("other.owner"), place.path("s.owner")).expect("a link");
    let findings = examined(&place, &place.path("s"));
    let held = findings.has("warning", "lock-linked", &place.path("s.owner"));
    assert!(held["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("leave the name by which")), "{held}");
}

#[test]
fn what_is_no_file_at_the_locks_name_is_not_called_a_lock() {
    let place = Place::new();
    let _other = UnixListener::bind(place.path("s.lock")).expect("a socket");
    let findings = examined(&place, &place.path("s"));
    let foreign = findings.has("error", "lock-foreign", &place.path("s.lock"));
    assert!(foreign["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("choose another path")), "{foreign}");
}

/// As PostgreSQL's and Wayland's.
#[test]
fn the_lock_of_a_live_server_of_another_kind_is_no_more_than_a_note() {
    let place = Place::new();
    let _server = UnixListener::bind(place.path("s")).expect("a socket");
    fs::write(place.path("s.lock"), "1").expect("a file");
    examined(&place, &place.path("s")).has("note", "lock-foreign", &place.path("s.lock"));
    // Not so of one of this kind, which it keeps from its end and from being replaced.
    chmod(&place.path("s"), 0o1755);
    examined(&place, &place.path("s")).has("warning", "lock-foreign", &place.path("s.lock"));
}

/// Ends whoever looks at it, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Between two of its steps a start's lock looks like one that was left, or like another program's.
#[test]
fn the_lock_of_a_start_that_is_under_way_is_nobodys_to_remove() {
    let place = Place::new();
    let (path, stop) = (place.path("s"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = unix_stream_server::ServerSocket::create(&path);
            }
        });
        for _ in 0..20 {
            let findings = found(unix_ss(&["doctor", "--json"]).arg(&path));
            for id in ["lock-left", "lock-foreign", "lock-linked", "lock-unmarked"] {
                findings.has_not(id);
            }
        }
    });
}
