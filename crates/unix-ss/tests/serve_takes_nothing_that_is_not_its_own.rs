//! `serve`: refusals, and their exit statuses.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Place, ask, client, run, status_of, text, unix_ss};

#[test]
fn a_live_server_keeps_its_path_and_is_named() {
    let place = Place::new();
    let server = place.serve(&[], "s", &["cat"]);
    let second = run(&mut unix_ss(&["serve", &place.name("s"), "--", "cat"]));
    assert_eq!(status_of(&second), 3);
    let said = text(&second.stderr);
    assert!(said.starts_with("unix-ss: cannot create a server socket at "), "{said}");
    assert!(said.contains(&format!("process {}", server.pid())), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(ask(client(&place.path("s")), b"x"), b"x");
}

#[test]
fn another_programs_lock_is_waited_for_and_left_alone() {
    let place = Place::new();
    std::fs::write(place.path("s.lock"), "").expect("a lock as git makes it");
    let refused = run(&mut unix_ss(&["serve", "--lock-timeout", "50ms", &place.name("s"), "--", "cat"]));
    assert_eq!(status_of(&refused), 3, "{}", text(&refused.stderr));
    assert!(place.path("s.lock").exists());
    assert!(!place.path("s").exists());
}

#[test]
fn what_is_no_socket_is_not_touched() {
    let place = Place::new();
    std::fs::write(place.path("s"), "precious").expect("a file");
    for activate in [&[][..], &["--activate"]] {
        let refused = run(unix_ss(&["serve"]).args(activate).arg(place.path("s")).args(["--", "cat"]));
        assert_eq!(status_of(&refused), 4);
        assert!(text(&refused.stderr).contains("regular file"), "{}", text(&refused.stderr));
    }
    assert_eq!(std::fs::read_to_string(place.path("s")).expect("a file"), "precious");
}

#[test]
fn a_failure_ends_the_ready_descriptor_without_a_newline() {
    let place = Place::new();
    std::fs::write(place.path("s"), "").expect("a file");
    let script = "exec 3>&1 1>&2; exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_unix-ss"), "serve", "--ready-fd", "3", &place.name("s")]);
    let output = run(command.args(["--", "cat"]));
    assert_eq!((status_of(&output), text(&output.stdout)), (4, String::new()));
}

#[test]
fn wrong_usage_is_2() {
    for wrong in [
        &["serve"][..],
        &["serve", "s"],
        &["serve", "s", "--"],
        &["serve", "--mode", "888", "s", "--", "cat"],
        &["serve", "--mode", "1777", "s", "--", "cat"],
        &["serve", "--lock-timeout", "5", "s", "--", "cat"],
        &["serve", "--max-connections", "0", "s", "--", "cat"],
        &["serve", "--ready-fd", "1", "s", "--", "cat"],
        &["serve", "--fd-name", "x", "s", "--", "cat"],
        &["serve", "--activate", "--fd-name", "a:b", "s", "--", "cat"],
        &["serve", "--activate", "--max-connections", "1", "s", "--", "cat"],
        &["connect"],
        &["connect", "--wait", "soon", "s"],
        &["status"],
        &["nonsense"],
        &[],
    ] {
        assert_eq!(status_of(&run(&mut unix_ss(wrong))), 2, "{wrong:?}");
    }
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    let place = Place::new();
    for (wrong, part) in [
        (&["serve", "", "--", "cat"][..], "empty"),
        (&["serve", "/no/such/directory/s", "--", "cat"], "create the directory"),
        (&["serve", "--owner", "nobody-of-this-name", &place.name("s"), "--", "cat"], "there is no user"),
        (&["serve", "--group", "nobody-of-this-name", &place.name("s"), "--", "cat"], "there is no group"),
        (&["serve", "--ready-fd", "77", &place.name("s"), "--", "cat"], "descriptor 77"),
    ] {
        let output = run(&mut unix_ss(wrong));
        let said = text(&output.stderr);
        assert_eq!(status_of(&output), 1, "{wrong:?}: {said}");
        assert!(said.starts_with("unix-ss: cannot ") && said.contains(part), "{wrong:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!place.path("s").exists());
}

#[test]
fn mode_and_group_are_those_asked_for() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let gid = rustix::process::getegid().as_raw();
    for (options, mode) in [(&[][..], 0o600), (&["--mode", "666"], 0o666), (&["--mode", "0640"], 0o640)] {
        let mut server = place.serve(&[options, &["--group", &gid.to_string()]].concat(), "s", &["cat"]);
        let node = std::fs::metadata(place.path("s")).expect("a socket");
        assert_eq!((node.permissions().mode() & 0o7777, node.gid()), (mode, gid));
        assert_eq!(server.end(), 0);
    }
}

#[test]
fn a_lifetime_lock_is_held_until_the_last_program_has_ended() {
    let place = Place::new();
    let mut server = place.serve(&["--lock-scope", "lifetime"], "s", &["cat"]);
    let stream = client(&place.path("s"));
    server.signal(rustix::process::Signal::TERM);
    common::eventually("the path is gone", || !place.path("s").exists());
    let early = ["serve", "--lock-scope", "lifetime", "--lock-timeout", "50ms", &place.name("s"), "--", "cat"];
    assert_eq!(status_of(&run(&mut unix_ss(&early))), 3);
    assert_eq!(ask(stream, b"x"), b"x");
    assert_eq!(server.wait(), 0);
    assert_eq!(place.serve(&["--lock-scope", "lifetime"], "s", &["cat"]).end(), 0);
}

#[test]
fn help_teaches_and_a_closed_output_is_no_panic() {
    for command in ["serve", "connect", "status"] {
        let help = text(&run(&mut unix_ss(&["help", command])).stdout);
        assert!(help.contains("Examples:") && help.contains("Exit statuses:"), "{help}");
    }
    let help = text(&run(&mut unix_ss(&["--help"])).stdout);
    assert!(help.contains("Examples:") && help.contains("Exit statuses:") && !help.contains("__activate"), "{help}");
    for script in ["--help >&-", "--version >/dev/full", "status / >&-", "status --json / >/dev/full", "connect / 2>&-"]
    {
        let script = format!("{} {script}", env!("CARGO_BIN_EXE_unix-ss"));
        let output = run(std::process::Command::new("sh").args(["-c", &script]));
        let said = text(&output.stderr);
        assert!(status_of(&output) < 100 && !said.contains("panic"), "{script}: {output:?}");
    }
}
