//! `serve --activate`: one PROG that has the socket.

mod common;

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Place, Running, client, eventually, hear, run, status_of, text, unix_ss};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

const HTTP: &str = r#"
import http.server, os, socket, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("served " + self.path).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def address_string(self): return "unix"
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    def __init__(self):
        assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1"
        socketserver.BaseServer.__init__(self, ("", 0), Handler)
        self.socket = socket.socket(fileno=3); self.server_name, self.server_port = "unix", 0
    def get_request(self): return self.socket.accept()[0], ("unix", 0)
Server().serve_forever()
"#;

/// Such as orphans that come to the init of a container, and those of a script that has become it by exec.
#[test]
fn children_that_are_not_its_own_leave_no_zombie() {
    for options in [&["--activate"][..], &["--activate", "--on-demand"]] {
        let place = Place::new();
        mknodat(CWD, place.path("life"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("mkfifo");
        let script = "read x <life & echo $! >child; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_unix-ss"), "serve"]).args(options);
        command.args(["s", "--", "sleep", "60"]).current_dir(place.path("")).stdin(Stdio::null());
        let mut server = Running::of(command);
        eventually("it serves", || UnixStream::connect(place.path("s")).is_ok());
        let child = std::fs::read_to_string(place.path("child")).expect("a file");
        let child = Path::new("/proc").join(child.trim());
        assert!(child.exists());
        drop(OpenOptions::new().write(true).open(place.path("life")).expect("it reads"));
        eventually("it is waited for", || !child.exists());
        server.end();
    }
}

#[test]
#[ignore = "needs python3 and curl"]
fn a_python_http_server_adopts_it_and_curl_is_served() {
    let place = Place::new();
    let mut server = place.serve(&["--activate"], "s", &["python3", "-c", HTTP]);
    for path in ["/one", "/two"] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "-m", "50", "--unix-socket", &place.name("s"), &format!("http://localhost{path}")]);
        let output = run(&mut curl);
        assert_eq!(text(&output.stdout), format!("served {path}"), "{} {}", text(&output.stderr), server.errors());
    }
    assert_eq!(server.end(), 128 + 15, "PROG does not catch SIGTERM");
    assert!(!place.path("s").exists());
}

#[test]
#[ignore = "needs python3"]
fn the_environment_and_descriptors_are_those_of_socket_activation() {
    let place = Place::new();
    let script = r#"
import os, socket
s = socket.socket(fileno=3)
answer = [os.environ.get(n) for n in ("LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET")]
answer += [os.environ["LISTEN_PID"] == str(os.getpid()), os.readlink("/proc/self/fd/0"), os.get_blocking(3)]
answer += [s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), os.getpgrp() == os.getpid()]
c, _ = s.accept(); c.send(repr(answer).encode()); c.close()
"#;
    // The ready descriptor of these tests is 3 as well, so that the number is taken when the listener comes.
    for (options, name) in [(&["--activate"][..], "unix-ss"), (&["--activate", "--fd-name=-web 1"], "-web 1")] {
        let stale = [("LISTEN_FDS", "9"), ("LISTEN_PID", "1"), ("NOTIFY_SOCKET", "/x")];
        let mut server = place.serve_with(options, "s", &["python3", "-c", script], &stale);
        let heard = text(&hear(client(&place.path("s"))));
        assert_eq!(heard, format!("['1', '{name}', None, True, '/dev/null', True, 1, True]"), "{}", server.errors());
        assert_eq!(server.wait(), 0, "{}", server.errors());
        assert!(!place.path("s").exists());
    }
}

#[test]
fn the_programs_exit_status_is_passed_on() {
    let place = Place::new();
    std::fs::write(place.path("data"), "not a program").expect("a file");
    for (program, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -9 $$"], 128 + 9),
        (&["no-such-program-anywhere"], 127),
        (&[&place.name("data")], 126),
    ] {
        let output = run(unix_ss(&["serve", "--activate", &place.name("s"), "--"]).args(program));
        assert_eq!(status_of(&output), status, "{program:?}: {}", text(&output.stderr));
        assert!(!place.path("s").exists());
        if status == 126 || status == 127 {
            let said = text(&output.stderr);
            assert!(said.starts_with("unix-ss: cannot run ") && said.lines().count() == 1, "{said}");
        }
    }
}

