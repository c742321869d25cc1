//! Any file at the lock's name: ours and free, or it stays as it is.

#![no_main]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use unix_stream_server::{ErrorKind, ServerSocket};

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (mode, linked, content) = input;
    let mode = u32::from(mode) & 0o7777;
    let dir = tempfile::tempdir().expect("a directory");
    let (path, lock) = (dir.path().join("s"), dir.path().join("s.lock"));
    fs::write(&lock, content).expect("write");
    fs::set_permissions(&lock, fs::Permissions::from_mode(mode)).expect("chmod");
    if linked {
        fs::hard_link(&lock, dir.path().join("link")).expect("link");
    }
    let is_ours = matches!(mode, 0o1400 | 0o1000) && content.is_empty() && !linked;
    let inode = fs::symlink_metadata(&lock).expect("there").ino();
    match ServerSocket::builder().lock_timeout(Duration::ZERO).create(&path) {
        Ok(server) => {
            assert!(is_ours, "mode {mode:o}");
            server.close().expect("close");
            assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
        }
        Err(error) => {
            assert!(!is_ours, "mode {mode:o}: {error}");
            assert_eq!(error.kind(), ErrorKind::Locked);
            let after = fs::symlink_metadata(&lock).expect("still there");
            assert_eq!((after.ino(), after.len()), (inode, content.len() as u64));
        }
    }
});
