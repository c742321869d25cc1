//! Who may connect: modes, access control lists, and who listens.

use super::*;

#[test]
fn who_may_connect_is_told_and_who_is_kept_out_on_the_way() {
    let place = Place::new();
    fs::create_dir(place.path("dir")).expect("a directory");
    chmod(&place.path("dir"), 0o700);
    let _server = UnixListener::bind(place.path("dir/s")).expect("a socket");
    chmod(&place.path("dir/s"), 0o666);
    let findings = examined(&place, &place.path("dir/s"));
    // A private directory may be what is meant.
    let closed = findings.has("note", "directory-closed-to-clients", &place.path("dir"));
    let opens =
        |finding: &Value, command: &str| finding["remedy"].as_str().is_some_and(|remedy| remedy.contains(command));
    assert!(opens(closed, "chmod go+x /"), "{closed}");
    chmod(&place.path("dir/s"), 0o660);
    let findings = examined(&place, &place.path("dir/s"));
    let closed = findings.has("note", "directory-closed-to-clients", &place.path("dir"));
    assert!(opens(closed, "chmod g+x /"), "not for all: {closed}");
    chmod(&place.path("dir"), 0o710);
    chmod(&place.path(""), 0o711);
    let gid = fs::metadata(place.path("dir")).expect("a directory").gid();
    assert_eq!(fs::metadata(place.path("dir/s")).expect("a socket").gid(), gid);
    examined(&place, &place.path("dir/s")).has_not("directory-closed-to-clients");
    chmod(&place.path("dir/s"), 0o444);
    examined(&place, &place.path("dir/s")).has("warning", "socket-closed", &place.path("dir/s"));
}

/// What setfacl(1) does: entries of tag, rights and id. False where the file system has no lists.
fn set_acl(path: &Path, entries: &[(u8, u8, u32)]) -> bool {
    let entry = |&(tag, rights, id): &(u8, u8, u32)| [&[tag, 0, rights, 0][..], &id.to_le_bytes()].concat();
    let value = [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat();
    match rustix::fs::setxattr(path, "system.posix_acl_access", &value, rustix::fs::XattrFlags::empty()) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP) => {
            let _ = writeln!(std::io::stderr(), "NOT TRIED: access control lists: the file system has none");
            false
        }
        Err(errno) => panic!("setxattr: {errno}"),
    }
}

const OWNER: u8 = 0x01;
const USER: u8 = 0x02;
const OWN_GROUP: u8 = 0x04;
const GROUP: u8 = 0x08;
const MASK: u8 = 0x10;
const OTHERS: u8 = 0x20;

#[test]
fn an_access_control_list_is_read_where_the_mode_does_not_tell() {
    const NONE: u32 = u32::MAX;
    let place = Place::new();
    fs::create_dir(place.path("dir")).expect("a directory");
    let dir = place.path("dir");
    let named = [(OWNER, 7, NONE), (USER, 7, 65_533), (OWN_GROUP, 0, NONE), (GROUP, 7, 65_531), (MASK, 7, NONE)];
    if !set_acl(&dir, &[&named[..], &[(OTHERS, 0, NONE)]].concat()) {
        return;
    }
    let _server = UnixListener::bind(dir.join("s")).expect("a socket");
    let findings = examined(&place, &dir.join("s"));
    let open = findings.has("warning", "directory-open-by-acl", &dir);
    let says = |finding: &Value, what: &str| finding.to_string().contains(what);
    assert!(says(open, "uid 65533, whoever is in group 65531"), "{open}");
    assert!(says(open, "setfacl -m u:65533:rx,g:65531:rx,m::rwx /"), "{open}");
    findings.has_not("directory-open-to-group"); // it has nothing: the mode shows the mask
    // The mask leaves nothing to write.
    chmod(&dir, 0o750);
    examined(&place, &dir.join("s")).has_not("directory-open-by-acl");
    chmod(&dir, 0o1770);
    let findings = examined(&place, &dir.join("s"));
    findings.has_not("directory-open-by-acl");
    findings.has("warning", "directory-shared", &dir);

    let named = [(OWNER, 6, NONE), (USER, 6, 65_533), (OWN_GROUP, 0, NONE), (GROUP, 6, 65_531), (MASK, 6, NONE)];
    assert!(set_acl(&dir.join("s"), &[&named[..], &[(OTHERS, 0, NONE)]].concat()));
    let findings = examined(&place, &dir.join("s"));
    let connects = findings.has("note", "who-connects", &dir.join("s"));
    let uid = geteuid().as_raw();
    let who = format!("getfacl): uid {uid}, uid 65533, whoever is in group 65531, and root may connect");
    assert!(says(connects, &who), "{connects}");
}

