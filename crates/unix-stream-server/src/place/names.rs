//! The names that are made from a socket's, and what a name in a directory is to us.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use super::NAME_MAX;

pub(super) const LOCK: &str = ".lock";
pub(super) const LIFE: &str = ".owner";
pub(super) const START: &str = ".start";
pub(super) const TEMPORARY: &str = ".new";

/// `<name><suffix>`: appended, never "with extension", which would give `a.0` and `a.1` one lock. Hashed where the
/// result would pass NAME_MAX; git's protocol cannot lock such names at all.
pub(super) fn suffixed(name: &OsStr, suffix: &str) -> CString {
    if name.len() + suffix.len() > NAME_MAX {
        return hashed(name, suffix);
    }
    join(name.as_bytes(), suffix.as_bytes())
}

/// A short name made from a long one: hidden, the same in every version of this library, since two versions may meet
/// at one path.
pub(super) fn hashed(name: &OsStr, suffix: &str) -> CString {
    with_hash(fnv1a(name.as_bytes()), suffix)
}

pub(super) fn with_hash(hash: u128, suffix: &str) -> CString {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = [b'.'; 33];
    for (place, digit) in name.iter_mut().skip(1).enumerate() {
        *digit = DIGITS[(hash >> (124 - 4 * place)) as usize % DIGITS.len()];
    }
    join(&name, suffix.as_bytes())
}

/// Of two without a NUL, in one allocation with room for it: this is done for each name of each server.
pub(super) fn join(one: &[u8], other: &[u8]) -> CString {
    let mut both = Vec::with_capacity(one.len() + other.len() + 1);
    both.extend_from_slice(one);
    both.extend_from_slice(other);
    CString::new(both).unwrap_or_default()
}

/// What a name in a directory may be to us, by the name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The lock, or the life lock, of this name; or of the name that [`hash_of_name`] knows it for.
    LockOf(CString),
    /// The lock of those who start its server, likewise.
    StartLockOf(CString),
    /// The temporary name for sockets that are bound beside the name: its hash.
    TemporaryOf(u128),
    Other,
}

pub(crate) fn role(name: &CStr) -> Role {
    let bytes = name.to_bytes();
    for (suffix, role) in
        [(LOCK, Role::LockOf as fn(CString) -> Role), (LIFE, Role::LockOf), (START, Role::StartLockOf)]
    {
        if let Some(of @ [_, ..]) = bytes.strip_suffix(suffix.as_bytes()) {
            return CString::new(of).map_or(Role::Other, role);
        }
    }
    match bytes.strip_suffix(TEMPORARY.as_bytes()).and_then(hash_in) {
        Some(hash) => Role::TemporaryOf(hash),
        None => Role::Other,
    }
}

/// Is it where sockets for other names are put for a moment?
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.strip_suffix(TEMPORARY.as_bytes()).is_some_and(|hash| hash_in(hash).is_some())
}

/// The hash of another name, where the name is `.<hash>` and stands for it.
pub(crate) fn hash_of_name(name: &CStr) -> Option<u128> {
    hash_in(name.to_bytes())
}

/// The hash by which the temporary name of a name goes.
pub(crate) fn hash_for(name: &CStr) -> u128 {
    fnv1a(name.to_bytes())
}

/// The name that stands for one of which only the hash is known.
pub(crate) fn name_of_hash(hash: u128) -> CString {
    with_hash(hash, "")
}

pub(super) fn hash_in(bytes: &[u8]) -> Option<u128> {
    let digits = bytes.strip_prefix(b".").filter(|digits| digits.len() == 32)?;
    let is_hash = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| std::str::from_utf8(digits).ok().and_then(|digits| u128::from_str_radix(digits, 16).ok()))?
}

/// FNV-1a, 128 bits (RFC 9923).
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_have_locks_that_differ() {
        assert_eq!(suffixed(OsStr::new("a.0"), ".lock").to_bytes(), b"a.0.lock");
        let long = |letter: &str| letter.repeat(251);
        let (x, y) = (suffixed(OsStr::new(&long("x")), ".lock"), suffixed(OsStr::new(&long("y")), ".lock"));
        assert!(x.as_bytes().len() < NAME_MAX && x != y);
        assert_eq!(suffixed(OsStr::new(&"x".repeat(250)), ".lock").as_bytes().len(), 255);
    }

    #[test]
    fn what_a_name_is_to_us_can_be_told_from_it() {
        let of = |name: &str| CString::new(name).expect("no NUL");
        assert_eq!(role(c"a.lock"), Role::LockOf(of("a")));
        assert_eq!(role(c"a.b.owner"), Role::LockOf(of("a.b")));
        for other in [c"a", c".lock", c"lock", c"a.locks", c".0.new", c"a.new"] {
            assert_eq!(role(other), Role::Other, "{other:?}");
        }
        let long = "x".repeat(252);
        let hash = fnv1a(long.as_bytes());
        assert_eq!(role(&hashed(OsStr::new(&long), TEMPORARY)), Role::TemporaryOf(hash));
        // The lock of so long a name is a hash, whose own locks and temporary name are the very same.
        let lock = suffixed(OsStr::new(&long), LOCK);
        assert_eq!(role(&lock), Role::LockOf(name_of_hash(hash)));
        assert_eq!(suffixed(OsStr::from_bytes(name_of_hash(hash).to_bytes()), LOCK), lock);
        assert_eq!((hash_of_name(&name_of_hash(hash)), hash_of_name(c"a")), (Some(hash), None));
        assert_eq!(hash_for(&of(&long)), hash);
        assert_eq!(role(c"a.start"), Role::StartLockOf(of("a")));
    }

    #[test]
    fn the_hash_is_fnv1a_and_never_changes() {
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}
