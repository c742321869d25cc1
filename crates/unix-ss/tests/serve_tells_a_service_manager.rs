//! NOTIFY_SOCKET: the manager hears READY=1 when clients can come, and STOPPING=1 when the end begins; PROG has no part in it.

mod common;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use common::{BOUND, Place, client, eventually, hear, text};
use rustix::process::Signal;

fn heard(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("a message");
    text(&buffer[..length])
}

fn manager(address: &SocketAddr) -> UnixDatagram {
    let manager = UnixDatagram::bind_addr(address).expect("bind");
    manager.set_read_timeout(Some(BOUND)).expect("a time");
    manager
}

fn assert_silent(manager: &UnixDatagram) {
    manager.set_nonblocking(true).expect("fcntl");
    let said = manager.recv(&mut [0]);
    assert!(said.is_err(), "more was said");
}

/// Says whether it sees NOTIFY_SOCKET, to its client or to a file.
const SEES: &str = "echo ${NOTIFY_SOCKET:-nothing}";

#[test]
fn a_manager_hears_of_the_beginning_and_the_end() {
    let place = Place::new();
    let abstract_name = format!("unix-ss notify test of {}", std::process::id());
    for (address, text_of_it) in [
        (SocketAddr::from_pathname(place.path("notify")).expect("short"), place.name("notify")),
        (SocketAddr::from_abstract_name(&abstract_name).expect("short"), format!("@{abstract_name}")),
    ] {
        let manager = manager(&address);
        let environment = [("NOTIFY_SOCKET", text_of_it.as_str())];
        let mut server = place.serve_with(&[], "s", &["sh", "-c", SEES], &environment);
        assert_eq!(heard(&manager), "READY=1");
        assert_eq!(text(&hear(client(&place.path("s")))), "nothing\n");
        assert_eq!(server.end(), 0);
        assert_eq!(heard(&manager), "STOPPING=1");
        assert_silent(&manager);
    }
}

#[test]
fn a_second_signal_says_nothing_new() {
    let place = Place::new();
    let manager = manager(&SocketAddr::from_pathname(place.path("notify")).expect("short"));
    let environment = [("NOTIFY_SOCKET", &*place.name("notify"))];
    let mut server = place.serve_with(&[], "s", &["sh", "-c", "echo up; exec sleep 600"], &environment);
    assert_eq!(heard(&manager), "READY=1");
    let mut word = [0; 3];
    std::io::Read::read_exact(&mut client(&place.path("s")), &mut word).expect("PROG runs");
    server.signal(Signal::TERM);
    // While PROG is waited for.
    assert_eq!(heard(&manager), "STOPPING=1");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), 128 + 15);
    assert_silent(&manager);
}

#[test]
fn with_activate_it_is_the_supervisor_who_speaks() {
    let place = Place::new();
    let manager = manager(&SocketAddr::from_pathname(place.path("notify")).expect("short"));
    let environment = [("NOTIFY_SOCKET", &*place.name("notify"))];
    // Told to end, and ending by itself.
    for signal in [true, false] {
        let script = format!("{SEES} >seen; trap 'exit 0' TERM; echo >up; while [ ! -e end ]; do sleep 0.01; done");
        let mut server = place.serve_with(&["--activate"], "s", &["sh", "-c", &script], &environment);
        assert_eq!(heard(&manager), "READY=1");
        eventually("PROG runs", || place.path("up").exists());
        if signal {
            server.signal(Signal::TERM);
        } else {
            std::fs::write(place.path("end"), "").expect("a file");
        }
        assert_eq!(server.wait(), 0, "{}", server.errors());
        assert_eq!(heard(&manager), "STOPPING=1");
        assert_eq!(std::fs::read_to_string(place.path("seen")).expect("written"), "nothing\n");
        std::fs::remove_file(place.path("up")).expect("there");
    }
    // While no PROG runs.
    let mut server = place.serve_with(&["--activate", "--on-demand"], "s", &["true"], &environment);
    assert_eq!(heard(&manager), "READY=1");
    assert_eq!(server.end(), 0, "{}", server.errors());
    assert_eq!(heard(&manager), "STOPPING=1");
    assert_silent(&manager);
}

#[test]
fn a_manager_that_is_not_there_is_complained_of_and_changes_nothing() {
    let place = Place::new();
    for address in [place.name("no-manager"), "vsock:2:1".to_owned()] {
        let mut server = place.serve_with(&[], "s", &["echo", "served"], &[("NOTIFY_SOCKET", &address)]);
        assert_eq!(text(&hear(client(&place.path("s")))), "served\n");
        assert_eq!(server.end(), 0);
        let said = server.errors();
        let line = format!("unix-ss: cannot notify the service manager at {address}: ");
        assert!(said.lines().count() == 2 && said.lines().all(|said| said.starts_with(&line)), "{said}");
    }
}

