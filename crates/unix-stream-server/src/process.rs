//! Whose something is: a forked child inherits the memory, but not the duty.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::fork_mark;

/// A process, told apart from its forked children, also where a child has its parent's process id (in a pid namespace
/// of its own).
///
/// For programs that own something which a forked child must not end.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// `None` where the kernel cannot wipe a page at a fork (before Linux 4.14): then by its id alone.
    mark: Option<u64>,
    id: u32,
}

impl Process {
    /// The one that calls. No system call but for the first time in a process.
    #[must_use]
    pub fn current() -> Self {
        match fork_mark::mark() {
            Some(mark) => Process { mark: Some(mark.number), id: mark.process },
            None => Process { mark: None, id: std::process::id() },
        }
    }

    /// Is it the one that calls? No system call.
    #[must_use]
    pub fn is_current(self) -> bool {
        match self.mark {
            Some(number) => fork_mark::mark().is_some_and(|mark| mark.number == number),
            None => self.id == std::process::id(),
        }
    }

    pub(crate) fn check(self, operation: &'static str, path: &Path) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        let why = format!("it belongs to process {}, and this is a forked child; let the parent do it", self.id);
        Err(Error::new(ErrorKind::Forked, operation, path, Errno::PERM, why))
    }
}
