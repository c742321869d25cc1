//! Linux, and Android, through rustix: what a file is, is held by a descriptor of it (`O_PATH`), and `/proc` leads back.

pub(crate) mod bound;
pub(crate) mod diag;
mod memory;
pub(crate) mod overflow;
mod paths;
pub(crate) mod peercred;
pub(crate) mod pidfd;
pub(crate) mod queue;
mod sockets;
pub(crate) mod spawn;

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{self as sysfs, AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;
use rustix::net::{self, Shutdown, SocketAddrUnix, SocketType};
use rustix::thread::clock_nanosleep_relative;
use rustix::time::{ClockId, Timespec};

use super::calls::{jitter, uninterrupted};
use super::rename::rename_by_link;
use super::{FileId, FlockHolder, Reach, Stat, Sys};
use crate::PeerCredentials;

pub(crate) use memory::wipe_on_fork;
pub(crate) use paths::{
    NAME_BEHIND_DESCRIPTOR_MAX, directory, duplicate, entry_type, handle, long_address, open_below, open_directory,
    open_directory_at, pin_following, proc_path, way_around,
};
pub(crate) use sockets::{SEND_QUIETLY, abstract_address, accept, family, is_listening, new_socket};

/// An open descriptor; `O_PATH` makes one of any file.
pub(crate) type Handle = OwnedFd;

/// A lock file of ours: sticky, and no right but the owner's read. Set atomically with creation.
pub(crate) const MARK: u32 = 0o1400;
/// `sizeof sun_path` less the NUL that other programs expect there (unix(7)).
pub(crate) const ADDRESS_MAX: usize = 107;
/// `PATH_MAX` less the NUL.
pub(crate) const PATH_MAX: usize = 4095;
/// What is longer than an address is bound and reached through a descriptor.
pub(crate) const LONGEST_PATH: usize = PATH_MAX;
/// Names with which the bound name of a socket that leads through somebody's descriptor begins.
pub(crate) const FOREIGN_NAMES: &str = "/proc";
/// A full backlog says EAGAIN, a dead socket ECONNREFUSED.
pub(crate) const BUSY_LOOKS_DEAD: bool = false;
/// Whoever owns a file can set its sticky bit.
pub(crate) const STICKY_NEEDS_ROOT: bool = false;
/// The server that a client is told of is who called listen() last.
pub(crate) const PEER_HAS_LISTENED: bool = true;
/// Where root's daemons have their runtime directories.
pub(crate) const RUNTIME_BASE: &str = "/run";

/// How often a long list of locks is read before what it does not show is taken for absent.
const LOCK_LIST_READS: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Sys for System {
    type Fd = OwnedFd;

    fn create_lock(&self, dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        uninterrupted(|| sysfs::openat(dir, name, flags, Mode::from_raw_mode(MARK)))
    }

    fn open_lock(&self, dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
        // NONBLOCK: a fifo would hang us. NOCTTY: a terminal would become ours.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        uninterrupted(|| sysfs::openat(dir, name, flags, Mode::empty()))
    }

    fn flock(&self, file: &OwnedFd) -> Result<(), Errno> {
        uninterrupted(|| sysfs::flock(file, FlockOperation::NonBlockingLockExclusive))
    }

    fn stat(&self, file: &OwnedFd) -> Result<Stat, Errno> {
        sysfs::fstat(file).map(|stat| Stat::from(&stat))
    }

    fn stat_at(&self, dir: &OwnedFd, name: &CStr) -> Result<Stat, Errno> {
        sysfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stat::from(&stat))
    }

    fn stat_path(&self, path: &CStr) -> Result<Stat, Errno> {
        sysfs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stat::from(&stat))
    }

    fn unlink(&self, dir: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        sysfs::unlinkat(dir, name, AtFlags::empty())
    }

    fn rename(&self, dir: &OwnedFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
        match sysfs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
            // No such flag: NFS, ZFS before 2.2, some FUSE. Before Linux 3.15 no such call.
            Err(Errno::INVAL | Errno::NOSYS) => rename_by_link(dir.as_fd(), from, to),
            result => result,
        }
    }

    fn exchange(&self, dir: &OwnedFd, one: &CStr, other: &CStr) -> Result<(), Errno> {
        sysfs::renameat_with(dir, one, dir, other, RenameFlags::EXCHANGE)
    }

    fn rename_over(&self, dir: &OwnedFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
        sysfs::renameat(dir, from, dir, to)
    }

    fn pin(&self, dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        uninterrupted(|| sysfs::openat(dir, name, flags, Mode::empty()))
    }

    fn chmod(&self, pin: &OwnedFd, mode: u32) -> Result<(), Errno> {
        sysfs::chmod(proc_path(pin.as_fd(), None)?, Mode::from_raw_mode(mode))
    }

    fn chown(&self, pin: &OwnedFd, owner: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        sysfs::chownat(pin, c"", owner, group, AtFlags::EMPTY_PATH)
    }

    fn reach(&self, file: &OwnedFd) -> Result<Reach, Errno> {
        let magic = file_system_magic(file)?;
        Ok(if LOCAL_FILE_SYSTEMS.contains(&magic) {
            Reach::Local
        } else if SHARED_WITH_LOCKS.contains(&magic) {
            Reach::SharedWithLocks
        } else {
            Reach::Unknown
        })
    }

    fn socket(&self) -> Result<OwnedFd, Errno> {
        new_socket(SocketType::STREAM, true)
    }

    fn fchmod(&self, file: &OwnedFd, mode: u32) -> Result<(), Errno> {
        sysfs::fchmod(file, Mode::from_raw_mode(mode))
    }

    fn bind(&self, socket: &OwnedFd, dir: &OwnedFd, name: &CStr, path: Option<&CStr>) -> Result<(), Errno> {
        let address = match path {
            Some(path) => SocketAddrUnix::new(path)?,
            None => SocketAddrUnix::new(proc_path(dir.as_fd(), Some(name))?)?,
        };
        net::bind(socket, &address)
    }

    fn listen(&self, socket: &OwnedFd, backlog: i32) -> Result<(), Errno> {
        net::listen(socket, backlog)
    }

    fn shut(&self, socket: &OwnedFd) -> Result<(), Errno> {
        net::shutdown(socket, Shutdown::Read)
    }

    fn connect(&self, pin: &OwnedFd) -> Result<OwnedFd, Errno> {
        self.connect_path(&proc_path(pin.as_fd(), None)?)
    }

    fn connect_path(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        let address = SocketAddrUnix::new(path)?;
        // Never a blocking connect: on a full backlog it sleeps for ever.
        let socket = new_socket(SocketType::STREAM, false)?;
        uninterrupted(|| net::connect(&socket, &address))?;
        Ok(socket)
    }

    fn peer(&self, socket: &OwnedFd) -> Option<PeerCredentials> {
        peercred::peer_credentials(socket.as_fd()).ok().flatten()
    }

    fn euid(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn flock_holder(&self, file: FileId) -> FlockHolder {
        // What is longer than a page comes in pieces, between which the list may shift and an entry fall through.
        const PAGE: usize = 4096;
        for _ in 0..LOCK_LIST_READS {
            let Ok(list) = read_locks() else { return FlockHolder::Unknown };
            match find_flock(&list, file) {
                FlockHolder::Nobody if list.len() >= PAGE => {}
                FlockHolder::Nobody => break,
                holder => return holder,
            }
        }
        if lists_all_locks(file.dev) { FlockHolder::Nobody } else { FlockHolder::Unknown }
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pause(&self, most: Duration) {
        let pause = Timespec::try_from(jitter(most));
        // Whatever is left after a signal is left: our caller looks at the clock, and a storm of signals, each of which
        // would have a little more to be slept, could hold us for ever.
        let _ = pause.map(|pause| clock_nanosleep_relative(ClockId::Monotonic, &pause));
    }
}

/// The number of this process that no other will ever have, where the kernel gives such (pidfs, since Linux 6.9).
pub(crate) fn own_pidfd_id() -> Option<u64> {
    const PIDFS: u32 = 0x5049_4446; // PID_FS_MAGIC of linux/magic.h
    let pidfd = pidfd::pidfd_open(rustix::process::getpid()).ok()?;
    let file_system = file_system_magic(&pidfd).ok()?;
    // Before that, all of them were one file.
    (file_system == PIDFS).then(|| sysfs::fstat(&pidfd).ok()).flatten().map(|stat| stat.st_ino)
}

fn file_system_magic(file: &OwnedFd) -> Result<u32, Errno> {
    Ok(uninterrupted(|| sysfs::fstatfs(file))?.f_type as u32)
}

/// File systems on which every listener lives in this kernel (magic numbers: statfs(2)).
///
/// Not among them, because a live socket of another kernel refuses like a dead one: NFS, SMB, 9p, virtiofs, FUSE,
/// Ceph, AFS, and anything unknown. overlayfs is: its sockets are of this kernel, as long as nobody binds through one
/// layer and looks through another (documented as a limit).
const LOCAL_FILE_SYSTEMS: [u32; 16] = [
    0x0000_ef53, // ext2, ext3, ext4
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
    0x794c_7630, // overlayfs
    0x3153_464a, // jfs
    0x5265_4973, // reiserfs
    0x0000_3434, // nilfs2
    0x2405_1905, // ubifs
    0x0000_72b6, // jffs2
    0xe0f5_e1e2, // erofs
    0x7371_7368, // squashfs
];

/// File systems whose flocks other hosts see: NFSv3 (as byte-range locks, since Linux 2.6.12; not with the mount option
/// `local_lock`), Ceph, GFS2, OCFS2. On NFSv4 no lock of ours can be had (flock(2)), and so nothing is concluded from one. Not SMB,
/// which shares flocks since Linux 5.5 alone; nor FUSE, 9p and virtiofs, which keep them in each kernel unless told.
const SHARED_WITH_LOCKS: [u32; 4] = [
    0x0000_6969, // NFS
    0x00c3_6400, // Ceph
    0x0116_1970, // GFS2
    0x7461_636f, // OCFS2
];

/// In reads as long as the kernel gives pieces. std begins with a few bytes, between which and the rest the list may shift
/// however short it is.
fn read_locks() -> std::io::Result<String> {
    use std::io::Read;
    let (mut file, mut list, mut piece) = (fs::File::open("/proc/locks")?, Vec::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(String::from_utf8_lossy(&list).into_owned()),
            Ok(read) => list.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A line reads `1: FLOCK  ADVISORY  WRITE 708 08:02:9175105 0 EOF`; waiters have a `->` (proc_locks(5)).
fn find_flock(list: &str, file: FileId) -> FlockHolder {
    let (major, minor) = (sysfs::major(file.dev), sysfs::minor(file.dev));
    for line in list.lines() {
        let mut words = line.split_whitespace().skip(1);
        if words.next() != Some("FLOCK") {
            continue;
        }
        let (Some(pid), Some(place)) = (words.nth(2), words.next()) else { continue };
        let mut parts = place.split(':');
        let mut hex = || parts.next().and_then(|part| u32::from_str_radix(part, 16).ok());
        if hex() != Some(major) || hex() != Some(minor) {
            continue;
        }
        if parts.next().and_then(|inode| inode.parse().ok()) == Some(file.ino) {
            return match pid.parse() {
                Ok(pid) => FlockHolder::Process(pid),
                Err(_) => FlockHolder::Unknown,
            };
        }
    }
    FlockHolder::Nobody
}

/// Does silence in `/proc/locks` mean something? It leaves out what is held from outside our pid namespace, and it names
/// devices as the kernel does inside, which stat(2) does not where a file system makes numbers up: overlayfs, btrfs.
fn lists_all_locks(dev: u64) -> bool {
    /// `PROC_PID_INIT_INO`: the inode of the initial pid namespace (linux/proc_ns.h).
    const INITIAL: u64 = 0xefff_fffc;
    let is_initial = sysfs::stat("/proc/self/ns/pid").is_ok_and(|namespace| namespace.st_ino == INITIAL);
    is_initial && is_kernels_own(dev)
}

/// Is a device number of stat(2) the one that the kernel uses inside, as it tells of in its lists?
pub(crate) fn is_kernels_own(dev: u64) -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| is_mounted(&mounts, dev))
}

/// Is there a file system that goes by this number inside the kernel? A line reads `36 35 98:0 /mnt1 /mnt2 rw ...`
/// (proc_pid_mountinfo(5)).
fn is_mounted(mounts: &str, dev: u64) -> bool {
    let number = format!("{}:{}", sysfs::major(dev), sysfs::minor(dev));
    mounts.lines().any(|line| line.split(' ').nth(2) == Some(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_mounted_if_the_list_of_mounts_says_so() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n24 22 0:21 / /proc rw - proc proc rw\n";
        assert!(is_mounted(mounts, sysfs::makedev(254, 0)) && is_mounted(mounts, sysfs::makedev(0, 21)));
        assert!(!is_mounted(mounts, sysfs::makedev(0, 22)) && !is_mounted("", sysfs::makedev(254, 0)));
    }

    #[test]
    fn a_flock_is_found_by_device_and_inode_in_proc_locks() {
        let list = "1: POSIX  ADVISORY  WRITE 1 08:02:77 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 708 08:02:77 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 709 08:02:78 0 EOF\n\
            junk\n";
        let file = |ino| FileId { dev: sysfs::makedev(8, 2), ino };
        assert_eq!(find_flock(list, file(77)), FlockHolder::Process(708));
        assert_eq!(find_flock(list, file(78)), FlockHolder::Nobody);
        assert_eq!(find_flock(list, file(7)), FlockHolder::Nobody);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_list_of_locks_makes_it_panic_and_the_holder_is_found_in_any_noise(
            noise in "[0-9A-Z:> \n-]{0,80}",
            pid in 1..u32::MAX,
            ino in proptest::num::u64::ANY,
        ) {
            let file = FileId { dev: sysfs::makedev(8, 2), ino };
            let _ = find_flock(&noise, file);
            let list = format!("{noise}\n9: FLOCK  ADVISORY  WRITE {pid} 08:02:{ino} 0 EOF\n");
            let found = find_flock(&list, file);
            proptest::prop_assert!(found == FlockHolder::Process(pid) || noise.contains("FLOCK"));
        }
    }
}
