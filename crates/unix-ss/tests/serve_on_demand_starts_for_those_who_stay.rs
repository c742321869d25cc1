//! `serve --activate --on-demand`: PROG runs when somebody wants it, again and again, and nobody is taken from it.

mod common;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::activated::{Household, as_role, dir, role, serve, who_answers};
use common::{Place, Running, client, eventually, run, status_of, text, unix_ss};
use rustix::net::Shutdown;
use rustix::process::Signal;

const ON_DEMAND: [&str; 2] = ["--activate", "--on-demand"];

fn on_demand(home: &Household, test: &str, role: &str, options: &[&str]) -> Running {
    let program = home.program(test, role);
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    home.place.serve(&[&ON_DEMAND[..], options].concat(), "s", &program)
}

/// A client that is this test again, perhaps of another user, from its beginning to its end.
fn client_process(home: &Household, test: &str, role: &str, uid: Option<u32>) {
    let mut client = Command::new("/proc/self/exe");
    client.args(["--exact", test, "--nocapture"]).current_dir("/");
    if let Some(uid) = uid {
        client.uid(uid).gid(uid);
    }
    let output = run(as_role(&mut client, role, home));
    assert!(output.status.success(), "{}", text(&output.stdout));
}

/// The supervisor does not look while this happens, however slow it is.
fn unseen(server: &Running, what: impl FnOnce()) {
    server.signal(Signal::STOP);
    eventually("it has stopped", || server.has_stopped());
    what();
    server.signal(Signal::CONT);
}

#[test]
fn who_hangs_up_without_a_byte_starts_nothing_and_who_sends_or_stays_does() {
    let test = "who_hangs_up_without_a_byte_starts_nothing_and_who_sends_or_stays_does";
    match role().as_deref() {
        None => {}
        // In a process of its own, since here one that another test is just starting would hold them open.
        Some("hangs up") => return (0..50).for_each(|_| drop(client(&dir().join("s")))),
        Some(role) => serve(role),
    }
    for stays_silent in [false, true] {
        let mut home = Household::new();
        let mut server = on_demand(&home, test, "serve", &[]);
        for _ in 0..3 {
            unseen(&server, || client_process(&home, test, "hangs up", None));
        }
        assert!(home.started().is_empty());
        let wants = client(&home.place.path("s"));
        if stays_silent {
            eventually("PROG is started", || home.started().len() == 1);
        }
        assert_eq!([who_answers(wants)], *home.started());
        // PROG has met nobody but the one who wanted it.
        assert_eq!(home.heard(), [format!("who? {}", rustix::process::geteuid().as_raw())], "{}", server.errors());
        home.end();
        // It has ended well, so that the next one would start it again.
        assert_eq!(server.end(), 0, "{}", server.errors());
        assert!(!home.place.path("s").exists());
    }
}

#[test]
fn a_program_that_ends_when_idle_is_started_again_for_the_next_client() {
    let test = "a_program_that_ends_when_idle_is_started_again_for_the_next_client";
    if let Some(role) = role() {
        serve(&role);
    }
    let home = Household::new();
    let mut server = on_demand(&home, test, "once", &[]);
    let mut answered = Vec::new();
    for _ in 0..5 {
        answered.push(who_answers(client(&home.place.path("s"))));
    }
    // At once: each is served by one PROG, since each serves one.
    let waiting: Vec<UnixStream> = (0..5).map(|_| client(&home.place.path("s"))).collect();
    answered.extend(waiting.into_iter().map(who_answers));
    assert_eq!(answered, home.started(), "{}", server.errors());
    answered.dedup();
    assert_eq!(answered.len(), 10);
    eventually("the last one has ended", || !common::activated::is_alive(answered[9]));
    assert_eq!(server.end(), 0);
    assert!(!home.place.path("s").exists());
}

