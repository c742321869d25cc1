//! File systems, cleaners, sessions, namespaces.

use super::*;

#[test]
fn a_file_system_that_others_may_serve_on_is_told() {
    let place = Place::new();
    // Of a type that is not known to be local.
    let findings = examined(&place, Path::new("/proc/self/s"));
    assert!(findings.all.iter().any(|finding| finding["finding"] == "file-system-not-local"), "{findings:#?}");
}

/// Under a kernel of which this call fails, with this argument if one is given.
fn without(call: libc::c_long, argument: Option<(u32, u32)>, errno: Errno, path: &Path) -> Findings {
    let path = path.to_owned();
    let asked = std::thread::spawn(move || {
        filter::without(call, argument, errno.raw_os_error());
        found(unix_ss(&["doctor", "--json"]).arg(path))
    });
    asked.join().expect("findings")
}

#[test]
fn a_file_system_without_flock_is_told() {
    // Of a type that is not known to be local; on a local one flock is not tried.
    let findings = without(libc::SYS_flock, None, Errno::OPNOTSUPP, Path::new("/proc/s"));
    findings.has("error", "file-system-without-flock", Path::new("/proc"));
    let findings = found(&mut unix_ss(&["doctor", "--json", "/proc/s"]));
    assert!(findings.all.iter().all(|finding| finding["finding"] != "file-system-without-flock"), "{findings:#?}");
}

#[test]
fn a_parent_that_the_file_system_cannot_read_is_told() {
    let place = Place::new();
    fs::create_dir(place.path("d")).expect("a directory");
    // What std's symlink_metadata() asks, and nothing else does.
    let is_lstat = Some((2, u32::try_from(libc::AT_SYMLINK_NOFOLLOW).expect("a flag")));
    let findings = without(libc::SYS_statx, is_lstat, Errno::IO, &place.path("d/s"));
    let unreadable = findings.all.iter().find(|finding| finding["finding"] == "parent-unreadable");
    let why = unreadable.and_then(|finding| finding["why"].as_str()).unwrap_or_else(|| panic!("{findings:#?}"));
    assert_eq!(why.to_lowercase(), "input/output error");
    assert_eq!(unreadable.expect("there")["severity"], "error");
}

/// As root with mounts of its own; `script` sees the command as `$1`.
#[track_caller]
pub(super) fn with_mounts(script: &str, place: &Place) -> Findings {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", script, "sh", env!("CARGO_BIN_EXE_unix-ss")]).arg(place.path(""));
    found(&mut command)
}

#[test]
fn mounts_and_cleaners_are_told() {
    if !is_root("mounts") || !unshares(&["-m"]) {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("ro")).expect("a directory");
    let findings = with_mounts("mount -t tmpfs -o ro none $2/ro; exec $1 doctor --json $2/ro/s", &place);
    findings.has("error", "file-system-read-only", &place.path("ro"));
    let findings = with_mounts("mount -t tmpfs -o ro none $2/ro; exec $1 doctor --json $2/ro/no/s", &place);
    findings.has("error", "file-system-read-only", &place.path("ro"));
    findings.has("error", "parent-missing", &place.path("ro/no"));
    // Of who may not write there as well.
    let script = "mount -t tmpfs -o ro,mode=755 none $2/ro; \
        exec setpriv --reuid=65534 --regid=65534 --clear-groups $2/unix-ss doctor --json $2/ro/s";
    chmod(&place.path(""), 0o755);
    copy(&place);
    with_mounts(script, &place).has("error", "file-system-read-only", &place.path("ro"));
    // A server that lives there needs no more than to be connected to.
    let server = place.serve(&[], "live", &["cat"]);
    let script = "mkdir $2/m; mount --bind $2 $2/m; mount -o remount,bind,ro $2/m; exec $1 doctor --json $2/m/live";
    with_mounts(script, &place).has("note", "file-system-read-only", &place.path("m"));
    drop(server);
    let no_session = "mount -t tmpfs none /run; exec $1 doctor --json /run/user/12345/s";
    let findings = with_mounts(no_session, &place);
    let missing = findings.has("error", "parent-missing", Path::new("/run/user"));
    assert!(missing["remedy"].as_str().is_some_and(|remedy| remedy.ends_with("enable-linger 12345")), "{missing}");
    // The same age for a path that a cleaner sees, and for one that it does not see.
    let rule = "mount -t tmpfs none /run; mkdir /run/tmpfiles.d /run/app; echo 'd /run/app 0755 - - 3d' >/run/tmpfiles.d/a.conf; ";
    let seen = with_mounts(&format!("{rule} exec $1 doctor --json /run/app/s"), &place);
    let cleaner = seen.has("note", "tmp-cleaner", Path::new("/run/app/s"));
    assert!(cleaner["why"].as_str().is_some_and(|why| why.contains("3d") && why.contains("a.conf")), "{cleaner}");
    // The name by which it was bound has the say: a moved one is not seen where it is now.
    let moved = UnixListener::bind(place.path("before")).expect("a socket");
    fs::rename(place.path("before"), place.path("moved")).expect("renamed");
    let own_rule =
        "mount -t tmpfs none /run; mkdir /run/tmpfiles.d; echo \"d '$2' - - - 3d\" >/run/tmpfiles.d/a.conf; ";
    let ask = format!("{own_rule} exec $1 doctor --json $2/moved");
    with_mounts(&ask, &place).has("warning", "tmp-cleaner", &place.path("moved"));
    fs::rename(place.path("moved"), place.path("before")).expect("renamed");
    let ask = format!("{own_rule} exec $1 doctor --json $2/before");
    with_mounts(&ask, &place).has("note", "tmp-cleaner", &place.path("before"));
    drop(moved);
    let long = Path::new("/run/app").join("l".repeat(110));
    let unseen = with_mounts(&format!("{rule} exec $1 doctor --json {}", long.display()), &place);
    unseen.has("warning", "tmp-cleaner", &long);
    // Some mount has a name that is no text.
    let overlay = "mount -t tmpfs none $2/ro; cd $2/ro; mkdir l u w m $(printf 'z\\377'); mount -t tmpfs none z*; \
        mount -t overlay overlay -o lowerdir=$PWD/l,upperdir=$PWD/u,workdir=$PWD/w m; exec $1 doctor --json $PWD/m/s";
    with_mounts(overlay, &place).has("note", "file-system-overlay", &place.path("ro/m"));
    let session = "mount -t tmpfs none /run; mkdir -p -m 700 /run/user/0; unset XDG_RUNTIME_DIR; \
        exec $1 doctor --json /run/user/0/s";
    let findings = with_mounts(session, &place);
    let session = findings.has("note", "session-directory", Path::new("/run/user/0"));
    assert!(session["remedy"].as_str().is_some_and(|remedy| remedy.ends_with("enable-linger root")), "{session}");
    let others = "mount -t tmpfs none /run; mkdir -p -m 700 /run/user/12345; unset XDG_RUNTIME_DIR; \
        exec $1 doctor --json /run/user/12345/s";
    let others = with_mounts(others, &place);
    let unset = others.has("note", "xdg-runtime-dir-unset", Path::new("/run/user/12345"));
    assert!(unset["remedy"].as_str().is_some_and(|remedy| remedy.contains("in the shell of 12345")), "{unset}");
    findings.has("warning", "xdg-runtime-dir-unset", Path::new("/run/user/0"));
    let findings = with_mounts("umount -l /proc; exec $1 doctor --json $2/s", &place);
    findings.has("warning", "no-proc", Path::new("/proc"));
    findings.has_not("listeners-unknown"); // the list is not in /proc
}

