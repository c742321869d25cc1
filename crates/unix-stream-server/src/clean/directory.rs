//! One directory: which of its entries the dead may have left, and the protocol for each.

mod dry_run;

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::tree::World;
use super::{CLEAN, CleanEvent, CleanOptions, Each, Leftover, Outcome, found, is_young};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, Role, hash_for, hash_of_name, name_of_hash, role};
use crate::protocol::{Left, Protocol, Sweep, Swept, is_mark};
use crate::sys::diag::find_listener;
use crate::sys::{Handle, Stat, Sys, System, entry_type, is_kernels_own};
use crate::{FileKind, PathState};

pub(super) struct Directory<'a> {
    options: &'a CleanOptions,
    world: &'a World,
    place: Place<Handle>,
    shown: PathBuf,
    known_dev: bool,
}

/// Why a directory was not looked through to its end.
pub(super) enum Ended {
    /// It has been removed.
    Gone,
    Unreadable(Errno),
}

/// The names in a directory, by what they may be.
#[derive(Default)]
struct Entries {
    sockets: Vec<CString>,
    /// Of `NAME.lock` and `NAME.owner`: the file, and NAME.
    locks: Vec<(CString, CString)>,
    /// Of `NAME.start`, likewise.
    start_locks: Vec<(CString, CString)>,
    temporaries: Vec<(CString, u128)>,
    directories: Vec<CString>,
    /// All names, and those of which there are locks.
    names: HashSet<CString>,
    others: usize,
}

impl<'a> Directory<'a> {
    pub(super) fn new(options: &'a CleanOptions, world: &'a World, dir: Handle, shown: PathBuf) -> Self {
        let known_dev = System.stat(&dir).is_ok_and(|stat| is_kernels_own(stat.id.dev));
        let place = Place::within(dir, shown.clone(), c"x");
        Directory { options, world, place, shown, known_dev }
    }

    pub(super) fn dir(&self) -> &Handle {
        &self.place.dir
    }

    pub(super) fn path_of(&self, name: &CStr) -> PathBuf {
        self.shown.join(OsStr::from_bytes(name.to_bytes()))
    }

    pub(super) fn is_gone(&self) -> bool {
        System.stat(&self.place.dir).is_ok_and(|stat| stat.links == 0)
    }

    /// A name that was asked for: what stands in the way is an error.
    pub(super) fn clean_name(&mut self, name: &CStr, each: Each<'_>) -> Result<()> {
        let mut in_the_way = None;
        let stat = System.stat_at(&self.place.dir, name).ok();
        let peer = stat.and_then(|stat| find_listener(stat.id)).and_then(|listener| listener.holder());
        self.place.turn_to(name);
        self.clean_place(name, true, &mut |event| match event {
            CleanEvent::Found { what: Leftover::Socket, outcome: Outcome::Failed(error), .. } => {
                in_the_way = Some(error)
            }
            CleanEvent::Found { path, what: Leftover::Socket, outcome: Outcome::InUse } => {
                in_the_way = Some(Error::refused(CLEAN, path, PathState::Live { peer }));
            }
            event => each(event),
        });
        self.clean_start_lock(name, each);
        in_the_way.map_or(Ok(()), Err)
    }

    /// All that is in the directory; the directories in it, if those are wanted.
    pub(super) fn clean_entries(&mut self, each: Each<'_>) -> Result<Vec<CString>, Ended> {
        let entries = self.read()?;
        let count = entries.count();
        let Entries { sockets, locks, start_locks, temporaries, directories, names, others } = entries;
        each(CleanEvent::Directory { path: &self.shown, entries: count });
        (0..others + directories.len()).for_each(|_| each(CleanEvent::Looked));
        let mut done = HashSet::new();
        for name in sockets {
            self.clean_one(&name, each);
            each(CleanEvent::Looked);
            done.insert(name);
            if self.is_gone() {
                return Err(Ended::Gone);
            }
        }
        // Names too long for a lock of their own, and those with something at their temporary name, by their hashes.
        let needs_hashes = !temporaries.is_empty() || locks.iter().any(|(_, of)| hash_of_name(of).is_some());
        let mut hashes = if needs_hashes { by_hash(names) } else { HashMap::new() };
        for (file, name) in locks {
            let name = hash_of_name(&name).and_then(|hash| hashes.get(&hash)).unwrap_or(&name);
            // With the socket of that name all its locks have been seen to.
            if !done.contains(name) && self.is_left(&file, each) {
                self.clean_one(name, each);
                done.insert(name.clone());
            }
            each(CleanEvent::Looked);
        }
        for (file, name) in start_locks {
            if self.is_left(&file, each) {
                self.clean_start_lock(&name, each);
            }
            each(CleanEvent::Looked);
        }
        for (file, name) in self.with_names(temporaries, &mut hashes)? {
            if self.is_there(&file) {
                self.clean_temporary(&name, each);
            }
            each(CleanEvent::Looked);
        }
        Ok(directories)
    }

