//! The directories and links on the way.

use super::*;

#[test]
fn what_is_missing_or_no_directory_on_the_way_is_named() {
    let place = Place::new();
    let findings = examined(&place, &place.path("no/such/s"));
    findings.has("error", "parent-missing", &place.path("no"));
    fs::write(place.path("file"), "").expect("a file");
    let findings = examined(&place, &place.path("file/s"));
    findings.has("error", "parent-not-directory", &place.path("file"));
    assert_eq!(findings.status, 1, "nothing can be there: {findings:?}");
    symlink("loop", place.path("loop")).expect("a link");
    assert_eq!(examined(&place, &place.path("loop")).status, 4, "what is there cannot be told");
}

#[test]
fn directories_that_others_may_write_to_are_found_wherever_they_are() {
    let place = Place::new();
    for dir in ["open", "open/sub", "group", "shared"] {
        fs::create_dir(place.path(dir)).expect("a directory");
        chmod(&place.path(dir), 0o755);
    }
    examined(&place, &place.path("open/sub/s")).is_well();
    chmod(&place.path("open"), 0o757);
    examined(&place, &place.path("open/sub/s")).has("error", "directory-open-to-all", &place.path("open"));
    chmod(&place.path("open"), 0o752);
    examined(&place, &place.path("open/sub/s")).has_not("directory-open-to-all"); // nothing without x
    chmod(&place.path("open"), 0o1757);
    let sticky = examined(&place, &place.path("open/sub/s"));
    sticky.is_well(); // what is in it is its owner's to move
    chmod(&place.path("shared"), 0o1777);
    examined(&place, &place.path("shared/s")).has("warning", "directory-shared", &place.path("shared"));
    chmod(&place.path("group"), 0o775);
    let group = examined(&place, &place.path("group/s"));
    let data = fs::metadata(place.path("group")).expect("a directory");
    // A group of the user's own number is his alone.
    let severity = if data.uid() == data.gid() { "note" } else { "warning" };
    group.has(severity, "directory-open-to-group", &place.path("group"));
}

/// The command in a remedy, up to the comma, as a shell does it.
#[track_caller]
pub(super) fn done_by_shell(finding: &Value, up_to: &str) {
    let remedy = finding["remedy"].as_str().expect("a remedy");
    let command = remedy.split_once(up_to).map_or(remedy, |(command, _)| command);
    // Whatever the umask of whoever does it.
    let output = run(Command::new("bash").args(["-c", &format!("umask 000; {command}")]).current_dir("/"));
    assert_eq!((status_of(&output), text(&output.stderr)), (0, String::new()), "{command}");
}

/// The same finding with what its remedy says after that.
pub(super) fn after(word: &str, finding: &Value) -> Value {
    let remedy = finding["remedy"].as_str().and_then(|remedy| remedy.split_once(word)).expect("it is said").1;
    serde_json::json!({ "remedy": remedy })
}

#[test]
fn a_remedy_does_what_it_says_whatever_the_directory_is_called() {
    let place = Place::new();
    for name in ["my dir", "$(echo x >pwned)", "`id`;'\"", "-x", "new\nline", "a%b*?["] {
        let dir = place.path(name);
        fs::create_dir(&dir).expect("a directory");
        chmod(&dir, 0o757);
        // Where a server is seen, it is known what it needs.
        let _server = UnixListener::bind(dir.join("s")).expect("a socket");
        let findings = examined(&place, &dir.join("s"));
        let open = findings.has("error", "directory-open-to-all", &dir);
        assert!(!open["remedy"].as_str().is_some_and(|remedy| remedy.contains('\n')), "{open}");
        done_by_shell(open, ", unless");
        examined(&place, &dir.join("s")).is_well();
        let missing = dir.join(name).join("below").join("s");
        let findings = examined(&place, &missing);
        let remedy = findings.has("error", "parent-missing", &dir.join(name)).clone();
        let remedy = Value::from(remedy["remedy"].as_str().expect("a remedy").trim_start_matches("make it: "));
        done_by_shell(&serde_json::json!({ "remedy": remedy }), ", as the server's");
        examined(&place, &missing).is_well();
        assert!(!dir.join("pwned").exists() && !Path::new("/pwned").exists());
    }
}

