//! The overflow ids: what the kernel shows for a user or group that has no number in our user namespace
//! (user_namespaces(7)). Several users may be behind it, so it identifies nobody.

use std::fs;
use std::sync::OnceLock;

/// Users or groups: each kind has its map and its overflow id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    Users,
    Groups,
}

/// `DEFAULT_OVERFLOWUID` and `DEFAULT_OVERFLOWGID`; an administrator can choose others.
const DEFAULT: u32 = 65_534;

/// Does this id stand for just one user, or one group?
pub(crate) fn is_known(ids: Ids, id: u32) -> bool {
    if id == u32::MAX {
        return false;
    }
    static USER: OnceLock<u32> = OnceLock::new();
    static GROUP: OnceLock<u32> = OnceLock::new();
    let (stand_in, setting, map) = match ids {
        Ids::Users => (&USER, "/proc/sys/kernel/overflowuid", "/proc/self/uid_map"),
        Ids::Groups => (&GROUP, "/proc/sys/kernel/overflowgid", "/proc/self/gid_map"),
    };
    // Read once, since it is the system's and does not change: any other number costs no look at a file.
    let read = || fs::read_to_string(setting).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT);
    if id != *stand_in.get_or_init(read) {
        return true;
    }
    // No such file: a kernel without user namespaces. Not readable, or anything else: not known.
    match fs::read_to_string(map) {
        Ok(map) => maps_all(&map),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound && fs::metadata("/proc/self/status").is_ok(),
    }
}

/// Has every id a number here? A line reads `0 100000 65536`: first inside, first outside, count.
fn maps_all(map: &str) -> bool {
    let count = |line: &str| line.split_whitespace().nth(2).and_then(|count| count.parse::<u64>().ok());
    map.lines().filter_map(count).sum::<u64>() >= u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_map_of_all_ids_leaves_nobody_without_a_number() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(maps_all("0 0 1000\n1000 1000 4294966295\n"));
        assert!(!maps_all("0 100000 65536\n"));
        assert!(!maps_all("0 0 1\n1 100000 65535\n") && !maps_all("") && !maps_all("junk\n"));
    }

    #[test]
    fn the_id_that_means_none_is_never_known() {
        assert!(!is_known(Ids::Users, u32::MAX) && !is_known(Ids::Groups, u32::MAX));
        assert!(is_known(Ids::Users, 0) && is_known(Ids::Groups, 4_294_967_294));
    }
}
