//! What is said to those who have started us: whoever waits for `--ready-fd`, and the service manager.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use unix_stream_server::{PathState, PeerCredentials, inspect, notify};

use crate::cli::Serve;
use crate::inherited;
use crate::message::{About, failed, reason, say};

/// Who waits to hear that we listen. Without a word, an end of file tells that it came to nothing.
pub(crate) struct Ready {
    fd: Option<OwnedFd>,
    /// We may have taken over from the process that the service manager knows.
    replaces: bool,
}

impl Ready {
    /// To be called first of all: see [`inherited::take`].
    pub(crate) fn take(args: &Serve) -> Result<Self, u8> {
        let replaces = args.replace;
        let Some(number) = args.ready_fd else { return Ok(Ready { fd: None, replaces }) };
        match inherited::take(number) {
            Ok(fd) => Ok(Ready { fd: Some(fd), replaces }),
            Err(error) => Err(failed(format_args!(
                "cannot use descriptor {number} for --ready-fd: {}; open it, as in `{number}>ready`",
                reason(&error)
            ))),
        }
    }

    /// A newline, and the end of the file; and the service manager is told.
    pub(crate) fn announce(self) {
        let states = [notify::State::Ready, notify::State::MainPid(std::process::id())];
        complain(notify::send(if self.replaces { &states } else { &states[..1] }));
        let Some(fd) = self.fd else { return };
        if let Err(error) = File::from(fd).write_all(b"\n") {
            // The clients matter more than the one who was to be told.
            say(format_args!("cannot write to the descriptor of --ready-fd: {}; serving all the same", reason(&error)));
        }
    }
}

/// Tells the service manager, if there is one, that we are about to end; of a server that has been replaced, that the
/// service goes on with another process.
///
/// To be called when all else has been done: a manager that is stuck may keep us waiting.
pub(crate) fn end(path: &Path, replaced: bool) {
    if replaced { successor(path) } else { complain(notify::stopping()) }
}

/// Names the successor, where the kernel tells which process that is.
fn successor(path: &Path) {
    // Only if there is a manager: the question may reach the successor as a client that leaves at once.
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let successor = match inspect(path).map(|inspection| inspection.state) {
        Ok(PathState::Live { peer: Some(PeerCredentials { pid: Some(pid), .. }) }) => pid,
        _ => return,
    };
    complain(notify::main_pid(successor));
}

/// The clients matter more than the one who was to be told.
fn complain(result: unix_stream_server::Result<bool>) {
    if let Err(error) = result {
        let errno = Some(error.raw_os_error());
        say(About(error.path(), errno, format_args!("{error}; serving all the same")));
    }
}
