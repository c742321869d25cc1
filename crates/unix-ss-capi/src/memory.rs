//! What C may look at or free comes from malloc, and its lack is ENOMEM, not an abort.
//!
//! # Safety
//!
//! `malloc` gives memory that is aligned for every type of C's, and so for `long long`, which is checked to be enough for
//! what is put there. A [`Room`] owns its memory alone until [`Room::fill`] gives it away with a value in it; [`take_back`]
//! relies on its caller for a pointer that came from there and is not used again. A `struct stat` is integers and
//! padding only, for which all zeros is a value.
#![expect(unsafe_code, reason = "C's memory has no safe interface")]

use std::ffi::{CStr, c_char, c_longlong};
use std::fs::Metadata;
use std::mem::{align_of, size_of, zeroed};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;

use crate::failure::Failure;
use crate::types::Stat;

/// Room for one value, freed unless it is filled.
pub(crate) struct Room<T>(NonNull<T>);

impl<T> Room<T> {
    const ALIGNED: () = assert!(align_of::<T>() <= align_of::<c_longlong>());

    /// Errors: ENOMEM.
    pub(crate) fn new() -> Result<Self, Failure> {
        let () = Self::ALIGNED;
        // SAFETY: malloc takes any size.
        let memory = unsafe { libc::malloc(size_of::<T>()) };
        NonNull::new(memory.cast()).map(Room).ok_or_else(Failure::no_memory)
    }

    /// Gives the memory away, with a value in it.
    pub(crate) fn fill(self, value: T) -> *mut T {
        let memory = self.0.as_ptr();
        std::mem::forget(self);
        // SAFETY: big enough, aligned, and ours alone until now; see the head of this file.
        unsafe { memory.write(value) };
        memory
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        // SAFETY: from malloc, and never given away.
        unsafe { libc::free(self.0.as_ptr().cast()) };
    }
}

/// The value in memory that [`Room::fill`] gave away; the memory is freed.
///
/// # Safety
///
/// The pointer is from [`Room::fill`], and this is the last use of it.
pub(crate) unsafe fn take_back<T>(memory: *mut T) -> T {
    // SAFETY: by our caller's word there is a value in it, which nobody uses again.
    let value = unsafe { memory.read() };
    // SAFETY: from malloc.
    unsafe { libc::free(memory.cast()) };
    value
}

/// A string of C's own, freed unless it is given away.
pub(crate) struct OwnCStr(NonNull<c_char>);

impl OwnCStr {
    /// Errors: ENOMEM.
    pub(crate) fn copy(text: &CStr) -> Result<Self, Failure> {
        // SAFETY: a CStr ends in NUL.
        let copy = unsafe { libc::strdup(text.as_ptr()) };
        NonNull::new(copy).map(OwnCStr).ok_or_else(Failure::no_memory)
    }

    pub(crate) fn into_raw(self) -> *mut c_char {
        let text = self.0.as_ptr();
        std::mem::forget(self);
        text
    }

    /// # Safety
    ///
    /// The pointer is from [`OwnCStr::into_raw`], and this is the last use of it.
    pub(crate) unsafe fn from_raw(text: *mut c_char) -> Option<Self> {
        NonNull::new(text).map(OwnCStr)
    }
}

impl Drop for OwnCStr {
    fn drop(&mut self) {
        // SAFETY: from strdup, hence from malloc.
        unsafe { libc::free(self.0.as_ptr().cast()) };
    }
}

/// `struct stat` of a file; without `data`, of a socket of which only device and inode are known.
pub(crate) fn stat(data: Option<&Metadata>, (dev, ino): (u64, u64)) -> Stat {
    // SAFETY: see the head of this file.
    let mut stat: Stat = unsafe { zeroed() };
    stat.st_dev = dev as _;
    stat.st_ino = ino as _;
    stat.st_mode = libc::S_IFSOCK;
    let Some(data) = data else { return stat };
    stat.st_mode = data.mode() as _;
    stat.st_nlink = data.nlink() as _;
    stat.st_uid = data.uid();
    stat.st_gid = data.gid();
    stat.st_rdev = data.rdev() as _;
    stat.st_size = data.size() as _;
    stat.st_blksize = data.blksize() as _;
    stat.st_blocks = data.blocks() as _;
    stat.st_atime = data.atime() as _;
    stat.st_mtime = data.mtime() as _;
    stat.st_ctime = data.ctime() as _;
    #[cfg(not(target_os = "netbsd"))]
    {
        stat.st_atime_nsec = data.atime_nsec() as _;
        stat.st_mtime_nsec = data.mtime_nsec() as _;
        stat.st_ctime_nsec = data.ctime_nsec() as _;
    }
    #[cfg(target_os = "netbsd")]
    {
        stat.st_atimensec = data.atime_nsec() as _;
        stat.st_mtimensec = data.mtime_nsec() as _;
        stat.st_ctimensec = data.ctime_nsec() as _;
    }
    stat
}