#[test]
fn who_may_connect_goes_by_the_first_class_that_a_user_is_of() {
    let place = Place::new();
    let _server = UnixListener::bind(place.path("s")).expect("a socket");
    let data = fs::metadata(place.path("s")).expect("a socket");
    let (uid, gid) = (data.uid(), data.gid());
    let but = |whom: &str| {
        let whom = if uid == 0 { whom.replace("uid 0, nor ", "").replace("uid 0", "") } else { whom.to_owned() };
        if whom.is_empty() { whom } else { format!(" (but not {whom})") }
    };
    let group = format!("whoever is in group {gid}");
    for (mode, who) in [
        (0o600, format!("uid {uid} and root may")),
        (0o660, format!("uid {uid}, {group}, and root may")),
        (0o060, format!(": {group}{} and root may", but(&format!("uid {uid}")))),
        (0o020, format!(": {group}{} and root may", but(&format!("uid {uid}")))),
        (0o006, format!(": every user who gets to it{} may", but(&format!("uid {uid}, nor {group}")))),
        (0o666, ": every user who gets to it may".to_owned()),
    ] {
        chmod(&place.path("s"), mode);
        let findings = examined(&place, &place.path("s"));
        let connects = findings.has("note", "who-connects", &place.path("s"));
        assert!(connects["why"].as_str().is_some_and(|why| why.contains(&who)), "{mode:o}: {who}: {connects}");
    }
}

#[test]
fn a_listener_of_another_user_than_the_file_is_found() {
    if !is_root("a server of another user") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o777);
    let mut server = Command::new(copy(&place));
    server.arg("serve").arg(place.path("s")).args(["--", "cat"]).uid(NOBODY).gid(NOBODY);
    let mut server = Running::of(server);
    eventually("it listens", || std::os::unix::net::UnixStream::connect(place.path("s")).is_ok());
    chown(place.path("s"), Some(0), None).expect("chown");
    chmod(&place.path(""), 0o755);
    let findings = examined(&place, &place.path("s"));
    findings.has("warning", "listener-of-another-user", &place.path("s"));
    chmod(&place.path(""), 0o777);
    assert_eq!(server.end(), 0);
}

#[test]
fn a_directory_that_shuts_out_its_own_group_is_told_to_those_of_it() {
    let place = Place::new();
    fs::create_dir(place.path("dir")).expect("a directory");
    chmod(&place.path(""), 0o711);
    let _server = UnixListener::bind(place.path("dir/s")).expect("a socket");
    chmod(&place.path("dir/s"), 0o660);
    chmod(&place.path("dir"), 0o705);
    let findings = examined(&place, &place.path("dir/s"));
    let closed = findings.has("note", "directory-closed-to-clients", &place.path("dir"));
    let gid = fs::metadata(place.path("dir")).expect("a directory").gid();
    let says = |key: &str, what: &str| closed[key].as_str().is_some_and(|text| text.contains(what));
    assert!(says("why", &format!("whoever is in group {gid} may connect to the socket, and cannot pass")), "{closed}");
    way::done_by_shell(&way::after("else: ", closed), ", or ");
    examined(&place, &place.path("dir/s")).has_not("directory-closed-to-clients");
    if is_root("a group that one is not of") {
        chmod(&place.path("dir"), 0o700);
        chown(place.path("dir/s"), None, Some(12_345)).expect("chown");
        examined(&place, &place.path("dir/s")).has("warning", "directory-closed-to-clients", &place.path("dir"));
    }
    chmod(&place.path("dir"), 0o705);
    chmod(&place.path("dir/s"), 0o600);
    examined(&place, &place.path("dir/s")).has_not("directory-closed-to-clients");
}