#[test]
fn what_was_sent_by_one_who_has_hung_up_reaches_the_program_if_he_is_of_our_user() {
    let test = "what_was_sent_by_one_who_has_hung_up_reaches_the_program_if_he_is_of_our_user";
    match role().as_deref() {
        None => {}
        Some("note") => {
            let mut client = UnixStream::connect(dir().join("s")).expect("a server");
            return client.write_all(b"note\n").expect("sent");
        }
        Some(role) => serve(role),
    }
    let us = rustix::process::geteuid().as_raw();
    for uid in [us, 65_534] {
        if uid != us && us != 0 {
            continue; // only root can be another client
        }
        let mut home = Household::new();
        std::fs::set_permissions(home.place.path(""), std::fs::Permissions::from_mode(0o711)).expect("chmod");
        let mut server = on_demand(&home, test, "serve", &["--mode", "666"]);
        unseen(&server, || {
            client_process(&home, test, "note", (uid != us).then_some(uid));
        });
        if uid == us {
            eventually("PROG hears it", || home.heard() == [format!("note {uid}")]);
            assert_eq!(home.started().len(), 1, "{}", server.errors());
            home.end();
            assert_eq!(server.end(), 0, "{}", server.errors());
        } else {
            // Another user's would look like ours, and to become that user is to be killed by him.
            eventually("it says so", || server.errors().contains(&format!("it is lost: it was user {uid}")));
            assert_eq!(server.end(), 0, "{}", server.errors());
            assert!(home.started().is_empty());
        }
    }
}

#[test]
fn what_was_sent_by_one_who_has_hung_up_reaches_no_stranger_who_has_the_path() {
    let test = "what_was_sent_by_one_who_has_hung_up_reaches_no_stranger_who_has_the_path";
    if role().is_some() {
        let mut client = UnixStream::connect(dir().join("s")).expect("a server");
        return client.write_all(b"note\n").expect("sent");
    }
    let home = Household::new();
    let path = home.place.path("s");
    let mut server = on_demand(&home, test, "serve", &[]);
    let mut stranger = None;
    unseen(&server, || {
        client_process(&home, test, "note", None);
        std::fs::remove_file(&path).expect("deleted");
        stranger = Some(UnixListener::bind(&path).expect("bind"));
    });
    assert_eq!(server.wait(), 5, "{}", server.errors());
    assert!(server.errors().contains("it is lost: "), "{}", server.errors());
    assert!(home.started().is_empty(), "{}", server.errors());
    let stranger = stranger.expect("a listener");
    stranger.set_nonblocking(true).expect("fcntl");
    stranger.accept().expect_err("it hears nothing");
}

#[test]
fn a_program_that_fails_ends_it_with_its_status() {
    let test = "a_program_that_fails_ends_it_with_its_status";
    if let Some(role) = role() {
        serve(&role);
    }
    let home = Household::new();
    let mut server = on_demand(&home, test, "fail", &[]);
    assert_eq!([who_answers(client(&home.place.path("s")))], *home.started());
    assert_eq!(server.wait(), 7);
    assert!(!home.place.path("s").exists());
    let place = Place::new();
    let mut server = place.serve(&ON_DEMAND, "s", &["no-such-program-anywhere"]);
    let _client = client(&place.path("s"));
    assert_eq!(server.wait(), 127);
    assert!(!place.path("s").exists() && server.errors().contains("cannot run no-such-program-anywhere"));
}

