//! A list of the listening sockets: there is none that names their files by device and number.
//!
//! So whoever asks connects: a probe is an event for the server.

use crate::PeerCredentials;
use crate::sys::FileId;

/// A listening socket as the kernel lists it. None does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    pub(crate) is_stream: bool,
    pub(crate) is_full: bool,
    pub(crate) uid: Option<u32>,
    never: std::convert::Infallible,
}

impl Listener {
    pub(crate) fn holder(&self) -> Option<PeerCredentials> {
        match self.never {}
    }
}

pub(crate) fn holder_of(_socket: u32) -> Option<PeerCredentials> {
    None
}

pub(crate) fn find_listener(_file: FileId) -> Option<Listener> {
    None
}

/// The files that sockets are bound to.
#[derive(Debug)]
pub(crate) struct BoundFiles(std::convert::Infallible);

impl BoundFiles {
    pub(crate) fn list() -> Option<Self> {
        None
    }

    pub(crate) fn may_contain(&self, _file: FileId, _known_dev: bool) -> bool {
        match self.0 {}
    }
}