/// The socket's list lets a user in, and the directory does not.
fn closed_to_a_named_user(place: &Place) -> Option<PathBuf> {
    const NONE: u32 = u32::MAX;
    fs::create_dir(place.path("dir")).expect("a directory");
    chmod(&place.path(""), 0o711);
    let named = [(OWNER, 6, NONE), (USER, 6, 65_533), (OWN_GROUP, 0, NONE), (GROUP, 6, 65_531), (MASK, 6, NONE)];
    drop(UnixListener::bind(place.path("dir/s")).expect("a socket"));
    chmod(&place.path("dir"), 0o700);
    set_acl(&place.path("dir/s"), &[&named[..], &[(OTHERS, 0, NONE)]].concat()).then(|| place.path("dir"))
}

#[test]
fn a_directory_that_shuts_out_those_whom_a_list_lets_in_is_told() {
    let place = Place::new();
    let Some(dir) = closed_to_a_named_user(&place) else { return };
    let findings = examined(&place, &dir.join("s"));
    let closed = findings.has("warning", "directory-closed-to-clients", &dir);
    let says = |key: &str, what: &str| closed[key].as_str().is_some_and(|text| text.contains(what));
    assert!(says("why", "uid 65533, whoever is in group 65531 may connect"), "{closed}");
    assert!(says("remedy", "setfacl -m u:65533:x,g:65531:x /"), "{closed}");
}

#[test]
#[ignore = "needs setfacl"]
fn a_list_is_changed_as_the_remedy_says_and_then_all_is_well() {
    let place = Place::new();
    let Some(dir) = closed_to_a_named_user(&place) else { return };
    let findings = examined(&place, &dir.join("s"));
    way::done_by_shell(findings.has("warning", "directory-closed-to-clients", &dir), ", or ");
    examined(&place, &dir.join("s")).has_not("directory-closed-to-clients");
    let setfacl = |entries: &str| {
        let output = run(Command::new("setfacl").args(["-m", entries]).arg(&dir));
        assert_eq!((status_of(&output), text(&output.stderr)), (0, String::new()));
    };
    setfacl("u:65533:rwx");
    let findings = examined(&place, &dir.join("s"));
    way::done_by_shell(findings.has("warning", "directory-open-by-acl", &dir), ", unless");
    let findings = examined(&place, &dir.join("s"));
    findings.has_not("directory-open-by-acl");
    findings.has_not("directory-closed-to-clients"); // he still gets to the socket
    // What a mask holds back from one stays so when another is let in.
    setfacl("u:65532:rwx,u:65533:r,m::rx");
    let findings = examined(&place, &dir.join("s"));
    findings.has_not("directory-open-by-acl");
    way::done_by_shell(findings.has("warning", "directory-closed-to-clients", &dir), ", or ");
    let findings = examined(&place, &dir.join("s"));
    findings.has_not("directory-closed-to-clients");
    findings.has_not("directory-open-by-acl");
    // And of a directory that has a list, the group's right is not in its mode.
    setfacl("g::rwx,u:65532:rx,m::rwx");
    let findings = examined(&place, &dir.join("s"));
    let open = findings.all.iter().find(|finding| finding["finding"] == "directory-open-to-group").expect("it is open");
    way::done_by_shell(open, ", unless");
    let findings = examined(&place, &dir.join("s"));
    findings.has_not("directory-open-to-group");
    findings.has_not("parent-not-writable");
}