#[test]
fn a_program_that_accepts_nobody_is_not_started_in_circles() {
    let place = Place::new();
    let mut server = place.serve(&ON_DEMAND, "s", &["sh", "-c", "echo up >>started"]);
    let _client = client(&place.path("s"));
    assert_eq!(server.wait(), 1);
    let said = server.errors();
    assert!(
        said.contains("PROG ended without having accepted") && said.contains("1 client was still queued"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(place.path("started")).expect("it ran"), "up\n");
    assert!(!place.path("s").exists());
}

/// A PROG that answers one client and shuts its socket down: at once, or when it is told to end.
fn answer_and_shut(how: &str) -> ! {
    let told = Arc::new(AtomicBool::new(how != "when told"));
    signal_hook::flag::register(Signal::TERM.as_raw(), Arc::clone(&told)).expect("a handler");
    let pid = format!("{}\n", std::process::id());
    let mut started = OpenOptions::new().append(true).create(true).open(dir().join("started")).expect("a file");
    started.write_all(pid.as_bytes()).expect("written");
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    let (mut client, _) = listener.accept().expect("accept");
    client.read_exact(&mut [0; 5]).expect("a question");
    client.write_all(pid.as_bytes()).expect("sent");
    eventually("it is told to end", || told.load(Ordering::SeqCst));
    let what = if how == "both" { Shutdown::Both } else { Shutdown::Read };
    rustix::net::shutdown(&listener, what).expect("shut");
    std::process::exit(0);
}

#[test]
fn a_program_that_shuts_the_socket_down_ends_it() {
    let test = "a_program_that_shuts_the_socket_down_ends_it";
    if let Some(role) = role() {
        answer_and_shut(&role);
    }
    for how in ["read", "both", "when told"] {
        let home = Household::new();
        let mut server = on_demand(&home, test, how, &[]);
        let answers = who_answers(client(&home.place.path("s")));
        if how == "when told" {
            assert_eq!(server.end(), 0, "{}", server.errors());
        } else {
            assert_eq!(server.wait(), 1, "{}", server.errors());
            assert!(server.errors().contains("PROG has shut the socket down"), "{}", server.errors());
        }
        assert_eq!([answers], *home.started(), "{how}: {}", server.errors());
        assert!(!home.place.path("s").exists());
    }
}

/// A PROG that answers one client, and shuts its socket down when the test lets it go on; the next one answers those who are
/// left.
fn answer_one_and_shut_or_the_rest() -> ! {
    let pid = format!("{}\n", std::process::id());
    let append = |name: &str| OpenOptions::new().append(true).create(true).open(dir().join(name)).expect("a file");
    let is_first = !dir().join("started").exists();
    append("started").write_all(pid.as_bytes()).expect("written");
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    for _ in 0..if is_first { 1 } else { 2 } {
        let (mut client, _) = listener.accept().expect("accept");
        let mut words = [0; 5];
        client.read_exact(&mut words).expect("words");
        append("heard").write_all(&words).expect("written");
        let _ = client.write_all(pid.as_bytes());
    }
    if is_first {
        eventually("it may go on", || dir().join("go").exists());
        rustix::net::shutdown(&listener, Shutdown::Read).expect("shut");
    }
    std::process::exit(0);
}

#[test]
fn whoever_is_queued_in_a_socket_that_the_program_has_shut_is_served_by_the_next_one() {
    let test = "whoever_is_queued_in_a_socket_that_the_program_has_shut_is_served_by_the_next_one";
    match role().as_deref() {
        None => {}
        Some("note") => return client(&dir().join("s")).write_all(b"note\n").expect("sent"),
        Some(_) => answer_one_and_shut_or_the_rest(),
    }
    let home = Household::new();
    let mut server = on_demand(&home, test, "shuts", &[]);
    let first = who_answers(client(&home.place.path("s")));
    client_process(&home, test, "note", None);
    let stays = client(&home.place.path("s"));
    std::fs::write(home.place.path("go"), "").expect("a file");
    assert_eq!([first, who_answers(stays)], *home.started(), "{}", server.errors());
    assert_eq!(home.heard(), ["who?", "note", "who?"], "{}", server.errors());
    assert_eq!(server.wait(), 1, "{}", server.errors());
    assert!(server.errors().contains("PROG has shut the socket down"), "{}", server.errors());
}

/// A PROG that shuts its socket down when the test lets it, and accepts nobody.
fn shut_and_accept_nobody() -> ! {
    let pid = format!("{}\n", std::process::id());
    let mut started = OpenOptions::new().append(true).create(true).open(dir().join("started")).expect("a file");
    started.write_all(pid.as_bytes()).expect("written");
    eventually("it may go on", || dir().join("go").exists());
    rustix::net::shutdown(std::io::stdin(), Shutdown::Read).expect("shut");
    std::process::exit(0);
}

#[test]
fn and_not_in_circles_where_all_of_them_have_gone() {
    let test = "and_not_in_circles_where_all_of_them_have_gone";
    match role().as_deref() {
        None => {}
        Some("stays") => {
            let _client = client(&dir().join("s"));
            return eventually("PROG is started", || dir().join("started").exists());
        }
        Some(_) => shut_and_accept_nobody(),
    }
    let home = Household::new();
    let mut server = on_demand(&home, test, "shuts", &[]);
    client_process(&home, test, "stays", None);
    std::fs::write(home.place.path("go"), "").expect("a file");
    assert_eq!(server.wait(), 1, "{}", server.errors());
    assert!(server.errors().contains("PROG ended without having accepted"), "{}", server.errors());
    assert_eq!(home.started().len(), 2, "{}", server.errors());
}

/// A PROG that answers one client before he says anything.
fn greet_one() -> ! {
    let pid = format!("{}\n", std::process::id());
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    let (mut client, _) = listener.accept().expect("accept");
    client.write_all(pid.as_bytes()).expect("sent");
    std::process::exit(0);
}

#[test]
fn started_for_one_who_sends_behind_one_who_is_silent_a_program_may_serve_the_first_alone() {
    let test = "started_for_one_who_sends_behind_one_who_is_silent_a_program_may_serve_the_first_alone";
    if role().is_some() {
        greet_one();
    }
    let home = Household::new();
    let mut server = on_demand(&home, test, "greets", &[]);
    let mut guests = Vec::new();
    unseen(&server, || {
        guests.extend((0..2).map(|_| client(&home.place.path("s"))));
        guests[1].write_all(b"who?\n").expect("sent");
    });
    for guest in &mut guests {
        guest.read_exact(&mut [0]).unwrap_or_else(|error| panic!("no answer: {error}: {}", server.errors()));
        // Its PROG has ended then. What the second one has sent is not read, and so that is a reset.
        let _ = guest.read_to_end(&mut Vec::new());
    }
    assert_eq!(server.end(), 0, "{}", server.errors());
}

#[test]
fn told_to_end_while_nobody_wants_anything_it_ends_well_and_a_lost_path_is_5() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut server = place.serve(&ON_DEMAND, "s", &["sh", "-c", "echo up >started"]);
        server.signal(Signal::HUP); // for nobody
        server.signal(signal);
        assert_eq!(server.wait(), 0, "{}", server.errors());
        assert!(!place.path("s").exists() && !place.path("started").exists());
    }
    let place = Place::new();
    let mut server = place.serve(&ON_DEMAND, "s", &["true"]);
    std::fs::remove_file(place.path("s")).expect("deleted");
    assert_eq!(server.wait(), 5, "{}", server.errors());
    assert!(server.errors().contains("lost the path"));
}

