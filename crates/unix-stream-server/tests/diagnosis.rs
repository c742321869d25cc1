//! `lost_listeners` and `is_local`: what a doctor asks, answered without a connection.

pub mod support;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;

use support::child::whole_process;
use support::dir::Dir;
use unix_stream_server::{ErrorKind, LostListener, ServerSocket, is_local, lost_listeners};

/// Of the path; `None` where the kernel has no list, which is said.
#[track_caller]
fn lost(path: &Path) -> Option<Vec<LostListener>> {
    match lost_listeners(path) {
        Ok(lost) => Some(lost),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::System, "{error}");
            let _ = writeln!(std::io::stderr(), "NOT TRIED: the kernel has no list of listeners: {error}");
            None
        }
    }
}

/// So many, all of them ours.
#[track_caller]
fn assert_lost(path: &Path, count: usize) {
    let Some(lost) = lost(path) else { return };
    let us = Some(std::process::id());
    assert_eq!(lost.len(), count, "{lost:?}");
    assert!(lost.iter().all(|lost| lost.holder.is_some_and(|holder| holder.pid == us)), "{lost:?}");
}

#[test]
fn a_listener_is_lost_when_its_path_was_deleted_or_leads_elsewhere_and_only_then() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        assert_lost(&path, 0);
        let robbed = UnixListener::bind(&path).expect("a socket");
        assert_lost(&path, 0);
        fs::remove_file(&path).expect("removed");
        assert_lost(&path, 1);
        let thief = UnixListener::bind(&path).expect("a socket");
        assert_lost(&path, 1);
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "").expect("a file");
        assert_lost(&path, 2);
        drop(robbed);
        assert_lost(&path, 1);
        drop(thief);
        assert_lost(&path, 0);
    });
}

#[test]
fn it_is_found_by_a_path_through_a_link_as_well() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir(dir.join("real")).expect("a directory");
        std::os::unix::fs::symlink("real", dir.join("link")).expect("a link");
        let _robbed = UnixListener::bind(dir.join("real/s")).expect("a socket");
        fs::remove_file(dir.join("real/s")).expect("removed");
        assert_lost(&dir.join("link/s"), 1);
    });
}

#[test]
fn a_relative_name_is_that_of_its_own_directory() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        for name in ["a", "b"] {
            fs::create_dir(dir.join(name)).expect("a directory");
        }
        std::env::set_current_dir(dir.join("a")).expect("chdir");
        let _live = UnixListener::bind("s").expect("bind");
        std::env::set_current_dir(dir.join("b")).expect("chdir");
        assert_lost(Path::new("s"), 0);
        let _robbed = UnixListener::bind(dir.join("b/s")).expect("bind");
        fs::remove_file("s").expect("removed");
        assert_lost(Path::new("s"), 1);
    });
}

#[test]
fn nobody_is_asked() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let listener = UnixListener::bind(&path).expect("a socket");
        listener.set_nonblocking(true).expect("fcntl");
        assert_lost(&path, 0);
        fs::remove_file(&path).expect("removed");
        assert_lost(&path, 1);
        assert!(listener.accept().is_err(), "it connected");
    });
}

#[test]
fn a_predecessor_is_lost_until_it_has_shut_its_socket_also_one_that_took_over_itself() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let builder = ServerSocket::builder().replaceable(true).take_over(true);
        let first = builder.create(&path).expect("a server");
        // Bound to the temporary name, which is what the kernel lists it by.
        let second = builder.create(&path).expect("a successor");
        assert_lost(&path, 1);
        let third = builder.create(&path).expect("a successor");
        assert_lost(&path, 2);
        let drain = second.drain().expect("a drain");
        assert_lost(&path, 1);
        drop((first, drain));
        assert_lost(&path, 0);
        third.close().expect("closed");
    });
}

#[test]
fn where_it_cannot_be_told_where_the_path_leads_nobody_is_called_lost() {
    let dir = Dir::new();
    std::os::unix::fs::symlink("round", dir.join("round")).expect("a link");
    let error = lost_listeners(dir.join("round/s")).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::System, libc::ELOOP));
}

#[test]
fn a_path_that_can_name_no_socket_is_an_error() {
    assert_eq!(lost_listeners("").map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    assert_eq!(lost_listeners("x".repeat(300)).map_err(|error| error.kind()), Err(ErrorKind::PathTooLong));
}

#[test]
fn a_file_system_of_this_kernel_alone_is_told_from_others() {
    let dir = Dir::new();
    // Tests run on ext4 and tmpfs.
    assert!(is_local(dir.path()).expect("a directory"));
    // Of a type that is on no list.
    assert!(!is_local("/proc/self").expect("a directory"));
    let missing = is_local(dir.join("missing")).unwrap_err();
    assert_eq!((missing.kind(), missing.raw_os_error()), (ErrorKind::System, libc::ENOENT));
}
