//! A rename that replaces nothing, where the system has no call for it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, linkat, statat, unlinkat};
use rustix::io::Errno;

/// A second link, which is refused where something stands, and the first one goes. In between there are two names for one
/// socket, under the path's lock; whoever is killed there leaves a dead one, and its second name to the next who needs it.
/// Where the first name cannot be removed it is as before.
pub(super) fn rename_by_link(dir: BorrowedFd<'_>, from: &CStr, to: &CStr) -> Result<(), Errno> {
    match linkat(dir, from, dir, to, AtFlags::empty()) {
        // NFS asks again where an answer was lost, and is told of its own link (link(2), "BUGS").
        Err(Errno::EXIST) if is_one_file(dir, from, to) => {}
        linked => linked?,
    }
    match unlinkat(dir, from, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => {
            let _ = unlinkat(dir, to, AtFlags::empty());
            Err(errno)
        }
    }
}

fn is_one_file(dir: BorrowedFd<'_>, one: &CStr, other: &CStr) -> bool {
    let id = |name| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}
