//! What is known of the path before it is judged.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use unix_stream_server::{Error, Inspection, PathState, inspect};

use super::shell::quote;

/// The path, and what stands there.
pub(super) struct Patient {
    /// As it was given.
    pub(super) given: PathBuf,
    /// The same, from the root on, links not followed.
    pub(super) path: PathBuf,
    pub(super) inspection: Inspection,
    /// Of the socket's file, where there is one; links followed, as a client would.
    pub(super) socket: Option<Metadata>,
    /// Whose server it is, or is to be: of the owner of the socket, or ours.
    pub(super) server: u32,
}

impl Patient {
    /// An error for a path that can name no socket.
    pub(super) fn new(given: &Path) -> Result<Self, Error> {
        let inspection = inspect(given)?;
        let path = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
        let socket = std::fs::metadata(given).ok().filter(|data| data.file_type().is_socket());
        let server = socket.as_ref().map_or(geteuid().as_raw(), MetadataExt::uid);
        Ok(Patient { given: given.to_owned(), path, inspection, socket, server })
    }

    /// The directory of the path.
    pub(super) fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// A name beside the path, made by appending.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    /// The command that removes what the dead have left here.
    pub(super) fn clean(&self) -> String {
        format!("unix-ss clean {}", quote(&self.path))
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(self.inspection.state, PathState::Live { .. } | PathState::Busy)
    }
}