#[test]
fn a_program_with_the_library_adopts_what_serve_activate_hands_it() {
    if std::env::var_os("UNIX_SS_TEST_PROGRAM").is_some() {
        // PROG: this test program again.
        let mut activation = unix_stream_server::from_env().expect("well-formed");
        let socket = activation.take("web").expect("named");
        assert!(!socket.owns_path() && activation.is_empty());
        let (mut client, _) = socket.accept().expect("accept");
        let status = socket.status();
        std::io::Write::write_all(&mut client, format!("{:?} {status:?}", socket.name()).as_bytes()).expect("write");
        // Ends without the path, which is the supervisor's.
        assert_eq!(socket.drain().expect("drain").count(), 0);
        return;
    }
    let place = Place::new();
    let this = std::env::current_exe().expect("a path");
    let this = this.to_str().expect("UTF-8");
    let test = "a_program_with_the_library_adopts_what_serve_activate_hands_it";
    // A stale duty of somebody else's is not handed on.
    let environment = [("UNIX_SS_TEST_PROGRAM", "1"), ("UNIX_SS_OWNED_PATH", &*place.name("s"))];
    let program = [this, "--exact", test, "--nocapture"];
    let mut server = place.serve_with(&["--activate", "--fd-name=web"], "s", &program, &environment);
    assert_eq!(text(&hear(client(&place.path("s")))), "Some(\"web\") Some(Ours)", "{}", server.errors());
    assert_eq!(server.wait(), 0, "{}", server.errors());
    assert!(!place.path("s").exists());
}

#[test]
fn a_server_that_is_replaced_names_its_successor_and_does_not_say_that_the_service_ends() {
    for mode in [&[][..], &["--activate"]] {
        let place = Place::new();
        let manager = manager(&SocketAddr::from_pathname(place.path("notify")).expect("short"));
        let environment = [("NOTIFY_SOCKET", &*place.name("notify"))];
        let options = [&["--replace"], mode].concat();
        // It ends with its client: a successor's question may start it before it is seen to have gone.
        let program = if mode.is_empty() { ["sh", "-c", "cat"] } else { ["sh", "-c", "exec sleep 600"] };
        let mut old = place.serve_with(&options, "s", &program, &environment);
        assert_eq!(heard(&manager), format!("READY=1\nMAINPID={}", old.pid()));
        let mut new = place.serve_with(&options, "s", &program, &environment);
        let word = format!("MAINPID={}", new.pid());
        // The successor speaks for itself, and the predecessor when it ends; in which order, only the scheduler knows.
        let said = [heard(&manager), heard(&manager)];
        assert!(said.contains(&word) && said.contains(&format!("READY=1\n{word}")), "{said:?} {}", old.errors());
        assert_eq!(old.wait(), 0, "{}", old.errors());
        new.signal(Signal::TERM);
        assert_eq!(heard(&manager), "STOPPING=1");
        new.wait();
    }
}

/// It has not looked at its path since, or does just then.
#[test]
fn a_server_that_is_told_to_end_just_after_it_was_replaced_names_its_successor_too() {
    for mode in [&[][..], &["--activate"], &["--activate", "--on-demand"]] {
        let place = Place::new();
        let manager = manager(&SocketAddr::from_pathname(place.path("notify")).expect("short"));
        let environment = [("NOTIFY_SOCKET", &*place.name("notify"))];
        let options = [&["--replace"], mode].concat();
        let program = ["sh", "-c", "exec sleep 600"];
        let mut old = place.serve_with(&options, "s", &program, &environment);
        assert_eq!(heard(&manager), format!("READY=1\nMAINPID={}", old.pid()));
        old.signal(Signal::STOP);
        eventually("it has stopped", || old.has_stopped());
        let mut new = place.serve_with(&options, "s", &program, &environment);
        let word = format!("MAINPID={}", new.pid());
        assert_eq!(heard(&manager), format!("READY=1\n{word}"));
        old.signal(Signal::TERM);
        old.signal(Signal::CONT);
        assert_eq!(heard(&manager), word, "{mode:?}: {}", old.errors());
        old.wait();
        new.signal(Signal::TERM);
        assert_eq!(heard(&manager), "STOPPING=1");
        new.wait();
        assert_silent(&manager);
    }
}
