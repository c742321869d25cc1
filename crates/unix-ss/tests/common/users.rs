//! Other users than the test's own.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::geteuid;

use super::{Place, eventually};

pub const NOBODY: u32 = 65_534;

/// May we try `what`, which takes root's rights? If not, that is said.
pub fn is_root(what: &str) -> bool {
    if !geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: {what}: needs root");
    }
    geteuid().is_root()
}

/// The command where every user who gets to the place gets to its file.
pub fn copy(place: &Place) -> PathBuf {
    let copy = place.path("unix-ss");
    if !copy.exists() {
        fs::copy(env!("CARGO_BIN_EXE_unix-ss"), &copy).expect("a copy");
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("chmod");
        // A child of another test that is about to exec may still have it open for writing (ETXTBSY).
        eventually("the copy can be run", || Command::new(&copy).arg("--version").output().is_ok());
    }
    copy
}
