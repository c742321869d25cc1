//! Bytes from outside, whatever they are: paths, and files at the lock's name. No panic, a clear answer, and nothing on
//! disk changed but by a server that was created.

pub mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use support::dir::{Dir, put_file};
use unix_stream_server::{ErrorKind, PathState, ServerSocket, connect, inspect, probe};

/// Not written down in a file: a failure prints what is needed to see it again.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Bytes as they come in paths, and some that should not; often at a limit.
fn path_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => proptest::char::range('a', 'z').prop_map(|c| c as u8), 2 => Just(b'/'), 2 => Just(b'.'), 1 => any::<u8>()];
    let length = prop_oneof![6 => 0..40_usize, 2 => 75..115_usize, 2 => 245..265_usize, 1 => 4080..4110_usize];
    length.prop_flat_map(move |length| proptest::collection::vec(byte.clone(), length))
}

/// Modes of files that lie at the lock's name: the mark, the mark with one bit changed, and any other.
fn lock_modes() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0o1400), Just(0o1000), (0..12_u32).prop_map(|bit| 0o1400 ^ (1 << bit)), 0..0o10000_u32]
}

/// What the rules of P9 say of a path, in the words of the promise.
fn is_refused_beforehand(path: &[u8]) -> bool {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    path.contains(&0) || matches!(last, b"" | b"." | b"..") || last.len() > 255 || path.len() > 4095
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_path_gets_an_answer_and_none_is_changed_by_the_question(bytes in path_bytes()) {
        let path = Path::new(OsStr::from_bytes(&bytes));
        let answers = [probe(path).map(drop), inspect(path).map(drop)];
        for answer in answers {
            prop_assert_eq!(answer.is_err(), is_refused_beforehand(&bytes));
            if let Err(error) = answer {
                prop_assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::PathTooLong));
                prop_assert!(!error.to_string().contains('\0') || bytes.contains(&0));
            }
        }
    }

    #[test]
    fn every_name_either_gets_a_server_or_an_error_that_changes_nothing(name in path_bytes()) {
        let dir = Dir::new();
        let mut full = dir.path().as_os_str().as_bytes().to_vec();
        full.push(b'/');
        full.extend_from_slice(&name);
        let path = Path::new(OsStr::from_bytes(&full));
        // A name that climbs out of the directory would be somebody else's.
        prop_assume!(!name.windows(2).any(|two| two == b".."));
        match ServerSocket::create(path) {
            Ok(server) => {
                prop_assert!(!is_refused_beforehand(&full));
                prop_assert_eq!(fs::read_dir(path.parent().expect("a parent")).expect("readable").count(), 1);
                prop_assert!(!server.was_stolen());
                let client = connect(path);
                prop_assert!(client.is_ok(), "{:?}", client);
                server.close().expect("close");
            }
            Err(error) => {
                let inner_slash = name.iter().rposition(|&byte| byte != b'/').is_some_and(|end| name[..end].contains(&b'/'));
                prop_assert!(is_refused_beforehand(&full) || inner_slash, "{}", error);
            }
        }
        prop_assert_eq!(dir.names(), [""; 0]);
    }

    #[test]
    fn whatever_lies_at_the_locks_name_is_ours_and_free_or_stays_as_it_is(
        mode in lock_modes(),
        content in prop_oneof![Just(Vec::new()), proptest::collection::vec(any::<u8>(), 1..3)],
        linked in any::<bool>(),
        dead in any::<bool>(),
    ) {
        let dir = Dir::new();
        let (path, lock) = (dir.join("s"), dir.join("s.lock"));
        put_file(&lock, &content, mode);
        if linked {
            fs::hard_link(&lock, dir.join("link")).expect("link");
        }
        if dead {
            support::sockets::put_dead(&path);
        }
        let before = dir.files();
        // The mark, or the mark less the read bit, which an odd umask may have taken.
        let is_ours = matches!(mode, 0o1400 | 0o1000) && content.is_empty() && !linked;
        match ServerSocket::builder().lock_timeout(Duration::ZERO).create(&path) {
            Ok(server) => {
                prop_assert!(is_ours, "mode {:o}", mode);
                server.close().expect("close");
                prop_assert_eq!(dir.names(), [""; 0]);
            }
            Err(error) => {
                prop_assert!(!is_ours, "mode {:o}: {}", mode, error);
                prop_assert_eq!(error.kind(), ErrorKind::Locked);
                // Of its own file an owner may have mended the read bit; nothing else changes.
                let mut after = dir.files();
                if mode == 0o1000 {
                    for (path, file) in &mut after {
                        file.mode = before[path].mode;
                    }
                }
                prop_assert_eq!(after, before);
            }
        }
        let lives = matches!(probe(&path).expect("a path"), PathState::Live { .. });
        prop_assert!(!lives);
    }
}