#[test]
fn other_users_with_a_say_on_the_way_are_found() {
    if !is_root("directories of other users") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    for dir in ["theirs", "shared", "shared/theirs", "group"] {
        fs::create_dir(place.path(dir)).expect("a directory");
    }
    chown(place.path("theirs"), Some(NOBODY), None).expect("chown");
    examined(&place, &place.path("theirs/s")).has("warning", "directory-of-another-user", &place.path("theirs"));
    chmod(&place.path("shared"), 0o1777);
    chown(place.path("shared/theirs"), Some(NOBODY), None).expect("chown");
    let findings = examined(&place, &place.path("shared/theirs/s"));
    findings.has("warning", "entry-of-another-user", &place.path("shared/theirs"));
    chmod(&place.path("group"), 0o775);
    chown(place.path("group"), None, Some(NOBODY)).expect("chown");
    examined(&place, &place.path("group/s")).has("warning", "directory-open-to-group", &place.path("group"));
}

#[test]
fn an_ordinary_user_hears_where_he_may_not_go_or_write() {
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    fs::create_dir(place.path("closed")).expect("a directory");
    fs::create_dir(place.path("unwritable")).expect("a directory");
    chmod(&place.path("unwritable"), 0o555);
    chmod(&place.path("closed"), 0o000);
    let findings = found(as_nobody(&place).arg(place.path("closed/sub/s")));
    findings.has("error", "directory-closed-to-you", &place.path("closed"));
    assert_eq!(findings.status, 4);
    let findings = found(as_nobody(&place).arg(place.path("unwritable/s")));
    findings.has("error", "parent-not-writable", &place.path("unwritable"));
    chmod(&place.path("closed"), 0o700);
    chmod(&place.path("unwritable"), 0o700);
}

#[test]
fn symbolic_links_are_named_on_the_way_and_at_the_end() {
    let place = Place::new();
    fs::create_dir(place.path("dir")).expect("a directory");
    let _server = UnixListener::bind(place.path("dir/s")).expect("a socket");
    symlink("dir", place.path("link")).expect("a link");
    symlink(place.path("dir/s"), place.path("end")).expect("a link");
    symlink("nothing", place.path("dangling")).expect("a link");
    let findings = examined(&place, &place.path("link/s"));
    findings.has("note", "symlink-on-the-way", &place.path("link"));
    findings.is_well();
    examined(&place, &place.path("end")).has("warning", "path-is-symlink", &place.path("end"));
    examined(&place, &place.path("dangling")).has("error", "symlink-dangling", &place.path("dangling"));
    symlink("round", place.path("round")).expect("a link");
    let findings = examined(&place, &place.path("round/s"));
    findings.has("error", "symlink-loop", &place.path("round"));
    assert_eq!(findings.ids().iter().filter(|&&id| id == "symlink-on-the-way").count(), 1, "{findings:?}");
    let unknown = findings.has("note", "listeners-unknown", &place.path("round/s"));
    assert!(!unknown["remedy"].as_str().is_some_and(|remedy| remedy.contains("module")), "{unknown}");
}

#[test]
fn a_directory_that_is_passed_twice_is_told_of_once() {
    let place = Place::new();
    fs::create_dir(place.path("open")).expect("a directory");
    chmod(&place.path("open"), 0o757);
    symlink("../open", place.path("open/again")).expect("a link");
    let findings = examined(&place, &place.path("open/again/s"));
    findings.has("error", "directory-open-to-all", &place.path("open"));
    assert_eq!(findings.ids().iter().filter(|&&id| id == "directory-open-to-all").count(), 1, "{findings:?}");
}

#[test]
fn the_way_goes_on_behind_a_link_at_the_end() {
    let place = Place::new();
    fs::create_dir(place.path("open")).expect("a directory");
    symlink("open/s", place.path("link")).expect("a link");
    let _server = UnixListener::bind(place.path("open/s")).expect("a socket");
    chmod(&place.path("open"), 0o757);
    let findings = examined(&place, &place.path("link"));
    findings.has("error", "directory-open-to-all", &place.path("open"));
    findings.has("warning", "path-is-symlink", &place.path("link"));
    findings.has_not("symlink-on-the-way"); // it is the path itself
}