/// A PROG that answers one client, and ends well when it is told to by any signal: after it could be heard that it has
/// begun, and when the test lets it go on.
fn answer_and_end_when_told(hears: bool) -> ! {
    let pid = format!("{}\n", std::process::id());
    std::fs::write(dir().join("started"), &pid).expect("written");
    eventually("it may go on", || dir().join("go").exists());
    let told = Arc::new(AtomicBool::new(false));
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        signal_hook::flag::register(signal.as_raw(), Arc::clone(&told)).expect("a handler");
    }
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    let (mut client, _) = listener.accept().expect("accept");
    if hears {
        client.read_exact(&mut [0; 5]).expect("a question");
    }
    client.write_all(pid.as_bytes()).expect("sent");
    eventually("it is told to end", || told.load(Ordering::SeqCst));
    std::process::exit(0);
}

#[test]
fn told_to_end_when_somebody_has_just_come_it_ends_when_the_program_has_served_him() {
    let test = "told_to_end_when_somebody_has_just_come_it_ends_when_the_program_has_served_him";
    if let Some(role) = role() {
        answer_and_end_when_told(role == "hears");
    }
    let begin = |role: &str, go: bool| {
        let home = Household::new();
        if go {
            std::fs::write(home.place.path("go"), "").expect("a file");
        }
        let server = on_demand(&home, test, role, &[]);
        (home, server)
    };
    // At once: it looks at both, in whatever order.
    for sends in [true, false] {
        let (home, mut server) = begin(if sends { "hears" } else { "answers" }, true);
        let mut guest = None;
        unseen(&server, || {
            let mut client = client(&home.place.path("s"));
            if sends {
                client.write_all(b"who?\n").expect("sent");
            }
            guest = Some(client);
            server.signal(Signal::TERM);
        });
        let pid = text(&common::hear(guest.expect("a client")));
        assert_eq!(format!("{}\n", home.started()[0]), pid, "{}", server.errors());
        assert_eq!(server.wait(), 0, "{}", server.errors());
        assert!(!home.place.path("s").exists());
    }
    // While PROG starts, and does not catch the signal yet.
    let (home, mut server) = begin("answers", false);
    let guest = client(&home.place.path("s"));
    eventually("PROG is started", || home.started().len() == 1);
    server.signal(Signal::TERM);
    eventually("nobody else finds it", || !home.place.path("s").exists());
    std::fs::write(home.place.path("go"), "").expect("a file");
    assert_eq!(text(&common::hear(guest)), format!("{}\n", home.started()[0]), "{}", server.errors());
    assert_eq!(server.wait(), 0, "{}", server.errors());
}

