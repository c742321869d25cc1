//! Which file a name leads to.

use rustix::fs;
use rustix::io::Errno;
use std::path::Path;

use crate::support::*;

#[test]
fn an_inode_number_is_not_given_again_while_its_listener_is_open() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let number = ino(scratch.path("s"));
    fs::unlink(scratch.path("s")).unwrap();
    assert!(!is_given_again(number, &scratch.path("s")));
}

#[test]
fn an_inode_number_is_not_given_again_while_it_is_pinned_though_the_socket_is_dead() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    drop(server);
    assert_eq!(probe(through(&pin)), Err(Errno::CONNREFUSED));
    fs::unlink(scratch.path("s")).unwrap();
    assert!(!is_given_again(fs::fstat(&pin).unwrap().st_ino, &scratch.path("s")));
}

#[test]
fn a_pin_tells_that_its_file_was_unlinked() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    assert_eq!(fs::fstat(&pin).unwrap().st_nlink, 1);
    fs::unlink(scratch.path("s")).unwrap();
    assert_eq!(fs::fstat(&pin).unwrap().st_nlink, 0);
}

#[test]
fn fstat_of_a_listener_is_not_the_inode_at_its_path() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let file = fs::lstat(scratch.path("s")).unwrap();
    assert_ne!(fs::fstat(&server).unwrap().st_dev, file.st_dev);
}

/// Whether one of many new sockets gets the inode number `number`. On ext4 the first one does, if it is free.
fn is_given_again(number: u64, path: &Path) -> bool {
    (0..200).any(|_| {
        let _server = bound(path);
        let given = ino(path);
        fs::unlink(path).unwrap();
        given == number
    })
}