    /// Temporary names, each with the name whose lock guards it.
    ///
    /// # Race condition
    ///
    /// Of a name that is not there yet, its lock is: from before the temporary socket is bound until after it has been
    /// renamed. So where no lock is found by a reading that *began* when the temporary socket was old already, its maker
    /// is dead, and the name stands for itself.
    fn with_names(
        &mut self,
        temporaries: Vec<(CString, u128)>,
        hashes: &mut HashMap<u128, CString>,
    ) -> Result<Vec<(CString, CString)>, Ended> {
        if temporaries.iter().any(|(_, hash)| !hashes.contains_key(hash)) {
            hashes.extend(by_hash(self.read()?.names));
        }
        let name = |hash| hashes.get(&hash).cloned().unwrap_or_else(|| name_of_hash(hash));
        Ok(temporaries.into_iter().map(|(file, hash)| (file, name(hash))).collect())
    }

    fn read(&self) -> Result<Entries, Ended> {
        let unreadable = |errno| if self.is_gone() { Ended::Gone } else { Ended::Unreadable(errno) };
        let mut entries = Entries::default();
        let mut seen = HashSet::new();
        for entry in Dir::read_from(&self.place.dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            // Who adds names while we read can have some of them read twice.
            if matches!(name.to_bytes(), b"." | b"..") || !seen.insert(name.to_owned()) {
                continue;
            }
            let kind = match entry_type(&entry) {
                FileType::Unknown => System.stat_at(&self.place.dir, name).map_or(FileKind::Unknown, |stat| stat.kind),
                FileType::Socket => FileKind::Socket,
                FileType::RegularFile => FileKind::Regular,
                FileType::Directory => FileKind::Directory,
                _ => FileKind::Unknown,
            };
            entries.add(name.to_owned(), kind, self.options.recursive);
        }
        if seen.is_empty() && self.is_gone() { Err(Ended::Gone) } else { Ok(entries) }
    }

    /// One name: the socket there, and what is left beside it, but for its temporary name, which the directory tells.
    fn clean_one(&mut self, name: &CStr, each: Each<'_>) {
        self.place.turn_to(name);
        self.clean_place(name, false, each);
    }

    fn clean_temporary(&mut self, name: &CStr, each: Each<'_>) {
        self.place.turn_to(name);
        let sweep =
            Sweep { sockets: false, life: false, temporary: true, changed_before: Some(self.world.changed_before) };
        let swept = self.sweep(sweep);
        self.tell(swept, name, sweep, each);
    }

    fn clean_start_lock(&mut self, name: &CStr, each: Each<'_>) {
        self.place.turn_to(name);
        self.place.turn_to_start();
        let sweep = Sweep { sockets: false, life: false, temporary: false, changed_before: None };
        let swept = self.sweep(sweep);
        self.tell(swept, name, sweep, each);
    }

    /// A lock of ours, so far as can be seen: what cannot is told.
    fn is_left(&self, lock: &CStr, each: Each<'_>) -> bool {
        match System.stat_at(&self.place.dir, lock) {
            Ok(stat) => is_mark(&stat),
            Err(Errno::NOENT) => false,
            Err(errno) => {
                self.tell_unseen(lock, Leftover::Lock, errno, each);
                false
            }
        }
    }

    fn tell_unseen(&self, name: &CStr, what: Leftover, errno: Errno, each: Each<'_>) {
        let error = Error::system(CLEAN, self.path_of(name), "fstatat", errno);
        found(each, self.path_of(name), what, Outcome::Failed(error));
    }

