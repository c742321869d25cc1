//! A lock that is not the path's: `<name>.start`, held while a server is started that creates its socket by itself, and
//! so needs the path's lock. It is the same kind of file; the [`Place`](crate::place::Place) is one whose lock it is.

use std::time::Duration;

use super::{Lock, Options, Protocol, Purpose};
use crate::error::Result;
use crate::sys::Sys;

impl<S: Sys> Protocol<'_, S> {
    /// One try. It does not look at the path: whoever waits for a server connects, and a look would be one client more.
    pub(crate) fn try_start_lock(&self) -> Result<Lock<S::Fd>> {
        let options = Options { lock_timeout: Duration::ZERO, ..self.options.clone() };
        Protocol { options: &options, ..*self }.lock(Purpose::Lock).map(|locks| locks.lock)
    }

    pub(crate) fn end_start_lock(&self, lock: Lock<S::Fd>) {
        self.unlock(lock);
    }
}
