//! Access control lists (acl(5)): what a mode does not tell.

use std::path::Path;

use rustix::fs::getxattr;

use super::rights::{ALL, Who};

/// The entries beyond owner and others, before the mask takes from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl {
    /// The rights of the file's own group.
    pub(super) group: u16,
    pub(super) named: Vec<(Who, u16)>,
    pub(super) mask: u16,
}

impl Acl {
    /// Links are followed. `None`: it has none, and its mode tells all.
    pub(super) fn of(path: &Path) -> Option<Self> {
        // The longest value that the kernel has (xattr(7)).
        let mut value = vec![0; 1 << 16];
        let length = getxattr(path, c"system.posix_acl_access", &mut value[..]).ok()?;
        parse(value.get(..length)?)
    }
}

/// `struct posix_acl_xattr_header` and entries of linux/posix_acl_xattr.h: little-endian, a version, then tag, rights, id.
fn parse(value: &[u8]) -> Option<Acl> {
    const VERSION: [u8; 4] = [2, 0, 0, 0];
    let mut acl = Acl { group: 0, named: Vec::new(), mask: ALL };
    for entry in value.strip_prefix(&VERSION)?.chunks(8) {
        let &[tag, 0, low, high, ref id @ ..] = entry else { return None };
        let rights = u16::from_le_bytes([low, high]) & ALL;
        let id = u32::from_le_bytes(id.try_into().ok()?);
        match tag {
            0x01 | 0x20 => {} // the owner, others: as in the mode
            // Of one who has no number in this user namespace.
            0x02 | 0x08 if id == u32::MAX => {}
            0x02 => acl.named.push((Who::User(id), rights)),
            0x04 => acl.group = rights,
            0x08 => acl.named.push((Who::Group(id), rights)),
            0x10 => acl.mask = rights,
            _ => return None,
        }
    }
    Some(acl)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(entries: &[(u8, u8, u32)]) -> Vec<u8> {
        let entry = |&(tag, rights, id): &(u8, u8, u32)| [&[tag, 0, rights, 0][..], &id.to_le_bytes()].concat();
        [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat()
    }

    #[test]
    fn the_entries_beyond_owner_and_others_are_read() {
        let none = u32::MAX;
        let entries =
            [(1, 7, none), (2, 7, 65_533), (2, 7, none), (4, 7, none), (8, 4, 12), (0x10, 5, none), (0x20, 0, none)];
        let acl = parse(&value(&entries)).expect("a list");
        assert_eq!(acl, Acl { group: 7, named: vec![(Who::User(65_533), 7), (Who::Group(12), 4)], mask: 5 });
    }

    #[test]
    fn what_is_no_list_is_none() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[1, 0, 0, 0]), None, "another version");
        assert_eq!(parse(&value(&[(3, 7, 0)])), None, "an unknown tag");
        assert_eq!(parse(&value(&[(2, 7, 0)])[..11]), None, "cut off");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
            let versioned = [vec![2, 0, 0, 0], bytes].concat();
            prop_assert!(parse(&versioned).is_none_or(|acl| acl.named.len() <= versioned.len() / 8));
        }
    }
}