    fn clean_place(&mut self, name: &CStr, temporary: bool, each: Each<'_>) {
        let stat = match System.stat_at(&self.place.dir, name) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(errno) => return self.tell_unseen(name, Leftover::Socket, errno, each),
        };
        let is_socket = stat.is_some_and(|stat| stat.kind == FileKind::Socket);
        let listed = stat.is_some_and(|stat| self.is_listed(&stat));
        if is_socket && listed {
            found(each, self.path_of(name), Leftover::Socket, Outcome::InUse);
        }
        let changed_before = Some(self.world.changed_before);
        let sweep = Sweep { sockets: is_socket && !listed, life: true, temporary, changed_before };
        let swept = self.sweep(sweep);
        self.tell(swept, name, sweep, each);
    }

    fn sweep(&self, sweep: Sweep) -> Swept {
        if self.options.dry_run {
            return self.would_sweep(sweep);
        }
        let options = &self.options.options;
        Protocol { sys: &System, place: &self.place, options, operation: CLEAN }.sweep(sweep)
    }

    fn tell(&self, Swept { removed, kept, state }: Swept, name: &CStr, sweep: Sweep, each: Each<'_>) {
        let outcome = || if self.options.dry_run { Outcome::WouldRemove } else { Outcome::Removed };
        let had_lock = removed.contains(&Left::Lock) || kept.iter().any(|(left, _)| *left == Left::Lock);
        for &left in &removed {
            let (file, what) = self.file_of(left);
            found(each, self.path_of(&file), what, outcome());
        }
        for (left, error) in kept.into_iter().filter(|(left, _)| sweep.tells_lock() || *left != Left::Lock) {
            let (file, what) = self.file_of(left);
            found(each, self.path_of(&file), what, Outcome::Failed(error));
        }
        match state {
            Ok(state) => {
                if sweep.sockets && is_young(state, removed.contains(&Left::Socket)) {
                    found(each, self.path_of(name), Leftover::Socket, Outcome::Young);
                }
            }
            // Whatever it is now, it is not what it was when the directory was read.
            Err(error) if error.kind() == ErrorKind::NotASocket => {}
            Err(_) if self.is_gone() => {}
            Err(error) => {
                let (file, what) = match sweep {
                    // Its server is told of by the socket.
                    Sweep { sockets: false, life: true, .. } if error.is_in_use() => self.file_of(Left::Life),
                    Sweep { sockets: true, .. } => (name.to_owned(), Leftover::Socket),
                    Sweep { life: false, temporary: true, .. } => (self.place.beside.clone(), Leftover::Temporary),
                    // Where the lock was had, it was the other that was not.
                    Sweep { life: true, .. } if had_lock || !self.is_there(&self.place.lock) => {
                        self.file_of(Left::Life)
                    }
                    _ => (self.place.lock.clone(), Leftover::Lock),
                };
                let outcome = if error.is_in_use() { Outcome::InUse } else { Outcome::Failed(error) };
                found(each, self.path_of(&file), what, outcome);
            }
        }
    }

    fn is_there(&self, name: &CStr) -> bool {
        !matches!(System.stat_at(&self.place.dir, name), Err(Errno::NOENT))
    }

    fn is_listed(&self, stat: &Stat) -> bool {
        self.world.bound.as_ref().is_some_and(|bound| bound.may_contain(stat.id, self.known_dev))
    }

    fn file_of(&self, left: Left) -> (CString, Leftover) {
        match left {
            Left::Socket => (self.place.name.clone(), Leftover::Socket),
            Left::Temporary => (self.place.beside.clone(), Leftover::Temporary),
            Left::Lock => (self.place.lock.clone(), Leftover::Lock),
            Left::Life => (self.place.life.clone(), Leftover::LifeLock),
        }
    }
}

/// By the hash of each name; a name itself says more than another that only stands for its hash.
fn by_hash(names: HashSet<CString>) -> HashMap<u128, CString> {
    let (hashes, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| hash_of_name(name).is_some());
    let stand_ins = hashes.into_iter().filter_map(|name| Some((hash_of_name(&name)?, name)));
    stand_ins.chain(names.into_iter().map(|name| (hash_for(&name), name))).collect()
}

impl Entries {
    fn count(&self) -> usize {
        let found = self.sockets.len() + self.locks.len() + self.start_locks.len() + self.temporaries.len();
        found + self.directories.len() + self.others
    }

    fn add(&mut self, name: CString, kind: FileKind, recursive: bool) {
        self.names.insert(name.clone());
        match (kind, role(&name)) {
            (FileKind::Socket, Role::TemporaryOf(hash)) => self.temporaries.push((name, hash)),
            (FileKind::Socket, _) => self.sockets.push(name),
            (FileKind::Regular, Role::LockOf(of)) => {
                self.names.insert(of.clone());
                self.locks.push((name, of));
            }
            (FileKind::Regular, Role::StartLockOf(of)) => self.start_locks.push((name, of)),
            (FileKind::Directory, _) if recursive => self.directories.push(name),
            _ => self.others += 1,
        }
    }
}
