//! The system calls that the library is compared with, raw.

use std::ffi::CString;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, statat, unlink};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};

use crate::harness::Result;

/// One path, with everything that can be prepared for it.
pub(crate) struct Raw {
    path: CString,
    lock: CString,
    address: SocketAddrUnix,
}

impl Raw {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let name = path.as_os_str().as_bytes();
        let lock = CString::new([name, b".lock"].concat())?;
        Ok(Raw { path: CString::new(name)?, lock, address: SocketAddrUnix::new(path)? })
    }

    /// socket, bind, listen.
    pub(crate) fn bare(&self) -> Result<OwnedFd> {
        let socket = socket()?;
        bind(&socket, &self.address)?;
        listen(&socket, i32::MAX)?;
        Ok(socket)
    }

    /// The same under a lock file.
    pub(crate) fn limit(&self) -> Result<OwnedFd> {
        let lock = self.lock()?;
        let socket = self.bare()?;
        unlink(&self.lock)?;
        drop(lock);
        Ok(socket)
    }

    /// git's order of calls.
    pub(crate) fn git_order(&self) -> Result<OwnedFd> {
        black_box(rustix::process::getcwd(Vec::with_capacity(256))?);
        let lock = self.lock()?;
        let probe = socket()?;
        absent(connect(&probe, &self.address))?;
        drop(probe);
        absent(unlink(&self.path))?;
        let socket = self.bare()?;
        self.lstat()?;
        drop(lock);
        unlink(&self.lock)?;
        Ok(socket)
    }

    /// unlink, close.
    pub(crate) fn close(&self, socket: OwnedFd) -> Result<()> {
        unlink(&self.path)?;
        drop(socket);
        Ok(())
    }

    /// lstat, unlink, close.
    pub(crate) fn git_close(&self, socket: OwnedFd) -> Result<()> {
        self.lstat()?;
        self.close(socket)
    }

    pub(crate) fn lstat(&self) -> Result<()> {
        black_box(statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW)?);
        Ok(())
    }

    /// socket, connect; the caller closes.
    pub(crate) fn connect(&self) -> Result<OwnedFd> {
        let socket = socket()?;
        connect(&socket, &self.address)?;
        Ok(socket)
    }

    fn lock(&self) -> Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        Ok(open(&self.lock, flags, Mode::from_raw_mode(0o600))?)
    }
}

fn socket() -> Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// The path is free, so the call fails with `ENOENT`; otherwise something else was measured than was meant.
fn absent(result: rustix::io::Result<()>) -> Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
        Ok(()) => Err("the path was not free".into()),
    }
}
