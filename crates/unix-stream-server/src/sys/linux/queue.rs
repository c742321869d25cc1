//! The clients in a listener's queue, as the kernel lists them (NETLINK_SOCK_DIAG, sock_diag(7)), without accepting any.
//!
//! `UDIAG_SHOW_ICONS` lists the sockets that connected, in the order of the queue; 0 stands for one that has been closed
//! since. `UDIAG_SHOW_RQLEN` of such a socket says whether it has sent something that nobody has read.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::diag::{ANY_COOKIE, SHOW_QUEUE, UNIX_DIAG_RQLEN, ask_one, attributes_of_one, u32_at};

// linux/unix_diag.h
const SHOW_CLIENTS: u32 = 0x08;
const UNIX_DIAG_ICONS: u16 = 3;

/// As long as the longest attribute can be.
const LONGEST: usize = 1 << 17;

/// The numbers of the sockets that wait to be accepted, first come first; 0: closed since.
pub(crate) fn queued(listener: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut buffer = vec![0; LONGEST];
    let answer = ask_one(number_of(listener)?, ANY_COOKIE, SHOW_CLIENTS, &mut buffer)?;
    // The attribute is missing where nobody waits.
    let numbers = attribute(answer, UNIX_DIAG_ICONS)?.unwrap_or_default();
    Ok(numbers.chunks_exact(4).filter_map(|bytes| u32_at(bytes, 0)).collect())
}

/// Has the socket of this number sent anything that was not read yet?
pub(crate) fn has_sent(socket: u32) -> Result<bool, Errno> {
    let mut buffer = [0; 4096];
    let answer = ask_one(socket, ANY_COOKIE, SHOW_QUEUE, &mut buffer)?;
    let lengths = attribute(answer, UNIX_DIAG_RQLEN)?.ok_or(Errno::NODATA)?;
    Ok(u32_at(lengths, 4).is_some_and(|sent| sent != 0))
}

/// What a socket is called in these lists: the inode of the socket file system.
pub(crate) fn number_of(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    u32::try_from(rustix::fs::fstat(socket)?.st_ino).map_err(|_| Errno::OVERFLOW)
}

fn attribute(answer: &[u8], wanted: u16) -> Result<Option<&[u8]>, Errno> {
    Ok(attributes_of_one(answer)?.find_map(|(kind, content)| (kind == wanted).then_some(content)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::diag::{SOCK_DIAG_BY_FAMILY, tests::message};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_answer_makes_it_panic_or_run_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in [UNIX_DIAG_ICONS, UNIX_DIAG_RQLEN] {
                let _ = attribute(&bytes, kind);
                let answer = message(SOCK_DIAG_BY_FAMILY, &bytes);
                let found = attribute(&answer, kind).expect("an answer").map_or(0, <[u8]>::len);
                prop_assert!(found <= bytes.len());
            }
        }
    }

    #[test]
    fn an_attribute_is_found_behind_others() {
        let attributes = [5, 0, 6, 0, 1, 0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        let answer = message(SOCK_DIAG_BY_FAMILY, &[&[0; 16][..], &attributes].concat());
        assert_eq!(attribute(&answer, 6), Ok(Some(&[1][..])));
        assert_eq!(attribute(&answer, 3), Ok(Some(&[1, 0, 0, 0, 2, 0, 0, 0][..])));
        assert_eq!(attribute(&answer, 4), Ok(None));
    }
}
