//! Descriptors of processes (pidfd_open(2), since Linux 5.3).

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::Pid;

/// A descriptor that is readable once the process has ended.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_open(process: Pid) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty())
}

/// Android's C library has no such call, and most of its kernels do not let programs make it.
#[cfg(target_os = "android")]
pub(crate) fn pidfd_open(_process: Pid) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}
