//! The one interface behind which a system says that something has happened: what a port has to bring along.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::sys::Handle;

/// The system's own.
pub(super) type Native = super::platform::Native;

/// What has been heard since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Of the file or of the name, or that something was lost on the way: time to look.
    pub(super) ours: bool,
    /// Of some name in the directory, and the system does not tell which: a look at the name says whether it was that.
    pub(super) some: bool,
    /// Of other names in the directory.
    pub(super) others: bool,
    /// The directory is not where it was, or has gone.
    pub(super) moved: bool,
    /// The process has ended.
    pub(super) ended: bool,
    /// It is time to look in any case.
    pub(super) tick: bool,
}

impl Heard {
    /// Only of names that are nobody's business here.
    pub(super) fn only_others(self) -> bool {
        self == Heard { others: true, ..Heard::default() }
    }
}

/// Tells of changes, without deciding what they mean. Its one descriptor is readable as long as there is something to be
/// taken. Nothing in it may block, and none of it reads the memory or the descriptors of a forked child's parent.
///
/// Whatever cannot be heard is an error, and the caller looks now and then instead: every system has at least a clock.
pub(super) trait Source: AsFd + Sized {
    fn new() -> Result<Self, Errno>;
    /// Hear whenever this very file gets another name, loses one, or is moved: chmod may be heard too.
    fn hear_file(&mut self, pin: &Handle) -> Result<(), Errno>;
    /// Hear whenever something is put at, or taken from, a name in a directory.
    fn hear_name(&mut self, dir: &Handle, name: &CStr) -> Result<(), Errno>;
    /// No longer.
    fn leave_name(&mut self);
    /// Hear the end of a process, instead of that of another before.
    fn hear_end(&mut self, pid: u32) -> Result<(), Errno>;
    /// No longer.
    fn leave_process(&mut self);
    /// A tick after this time, and then one in each `every`; of zero, none.
    fn tick(&mut self, first: Duration, every: Duration) -> Result<(), Errno>;
    /// What has come in. A storm does not hold it for ever.
    fn take(&mut self) -> Heard;
}