#[test]
fn namespaces_are_told() {
    if !is_root("namespaces") || !unshares(&["-m", "-p", "-f", "--mount-proc"]) {
        return;
    }
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(["-p", "-f", "--mount-proc", env!("CARGO_BIN_EXE_unix-ss"), "doctor", "--json"]).arg(place.path("s"));
    let inside = found(&mut command);
    assert!(inside.ids().contains(&"pid-namespace"), "{inside:?}");
    let errors = fs::File::create(place.path("errors")).expect("a file");
    let mut server = Command::new("unshare");
    server.args(["-m", env!("CARGO_BIN_EXE_unix-ss"), "serve"]).arg(place.path("s")).args(["--", "cat"]).stderr(errors);
    let server = Running::of(server);
    eventually("it listens", || std::os::unix::net::UnixStream::connect(place.path("s")).is_ok());
    examined(&place, &place.path("s")).has("note", "other-mount-namespace", &place.path("s"));
    server.signal(Signal::TERM);
    eventually("it is gone", || !place.path("s").exists());
}

#[test]
fn an_unfit_runtime_directory_is_told() {
    let place = Place::new();
    fs::create_dir(place.path("run")).expect("a directory");
    let ask = || {
        let mut command = unix_ss(&["doctor", "--json"]);
        found(command.arg(place.path("run/s")).env("XDG_RUNTIME_DIR", place.path("run")))
    };
    chmod(&place.path("run"), 0o700);
    ask().is_well();
    chmod(&place.path("run"), 0o755);
    ask().has("warning", "xdg-runtime-dir-unfit", &place.path("run"));
}

#[test]
fn a_directory_for_temporary_files_is_told_by_its_variable_too() {
    let place = Place::new();
    let mut command = unix_ss(&["doctor", "--json"]);
    let findings = found(command.arg(place.path("s")).env("TMPDIR", place.path("")));
    findings.has("note", "temporary-directory", &place.path("s"));
}

#[test]
fn a_full_file_system_is_told_whatever_it_is_full_of() {
    if !is_root("mounts") || !unshares(&["-m"]) {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("full")).expect("a directory");
    // A start needs two inodes, and of blocks where the directory is long.
    for (limit, fill, severity) in [("nr_inodes=3", ":>$2/full/x", "error"), ("size=4k", "echo x >$2/full/x", "note")] {
        let script = format!("mount -t tmpfs -o {limit} none $2/full; {fill}; exec $1 doctor --json $2/full/s");
        let findings = with_mounts(&script, &place);
        findings.has(severity, "file-system-full", &place.path("full"));
    }
    let script = "mount -t tmpfs -o nr_inodes=0,size=0 none $2/full; exec $1 doctor --json $2/full/s";
    with_mounts(script, &place).has_not("file-system-full"); // neither has a limit
}
