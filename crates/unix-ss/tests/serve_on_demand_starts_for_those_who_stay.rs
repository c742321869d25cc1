//! `serve --activate --on-demand`: PROG runs when somebody wants it, again and again, and nobody is taken from it.

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::activated::{Household, as_role, dir, role, serve, who_answers};
use common::{Place, Running, client, eventually, run, status_of, text, unix_ss};
use rustix::process::Signal;

const ON_DEMAND: [&str; 2] = ["--activate", "--on-demand"];

fn on_demand(home: &Household, test: &str, role: &str, options: &[&str]) -> Running {
    let program = home.program(test, role);
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    home.place.serve(&[&ON_DEMAND[..], options].concat(), "s", &program)
}

/// The supervisor does not look while this happens, however slow it is.
fn unseen(server: &Running, what: impl FnOnce()) {
    server.signal(Signal::STOP);
    eventually("it has stopped", || stopped(server));
    what();
    server.signal(Signal::CONT);
}

fn stopped(server: &Running) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("/proc");
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

#[test]
fn who_hangs_up_without_a_byte_starts_nothing_and_who_sends_or_stays_does() {
    let test = "who_hangs_up_without_a_byte_starts_nothing_and_who_sends_or_stays_does";
    if let Some(role) = role() {
        serve(&role);
    }
    for stays_silent in [false, true] {
        let mut home = Household::new();
        let mut server = on_demand(&home, test, "serve", &[]);
        for _ in 0..3 {
            unseen(&server, || (0..50).for_each(|_| drop(client(&home.place.path("s")))));
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
            let mut note = Command::new("/proc/self/exe");
            note.args(["--exact", test, "--nocapture"]).current_dir("/");
            if uid != us {
                note.uid(uid).gid(uid);
            }
            let output = run(as_role(&mut note, "note", &home));
            assert!(output.status.success(), "{}", text(&output.stdout));
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

#[test]
fn it_is_only_for_programs_that_are_activated() {
    let output = run(&mut unix_ss(&["serve", "--on-demand", "s", "--", "true"]));
    assert_eq!(status_of(&output), 2);
    assert!(text(&output.stderr).contains("--activate"));
}
