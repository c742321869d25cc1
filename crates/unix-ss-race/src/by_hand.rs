//! A server socket by a [`Recipe`], in plain system calls, right or wrong as the recipe has it.

mod lock;
mod take_over;

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use unix_stream_server::Status;

use crate::recipe::{Death, HandOver, Recipe, Removal};
use crate::server::Wish;
use lock::Lock;

/// Why there is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    InUse,
    Locked,
    NotASocket,
    Other(Errno),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Refusal::Other(errno)
    }
}

#[derive(Debug)]
pub(crate) struct ByHand {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
    id: (u64, u64),
    pub(crate) recipe: Recipe,
    timeout: Duration,
}

impl ByHand {
    pub(crate) fn create(path: &Path, recipe: Recipe, wish: Wish) -> Result<ByHand, Refusal> {
        let timeout = wish.timeout;
        if wish.takes_over && recipe.hand_over == HandOver::WithoutLock {
            if let Some((listener, id)) = take_over::without_lock(path, recipe, wish)? {
                return Ok(ByHand { listener, path: path.to_owned(), id, recipe, timeout });
            }
        }
        let lock = Lock::take(path, recipe.lock, timeout)?;
        let (listener, predecessor) = occupy(path, recipe, wish)?;
        let id = fs::symlink_metadata(path).map(|node| (node.dev(), node.ino())).unwrap_or_default();
        if recipe.leaves_a_file {
            let _ = fs::write(beside(path, ".pid"), "");
        }
        drop(lock);
        if let Some(predecessor) = predecessor.filter(|_| recipe.hand_over != HandOver::WithoutKnock) {
            take_over::knock(&predecessor);
        }
        Ok(ByHand { listener, path: path.to_owned(), id, recipe, timeout })
    }

    /// Does the name lead to this socket?
    pub(crate) fn status(&self) -> Status {
        match statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(now) if (now.st_dev, now.st_ino) == self.id => Status::Ours,
            Ok(_) => Status::Replaced,
            Err(Errno::NOENT) => Status::Gone,
            Err(errno) => Status::Unknown { errno: errno.raw_os_error() },
        }
    }

    /// Whatever is at the path goes, and a new socket of ours comes.
    pub(crate) fn bind_again(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let Ok(listener) = UnixListener::bind(&self.path) {
            let _ = listener.set_nonblocking(true);
            self.listener = listener;
            self.id = fs::symlink_metadata(&self.path).map(|node| (node.dev(), node.ino())).unwrap_or_default();
        }
    }

    /// The name goes, as the recipe has it. Gives the listener if somebody is still to be served from it.
    pub(crate) fn end(self) -> (Result<Status, Refusal>, Option<UnixListener>) {
        let ByHand { ref path, recipe, timeout, .. } = self;
        let window = recipe.window;
        match recipe.removal {
            Removal::Blind => {
                let status = self.status();
                let path = path.clone();
                drop(self.listener);
                std::thread::sleep(window);
                let _ = fs::remove_file(path);
                (Ok(status), None)
            }
            Removal::CheckedWithoutLock => {
                let status = self.status();
                std::thread::sleep(window);
                if status == Status::Ours {
                    let _ = fs::remove_file(path);
                }
                self.shut(Ok(status))
            }
            Removal::CheckedUnderLock => match Lock::take(path, recipe.lock, timeout) {
                Ok(lock) => {
                    let status = self.status();
                    if status == Status::Ours {
                        let _ = fs::remove_file(path);
                    }
                    let shut = self.shut(Ok(status));
                    drop(lock);
                    shut
                }
                Err(refusal) => self.shut(Err(refusal)),
            },
        }
    }

    fn shut(self, status: Result<Status, Refusal>) -> (Result<Status, Refusal>, Option<UnixListener>) {
        if !self.recipe.drains {
            return (status, None);
        }
        let _ = net::shutdown(&self.listener, Shutdown::Read);
        if self.recipe.wakes {
            // Those who are blocked in connect().
            let _ = net::listen(&self.listener, 0);
            let _ = net::listen(&self.listener, i32::MAX);
        }
        (status, Some(self.listener))
    }
}