#[test]
fn of_links_in_a_circle_it_says_so_and_nothing_that_does_not_help() {
    let place = Place::new();
    symlink("there", place.path("here")).expect("a link");
    symlink("here", place.path("there")).expect("a link");
    for path in ["here", "here/s"] {
        let findings = examined(&place, &place.path(path));
        assert!(findings.ids().contains(&"symlink-loop"), "{findings:?}");
        for id in ["cannot-tell", "lock-unknown", "parent-not-writable"] {
            findings.has_not(id);
        }
        assert_eq!(findings.status, 4, "{findings:?}");
    }
}

#[test]
fn a_closed_directory_is_told_of_even_if_it_is_the_last_one() {
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    fs::create_dir(place.path("closed")).expect("a directory");
    chmod(&place.path("closed"), 0o600);
    let findings = found(as_nobody(&place).arg(place.path("closed/s")));
    findings.has("error", "directory-closed-to-you", &place.path("closed"));
    findings.has_not("parent-not-writable");
    if geteuid().is_root() {
        chown(place.path("closed"), Some(NOBODY), None).expect("chown");
        let findings = found(as_nobody(&place).arg(place.path("closed/s")));
        let closed = findings.has("error", "directory-closed-to-you", &place.path("closed"));
        done_by_shell(closed, ", or ");
        found(as_nobody(&place).arg(place.path("closed/s"))).is_well();
    }
    chmod(&place.path("closed"), 0o700);
}

#[test]
fn who_may_not_make_the_missing_directory_hears_who_can() {
    if !is_root("a directory for another user") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    let path = place.path("no/such/s");
    let findings = found(as_nobody(&place).arg(&path));
    let missing = findings.has("error", "parent-missing", &place.path("no"));
    assert!(missing["why"].as_str().is_some_and(|why| why.contains("uid 65534 may not make it")), "{missing}");
    let remedy = missing["remedy"].as_str().and_then(|remedy| remedy.strip_prefix("as root: ")).expect("for root");
    done_by_shell(&serde_json::json!({ "remedy": remedy }), ", ");
    found(as_nobody(&place).arg(&path)).is_well();
}

#[test]
fn what_keeps_even_root_from_making_names_is_told() {
    if !is_root("attributes of files") {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("d")).expect("a directory");
    let dir = fs::File::open(place.path("d")).expect("a directory");
    for (attribute, id) in [(IFlags::IMMUTABLE, "directory-immutable"), (IFlags::APPEND, "directory-append-only")] {
        let before = rustix::fs::ioctl_getflags(&dir);
        let set = before.and_then(|before| rustix::fs::ioctl_setflags(&dir, before | attribute));
        if let Err(errno) = set {
            let _ = writeln!(std::io::stderr(), "NOT TRIED: attributes of files: {errno}");
            return;
        }
        let findings = found(unix_ss(&["doctor", "--json"]).arg(place.path("d/s")));
        rustix::fs::ioctl_setflags(&dir, before.expect("attributes")).expect("reset");
        findings.has("error", id, &place.path("d"));
        examined(&place, &place.path("d/s")).has_not(id);
    }
}

#[test]
fn an_owner_without_a_number_in_a_user_namespace_is_nobodys_enemy() {
    if !unshares(&["-U", "-r"]) {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("theirs")).expect("a directory");
    if geteuid().is_root() {
        // Of an ordinary user, the root directory is one already.
        chown(place.path("theirs"), Some(12_345), None).expect("chown");
    }
    let mut command = Command::new("unshare");
    let findings = found(
        command.args(["-U", "-r", env!("CARGO_BIN_EXE_unix-ss"), "doctor", "--json"]).arg(place.path("theirs/s")),
    );
    assert!(findings.ids().contains(&"owner-unknown"), "{findings:?}");
    findings.has_not("directory-of-another-user");
    findings.has_not("entry-of-another-user");
}

