//! Servers that listen, and have the path or have lost it.

use super::*;

#[test]
fn a_server_of_another_network_namespace_is_asked_once() {
    if !is_root("namespaces") || !unshares(&["-n"]) {
        return;
    }
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("a socket");
    listener.set_nonblocking(true).expect("fcntl");
    let mut command = Command::new("unshare");
    found(command.args(["-n", env!("CARGO_BIN_EXE_unix-ss"), "doctor", "--json"]).arg(place.path("s")));
    let asked = std::iter::from_fn(|| listener.accept().ok()).count();
    assert_eq!(asked, 1);
}

#[test]
fn a_server_that_has_lost_its_path_is_found_by_its_process() {
    let place = Place::new();
    if !lists_listeners() {
        return;
    }
    // Another process, whose socket none that a test is just starting has a copy of; and stopped, else it ends by itself.
    let robbed = place.serve(&[], "s", &["cat"]);
    let it = format!("process {} ", robbed.pid());
    examined(&place, &place.path("s")).has_not("server-lost-path");
    robbed.signal(Signal::STOP);
    eventually("it has stopped", || robbed.has_stopped());
    fs::remove_file(place.path("s")).expect("removed");
    let findings = examined(&place, &place.path("s"));
    let lost = findings.has("error", "server-lost-path", &place.path("s"));
    assert!(lost["why"].as_str().is_some_and(|why| why.contains("by this path")), "a moved one has another: {lost}");
    assert!(lost["why"].as_str().is_some_and(|why| why.contains(&it)), "{lost}");
    let thief = UnixListener::bind(place.path("s")).expect("a socket");
    let findings = examined(&place, &place.path("s"));
    findings.has("error", "server-lost-path", &place.path("s"));
    assert_eq!(findings.ids().iter().filter(|&&id| id == "server-lost-path").count(), 1, "{findings:?}");
    drop(robbed);
    eventually("it is closed", || !examined(&place, &place.path("s")).ids().contains(&"server-lost-path"));
    drop(thief);
}

#[test]
fn nobody_is_told_to_end_process_1() {
    if !is_root("namespaces") || !unshares(&["-m", "-p", "-f", "--mount-proc"]) {
        return;
    }
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("a socket");
    fs::remove_file(place.path("s")).expect("removed");
    let mut command = Command::new("unshare");
    // The shell, which is process 1 there, has the socket as its standard input.
    command.args(["-p", "-f", "--mount-proc", "sh", "-c", "\"$1\" doctor --json \"$2\"; exit $?", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_unix-ss")).arg(place.path("s")).stdin(std::os::fd::OwnedFd::from(listener));
    let findings = found(&mut command);
    let lost = findings.has("error", "server-lost-path", &place.path("s"));
    assert!(lost["why"].as_str().is_some_and(|why| why.starts_with("process 1 ")), "{lost}");
    assert!(!lost["remedy"].as_str().is_some_and(|remedy| remedy.contains("kill")), "{lost}");
}

/// At `d/s` in a mount namespace of its own, where `d` is another directory.
fn listening_elsewhere(place: &Place) -> Running {
    fs::create_dir(place.path("d")).expect("a directory");
    let mut server = Command::new("unshare");
    server.args(["-m", "sh", "-ec", "mount -t tmpfs none \"$2\"; exec \"$1\" serve \"$2/s\" -- cat", "sh"]);
    server.arg(env!("CARGO_BIN_EXE_unix-ss")).arg(place.path("d"));
    let server = Running::of(server);
    let inside = PathBuf::from(format!("/proc/{}/root{}", server.pid(), place.name("d/s")));
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&inside).is_ok());
    server
}

#[test]
fn a_server_in_a_container_has_not_lost_the_path_of_the_same_name_outside() {
    if !is_root("namespaces") || !unshares(&["-m"]) {
        return;
    }
    let place = Place::new();
    let mut server = listening_elsewhere(&place);
    let findings = examined(&place, &place.path("d/s"));
    findings.has_not("server-lost-path");
    if lists_listeners() {
        findings.has("note", "other-mount-namespace", &place.path("d/s"));
    }
    assert_eq!(server.end(), 0);
}

