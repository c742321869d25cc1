//! A server that ends between two system calls of whoever watches its path is told all the same.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

pub mod support;

use std::os::unix::net::UnixListener;

use libc::EAFNOSUPPORT;
use stepper::{End, Side, Victim, operation};
use support::PATIENCE;
use support::child::{self, Program, listen, role, say, whole_process};
use support::dir::Dir;
use support::filter::without;
use unix_stream_server::{PathEvent, PathState, PathWatch};

/// One that the kernel does not list, so that the clock does not look for it.
#[test]
fn an_unlisted_server_that_ends_just_before_its_end_is_listened_for_is_told_as_gone() {
    let test = this_test!();
    if role().as_deref() == Some("server") {
        let _server = UnixListener::bind(child::dir().join("s")).expect("bind");
        say("listening");
        listen();
        return;
    }
    whole_process(&test, || {
        let family = u32::try_from(libc::AF_NETLINK).expect("a number");
        without(libc::SYS_socket, Some((0, family)), EAFNOSUPPORT);
        let dir = Dir::new();
        let mut victim = Victim::fork(|| {
            let mut watch = PathWatch::new(dir.join("s")).expect("watch");
            let is_told = operation(|| {
                while let Some(report) = watch.wait_timeout(PATIENCE).expect("a wait") {
                    if report.event == PathEvent::Gone {
                        return report.inspection.state == PathState::Dead;
                    }
                }
                false
            });
            assert!(is_told, "it is taken to be live");
        });
        let mut server = Program::new(&test, "server").dir(&dir).start();
        server.hear("listening");
        victim.step_to_call(Side::Entry, "pidfd_open");
        server.kill();
        victim.release();
        assert_eq!(victim.wait(), End::Exited(0));
    });
}