#[test]
fn signals_are_forwarded() {
    let place = Place::new();
    let script = "trap 'echo usr1 >>got' USR1; trap 'echo usr2 >>got' USR2; trap 'echo hup >>got' HUP; \
        trap 'echo quit >>got' QUIT; trap 'echo term >>got; exit 9' TERM; echo up >>got; while :; do sleep 0.01; done";
    let mut server = place.serve(&["--activate"], "s", &["sh", "-c", script]);
    let got = |word: &str| {
        eventually(word, || std::fs::read_to_string(place.path("got")).unwrap_or_default().contains(word));
    };
    got("up");
    for (signal, word) in [(Signal::USR1, "usr1"), (Signal::USR2, "usr2"), (Signal::HUP, "hup"), (Signal::QUIT, "quit")]
    {
        server.signal(signal);
        got(word);
        assert!(place.path("s").exists());
    }
    assert_eq!(server.end(), 9);
    assert!(!place.path("s").exists());
}

#[test]
fn a_lifetime_lock_outlives_a_killed_supervisor_as_long_as_the_program_serves() {
    let place = Place::new();
    let script = "echo $$ >pid; exec sleep 600";
    let lifetime = ["--lock-scope", "lifetime", "--activate"];
    let mut server = place.serve(&lifetime, "s", &["sh", "-c", script]);
    let pid = || std::fs::read_to_string(place.path("pid")).unwrap_or_default().trim().parse::<i32>().ok();
    eventually("the program is up", || pid().is_some());
    server.signal(Signal::KILL);
    assert_eq!(server.wait(), 128 + 9);
    // The listener would keep a second one away as well, so that is taken out of its way.
    std::fs::remove_file(place.path("s")).expect("unlink");
    let second = ["serve", "--lock-scope", "lifetime", "--lock-timeout", "50ms", &place.name("s"), "--", "cat"];
    let output = run(&mut unix_ss(&second));
    assert_eq!(status_of(&output), 3, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("s.owner"), "{}", text(&output.stderr));
    kill_process(Pid::from_raw(pid().expect("a number")).expect("a pid"), Signal::KILL).expect("it serves");
    let mut third = place.serve(&["--lock-scope", "lifetime"], "s", &["cat"]);
    assert_eq!(third.end(), 0);
    assert!(!place.path("s").exists() && !place.path("s.owner").exists());
}

#[test]
fn clients_left_in_the_queue_are_counted() {
    for signal in [None, Some(Signal::TERM)] {
        let place = Place::new();
        // Until it is told to end, by a file or by the signal.
        let script = "trap 'exit 0' TERM; echo >up; while [ ! -e end ]; do sleep 0.01; done";
        let mut server = place.serve(&["--activate"], "s", &["sh", "-c", script]);
        eventually("it is up", || place.path("up").exists());
        let clients: Vec<UnixStream> = (0..3).map(|_| client(&place.path("s"))).collect();
        match signal {
            Some(signal) => server.signal(signal),
            None => std::fs::write(place.path("end"), "").expect("a file"),
        }
        assert_eq!(server.wait(), 0);
        let said = server.errors();
        assert!(said.contains("unix-ss: 3 clients were still queued"), "{said}");
        for mut stream in clients {
            assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
        }
        assert!(!place.path("s").exists());
    }
}

#[test]
fn where_they_cannot_be_counted_that_there_were_some_is_said() {
    for waits in [true, false] {
        let place = Place::new();
        let script = "echo >up; while [ ! -e end ]; do sleep 0.01; done";
        let mut server = place.serve(&["--activate"], "s", &["sh", "-c", script]);
        eventually("it is up", || place.path("up").exists());
        let _client = waits.then(|| client(&place.path("s")));
        let few = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
        prlimit(Some(Pid::from_child(&server.child)), Resource::Nofile, few).expect("a limit");
        std::fs::write(place.path("end"), "").expect("a file");
        server.wait();
        let said = server.errors();
        assert_eq!(said.contains("clients were still queued at the end, and were not served"), waits, "{said}");
    }
}

#[test]
fn a_path_lost_meanwhile_is_5_unless_the_program_failed_itself() {
    for (code, status) in [("0", 5), ("7", 7)] {
        let place = Place::new();
        let script = format!("trap 'exit {code}' TERM; echo up >up; while :; do sleep 0.01; done");
        let mut server = place.serve(&["--activate"], "s", &["sh", "-c", &script]);
        eventually("it is up", || place.path("up").exists());
        std::fs::remove_file(place.path("s")).expect("deleted");
        eventually("it is noticed", || server.errors().contains("lost the path"));
        assert_eq!(server.end(), status, "{}", server.errors());
    }
}
