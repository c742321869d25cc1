//! What all integration tests share: directories that tell what is in them, sockets of every kind, and this very test
//! program started again as another process, as another user, or with other limits.

pub mod child;
pub mod dir;
pub mod filter;
pub mod fork;
pub mod sockets;
pub mod succession;
pub mod unshared;
pub mod wait;

use std::time::Duration;

use unix_stream_server::{Error, ErrorKind};

/// What no event of a working system takes: for waits that are not what is tested.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A user who is nobody in particular, for tests that give rights up.
pub const NOBODY: u32 = 65_534;

/// Are we root, whom permission bits do not stop?
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Does `/proc/locks` list every flock on files of this directory? Not in a pid namespace of one's own, nor where the
/// file system makes up device numbers (overlayfs, btrfs).
#[must_use]
pub fn locks_are_listed(dir: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let dev = std::fs::metadata(dir).expect("stat").dev();
    let number = format!(" {}:{} ", rustix::fs::major(dev), rustix::fs::minor(dev));
    let initial = std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]");
    initial && std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| mounts.contains(&number))
}

/// Says loudly what cannot be tried here, where the harness would swallow it.
pub fn not_tried(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "NOT TRIED: {what}");
}

/// An error is just this, and its message says the path and is one line for people.
#[track_caller]
pub fn assert_error(error: &Error, kind: ErrorKind, errno: i32) {
    assert_eq!((error.kind(), error.raw_os_error()), (kind, errno), "{error}");
    let message = error.to_string();
    assert!(message.starts_with("cannot ") && !message.contains('\n'), "{message}");
    assert!(message.contains(&error.path().display().to_string()), "{message}");
    assert!(!error.reason().is_empty() && message.ends_with(error.reason()), "{message}");
}

/// The name of the test it stands in, for starting it again in another process.
#[macro_export]
macro_rules! this_test {
    () => {{
        fn here() {}
        $crate::support::child::name_of(&here)
    }};
}
