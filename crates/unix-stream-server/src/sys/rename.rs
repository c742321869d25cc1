//! A rename that replaces nothing, where the system has no call for it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, linkat, unlinkat};
use rustix::io::Errno;

/// A second link, which is refused where something stands, and the first one goes. In between there are two names for one
/// socket, under the path's lock; whoever is killed there leaves a dead one, and its second name to the next who needs it.
pub(super) fn rename_by_link(dir: BorrowedFd<'_>, from: &CStr, to: &CStr) -> Result<(), Errno> {
    linkat(dir, from, dir, to, AtFlags::empty())?;
    unlinkat(dir, from, AtFlags::empty())
}