/// A listener at the name, and the pin of the server that it has replaced, if there was one.
fn occupy(path: &Path, recipe: Recipe, wish: Wish) -> Result<(UnixListener, Option<OwnedFd>), Refusal> {
    let socket = socket(SocketFlags::CLOEXEC)?;
    take_over::mark(&socket, wish)?;
    let address = SocketAddrUnix::new(path)?;
    let careful = matches!(recipe.death, Death::RefusedByASocket | Death::RefusedByAnything);
    // The careless make one attempt; the careful judge anew what was put there meanwhile.
    for _ in 0..16 {
        match judge(path, &address, recipe.death) {
            Err(Refusal::InUse) if wish.takes_over => {
                let predecessor = take_over::predecessor(path, recipe)?;
                take_over::take(path, &socket, backlog(wish), recipe.window)?;
                return Ok((UnixListener::from(socket), Some(predecessor)));
            }
            verdict => verdict?,
        }
        std::thread::sleep(recipe.window);
        match net::bind(&socket, &address) {
            Ok(()) => {
                std::thread::sleep(recipe.window);
                net::listen(&socket, backlog(wish))?;
                return Ok((UnixListener::from(socket), None));
            }
            Err(Errno::ADDRINUSE) if careful => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Refusal::Other(Errno::ADDRINUSE))
}

fn backlog(wish: Wish) -> i32 {
    wish.backlog.and_then(|clients| i32::try_from(clients).ok()).unwrap_or(i32::MAX)
}

/// Frees the name, if what is there counts as dead.
fn judge(path: &Path, address: &SocketAddrUnix, death: Death) -> Result<(), Refusal> {
    let dead = match death {
        Death::Assumed => true,
        Death::AnyError => {
            if probe(address, SocketFlags::NONBLOCK).is_ok() {
                return Err(Refusal::InUse);
            }
            true
        }
        Death::AnyErrorOfABlockingProbe => {
            if probe(address, SocketFlags::empty()).is_ok() {
                return Err(Refusal::InUse);
            }
            true
        }
        Death::RefusedByASocket | Death::RefusedByAnything => {
            let kind = match fs::symlink_metadata(path) {
                Ok(node) => node.file_type(),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(errno(&error).into()),
            };
            let is_socket = std::os::unix::fs::FileTypeExt::is_socket(&kind);
            if !is_socket && death == Death::RefusedByASocket {
                return Err(Refusal::NotASocket);
            }
            match probe(address, SocketFlags::NONBLOCK) {
                Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => return Err(Refusal::InUse),
                Err(Errno::CONNREFUSED) => true,
                Err(Errno::NOENT) if is_socket => return Ok(()),
                Err(Errno::NOENT) => true, // a link that leads nowhere
                Err(errno) => return Err(errno.into()),
            }
        }
    };
    if dead {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(errno(&error).into()),
            _ => {}
        }
    }
    Ok(())
}

fn socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn probe(address: &SocketAddrUnix, flags: SocketFlags) -> Result<(), Errno> {
    net::connect(&socket(flags | SocketFlags::CLOEXEC)?, address)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// `<path><suffix>`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Everybody in the queue, until it is empty; each is given to `serve`.
pub(crate) fn accept_all(listener: &UnixListener, mut serve: impl FnMut(UnixStream)) {
    let _ = listener.set_nonblocking(true);
    while let Some(client) = accept_one(listener) {
        serve(client);
    }
}

/// The next client of a listener that does not block, if one is queued.
pub(crate) fn accept_one(listener: &impl AsFd) -> Option<UnixStream> {
    loop {
        match net::accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(client) => return Some(UnixStream::from(client)),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(_) => return None,
        }
    }
}
