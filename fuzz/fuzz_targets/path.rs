//! Any bytes as a path below a directory: a server and nothing else, or an error and nothing.

#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use unix_stream_server::{PathState, ServerSocket, connect_timeout, inspect, probe};

fuzz_target!(|name: &[u8]| {
    // One that climbs out of the directory would be somebody else's.
    if name.windows(2).any(|two| two == b"..") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = [dir.path().as_os_str().as_bytes(), b"/", name].concat();
    let path = Path::new(OsStr::from_bytes(&path));
    if let Ok(server) = ServerSocket::builder().lock_timeout(Duration::ZERO).create(path) {
        assert!(!server.was_stolen());
        connect_timeout(path, Duration::from_secs(60)).expect("it lives");
        assert!(matches!(probe(path), Ok(PathState::Live { .. })));
        server.close().expect("close");
    }
    let _ = inspect(path);
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
});
