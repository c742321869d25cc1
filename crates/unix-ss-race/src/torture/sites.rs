//! The paths of an epoch, and who is there.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Party, SiteJob};
use crate::checker::SiteRules;
use crate::recipe::Defect;

/// One path and what happens there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) rules: SiteRules,
    pub(super) mode: u32,
    /// Sockets are deleted from outside.
    pub(super) deletions: bool,
    /// Foreign files are put at the path and at the lock.
    pub(super) foreign: bool,
    /// Queues may be short, so that they are often full.
    short_queues: bool,
    /// Servers there may be replaced, and take over from each other.
    hand_overs: bool,
    /// Who serves there, beside us.
    with: Option<Party>,
    /// Planted defects can show here.
    for_defects: Defects,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defects {
    None,
    /// All but those of taking over.
    Any,
    /// Those of taking over.
    OfTakeOver,
}

const fn site(name: &'static str) -> Site {
    let rules = SiteRules { name, life: false };
    Site {
        rules,
        mode: 0o600,
        deletions: false,
        foreign: false,
        short_queues: true,
        hand_overs: false,
        with: None,
        for_defects: Defects::None,
    }
}

/// Deletions from outside are kept apart from foreign files: no system call unlinks a name only if it is still what it
/// was, so whoever deletes a socket and puts a file in its place between a check and the unlink has it unlinked.
///
/// They are also kept apart from git-like servers: between git's check and its unlink, which is not under
/// the lock, a deletion would let a successor in, whose socket git then removes. And queues are long there: git asks with
/// a blocking connect, which a full queue holds up, with the lock held that its server needs to end. Both are git's own.
pub(super) const SITES: [Site; 8] = [
    Site { deletions: true, for_defects: Defects::Any, ..site("the plain path") },
    Site { foreign: true, for_defects: Defects::Any, ..site("the path with foreign files") },
    Site { with: Some(Party::GitLike), short_queues: false, ..site("the path beside git") },
    Site { with: Some(Party::OtherUser), mode: 0o666, ..site("the path of two users") },
    Site { deletions: true, ..site("the long path") },
    Site { rules: SiteRules { name: "the path with a life lock", life: true }, deletions: true, ..site("") },
    Site { hand_overs: true, for_defects: Defects::OfTakeOver, ..site("the path of take-overs") },
    Site {
        rules: SiteRules { name: "the path of take-overs with a life lock", life: true },
        hand_overs: true,
        deletions: true,
        ..site("")
    },
];

impl Site {
    pub(super) fn admits(&self, party: Option<Party>, defect: Option<Defect>) -> bool {
        if let Some(defect) = defect {
            return match self.for_defects {
                Defects::None => false,
                Defects::Any => !defect.is_of_take_over(),
                Defects::OfTakeOver => defect.is_of_take_over() || defect == Defect::None,
            };
        }
        match party {
            None | Some(Party::Ours) => true,
            party => party == self.with,
        }
    }
}

/// The directories of the sites, below `dir`, and their paths.
pub(super) fn make(dir: &Path) -> io::Result<Vec<SiteJob>> {
    let long = PathBuf::from("d".repeat(100)).join("n".repeat(200));
    let names = [
        PathBuf::from("plain/s"),
        PathBuf::from("foreign/s"),
        PathBuf::from("git/s"),
        PathBuf::from("users/s"),
        long,
        PathBuf::from("life/s"),
        PathBuf::from("over/s"),
        PathBuf::from("over-life/s"),
    ];
    let mut jobs = Vec::new();
    for (index, (name, site)) in (0..).zip(names.iter().zip(&SITES)) {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir(parent)?;
            // As /tmp is: everybody may create, and only the owner may remove.
            let mode = if site.with == Some(Party::OtherUser) { 0o1777 } else { 0o755 };
            fs::set_permissions(parent, fs::Permissions::from_mode(mode))?;
        }
        jobs.push(SiteJob {
            index,
            path,
            mode: site.mode,
            life: site.rules.life,
            short_queues: site.short_queues,
            hand_overs: site.hand_overs,
        });
    }
    Ok(jobs)
}
