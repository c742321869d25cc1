//! Sockets handed in by programs of others, who know the convention and not us.

pub mod support;

#[path = "../examples/activated.rs"]
#[expect(dead_code, unreachable_pub, reason = "an example, of which the test calls what is below main")]
mod activated;

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::child::{self, Program, role};
use support::dir::{Dir, exists};
use support::wait::until;
use unix_stream_server::{PathState, connect, inspect};

/// The example, as the program that others start: the arguments that bring this test program to it.
fn example(test: &str) -> [String; 6] {
    let program = env::current_exe().expect("a path").to_str().expect("UTF-8").to_owned();
    [&program, "--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"].map(str::to_owned)
}

/// A client that says some lines, and hears them again. Who waits in the queue is served in turn.
fn echoed(path: &Path, lines: &str) {
    let mut client = connect(path).expect("connect");
    client.set_read_timeout(Some(support::PATIENCE)).expect("setsockopt");
    client.write_all(lines.as_bytes()).expect("write");
    client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    assert_eq!(std::io::read_to_string(client).expect("an answer"), lines);
}

struct Killed(Child);

impl Killed {
    fn ends_well(mut self) {
        until("it ends", || self.0.try_wait().expect("a child").is_some());
        assert!(self.0.wait().expect("a child").success());
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks the kernel and not the server, since a connection would start it.
fn listens(path: &Path) -> bool {
    matches!(inspect(path).expect("a path").state, PathState::Live { .. })
}

#[test]
#[ignore = "needs systemd-socket-activate"]
fn systemd_socket_activate_starts_it_at_the_first_client() {
    if role().is_some() {
        let names = [env::var("LISTEN_FDNAMES").ok(), env::var("LISTEN_FDS").ok()];
        assert_eq!(names, [Some("echo".to_owned()), Some("1".to_owned())]);
        return activated::run(None).expect("it ends well");
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(&path).args(["--fdname", "echo"]);
    command.args(["--setenv", "UNIX_STREAM_SERVER_TEST_ROLE=server"]).args(example(&this_test!()));
    let server = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("systemd-socket-activate"));
    until("it listens", || exists(&path) && listens(&path));
    echoed(&path, "hello\n");
    echoed(&path, "again\nquit\n");
    server.ends_well();
    assert!(exists(&path), "the path is its maker's");
}

#[test]
#[ignore = "needs systemd-socket-activate"]
fn systemd_socket_activate_with_foreign_sockets_is_told_which() {
    if role().is_some() {
        let error = unix_stream_server::from_env().expect_err("a datagram socket");
        assert!(error.to_string().contains("descriptor 3 (`unknown`) is a datagram socket"), "{error}");
        return std::fs::write(child::value("told"), "told").expect("write");
    }
    let dir = Dir::new();
    let (path, told) = (dir.join("s"), dir.join("told"));
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--datagram").arg("--listen").arg(&path);
    command.args(["--setenv", "UNIX_STREAM_SERVER_TEST_ROLE=server"]);
    command.args(["--setenv", &format!("UNIX_STREAM_SERVER_TEST_DIR_told={}", told.display())]);
    let command = command.args(example(&this_test!())).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Killed(command.spawn().expect("systemd-socket-activate"));
    let client = std::os::unix::net::UnixDatagram::unbound().expect("socket");
    until("it listens", || client.send_to(b"x", &path).is_ok());
    server.ends_well();
    assert!(exists(&told));
}

/// What a script does that knows no more than the manual page.
const PYTHON: &str = r#"
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True) # it may have been 3 already, which dup2 leaves as it is
if len(sys.argv) > 8: os.environ["UNIX_SS_OWNED_PATH"] = sys.argv[1]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:8])
"#;

#[test]
#[ignore = "needs python3"]
fn a_python_script_becomes_it_and_may_hand_over_the_duty() {
    if role().is_some() {
        return activated::run(None).expect("it ends well");
    }
    let dir = Dir::new();
    let path = dir.join("s");
    for duty in [false, true] {
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON]).arg(&path).args(example(&this_test!())).args(duty.then_some("with the duty"));
        let command = command.env("UNIX_STREAM_SERVER_TEST_ROLE", "server").stdout(Stdio::null());
        let server = Killed(command.spawn().expect("python3"));
        until("it listens", || exists(&path) && listens(&path));
        echoed(&path, "hello\nquit\n");
        server.ends_well();
        assert_eq!(exists(&path), !duty);
        let _ = std::fs::remove_file(&path);
    }
}

#[test]
#[ignore = "needs python3"]
fn a_python_client_and_a_manager_that_starts_it_anew_lose_nobody() {
    if role().is_some() {
        return activated::run(None).expect("it ends well");
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let manager = support::sockets::stranger(&path);
    // Ten clients in the queue before anybody serves, of which each ends the server that serves it.
    let script = "import socket, sys\nfor i in range(10):\n c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); \
        c.send(b'quit\\n'); globals()[f'c{i}'] = c\nprint(b''.join(globals()[f'c{i}'].recv(9) for i in range(10)))";
    let mut clients = Command::new("python3");
    clients.args(["-c", script]).arg(&path).stdout(Stdio::piped());
    let clients = clients.spawn().expect("python3");
    for _ in 0..10 {
        let copy = manager.try_clone().expect("dup").into();
        Program::activated(&this_test!(), "server", vec![copy], &[]).run();
    }
    let output = clients.wait_with_output().expect("output");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("b'{}'", "quit\\n".repeat(10)));
}
