//! The clients in a listener's queue, as the kernel lists them (NETLINK_SOCK_DIAG, sock_diag(7)), without accepting any.
//!
//! `UDIAG_SHOW_ICONS` lists the sockets that connected, in the order of the queue; 0 stands for one that has been closed
//! since. `UDIAG_SHOW_RQLEN` of such a socket says whether it has sent something that nobody has read.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::diag::{ANY_COOKIE, ANY_STATE, HEADER, NLM_F_REQUEST, SHOW_QUEUE, UNIX_DIAG_RQLEN, check_answer, request};
use crate::sys::uninterrupted;

// linux/unix_diag.h
const SHOW_CLIENTS: u32 = 0x08;
const UNIX_DIAG_ICONS: u16 = 3;

/// The numbers of the sockets that wait to be accepted, first come first; 0: closed since.
pub(crate) fn queued(listener: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let answer = ask(number_of(listener)?, SHOW_CLIENTS)?;
    // The attribute is missing where nobody waits.
    let numbers = attribute(&answer, UNIX_DIAG_ICONS).unwrap_or_default();
    Ok(numbers.chunks_exact(4).filter_map(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?))).collect())
}

/// Has the socket of this number sent anything that was not read yet?
pub(crate) fn has_sent(socket: u32) -> Result<bool, Errno> {
    let answer = ask(socket, SHOW_QUEUE)?;
    let lengths = attribute(&answer, UNIX_DIAG_RQLEN).ok_or(Errno::NODATA)?;
    Ok(lengths.get(4..8).is_some_and(|sent| sent != [0; 4]))
}

/// What a socket is called in these lists: the inode of the socket file system.
pub(crate) fn number_of(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    u32::try_from(rustix::fs::fstat(socket)?.st_ino).map_err(|_| Errno::OVERFLOW)
}

fn ask(socket: u32, show: u32) -> Result<Vec<u8>, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let diag = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    net::send(diag.as_fd(), &request(NLM_F_REQUEST, ANY_STATE, socket, show, ANY_COOKIE), SendFlags::empty())?;
    // As long as its longest attribute can be.
    let mut answer = vec![0; 1 << 17];
    let (read, _) = uninterrupted(|| net::recv(&diag, &mut answer[..], RecvFlags::empty()))?;
    answer.truncate(read);
    check_answer(&answer)?;
    Ok(answer)
}

/// The content of an attribute of a `struct unix_diag_msg`.
fn attribute(answer: &[u8], wanted: u16) -> Option<&[u8]> {
    let length = u32::from_ne_bytes(answer.get(..4)?.try_into().ok()?) as usize;
    let mut attributes = answer.get(HEADER + 16..length)?;
    loop {
        let length = u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?);
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if kind == wanted {
            return attributes.get(4..length.into());
        }
        if length < 4 {
            return None; // one that would never end
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_answer_makes_it_panic_or_run_for_ever(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), fit in any::<bool>()) {
            if fit && bytes.len() > 4 {
                let length = u32::try_from(bytes.len()).expect("short").to_ne_bytes();
                bytes[..4].copy_from_slice(&length);
            }
            for kind in [UNIX_DIAG_ICONS, UNIX_DIAG_RQLEN] {
                let found = attribute(&bytes, kind).map_or(0, <[u8]>::len);
                prop_assert!(found <= bytes.len());
            }
        }
    }

    #[test]
    fn an_attribute_is_found_behind_others() {
        let mut answer = vec![0; HEADER + 16];
        answer.extend([5, 0, 6, 0, 1, 0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        let length = u32::try_from(answer.len()).expect("short").to_ne_bytes();
        answer[..4].copy_from_slice(&length);
        assert_eq!(attribute(&answer, 6), Some(&[1][..]));
        assert_eq!(attribute(&answer, 3), Some(&[1, 0, 0, 0, 2, 0, 0, 0][..]));
        assert_eq!(attribute(&answer, 4), None);
    }
}
