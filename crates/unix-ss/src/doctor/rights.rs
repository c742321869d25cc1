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
pub(super) const ALL: u16 = 7;

/// A class of users that an entry speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    User(u32),
    Group(u32),
    Others,
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

    pub(super) fn of_owner(&self) -> u16 {
        self.bits(6)
    }

    /// Of a file that has a list, the mode's bits for the group are a mask, and no group's rights.
    pub(super) fn of_group(&self) -> u16 {
        self.acl.as_ref().map_or_else(|| self.bits(3), |acl| acl.group & acl.mask)
    }

    pub(super) fn of_others(&self) -> u16 {
        self.bits(0)
    }

    fn bits(&self, shift: u32) -> u16 {
        (0..3).map(|bit| 1 << bit).filter(|&bit| self.mode >> shift & u32::from(bit) != 0).sum()
    }

    /// Those that the list names, and what its mask leaves them.
    pub(super) fn of_named(&self) -> impl Iterator<Item = (Who, u16)> {
        self.acl.iter().flat_map(|acl| acl.named.iter().map(|&(who, rights)| (who, rights & acl.mask)))
    }

    /// All classes but others.
    pub(super) fn classes(&self) -> impl Iterator<Item = (Who, u16)> {
        let owner = (Who::User(self.owner), self.of_owner());
        [owner].into_iter().chain(self.of_named()).chain([(Who::Group(self.group), self.of_group())])
    }

    /// What an entry gives to this class by its name.
    fn entry(&self, who: Who) -> Option<u16> {
        match who {
            Who::Others => Some(self.of_others()),
            _ => self.classes().find(|&(class, _)| class == who).map(|(_, given)| given),
        }
    }

    /// Do all of them have these rights, as far as can be told without a list of each user's groups? A user, by any group at
    /// all; the members of a group, by that group alone. Root always.
    pub(super) fn lets(&self, who: Who, rights: u16) -> bool {
        let has = |given: u16| given & rights == rights;
        match who {
            Who::User(0) => true,
            // The owner's own entry comes before one that names him.
            Who::User(_) => self.entry(who).map_or_else(
                || {
                    let by_group = |(class, given)| matches!(class, Who::Group(_)) && has(given);
                    has(self.of_others()) || self.classes().any(by_group)
                },
                has,
            ),
            Who::Group(_) if self.entry(who).is_some() => {
                self.classes().any(|(class, given)| class == who && has(given))
            }
            Who::Group(_) | Who::Others => has(self.of_others()),
        }
    }

    /// The same by what is the user's own: as root, as the owner, or by an entry for him.
    pub(super) fn lets_by_his_own(&self, user: u32, rights: u16) -> bool {
        user == 0 || self.entry(Who::User(user)).is_some_and(|given| given & rights == rights)
    }

    /// The command that gives these classes a right, or takes it from them, and leaves everybody else his.
    pub(super) fn command_to(&self, change: Change, who: &[Who], file: &str) -> String {
        let (mut classes, mut entries, mut added) = (String::new(), Vec::new(), 0);
        for &who in who {
            // An entry of his own takes him from the others, and what they have.
            let given = self.entry(who).unwrap_or_else(|| self.of_others());
            let rights = match change {
                Change::Give(right) => given | right,
                Change::Take(right) => given & !right,
            };
            match who {
                Who::User(uid) if uid == self.owner => classes.push('u'),
                // Of a file that has a list, chmod would change the mask.
                Who::Group(gid) if gid == self.group && !self.has_acl() => classes.push('g'),
                Who::Others => classes.push('o'),
                Who::Group(gid) if gid == self.group => entries.push(("g:".to_owned(), rights)),
                Who::Group(gid) => entries.push((format!("g:{gid}"), rights)),
                Who::User(uid) => entries.push((format!("u:{uid}"), rights)),
            }
            added |= rights;
        }
        if let Some(acl) = self.acl.as_ref().filter(|_| !entries.is_empty()) {
            let more = added & !acl.mask;
            let listed = acl.named.iter().copied().chain([(Who::Group(self.group), acl.group)]);
            if listed.filter(|(other, _)| !who.contains(other)).any(|(_, held_back)| held_back & more != 0) {
                return format!(
                    "see to its access control list, whose mask holds back what others have (getfacl {file})"
                );
            }
            // Else setfacl would make a mask that holds nothing back.
            entries.push(("m:".to_owned(), acl.mask | more));
        }
        let (sign, right) = match change {
            Change::Give(right) => ('+', right),
            Change::Take(right) => ('-', right),
        };
        let chmod = (!classes.is_empty()).then(|| format!("chmod {classes}{sign}{} {file}", letters(right)));
        let entries: Vec<_> = entries.into_iter().map(|(who, rights)| format!("{who}:{}", letters(rights))).collect();
        let setfacl = (!entries.is_empty()).then(|| format!("setfacl -m {} {file}", entries.join(",")));
        chmod.into_iter().chain(setfacl).collect::<Vec<_>>().join(" && ")
    }
}

