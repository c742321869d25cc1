//! `status`: for people and for programs.

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixListener};

use common::{Place, put_dead, run, status_of, text, unix_ss};
use serde_json::{Value, json};

fn ask(path: &OsStr) -> (i32, Value) {
    let output = run(unix_ss(&["status", "--json"]).arg(path));
    let line = text(&output.stdout);
    assert_eq!(line.lines().count(), 1, "{line}");
    (status_of(&output), serde_json::from_str(&line).expect("JSON"))
}

#[test]
fn each_state_has_its_name_and_exit_status() {
    let place = Place::new();
    let _live = UnixListener::bind(place.path("live")).expect("a socket");
    put_dead(&place.path("dead"));
    let _other = UnixDatagram::bind(place.path("other")).expect("a socket");
    std::fs::write(place.path("file"), "").expect("a file");
    std::os::unix::fs::symlink("loop", place.path("loop")).expect("a link");
    for (name, state, kind, errno, status) in [
        ("absent", "absent", Value::Null, Value::Null, 3),
        ("dead", "dead", Value::Null, Value::Null, 3),
        ("live", "live", Value::Null, Value::Null, 0),
        ("other", "other_type", Value::Null, Value::Null, 0),
        ("file", "not_a_socket", json!("regular file"), Value::Null, 3),
        ("", "not_a_socket", json!("directory"), Value::Null, 3),
        ("loop", "cannot_tell", Value::Null, json!("ELOOP"), 4),
    ] {
        let path = if name.is_empty() { place.name("").trim_end_matches('/').to_owned() } else { place.name(name) };
        let (exit, answer) = ask(path.as_ref());
        assert_eq!((exit, &answer["state"]), (status, &json!(state)), "{answer}");
        assert_eq!((&answer["kind"], &answer["errno"], &answer["path"]), (&kind, &errno, &json!(path)), "{answer}");
        assert_eq!(answer["error"].is_null(), errno.is_null(), "{answer}");
    }
}

#[test]
fn the_keys_are_exactly_these() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let server = place.serve(&["--mode", "640"], "s", &["cat"]);
    let (_, answer) = ask(place.path("s").as_ref());
    let inode = std::fs::metadata(place.path("s")).expect("a socket").ino();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let expected = json!({
        "path": place.name("s"), "state": "live", "kind": null, "errno": null, "error": null,
        "peer": {"pid": server.pid(), "uid": uid, "gid": gid, "program": "unix-ss"},
        "mode": "0640", "inode": inode, "lock": {"state": "none", "pid": null, "uid": null}
    });
    assert_eq!(answer, expected);
    let (_, absent) = ask(place.path("absent").as_ref());
    let expected = json!({
        "path": place.name("absent"), "state": "absent", "kind": null, "errno": null, "error": null, "peer": null,
        "mode": null, "inode": null, "lock": {"state": "none", "pid": null, "uid": null}
    });
    assert_eq!(absent, expected);
}

#[test]
fn a_path_that_is_not_utf_8_is_given_in_hex_too() {
    let place = Place::new();
    let path = place.path("").join(OsStr::from_bytes(b"\xff\"\n"));
    let _live = UnixListener::bind(&path).expect("a socket");
    let (status, answer) = ask(path.as_ref());
    assert_eq!(status, 0);
    let hex: String = path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer["path_hex"], json!(hex));
    assert_eq!(answer["path"], json!(path.to_string_lossy()));
}

#[test]
fn another_programs_lock_is_shown() {
    let place = Place::new();
    std::fs::write(place.path("s.lock"), "").expect("a lock as git makes it");
    let (_, answer) = ask(place.path("s").as_ref());
    assert_eq!(answer["lock"], json!({"state": "foreign", "pid": null, "uid": rustix::process::geteuid().as_raw()}));
    std::fs::remove_file(place.path("s.lock")).expect("removed");
}

#[test]
fn a_path_that_can_name_nothing_cannot_be_told() {
    for (path, errno) in [("".to_owned(), "EINVAL"), ("a/..".to_owned(), "EINVAL"), ("x".repeat(300), "ENAMETOOLONG")] {
        let (status, answer) = ask(path.as_ref());
        assert_eq!((status, &answer["state"], &answer["errno"]), (4, &json!("cannot_tell"), &json!(errno)), "{answer}");
        assert!(answer["error"].is_string());
    }
}

#[test]
fn for_people_it_is_a_line_each_and_the_highest_status() {
    let place = Place::new();
    let server = place.serve(&[], "s", &["cat"]);
    let output = run(&mut unix_ss(&["status", &place.name("s"), &place.name("absent")]));
    assert_eq!(status_of(&output), 3);
    let expected = format!(
        "{}: live, process {} (uid {}, unix-ss), mode 0600\n{}: absent\n",
        place.name("s"),
        server.pid(),
        rustix::process::geteuid().as_raw(),
        place.name("absent")
    );
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn no_path_can_forge_a_line() {
    let place = Place::new();
    let path = place.name("s: absent\nother: live\u{1b}[2J");
    let output = run(&mut unix_ss(&["status", &path]));
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("\\nother: live\\u{1b}[2J: absent"), "{said}");
    let output = run(&mut unix_ss(&["connect", &path]));
    assert_eq!(text(&output.stderr).lines().count(), 1);
}
