//! What all integration tests share: directories that tell what is in them, sockets of every kind, and this very test
//! program started again as another process, as another user, or with other limits.

pub mod child;
pub mod cleaning;
pub mod dir;
pub mod filter;
pub mod fork;
pub mod sockets;
pub mod start;
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

/// Runs something in a thread that is another user, with these supplementary groups. Only root can; the rest of the
/// process stays what it is, since these are the system's own calls, which concern a thread.
pub fn as_user<T: Send>(uid: u32, gid: u32, groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let groups: Vec<Gid> = groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            set_thread_groups(&groups).expect("setgroups");
            set_thread_res_gid(gid, gid, gid).expect("setresgid");
            set_thread_res_uid(uid, uid, uid).expect("setresuid");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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

/// Tells what was done, where the harness would swallow it.
pub fn tell(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{what}");
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
