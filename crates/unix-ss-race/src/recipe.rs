//! The ways to get and to leave a path: the strategies that are compared, and defects planted on purpose.
//!
//! Each but the library's is a recipe, a choice at each step, that [`crate::by_hand`] carries out in system calls.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checker::Rule;

/// How a server gets its path, and how it leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Unlink whatever is there, and bind.
    Naive,
    /// Connect; if that fails, however it fails, unlink and bind.
    Probe,
    /// git's order, from its description: a lock file that exists or not, any error of connect is death.
    Git,
    /// Careful, under a flock whose file is unlinked at the end; but no second look whether it is still at its name.
    FlockUnlink,
    /// The library.
    Ours,
}

impl Strategy {
    /// All, from the most careless.
    pub const ALL: [Strategy; 5] =
        [Strategy::Naive, Strategy::Probe, Strategy::Git, Strategy::FlockUnlink, Strategy::Ours];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Naive => "naive",
            Strategy::Probe => "probe",
            Strategy::Git => "git",
            Strategy::FlockUnlink => "flock-unlink",
            Strategy::Ours => "ours",
        }
    }

    /// Its steps; `None` for the library, which knows its own.
    pub(crate) fn recipe(self) -> Option<Recipe> {
        Some(match self {
            Strategy::Naive => {
                Recipe { lock: LockFile::None, death: Death::Assumed, removal: Removal::Blind, ..Recipe::CAREFUL }
            }
            Strategy::Probe => {
                Recipe { lock: LockFile::None, death: Death::AnyError, removal: Removal::Blind, ..Recipe::CAREFUL }
            }
            Strategy::Git => Recipe {
                lock: LockFile::Existence(Pauses::Short),
                death: Death::AnyErrorOfABlockingProbe,
                removal: Removal::CheckedWithoutLock,
                drains: false,
                ..Recipe::CAREFUL
            },
            Strategy::FlockUnlink => Recipe { lock: LockFile::Flock { second_look: false }, ..Recipe::CAREFUL },
            Strategy::Ours => return None,
        })
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a careful server, on purpose: for calibrating the checker, which must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defect {
    /// None: the careful recipe itself, which must be found clean.
    None,
    /// Checks that the name is its own and unlinks it, without the lock.
    CloseWithoutLock,
    /// Unlinks whatever has the name.
    CloseWithoutLook,
    /// Takes the flock for the lock, though the file may have gone from its name.
    NoSecondLook,
    /// A full backlog, too, is taken for death.
    AnyErrorIsDeath,
    /// Does not ask whether it is a socket that refuses.
    AnyKindIsDead,
    /// A child is left with the listener.
    InheritedListener,
    /// Says that it drains, and drops its queue.
    DropsItsQueue,
    /// Shuts its socket, which it keeps for a while, and does not wake those who are blocked in connect().
    ShutsWithoutWaking,
    /// Says that it has ended, and goes on for a while.
    AnswersAfterItsEnd,
    /// Robbed of its path, it binds there again, blindly.
    BindsAgain,
    /// A lock that is a file's existence, which stays when its holder is killed.
    LockByExistence,
    /// A file of its own that nobody removes.
    LeavesAFile,
    /// Replaced, it shuts at once, without a time for those who have found its socket already.
    NoGrace,
    /// Takes over without a word to the predecessor, which may sleep in accept().
    NoKnock,
    /// Takes over from any live server, marked or not.
    TakesOverFromAnybody,
    /// Renames its socket over the path without the lock.
    RenamesWithoutLock,
    /// Replaced, it unlinks what has the name, which is its successor's.
    RemovesItsSuccessor,
    /// Replaced, it drops its queue.
    DropsItsQueueWhenReplaced,
}

impl Defect {
    /// All but [`Defect::None`].
    pub const ALL: [Defect; 18] = [
        Defect::CloseWithoutLock,
        Defect::CloseWithoutLook,
        Defect::NoSecondLook,
        Defect::AnyErrorIsDeath,
        Defect::AnyKindIsDead,
        Defect::InheritedListener,
        Defect::DropsItsQueue,
        Defect::ShutsWithoutWaking,
        Defect::AnswersAfterItsEnd,
        Defect::BindsAgain,
        Defect::LockByExistence,
        Defect::LeavesAFile,
        Defect::NoGrace,
        Defect::NoKnock,
        Defect::TakesOverFromAnybody,
        Defect::RenamesWithoutLock,
        Defect::RemovesItsSuccessor,
        Defect::DropsItsQueueWhenReplaced,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Defect::None => "none",
            Defect::CloseWithoutLock => "close-without-lock",
            Defect::CloseWithoutLook => "close-without-look",
            Defect::NoSecondLook => "no-second-look",
            Defect::AnyErrorIsDeath => "any-error-is-death",
            Defect::AnyKindIsDead => "any-kind-is-dead",
            Defect::InheritedListener => "inherited-listener",
            Defect::DropsItsQueue => "drops-its-queue",
            Defect::ShutsWithoutWaking => "shuts-without-waking",
            Defect::AnswersAfterItsEnd => "answers-after-its-end",
            Defect::BindsAgain => "binds-again",
            Defect::LockByExistence => "lock-by-existence",
            Defect::LeavesAFile => "leaves-a-file",
            Defect::NoGrace => "no-grace",
            Defect::NoKnock => "no-knock",
            Defect::TakesOverFromAnybody => "takes-over-from-anybody",
            Defect::RenamesWithoutLock => "renames-without-lock",
            Defect::RemovesItsSuccessor => "removes-its-successor",
            Defect::DropsItsQueueWhenReplaced => "drops-its-queue-when-replaced",
        }
    }

    /// By what it is found out: any of these.
    #[must_use]
    pub fn shows_as(self) -> &'static [Rule] {
        const THEFT: [Rule; 4] = [Rule::TwoOwners, Rule::PathLost, Rule::ClientTurnedAway, Rule::AnswerByANonOwner];
        match self {
            Defect::None => &[],
            Defect::CloseWithoutLock
            | Defect::CloseWithoutLook
            | Defect::NoSecondLook
            | Defect::AnyErrorIsDeath
            | Defect::BindsAgain
            | Defect::TakesOverFromAnybody
            | Defect::RenamesWithoutLock
            | Defect::RemovesItsSuccessor => &THEFT,
            Defect::AnyKindIsDead => &[Rule::ForeignFileHarmed],
            Defect::InheritedListener => &[Rule::InUseByNobody, Rule::AnswerByANonOwner],
            Defect::DropsItsQueue | Defect::DropsItsQueueWhenReplaced => &[Rule::ClientLost],
            Defect::ShutsWithoutWaking => &[Rule::ClientLeftWaiting],
            Defect::NoGrace => &[Rule::ClientTurnedAway],
            Defect::NoKnock => &[Rule::NotTold],
            Defect::AnswersAfterItsEnd => &[Rule::AnswerByANonOwner],
            Defect::LockByExistence => &[Rule::SpuriousError, Rule::SpuriousCloseError, Rule::Blocked],
            Defect::LeavesAFile => &[Rule::LeftOver],
        }
    }

    /// It shows only where servers take over from each other.
    pub(crate) fn is_of_take_over(self) -> bool {
        self.recipe().hand_over != HandOver::Careful
    }

    /// A careful server with this one thing wrong. Where the defect is a race, its window is stretched by a pause, as
    /// a preempted process would: the checker is what is tested, not the scheduler's mood.
    pub(crate) fn recipe(self) -> Recipe {
        let window = Duration::from_millis(3);
        let careful = Recipe::CAREFUL;
        match self {
            Defect::None | Defect::InheritedListener | Defect::AnswersAfterItsEnd | Defect::BindsAgain => careful,
            Defect::CloseWithoutLock => Recipe { removal: Removal::CheckedWithoutLock, window, ..careful },
            Defect::CloseWithoutLook => Recipe { removal: Removal::Blind, window, ..careful },
            Defect::NoSecondLook => Recipe { lock: LockFile::Flock { second_look: false }, window, ..careful },
            Defect::AnyErrorIsDeath => Recipe { death: Death::AnyError, ..careful },
            Defect::AnyKindIsDead => Recipe { death: Death::RefusedByAnything, ..careful },
            Defect::DropsItsQueue => Recipe { drains: false, ..careful },
            Defect::ShutsWithoutWaking => Recipe { wakes: false, ..careful },
            Defect::LockByExistence => Recipe { lock: LockFile::Existence(Pauses::Short), window, ..careful },
            Defect::LeavesAFile => Recipe { leaves_a_file: true, ..careful },
            Defect::NoGrace => Recipe { hand_over: HandOver::WithoutGrace, ..careful },
            Defect::NoKnock => Recipe { hand_over: HandOver::WithoutKnock, ..careful },
            Defect::TakesOverFromAnybody => Recipe { hand_over: HandOver::FromAnybody, ..careful },
            Defect::RenamesWithoutLock => Recipe { hand_over: HandOver::WithoutLock, window, ..careful },
            Defect::RemovesItsSuccessor => Recipe { hand_over: HandOver::RemovesName, ..careful },
            Defect::DropsItsQueueWhenReplaced => Recipe { hand_over: HandOver::DropsQueue, window, ..careful },
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A choice at each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) lock: LockFile,
    pub(crate) death: Death,
    pub(crate) removal: Removal,
    /// A graceful end serves the queue.
    pub(crate) drains: bool,
    /// Shut, it wakes those who are blocked in connect().
    pub(crate) wakes: bool,
    pub(crate) leaves_a_file: bool,
    /// How it takes over, and is replaced.
    pub(crate) hand_over: HandOver,
    /// A pause where the race is.
    pub(crate) window: Duration,
}