#[derive(Clone, Copy)]
pub(super) enum Change {
    Give(u16),
    Take(u16),
}

/// As chmod(1) and setfacl(1) read them.
fn letters(rights: u16) -> String {
    let letters = [(4, 'r'), (WRITE, 'w'), (PASS, 'x')].into_iter().filter(|(right, _)| rights & right != 0);
    let letters: String = letters.map(|(_, letter)| letter).collect();
    if letters.is_empty() { "-".to_owned() } else { letters }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User(uid) => write!(f, "uid {uid}"),
            Who::Group(gid) => write!(f, "whoever is in group {gid}"),
            Who::Others => f.write_str("everybody else"),
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

    /// With a mask that holds nothing back, if there is a list.
    fn rights(mode: u32, named: Option<&[(Who, u16)]>) -> Rights {
        let group = u16::try_from(mode >> 3 & 7).expect("three bits");
        let acl = named.map(|named| Acl { group, named: named.to_vec(), mask: ALL });
        Rights { owner: 10, group: 20, mode, acl }
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
    fn a_right_is_the_users_own_if_no_group_gives_it() {
        let named = rights(0o757, Some(&[(SOMEBODY, 7), (Who::User(8), 5)]));
        for (user, own) in [(0, true), (10, true), (7, true), (8, false), (9, false)] {
            assert_eq!(named.lets_by_his_own(user, WRITE | PASS), own, "{user}");
        }
    }

    #[test]
    fn a_command_takes_nothing_from_others_and_gives_them_nothing() {
        use Change::{Give, Take};
        let plain = rights(0o640, None);
        assert_eq!(plain.command_to(Give(PASS), &[ITS_GROUP, Who::User(10), Who::Others], "d"), "chmod guo+x d");
        assert_eq!(plain.command_to(Give(PASS), &[SOMEBODY, Who::Group(21)], "d"), "setfacl -m u:7:x,g:21:x d");
        let mut listed = rights(0o640, Some(&[(SOMEBODY, 6), (Who::User(8), 7)]));
        assert_eq!(
            listed.command_to(Give(PASS), &[SOMEBODY, ITS_GROUP, Who::Others], "d"),
            "chmod o+x d && setfacl -m u:7:rwx,g::rx,m::rwx d"
        );
        assert_eq!(listed.command_to(Take(WRITE), &[SOMEBODY, ITS_GROUP], "d"), "setfacl -m u:7:r,g::r,m::rwx d");
        assert_eq!(listed.command_to(Take(ALL), &[SOMEBODY], "d"), "setfacl -m u:7:-,m::rwx d");
        listed.acl.as_mut().expect("a list").mask = 5;
        assert_eq!(listed.command_to(Give(PASS), &[SOMEBODY], "d"), "setfacl -m u:7:rx,m::rx d");
        // Of uid 8 the mask holds back what it would have to give.
        listed.acl.as_mut().expect("a list").mask = 4;
        let command = listed.command_to(Give(PASS), &[SOMEBODY], "d");
        assert!(command.contains("getfacl d") && !command.contains("setfacl"), "{command}");
        assert_eq!(listed.command_to(Give(PASS), &[SOMEBODY, Who::User(8)], "d"), "setfacl -m u:7:rx,u:8:rx,m::rx d");
    }
}