#[test]
fn told_to_end_it_starts_a_program_that_serves_one_for_each_who_is_queued() {
    let test = "told_to_end_it_starts_a_program_that_serves_one_for_each_who_is_queued";
    if let Some(role) = role() {
        serve(&role);
    }
    let home = Household::new();
    // It is told when it has accepted the last one, whom it serves to the end.
    let program = home.program(test, "once");
    let deaf = ["sh", "-c", "trap '' TERM; exec \"$@\"", "sh"].into_iter();
    let program: Vec<&str> = deaf.chain(program.iter().map(String::as_str)).collect();
    let mut server = home.place.serve(&ON_DEMAND, "s", &program);
    let mut guests = Vec::new();
    unseen(&server, || {
        guests.extend((0..3).map(|_| client(&home.place.path("s"))));
        server.signal(Signal::TERM);
    });
    let answered: Vec<i32> = guests.into_iter().map(who_answers).collect();
    assert_eq!(answered, home.started(), "{}", server.errors());
    assert_eq!(server.wait(), 0, "{}", server.errors());
    assert!(!home.place.path("s").exists());
}

/// A PROG that answers one client, when the test lets it go on, and is deaf to SIGTERM.
fn answer_one_when_let(home: &Household, test: &str) -> Vec<String> {
    let script = "trap '' TERM; echo >>up; while [ ! -e go ]; do sleep 0.01; done; exec \"$@\"";
    let wait = ["sh", "-c", script, "sh"].into_iter().map(str::to_owned);
    wait.chain(home.program(test, "once")).collect()
}

#[test]
fn a_program_that_serves_one_is_started_for_each_who_came_before_the_path_was_lost() {
    let test = "a_program_that_serves_one_is_started_for_each_who_came_before_the_path_was_lost";
    if let Some(role) = role() {
        serve(&role);
    }
    for is_replaced in [true, false] {
        let home = Household::new();
        let program = answer_one_when_let(&home, test);
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let options: &[&str] = if is_replaced { &["--replaceable"] } else { &[] };
        let mut old = home.place.serve(&[&ON_DEMAND[..], options].concat(), "s", &program);
        let guests: Vec<UnixStream> = (0..3).map(|_| client(&home.place.path("s"))).collect();
        eventually("PROG is started", || home.place.path("up").exists());
        let new = is_replaced.then(|| home.place.serve(&["--replace"], "s", &["cat"]));
        if !is_replaced {
            std::fs::remove_file(home.place.path("s")).expect("deleted");
        }
        std::fs::write(home.place.path("go"), "").expect("a file");
        let answered: Vec<i32> = guests.into_iter().map(who_answers).collect();
        assert_eq!(answered, home.started(), "{}", old.errors());
        assert_eq!(old.wait(), if is_replaced { 0 } else { 5 }, "{}", old.errors());
        assert!(!old.errors().contains("queued"), "{}", old.errors());
        if let Some(mut new) = new {
            assert_eq!(new.end(), 0, "{}", new.errors());
        }
    }
}

