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
fn done_by_shell(finding: &Value, up_to: &str) {
    let remedy = finding["remedy"].as_str().expect("a remedy");
    let command = remedy.split_once(up_to).map_or(remedy, |(command, _)| command);
    let output = run(Command::new("bash").args(["-c", command]).current_dir("/"));
    assert_eq!((status_of(&output), text(&output.stderr)), (0, String::new()), "{command}");
}

#[test]
fn a_remedy_does_what_it_says_whatever_the_directory_is_called() {
    let place = Place::new();
    for name in ["my dir", "$(echo x >pwned)", "`id`;'\"", "-x", "new\nline", "a%b*?["] {
        let dir = place.path(name);
        fs::create_dir(&dir).expect("a directory");
        chmod(&dir, 0o757);
        let findings = examined(&place, &dir.join("s"));
        let open = findings.has("error", "directory-open-to-all", &dir);
        assert!(!open["remedy"].as_str().is_some_and(|remedy| remedy.contains('\n')), "{open}");
        done_by_shell(open, ", or ");
        examined(&place, &dir.join("s")).is_well();
        let missing = dir.join(name).join("s");
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