impl Recipe {
    /// What the library does, in short: the same lock file, the same judgement, the same end.
    pub(crate) const CAREFUL: Recipe = Recipe {
        lock: LockFile::Flock { second_look: true },
        death: Death::RefusedByASocket,
        removal: Removal::CheckedUnderLock,
        drains: true,
        wakes: true,
        leaves_a_file: false,
        hand_over: HandOver::Careful,
        window: Duration::ZERO,
    };
}

/// As it should be, or with one thing wrong: see [`Defect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandOver {
    Careful,
    WithoutGrace,
    WithoutKnock,
    FromAnybody,
    WithoutLock,
    RemovesName,
    DropsQueue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockFile {
    None,
    Existence(Pauses),
    Flock { second_look: bool },
}

/// How who waits for a lock sleeps between two tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pauses {
    /// 10 to 200 µs, again and again.
    #[default]
    Short,
    /// As git does: the pause grows quadratically, from 1 ms to a second at the most, with a random quarter more or less.
    Quadratic,
}

/// When what stands at the path is taken for dead, and unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    Assumed,
    /// Whatever a non-blocking connect says, if it is not success.
    AnyError,
    /// The same of a blocking connect, which a full backlog holds up for ever.
    AnyErrorOfABlockingProbe,
    RefusedByAnything,
    RefusedByASocket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Closes, and unlinks whatever has the name by then.
    Blind,
    CheckedWithoutLock,
    CheckedUnderLock,
}