/// A PROG that has accepted one client, and answers when the test lets it.
fn accept_one_and_answer_when_let() -> ! {
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    let (mut client, _) = listener.accept().expect("accept");
    std::fs::write(dir().join("accepted"), "").expect("written");
    eventually("it may go on", || dir().join("go").exists());
    client.write_all(b"served").expect("sent");
    std::process::exit(0);
}

#[test]
fn told_to_end_while_a_program_serves_one_it_starts_it_for_each_who_is_queued_behind() {
    let test = "told_to_end_while_a_program_serves_one_it_starts_it_for_each_who_is_queued_behind";
    if role().is_some() {
        accept_one_and_answer_when_let();
    }
    let home = Household::new();
    let program = home.program(test, "accepts");
    let deaf = ["sh", "-c", "trap '' TERM; exec \"$@\"", "sh"].into_iter();
    let program: Vec<&str> = deaf.chain(program.iter().map(String::as_str)).collect();
    let mut server = home.place.serve(&ON_DEMAND, "s", &program);
    let guests: Vec<UnixStream> = (0..3).map(|_| client(&home.place.path("s"))).collect();
    eventually("PROG has accepted the first", || home.place.path("accepted").exists());
    server.signal(Signal::TERM);
    eventually("nobody else finds it", || !home.place.path("s").exists());
    std::fs::write(home.place.path("go"), "").expect("a file");
    for guest in guests {
        assert_eq!(text(&common::hear(guest)), "served", "{}", server.errors());
    }
    assert_eq!(server.wait(), 0, "{}", server.errors());
    assert!(!server.errors().contains("still queued"), "{}", server.errors());
}

#[test]
fn told_to_end_twice_it_does_not_wait_for_the_program() {
    for first in [Signal::TERM, Signal::QUIT] {
        let place = Place::new();
        let mut server = place.serve(&ON_DEMAND, "s", &["sh", "-c", "echo up >started; exec sleep 60"]);
        let _client = client(&place.path("s"));
        eventually("PROG is started", || place.path("started").exists());
        server.signal(first);
        eventually("nobody else finds it", || !place.path("s").exists());
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), 143, "{}", server.errors());
        assert!(server.errors().contains("1 client was still queued"), "{}", server.errors());
    }
}

#[test]
fn any_signal_by_which_a_program_is_told_to_end_ends_it_too() {
    let test = "any_signal_by_which_a_program_is_told_to_end_ends_it_too";
    if role().is_some() {
        answer_and_end_when_told(true);
    }
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let home = Household::new();
        std::fs::write(home.place.path("go"), "").expect("a file");
        let mut server = on_demand(&home, test, "hears", &[]);
        let answers = who_answers(client(&home.place.path("s")));
        assert_eq!([answers], *home.started(), "{}", server.errors());
        server.signal(signal);
        assert_eq!(server.wait(), 0, "{signal:?}: {}", server.errors());
        assert!(!home.place.path("s").exists() && !common::activated::is_alive(answers));
    }
}

#[test]
fn it_is_only_for_programs_that_are_activated() {
    let output = run(&mut unix_ss(&["serve", "--on-demand", "s", "--", "true"]));
    assert_eq!(status_of(&output), 2);
    assert!(text(&output.stderr).contains("--activate"));
}