#[test]
fn nobodys_name_makes_a_server_look_lost() {
    let place = Place::new();
    if !lists_listeners() {
        return;
    }
    let _server = UnixListener::bind(place.path("s")).expect("a socket");
    let other = UnixListener::bind(place.path("other")).expect("a socket");
    let number = rustix::fs::fstat(&other).expect("a socket").st_ino;
    // In /proc/net/unix it reads as a line of its own: that the other server listens by the name of this path.
    let forged = format!("\n0: 2 0 00010000 1 1 {number} {}", place.name("s"));
    let forged = SocketAddr::from_abstract_name(forged).expect("a name");
    let _forger = UnixListener::bind_addr(&forged).expect("a socket");
    examined(&place, &place.path("s")).has_not("server-lost-path");
}

#[test]
fn a_lost_server_is_found_whatever_bytes_its_name_has() {
    let place = Place::new();
    if !lists_listeners() {
        return;
    }
    let path = place.path("a\nb");
    let _robbed = UnixListener::bind(&path).expect("a socket");
    fs::remove_file(&path).expect("removed");
    examined(&place, &path).has("error", "server-lost-path", &path);
}

#[test]
fn a_server_that_has_bound_its_path_anew_is_not_to_be_killed() {
    let place = Place::new();
    if !lists_listeners() {
        return;
    }
    // Ours, and so of the only process that may have it: what a child of another test holds until its exec is not named.
    let _before = UnixListener::bind(place.path("s")).expect("a socket");
    fs::remove_file(place.path("s")).expect("removed");
    let _now = UnixListener::bind(place.path("s")).expect("a socket");
    eventually("it alone has both", || {
        let findings = examined(&place, &place.path("s"));
        let lost = findings.all.iter().find(|finding| finding["finding"] == "server-lost-path").expect("it is told");
        lost["severity"] == "note" && !lost["remedy"].as_str().is_some_and(|remedy| remedy.contains("kill"))
    });
}

#[test]
fn a_process_that_cannot_be_seen_need_not_have_lost_anything() {
    if !is_root("namespaces") || !unshares(&["-m"]) {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    let mut server = listening_elsewhere(&place);
    let findings = found(as_nobody(&place).arg(place.path("d/s")));
    if lists_listeners() {
        let lost = findings.has("note", "server-lost-path", &place.path("d/s"));
        assert!(!lost["remedy"].as_str().is_some_and(|remedy| remedy.contains("end it")), "{lost}");
    }
    assert_eq!(server.end(), 0);
}

#[test]
fn the_server_is_whoever_listens_and_not_whose_the_file_is() {
    if !is_root("a socket of another user") || !lists_listeners() {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    fs::create_dir(place.path("d")).expect("a directory");
    chmod(&place.path("d"), 0o755);
    let nobody = NOBODY.to_string();
    let _server = place.serve(&["--owner", &nobody], "d/s", &["cat"]);
    examined(&place, &place.path("d/s")).has_not("parent-not-writable");
    chown(place.path("d"), Some(NOBODY), None).expect("chown");
    // He was given the socket as well, and so is trusted with it.
    examined(&place, &place.path("d/s")).has("note", "directory-of-another-user", &place.path("d"));
    chown(place.path("d"), Some(0), None).expect("chown");
}

/// As a container has one that was mounted into it.
#[test]
fn a_dead_socket_that_is_a_mount_point_is_not_said_to_be_replaced() {
    if !is_root("mounts") || !unshares(&["-m"]) {
        return;
    }
    let place = Place::new();
    put_dead(&place.path("dead"));
    put_dead(&place.path("s"));
    let script = "mount --bind $2/dead $2/s; exec $1 doctor --json $2/s";
    let findings = surroundings::with_mounts(script, &place);
    let dead = findings.all.iter().find(|finding| finding["finding"] == "socket-dead").expect("it is told");
    assert!(dead["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("umount ")), "{dead}");
}
