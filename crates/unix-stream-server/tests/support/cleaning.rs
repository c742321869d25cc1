//! What comes of a cleaning, and something old to be cleaned.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use unix_stream_server::{CleanEvent, CleanOptions, Error, Leftover, Outcome};

use super::sockets::put_dead;
use super::wait::until;

/// Waits until what is there now is old: a second and a little, by the system's clock.
pub fn age(path: &Path) {
    let changed = fs::symlink_metadata(path).expect("stat");
    let old = Duration::new(changed.ctime().try_into().expect("now"), changed.ctime_nsec().try_into().expect("few"))
        + Duration::from_millis(1_001);
    until("a second has gone by", || SystemTime::now().duration_since(UNIX_EPOCH).expect("now") > old);
}

/// A dead socket that is old.
pub fn put_old_dead(path: &Path) {
    put_dead(path);
    age(path);
}

/// What came of each thing found.
pub fn clean(options: &CleanOptions, path: &Path) -> (BTreeMap<PathBuf, (Leftover, String)>, Result<(), Error>) {
    let mut found = BTreeMap::new();
    let (mut entries, mut looked) = (0, 0);
    let result = options.run(path, |event| match event {
        CleanEvent::Directory { entries: more, .. } => entries += more,
        CleanEvent::Looked => looked += 1,
        CleanEvent::Found { path, what, outcome } => {
            let outcome = match outcome {
                Outcome::Failed(error) => format!("{:?} {}", error.kind(), error.raw_os_error()),
                outcome => format!("{outcome:?}"),
            };
            let before = found.insert(path.to_owned(), (what, outcome));
            assert_eq!(before, None, "{} twice", path.display());
        }
        _ => {}
    });
    assert!(result.is_err() || looked == entries, "{looked} of {entries}");
    (found, result)
}

/// The same by name, of a cleaning that must succeed.
pub fn clean_dir(options: &CleanOptions, path: &Path) -> Vec<(String, Leftover, String)> {
    let (found, result) = clean(options, path);
    result.expect("cleaned");
    let name = |path: PathBuf| path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    found.into_iter().map(|(path, (what, came))| (name(path), what, came)).collect()
}

/// What such a cleaning says of what it has removed.
#[must_use]
pub fn removed(names: &[(&str, Leftover)]) -> Vec<(String, Leftover, String)> {
    names.iter().map(|&(name, what)| (name.to_owned(), what, "Removed".to_owned())).collect()
}

/// The temporary name of a long one, whose hash is part of what two versions of the library must agree on.
#[must_use]
pub fn temporary(name: &str) -> String {
    hashed(name, ".new")
}

/// A name with the hash of another, and a suffix.
#[must_use]
pub fn hashed(name: &str, suffix: &str) -> String {
    let (offset, prime) = (0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, 0x0100_0000_0000_0000_0000_013b_u128);
    let hash = name.bytes().fold(offset, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime));
    format!(".{hash:032x}{suffix}")
}
