//! Access control lists (acl(5)): what a mode does not tell.

use std::path::Path;

use rustix::fs::getxattr;

use super::rights::Who;

/// The entries beyond owner and others, as the mask leaves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acl {
    /// The rights of the file's own group.
    pub(super) group: u16,
    pub(super) named: Vec<(Who, u16)>,
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
    let (mut acl, mut mask) = (Acl::default(), 7);
    for entry in value.strip_prefix(&VERSION)?.chunks(8) {
        let &[tag, 0, low, high, ref id @ ..] = entry else { return None };
        let rights = u16::from_le_bytes([low, high]) & 7;
        let id = u32::from_le_bytes(id.try_into().ok()?);
        match tag {
            0x01 | 0x20 => {} // the owner, others: as in the mode
            0x02 => acl.named.push((Who::User(id), rights)),
            0x04 => acl.group = rights,
            0x08 => acl.named.push((Who::Group(id), rights)),
            0x10 => mask = rights,
            _ => return None,
        }
    }
    acl.group &= mask;
    acl.named.iter_mut().for_each(|(_, rights)| *rights &= mask);
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
    fn the_mask_takes_rights_from_all_that_are_named() {
        let none = u32::MAX;
        let entries = [(1, 7, none), (2, 7, 65_533), (4, 7, none), (8, 4, 12), (0x10, 5, none), (0x20, 0, none)];
        let acl = parse(&value(&entries)).expect("a list");
        assert_eq!(acl, Acl { group: 5, named: vec![(Who::User(65_533), 5), (Who::Group(12), 4)] });
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
