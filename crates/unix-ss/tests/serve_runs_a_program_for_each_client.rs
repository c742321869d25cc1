//! `serve`: one PROG for each client, and what it finds.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Place, ask, client, eventually, hang_up, hear, run, text, unix_ss};

#[test]
fn a_client_hears_what_the_program_says_to_its_end() {
    let place = Place::new();
    let mut server = place.serve(&[], "s", &["cat"]);
    assert_eq!(ask(client(&place.path("s")), b"hello"), b"hello");
    assert_eq!(ask(client(&place.path("s")), &[7; 1 << 20]).len(), 1 << 20);
    assert_eq!(server.end(), 0, "{}", server.errors());
    assert!(!place.path("s").exists());
}

#[test]
#[ignore = "needs socat"]
fn socat_is_a_client_like_any_other() {
    let place = Place::new();
    let _server = place.serve(&[], "s", &["cat"]);
    let mut socat = std::process::Command::new("socat");
    socat.args(["-t", "30", "-", &format!("UNIX-CONNECT:{}", place.name("s"))]);
    let mut child = socat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("install socat");
    child.stdin.take().expect("a pipe").write_all(b"through socat\n").expect("sent");
    assert_eq!(child.wait_with_output().expect("an end").stdout, b"through socat\n");
}

#[test]
fn the_program_is_told_by_ucspi_who_its_client_is() {
    let place = Place::new();
    let stale = [
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDNAMES", "x"),
        ("NOTIFY_SOCKET", "/x"),
        ("UNIXREMOTEPATH", "/x"),
        ("UNIXLOCALUID", "7"),
        ("PROTO", "TCP"),
    ];
    let _server = place.serve_with(&[], "s", &["env"], &stale);
    let heard = text(&hear(client(&place.path("s"))));
    let mut lines: Vec<&str> = heard.lines().collect();
    lines.retain(|line| ["PROTO", "UNIX", "LISTEN", "NOTIFY"].iter().any(|start| line.starts_with(start)));
    lines.sort_unstable();
    let expected = [
        "PROTO=UNIX".to_owned(),
        // the directory may be reached by a symbolic link
        format!("UNIXLOCALPATH={}", place.path("").canonicalize().expect("a directory").join("s").display()),
        format!("UNIXREMOTEEGID={}", rustix::process::getegid().as_raw()),
        format!("UNIXREMOTEEUID={}", rustix::process::geteuid().as_raw()),
        format!("UNIXREMOTEPID={}", std::process::id()),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_program_has_its_signals_and_descriptors_as_a_shell_would_give_them() {
    let place = Place::new();
    let _server = place.serve(&[], "s", &["sh", "-c", "grep -E 'SigIgn|SigBlk' /proc/self/status; ls /proc/self/fd"]);
    let heard = text(&hear(client(&place.path("s"))));
    let mask = |name: &str| {
        let line = heard.lines().find_map(|line| line.strip_prefix(name)).expect("a mask");
        u64::from_str_radix(line.trim(), 16).expect("hex")
    };
    assert_eq!(mask("SigBlk:"), 0, "{heard}");
    assert_eq!(mask("SigIgn:") & (1 << (13 - 1)), 0, "SIGPIPE is ignored: {heard}");
    // Beyond ls's own 3 there may be what this test inherited itself; the server's sockets are not among them.
    let sockets = run(std::process::Command::new("sh").args(["-c", "ls /proc/self/fd"]).stdin(Stdio::null()));
    let inherited = text(&sockets.stdout).lines().count();
    assert!(heard.lines().count() - 2 <= inherited, "{heard} and here {inherited}");
}

#[test]
fn a_script_without_a_first_line_that_says_by_what_is_run_by_sh() {
    let place = Place::new();
    // By another process: here, a child that another test is just starting would have it open for writing (ETXTBSY).
    let write = "echo 'echo \"$0 $1 $PROTO\" >ran.$1; cat ran.$1' >script; chmod +x script";
    let written = run(std::process::Command::new("sh").args(["-c", write]).current_dir(place.path("")));
    assert!(written.status.success(), "{written:?}");
    let script = place.name("script");
    let paths = format!("{}:/usr/bin:/bin", place.name(""));
    for (number, program) in [&*script, "script"].iter().enumerate() {
        let plain = format!("plain{number}");
        let mut server = place.serve_with(&[], "s", &[program, &plain], &[("PATH", &paths)]);
        let heard = text(&hear(client(&place.path("s"))));
        let said = heard.ends_with(&format!("script {plain} UNIX\n"));
        assert!(said, "{heard} {}", server.errors());
        assert_eq!(server.end(), 0, "{}", server.errors());
        let activated = format!("activated{number}");
        let mut server = place.serve_with(&["--activate"], "s", &[program, &activated], &[("PATH", &paths)]);
        assert_eq!(server.wait(), 0, "{}", server.errors());
        assert!(place.path(&format!("ran.{activated}")).exists());
    }
}

#[test]
fn no_more_programs_run_than_max_connections_and_the_rest_wait() {
    let place = Place::new();
    let _server = place.serve(&["--max-connections", "2"], "s", &["cat"]);
    let (mut first, mut second, mut third) =
        (client(&place.path("s")), client(&place.path("s")), client(&place.path("s")));
    for stream in [&mut first, &mut second, &mut third] {
        stream.write_all(b"x").expect("sent");
    }
    let mut byte = [0];
    std::io::Read::read_exact(&mut first, &mut byte).expect("an echo");
    std::io::Read::read_exact(&mut second, &mut byte).expect("an echo");
    third.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a time");
    std::io::Read::read_exact(&mut third, &mut byte).expect_err("the third has to wait");
    drop(first);
    third.set_read_timeout(Some(common::BOUND)).expect("a time");
    std::io::Read::read_exact(&mut third, &mut byte).expect("its turn");
}

#[test]
fn a_program_that_cannot_be_run_costs_its_client_and_no_more() {
    let place = Place::new();
    let mut server = place.serve(&[], "s", &["/no/such/program"]);
    for _ in 0..3 {
        assert_eq!(hear(client(&place.path("s"))), b"");
    }
    let said = server.errors();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.starts_with("unix-ss: cannot run /no/such/program: no such file or directory"), "{said}");
    assert_eq!(server.end(), 0);
}

#[test]
fn a_client_that_hangs_up_without_a_byte_starts_no_program() {
    let place = Place::new();
    let _server = place.serve(&["--max-connections", "1"], "s", &["sh", "-c", "echo run >>runs; cat"]);
    // Holds the only place, so that the others have hung up by the time they are accepted.
    let mut first = client(&place.path("s"));
    first.write_all(b"x").expect("sent");
    std::io::Read::read_exact(&mut first, &mut [0]).expect("an echo");
    for _ in 0..10 {
        hang_up(client(&place.path("s")));
    }
    let mut gone = client(&place.path("s"));
    gone.write_all(b"last words").expect("sent");
    hang_up(gone);
    drop(first);
    assert_eq!(ask(client(&place.path("s")), b"half-closed"), b"half-closed");
    // Itself, the one with last words, and the half-closed one.
    eventually("three runs", || std::fs::read_to_string(place.path("runs")).unwrap_or_default().lines().count() == 3);
}

#[test]
fn too_few_descriptors_are_waited_for_and_nobody_is_lost() {
    let place = Place::new();
    let path = place.name("s");
    let script = format!("ulimit -n 24; exec {} serve {path} -- cat", env!("CARGO_BIN_EXE_unix-ss"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null());
    let _server = common::Running::of(command);
    let waiting = run(&mut unix_ss(&["connect", "--wait", "30s", &path]));
    assert!(waiting.status.success(), "{waiting:?}");
    let clients: Vec<_> = (0..60).map(|_| client(&place.path("s"))).collect();
    for stream in clients {
        assert_eq!(ask(stream, b"x"), b"x");
    }
}
