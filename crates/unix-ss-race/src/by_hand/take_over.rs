//! Taking over by hand, and being replaced, right or wrong as the recipe has it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, open, stat};
use rustix::io::Errno;
use rustix::net::{self, SocketAddrUnix, SocketFlags};

use super::{ByHand, Refusal, accept_all, backlog, beside, probe, socket};
use crate::recipe::{HandOver, Recipe};
use crate::server::Wish;

/// The library's mark of servers that may be replaced.
const REPLACEABLE: u32 = 0o1000;

/// Before it is bound.
pub(super) fn mark(socket: &OwnedFd, wish: Wish) -> Result<(), Errno> {
    if wish.replaceable {
        fchmod(socket, Mode::from_raw_mode(wish.mode | REPLACEABLE))?;
    }
    Ok(())
}

/// The live server at the path, if it may be replaced: its pin.
pub(super) fn predecessor(path: &Path, recipe: Recipe) -> Result<OwnedFd, Refusal> {
    let pin = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let yields = fstat(&pin)?.st_mode & REPLACEABLE != 0 || recipe.hand_over == HandOver::FromAnybody;
    if yields { Ok(pin) } else { Err(Refusal::InUse) }
}

/// Under the lock: binds beside the path, listens, and renames over it.
pub(super) fn take(path: &Path, socket: &OwnedFd, backlog: i32, window: Duration) -> Result<(), Refusal> {
    let new = temporary(path);
    let _ = std::fs::remove_file(&new); // left by a killed one
    rename_over(path, &new, socket, backlog, window)
}

fn rename_over(path: &Path, new: &Path, socket: &OwnedFd, backlog: i32, window: Duration) -> Result<(), Refusal> {
    net::bind(socket, &SocketAddrUnix::new(new)?)?;
    net::listen(socket, backlog)?;
    std::thread::sleep(window);
    rustix::fs::renameat(CWD, new, CWD, path)?;
    Ok(())
}

/// A listener, and the device and inode of its socket's file.
type Placed = (UnixListener, (u64, u64));

/// The same without the lock, where a live server stands that may be replaced.
pub(super) fn without_lock(path: &Path, recipe: Recipe, wish: Wish) -> Result<Option<Placed>, Refusal> {
    let is_live = probe(&SocketAddrUnix::new(path)?, SocketFlags::NONBLOCK).is_ok();
    let Some(predecessor) = predecessor(path, recipe).ok().filter(|_| is_live) else { return Ok(None) };
    let socket = socket(SocketFlags::CLOEXEC)?;
    mark(&socket, wish)?;
    let new = beside(path, &format!(".{}", std::process::id()));
    net::bind(&socket, &SocketAddrUnix::new(&new)?)?;
    let node = stat(&new)?;
    net::listen(&socket, backlog(wish))?;
    std::thread::sleep(recipe.window);
    rustix::fs::renameat(CWD, &new, CWD, path)?;
    knock(&predecessor);
    Ok(Some((UnixListener::from(socket), (node.st_dev, node.st_ino))))
}

/// Wakes whoever has been replaced, should it sleep in accept().
pub(super) fn knock(predecessor: &OwnedFd) {
    let name = format!("/proc/self/fd/{}", predecessor.as_raw_fd());
    if let Ok(address) = SocketAddrUnix::new(name) {
        let _ = probe(&address, SocketFlags::NONBLOCK);
    }
}

/// The library's: the same name, so that each clears what a killed one of the other kind has left.
fn temporary(path: &Path) -> PathBuf {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
    let hash = name.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    path.with_file_name(format!(".{hash:032x}.new"))
}

impl ByHand {
    /// Its path is another's: it ends without touching the name, and loses nobody, if its recipe is careful.
    pub(crate) fn hand_over(self, grace: Duration, mut serve: impl FnMut(UnixStream)) -> io::Result<()> {
        let ByHand { ref path, recipe, .. } = self;
        match recipe.hand_over {
            HandOver::DropsQueue => {
                std::thread::sleep(recipe.window * 3);
                return Ok(()); // with whoever has come meanwhile
            }
            HandOver::RemovesName => drop(std::fs::remove_file(path)),
            _ => {}
        }
        let end = Instant::now() + if recipe.hand_over == HandOver::WithoutGrace { Duration::ZERO } else { grace };
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let time = Timespec::try_from(left).ok();
            let _ = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], time.as_ref());
            accept_all(&self.listener, &mut serve);
        }
        if let (_, Some(listener)) = self.shut(Err(Refusal::InUse)) {
            accept_all(&listener, serve);
        }
        Ok(())
    }
}
