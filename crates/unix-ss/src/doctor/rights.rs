//! Who may do what with a file, by its owner, group, mode and access control list. The first class that a user is of has the
//! say, even if it says less than a later one (path_resolution(7), acl(5)).

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::acl::Acl;

pub(super) const WRITE: u16 = 2;
/// Of a directory: to what is in it.
pub(super) const PASS: u16 = 1;

/// A class of users that an entry speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    User(u32),
    Group(u32),
}

#[derive(Clone, Debug)]
pub(super) struct Rights {
    owner: u32,
    group: u32,
    mode: u32,
    acl: Option<Acl>,
}

impl Rights {
    /// `data`: of this file, links followed.
    pub(super) fn of(path: &Path, data: &Metadata) -> Self {
        Rights { owner: data.uid(), group: data.gid(), mode: data.mode(), acl: Acl::of(path) }
    }

    pub(super) fn has_acl(&self) -> bool {
        self.acl.is_some()
    }

    fn of_owner(&self) -> u16 {
        self.bits(6)
    }

    /// Of a file that has a list, the mode's bits for the group are a mask, and no group's rights.
    pub(super) fn of_group(&self) -> u16 {
        self.acl.as_ref().map_or_else(|| self.bits(3), |acl| acl.group)
    }

    pub(super) fn of_others(&self) -> u16 {
        self.bits(0)
    }

    fn bits(&self, shift: u32) -> u16 {
        (0..3).map(|bit| 1 << bit).filter(|&bit| self.mode >> shift & u32::from(bit) != 0).sum()
    }

    /// Those that the list names.
    pub(super) fn of_named(&self) -> &[(Who, u16)] {
        self.acl.as_ref().map(|acl| acl.named.as_slice()).unwrap_or_default()
    }

    /// All classes but others.
    pub(super) fn classes(&self) -> impl Iterator<Item = (Who, u16)> {
        let owner = (Who::User(self.owner), self.of_owner());
        [owner].into_iter().chain(self.of_named().iter().copied()).chain([(Who::Group(self.group), self.of_group())])
    }

    /// Do all of them have these rights, as far as can be told without a list of each user's groups? A user, by any group at
    /// all; the members of a group, by that group alone. Root always.
    pub(super) fn lets(&self, who: Who, rights: u16) -> bool {
        let has = |given: u16| given & rights == rights;
        if who == Who::User(0) {
            return true;
        }
        let mut of_it = self.classes().filter(|&(class, _)| class == who).map(|(_, given)| given).peekable();
        match who {
            // The owner's own entry comes before one that names him.
            Who::User(_) if of_it.peek().is_some() => of_it.next().is_some_and(has),
            Who::User(_) => {
                let by_group = |(class, given)| matches!(class, Who::Group(_)) && has(given);
                has(self.of_others()) || self.classes().any(by_group)
            }
            Who::Group(_) if of_it.peek().is_some() => of_it.any(has),
            Who::Group(_) => has(self.of_others()),
        }
    }

    /// The command that lets them pass as well, and takes nothing from anybody.
    pub(super) fn command_to_pass(&self, who: &[Who], others: bool, file: &str) -> String {
        let (mut classes, mut entries) = (String::new(), Vec::new());
        for &who in who {
            let given = self.classes().find(|&(class, _)| class == who).map_or(0, |(_, given)| given);
            let letters = letters(given | PASS);
            match who {
                Who::User(uid) if uid == self.owner => classes.push('u'),
                // Of a file that has a list, chmod would change the mask.
                Who::Group(gid) if gid == self.group && !self.has_acl() => classes.push('g'),
                Who::Group(gid) if gid == self.group => entries.push(format!("g::{letters}")),
                Who::User(uid) => entries.push(format!("u:{uid}:{letters}")),
                Who::Group(gid) => entries.push(format!("g:{gid}:{letters}")),
            }
        }
        classes.extend(others.then_some('o'));
        let chmod = (!classes.is_empty()).then(|| format!("chmod {classes}+x {file}"));
        let setfacl = (!entries.is_empty()).then(|| format!("setfacl -m {} {file}", entries.join(",")));
        chmod.into_iter().chain(setfacl).collect::<Vec<_>>().join(" && ")
    }
}

fn letters(rights: u16) -> String {
    [(4, 'r'), (WRITE, 'w'), (PASS, 'x')]
        .into_iter()
        .filter(|(right, _)| rights & right != 0)
        .map(|(_, letter)| letter)
        .collect()
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User(uid) => write!(f, "uid {uid}"),
            Who::Group(gid) => write!(f, "whoever is in group {gid}"),
        }
    }
}

/// For people.
pub(super) fn list(who: &[Who], and: &str) -> String {
    who.iter().map(Who::to_string).collect::<Vec<_>>().join(and)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: Who = Who::User(7);
    const ITS_GROUP: Who = Who::Group(20);

    fn rights(mode: u32, named: Option<&[(Who, u16)]>) -> Rights {
        let group = u16::try_from(mode >> 3 & 7).expect("three bits");
        Rights { owner: 10, group: 20, mode, acl: named.map(|named| Acl { group, named: named.to_vec() }) }
    }

    #[test]
    fn the_first_class_has_the_say() {
        for (mode, who, passes) in [
            (0o705, ITS_GROUP, false),
            (0o705, SOMEBODY, true),
            (0o705, Who::Group(21), true),
            (0o077, Who::User(10), false),
            (0o000, Who::User(0), true),
            // He may be of the group.
            (0o710, SOMEBODY, true),
            (0o710, Who::Group(21), false),
            (0o700, SOMEBODY, false),
        ] {
            assert_eq!(rights(mode, None).lets(who, PASS), passes, "{mode:o} {who}");
        }
    }

    #[test]
    fn a_list_has_the_say_over_others_and_any_of_a_groups_entries_is_enough() {
        let named = rights(0o701, Some(&[(SOMEBODY, 0), (Who::Group(21), 5), (ITS_GROUP, 1), (Who::User(10), 0)]));
        for (who, passes) in
            [(SOMEBODY, false), (Who::User(8), true), (Who::Group(21), true), (ITS_GROUP, true), (Who::User(10), true)]
        {
            assert_eq!(named.lets(who, PASS), passes, "{who}");
        }
        assert!(!named.lets(Who::Group(21), PASS | WRITE));
    }

    #[test]
    fn a_command_takes_nothing_away() {
        let plain = rights(0o640, None);
        assert_eq!(plain.command_to_pass(&[ITS_GROUP, Who::User(10)], true, "d"), "chmod guo+x d");
        assert_eq!(plain.command_to_pass(&[SOMEBODY, Who::Group(21)], false, "d"), "setfacl -m u:7:x,g:21:x d");
        let listed = rights(0o640, Some(&[(SOMEBODY, 6)]));
        assert_eq!(
            listed.command_to_pass(&[SOMEBODY, ITS_GROUP], true, "d"),
            "chmod o+x d && setfacl -m u:7:rwx,g::rx d"
        );
    }
}
