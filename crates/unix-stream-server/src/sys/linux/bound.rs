//! Asking the kernel where listening sockets are bound: one of ours by SOCK_DIAG with the socket's own number and cookie,
//! others by the name that they were bound by.
//!
//! Unlike the name of getsockname(2), which is only what bind(2) was told, the answer is the file itself. It needs no
//! privileges; but the module may be missing, and a socket from another network namespace is not found.

use std::os::fd::BorrowedFd;

use rustix::fs as sysfs;
use rustix::io::Errno;

use super::diag::{
    LISTENING, SHOW_NAME, SHOW_VFS, SHOW_VFS_AND_QUEUE, UNIX_DIAG_RQLEN, UNIX_DIAG_SHUTDOWN, UNIX_DIAG_VFS, ask_one,
    attributes_of_one, bound_file, device, lets_nobody_in, list, u32_at,
};
use crate::sys::FileId;

/// What the kernel says of a listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The file's inode number, of which it tells the low 32 bits, and its device.
    file: Option<(u32, (u32, u32))>,
    /// How many clients may wait.
    pub(crate) backlog: Option<u32>,
    /// It has been shut, and lets nobody in any more.
    pub(crate) is_shut: bool,
}

impl Bound {
    /// Is it bound to this file? `None` where 32 bits cannot tell, or it is bound to no file.
    pub(crate) fn is_at(&self, file: FileId) -> Option<bool> {
        let (ino, dev) = self.file?;
        let ours = u32::try_from(file.ino).ok()?;
        Some((ino, dev) == (ours, device(file)))
    }

    /// Is it surely bound to another file? Of a long inode number the kernel tells the lower half, and where stat(2) makes
    /// device numbers up (`known_dev` false: btrfs, overlayfs) they do not count.
    #[expect(clippy::cast_possible_truncation, reason = "as the kernel does it")]
    pub(crate) fn is_elsewhere(&self, file: FileId, known_dev: bool) -> bool {
        self.file.is_some_and(|(ino, dev)| ino != file.ino as u32 || known_dev && dev != device(file))
    }
}

/// Where `socket` is bound.
pub(crate) fn bound(socket: BorrowedFd<'_>) -> Result<Bound, Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "the numbers of socket inodes have 32 bits")]
    let number = sysfs::fstat(socket)?.st_ino as u32;
    // The number may be given twice in the life of a kernel, the cookie never is.
    let cookie = socket_cookie(socket)?;
    parse(ask_one(number, cookie, SHOW_VFS_AND_QUEUE, &mut [0; 4096])?)
}

/// Where the sockets are bound that listen by a name of which this is true; each with the number in
/// `/proc/PID/fd/N -> socket:[number]`.
pub(crate) fn listeners_named(is_named: impl Fn(&[u8]) -> bool) -> Result<Vec<(u32, Bound)>, Errno> {
    let mut found = Vec::new();
    list(LISTENING, SHOW_NAME | SHOW_VFS, |listed| {
        if is_named(listed.name) {
            let file = Some((listed.ino, listed.dev));
            found.push((listed.listener.socket, Bound { file, backlog: None, is_shut: listed.listener.is_shut }));
        }
    })?;
    Ok(found)
}

#[cfg(target_os = "linux")]
fn socket_cookie(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::net::sockopt::socket_cookie(socket)
}

/// Android lets programs have no such list.
#[cfg(target_os = "android")]
fn socket_cookie(_socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    Err(Errno::OPNOTSUPP)
}

fn parse(message: &[u8]) -> Result<Bound, Errno> {
    let mut bound = Bound::default();
    for (kind, content) in attributes_of_one(message)? {
        match kind {
            UNIX_DIAG_VFS => bound.file = bound_file(content),
            UNIX_DIAG_RQLEN => bound.backlog = u32_at(content, 4),
            UNIX_DIAG_SHUTDOWN => bound.is_shut = lets_nobody_in(content),
            _ => {}
        }
    }
    Ok(bound)
}

/// For a fuzzer, which has no kernel that lies.
#[cfg(fuzzing)]
pub fn fuzz(message: &[u8]) {
    let _ = parse(message);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::diag::NLMSG_ERROR;
    // The answer about one socket is what a list has of each.
    use super::super::diag::tests::{listener as answer, message};
    use super::*;

    #[test]
    fn the_answer_is_a_file_a_queue_and_a_backlog() {
        let bound = parse(&answer(5, 8 << 20 | 2, 3, 7)).expect("an answer");
        assert_eq!(bound, Bound { file: Some((5, (8, 2))), backlog: Some(7), is_shut: false });
        let file = |ino, major, minor| FileId { dev: sysfs::makedev(major, minor), ino };
        assert_eq!(bound.is_at(file(5, 8, 2)), Some(true));
        assert_eq!(bound.is_at(file(6, 8, 2)), Some(false));
        assert_eq!(bound.is_at(file(5, 8, 3)), Some(false));
        assert_eq!(bound.is_at(file(5 | 1 << 32, 8, 2)), None, "32 bits cannot tell");
        assert_eq!(Bound::default().is_at(file(5, 8, 2)), None, "bound to no file");
        assert!(bound.is_elsewhere(file(6, 8, 2), true) && bound.is_elsewhere(file(5, 8, 3), true));
        assert!(!bound.is_elsewhere(file(5, 8, 2), true) && !bound.is_elsewhere(file(5, 8, 3), false));
        assert!(!Bound::default().is_elsewhere(file(5, 8, 2), true), "bound to no file");
    }

    #[test]
    fn an_error_is_the_kernels_own() {
        let error = |errno: i32| parse(&message(NLMSG_ERROR, &errno.to_ne_bytes()));
        assert_eq!(error(-2), Err(Errno::NOENT));
        for nonsense in [0, 5, -70_000, i32::MIN] {
            assert_eq!(error(nonsense), Err(Errno::IO));
        }
        assert_eq!(parse(&[]), Err(Errno::IO));
        assert_eq!(parse(&message(3, &[0; 4])), Err(Errno::IO));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic_or_run_for_ever(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0..64_usize,
        ) {
            let _ = parse(&bytes);
            // Broken at one place only, so that what lies deeper is reached.
            let mut message = answer(5, 7, 3, 2);
            for (place, byte) in message.iter_mut().skip(at).zip(&bytes) {
                *place = *byte;
            }
            let _ = parse(&message);
        }
    }
}
