//! The path before the socket.

use std::path::Path;

use rustix::io::Errno;

use crate::builder::CREATE;
use crate::error::{Error, ErrorKind, Result};
use crate::ownership::DROP_TIMEOUT;
use crate::place::Place;
use crate::process::Process;
use crate::protocol::{Claimed, Options, Protocol};
use crate::sys::{Handle, System};
use crate::{PathState, ServerSocket};

/// A path that is ours to serve at, before anything is there: from [`Builder::claim`](crate::Builder::claim).
///
/// Dropping it gives the path back unchanged, within 100 ms.
#[derive(Debug)]
#[must_use = "dropping a claim gives the path back"]
pub struct Claim {
    /// `None` only while it is being consumed.
    held: Option<(Place<Handle>, Claimed<Handle>)>,
    options: Options,
    process: Process,
    state: PathState,
}

impl Claim {
    pub(crate) fn new(place: Place<Handle>, options: Options, claimed: Claimed<Handle>) -> Self {
        let state = claimed.state;
        Claim { held: Some((place, claimed)), options, process: Process::current(), state }
    }

    /// What stands at the path: [`PathState::Absent`] or [`PathState::Dead`].
    #[must_use]
    pub fn state(&self) -> PathState {
        self.state
    }

    /// The path, absolute where the working directory was known.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        self.held.as_ref().map_or(Path::new(""), |(place, _)| &place.shown)
    }

    /// Publishes the socket: removes what is dead, binds and listens.
    ///
    /// # Errors
    ///
    /// As for [`Builder::create`](crate::Builder::create); [`ErrorKind::Forked`] in a forked
    /// child. The path is then no longer claimed.
    pub fn listen(mut self) -> Result<ServerSocket> {
        self.process.check(CREATE, self.local_path())?;
        let Some((place, claimed)) = self.held.take() else {
            return Err(Error::new(ErrorKind::Invalid, CREATE, "", Errno::INVAL, "the claim has been used"));
        };
        let protocol = Protocol { sys: &System, place: &place, options: &self.options, operation: CREATE };
        let published = protocol.publish_claim(claimed)?;
        Ok(ServerSocket::new(place, self.options.clone(), published))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some((place, claimed)), true) = (self.held.take(), self.process.is_current()) {
            self.options.lock_timeout = DROP_TIMEOUT; // for the short lock, to remove the life lock under it
            let protocol = Protocol { sys: &System, place: &place, options: &self.options, operation: CREATE };
            protocol.abandon_claim(claimed);
        }
    }
}
