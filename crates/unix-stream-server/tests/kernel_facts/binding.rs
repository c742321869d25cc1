//! bind(), and the rights of what it makes.

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{self, SocketType};
use rustix::process::umask;
use std::fs as stdfs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::support::*;

const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;

#[test]
fn bind_to_an_existing_name_of_any_kind_says_eaddrinuse() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("live"));
    leave_dead(scratch.path("dead"));
    stdfs::write(scratch.path("file"), "").unwrap();
    stdfs::create_dir(scratch.path("dir")).unwrap();
    make_fifo(&scratch.path("fifo"), 0o600);
    symlink("live", scratch.path("link")).unwrap();
    symlink("nothing", scratch.path("dangling")).unwrap();
    for name in ["live", "dead", "file", "dir", "fifo", "link", "dangling"] {
        let socket = socket(SocketType::STREAM);
        assert_eq!(net::bind(&socket, &address(scratch.path(name))), Err(Errno::ADDRINUSE), "{name}");
    }
    assert!(!scratch.path("nothing").exists());
}

#[test]
fn fchmod_before_bind_sets_the_mode_of_the_node_still_masked_by_the_umask() {
    in_own_process("binding::fchmod_before_bind_sets_the_mode_of_the_node_still_masked_by_the_umask", || {
        let scratch = Scratch::shared();
        umask(Mode::from_raw_mode(0o027));
        // The sticky bit is no permission, so no umask takes it away.
        for (asked, got) in [(0o600, 0o600), (0o777, 0o750), (0o1666, 0o1640)] {
            let socket = socket(SocketType::STREAM);
            fs::fchmod(&socket, Mode::from_raw_mode(asked)).unwrap();
            net::bind(&socket, &address(scratch.path("s"))).unwrap();
            assert_eq!(mode(scratch.path("s")) & 0o7777, got);
            fs::unlink(scratch.path("s")).unwrap();
        }
    });
}

#[test]
fn a_chmod_between_bind_and_listen_has_no_window() {
    let scratch = Scratch::shared();
    let server = bound(scratch.path("s"));
    fs::chmod(scratch.path("s"), Mode::from_raw_mode(0o777)).unwrap();
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
    fs::chmod(through(&pin(scratch.path("s"))), Mode::from_raw_mode(0o600)).unwrap();
    net::listen(&server, 1).unwrap();
    assert_eq!(mode(scratch.path("s")) & 0o777, 0o600);
    assert_eq!(probe(scratch.path("s")), Ok(()));
}

#[test]
fn a_socket_cannot_be_bound_twice() {
    let scratch = Scratch::shared();
    let socket = bound(scratch.path("first"));
    assert_eq!(net::bind(&socket, &address(scratch.path("second"))), Err(Errno::INVAL));
    assert!(!scratch.path("second").exists());
}

#[test]
fn an_unlinked_socket_cannot_be_linked_back() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    fs::unlink(scratch.path("s")).unwrap();
    let linked = fs::linkat(CWD, through(&pin), CWD, scratch.path("s"), AtFlags::SYMLINK_FOLLOW);
    assert_eq!(linked, Err(Errno::NOENT));
}

#[test]
fn the_kernel_takes_a_path_of_108_bytes_and_std_107() {
    let scratch = Scratch::shared();
    let dir = open(scratch.dir(), OFlags::PATH | OFlags::DIRECTORY, 0).unwrap();
    // Every byte of sun_path, without the zero at the end: about 92 bytes of them are the name.
    let of_length = |length: usize| -> PathBuf {
        let dir = through(&dir);
        dir.join("n".repeat(length - dir.as_os_str().len() - 1))
    };
    let _server = listening(of_length(108));
    assert_eq!(of_length(108).as_os_str().len(), 108);
    assert_eq!(mode(of_length(108)) & S_IFMT, S_IFSOCK);
    assert_eq!(probe(of_length(108)), Ok(()));

    assert!(UnixListener::bind(of_length(107)).is_ok());
    fs::unlink(of_length(108)).unwrap();
    let refused = UnixListener::bind(of_length(108)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}