#[test]
fn what_the_server_itself_needs_is_not_to_be_taken() {
    if !is_root("directories of other users") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    fs::create_dir(place.path("open")).expect("a directory");
    chmod(&place.path("open"), 0o777);
    let findings = found(as_nobody(&place).arg(place.path("open/s")));
    let open = findings.has("error", "directory-open-to-all", &place.path("open"));
    assert!(open["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("use a directory of")), "{open}");
    // Root sees no server there, and so not whose it is.
    let findings = examined(&place, &place.path("open/s"));
    let open = findings.has("error", "directory-open-to-all", &place.path("open"));
    assert!(open["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("use a directory of")), "{open}");
    // Of a directory on the way, to pass it is enough; and its owner is not who asks.
    fs::create_dir(place.path("open/theirs")).expect("a directory");
    chown(place.path("open/theirs"), Some(NOBODY), None).expect("chown");
    let findings = found(as_nobody(&place).arg(place.path("open/theirs/s")));
    let open = findings.has("error", "directory-open-to-all", &place.path("open"));
    let remedy = open["remedy"].as_str().and_then(|remedy| remedy.strip_prefix("as root: ")).expect("for root");
    done_by_shell(&serde_json::json!({ "remedy": remedy }), ", unless");
    found(as_nobody(&place).arg(place.path("open/theirs/s"))).is_well();
}

#[test]
fn where_names_may_not_be_changed_the_remedy_is_one_that_its_user_can_do() {
    if !is_root("directories of other users") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    fs::create_dir(place.path("d")).expect("a directory");
    chmod(&place.path("d"), 0o755);
    let findings = found(as_nobody(&place).arg(place.path("d/s")));
    let closed = findings.has("error", "parent-not-writable", &place.path("d"));
    let (_, remedy) = closed["remedy"].as_str().and_then(|remedy| remedy.split_once("as root: ")).expect("for root");
    done_by_shell(&serde_json::json!({ "remedy": remedy }), "; ");
    found(as_nobody(&place).arg(place.path("d/NAME/s"))).is_well();
    chmod(&place.path("d/NAME"), 0o500);
    let findings = found(as_nobody(&place).arg(place.path("d/NAME/s")));
    done_by_shell(findings.has("error", "parent-not-writable", &place.path("d/NAME")), ", ");
    found(as_nobody(&place).arg(place.path("d/NAME/s"))).is_well();
}

#[test]
fn a_directory_that_is_left_again_has_to_be_passed_too() {
    let place = Place::new();
    chmod(&place.path(""), 0o711);
    fs::create_dir(place.path("closed")).expect("a directory");
    chmod(&place.path("closed"), 0o700);
    let _server = UnixListener::bind(place.path("s")).expect("a socket");
    chmod(&place.path("s"), 0o666);
    let closed = |path: &str| {
        let findings = examined(&place, &place.path(path));
        findings.all.iter().any(|finding| finding["about"] == place.name("closed"))
    };
    assert!(closed("closed/../s"));
    assert!(!closed("s"));
}

#[test]
fn what_is_open_where_nobody_else_gets_to_is_no_more_than_a_note() {
    let place = Place::new();
    fs::create_dir_all(place.path("private/open")).expect("directories");
    chmod(&place.path("private"), 0o700);
    chmod(&place.path("private/open"), 0o777);
    examined(&place, &place.path("private/open/s")).has("note", "directory-open-to-all", &place.path("private/open"));
    // It is not hidden by what is only on another way to it.
    fs::create_dir(place.path("open")).expect("a directory");
    chmod(&place.path("open"), 0o777);
    chmod(&place.path(""), 0o755);
    symlink(place.path("open"), place.path("private/link")).expect("a link");
    for path in ["private/link/s", "private/../open/s"] {
        examined(&place, &place.path(path)).has("error", "directory-open-to-all", &place.path("open"));
    }
}

#[test]
fn what_a_process_has_is_not_looked_for_by_the_text_of_its_link() {
    let place = Place::new();
    let path = Path::new("/proc/self/cwd/no/such/s");
    let findings = examined(&place, path);
    findings.has_not("parent-missing");
    findings.has_not("symlink-on-the-way");
    assert!(findings.ids().contains(&"link-of-proc"), "{findings:?}");
}

#[test]
fn in_a_user_namespace_without_numbers_nobody_is_oneself() {
    if !unshares(&["-U"]) {
        return;
    }
    let place = Place::new();
    let mut command = Command::new("unshare");
    let findings = found(command.args(["-U", env!("CARGO_BIN_EXE_unix-ss"), "doctor", "--json"]).arg(place.path("s")));
    assert!(findings.ids().contains(&"owner-unknown"), "{findings:?}");
}
