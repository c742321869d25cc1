//! Whoever starts a server on demand may be killed at any system call: the next client gets a server, the same or its
//! first, and nothing is stuck.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

pub mod support;

use stepper::{Victim, operation};
use support::child::{self, whole_process};
use support::start::{Household, answer, is_alive, serve};
use support::wait::until;
use unix_stream_server::connect_or_start;

/// The system calls of a start come to an end, but the looks whether it is over have no fixed number.
const MOST: usize = 2_000;

fn killed_at_any_step(test: &str, role: &str, wait: bool) {
    match child::role().as_deref() {
        None | Some("body") => {}
        Some(role) => serve(role),
    }
    whole_process(test, || {
        // An odd number, so that entries and exits are tried alike.
        let stride = if std::env::var_os("UNIX_STREAM_SERVER_ALL_STEPS").is_some() { 1 } else { 3 };
        let (mut kills, mut before_any) = (0, 0);
        for index in (0..MOST).step_by(stride) {
            let mut home = Household::new(test);
            let (path, command) = (home.path(), home.server(role).wait_listen(wait));
            let mut victim = Victim::fork(|| {
                let _ = operation(|| connect_or_start(&path, &command));
            });
            let stop = victim.step_to(index);
            victim.kill();
            let Some(stop) = stop else { break };
            kills += 1;
            before_any += usize::from(home.started().is_empty());
            let pid = answer(connect_or_start(&path, &command).unwrap_or_else(|error| panic!("{stop}: {error}")));
            // Again, now that it lives; and no second one was started that got the path.
            assert_eq!(answer(connect_or_start(&path, &command).expect("it lives")), pid, "{stop}");
            let living: Vec<i32> = home.started().into_iter().filter(|&pid| is_alive(pid)).collect();
            if !wait {
                assert_eq!(living, [pid], "{stop}: more than one server");
            }
            home.end();
            let locks: Vec<_> = home.dir.names().into_iter().filter(|name| name.ends_with(".lock")).collect();
            assert!(locks.is_empty(), "{stop}: {locks:?}");
            until("nobody is left", || home.started().iter().all(|&pid| !is_alive(pid)));
        }
        assert!(kills > 20 && before_any > 0, "{kills} kills, {before_any} before a server was started");
        support::tell(&format!("{test}: {kills} kills, {before_any} before a server had begun"));
    });
}

#[test]
fn a_starter_killed_at_any_step_leaves_one_server_or_the_next_client_starts_it() {
    killed_at_any_step(&this_test!(), "serve", false);
}

#[test]
fn so_does_one_whose_server_makes_its_socket_itself() {
    killed_at_any_step(&this_test!(), "own", true);
}
