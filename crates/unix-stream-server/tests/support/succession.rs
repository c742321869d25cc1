//! Servers that are replaced by one another, their clients, and those who look on.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libc::{EADDRINUSE, ENOTSOCK};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::SocketType;
use unix_stream_server::{Builder, ErrorKind, LockScope, ServerSocket};

use super::PATIENCE;
use super::dir::{chmod, put_file};
use super::sockets::{bound, hung_up, next_client, stranger};
use super::wait::{Worker, until};

/// What a client that is not scheduled for a while may need between finding a socket and being in its queue.
pub const GRACE: Duration = Duration::from_secs(2);

/// A server that may be replaced.
pub fn replaceable() -> Builder {
    ServerSocket::builder().replaceable(true)
}

/// One that replaces, and may be replaced.
pub fn successor() -> Builder {
    replaceable().take_over(true)
}

/// The same, with a life lock.
pub fn heir() -> Builder {
    successor().lock_scope(LockScope::Lifetime)
}

/// A server at work in a thread of its own: each client gets the word, until another server has the path and all have
/// been served. Gives how many there were.
#[must_use]
pub fn serve(server: ServerSocket, word: &str, grace: Duration) -> Worker<usize> {
    let word = word.to_owned();
    Worker::start(move || {
        let mut served = 0;
        for client in server.until_replaced().grace(grace) {
            served += usize::from(client.expect("accept").write_all(word.as_bytes()).is_ok());
        }
        served
    })
}

/// What the server at the path says to a client.
#[track_caller]
#[must_use]
pub fn ask(path: &Path) -> String {
    hear(unix_stream_server::connect_timeout(path, PATIENCE).expect("connect"))
}

/// What its server says to a client.
#[track_caller]
#[must_use]
pub fn hear(mut client: UnixStream) -> String {
    client.set_nonblocking(false).expect("fcntl");
    client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    let mut word = String::new();
    client.read_to_string(&mut word).expect("served, and not reset");
    word
}

/// The next client that stays, of a server that was asked and knocked at before.
#[track_caller]
#[must_use]
pub fn next_that_stays(server: &ServerSocket) -> UnixStream {
    loop {
        let client = next_client(server);
        if !hung_up(&client) {
            return client;
        }
    }
}

/// The name under which a successor binds: FNV-1a of the name, 128 bits, which never changes, since two versions may
/// meet at one path.
#[must_use]
pub fn temporary(path: &Path) -> PathBuf {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let name = path.file_name().expect("a name").as_encoded_bytes();
    let hash = name.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    path.with_file_name(format!(".{hash:032x}.new"))
}

/// What no take-over may replace, or remove from its temporary name, and what it says of each: see [`put_foreign`].
pub const NEVER_REPLACED: [(&str, ErrorKind, i32); 8] = [
    ("a file", ErrorKind::NotASocket, ENOTSOCK),
    ("a directory", ErrorKind::NotASocket, ENOTSOCK),
    ("a fifo", ErrorKind::NotASocket, ENOTSOCK),
    ("a link to a replaceable server at s", ErrorKind::NotASocket, ENOTSOCK),
    ("a link to nothing", ErrorKind::NotASocket, ENOTSOCK),
    ("a live server", ErrorKind::InUse, EADDRINUSE),
    ("a server of ours that does not yield, moved there", ErrorKind::InUse, EADDRINUSE),
    ("a live datagram socket", ErrorKind::InUse, EADDRINUSE),
];

/// Puts one of [`NEVER_REPLACED`] there, with the sticky bit where it can have one; what keeps it alive.
#[must_use]
pub fn put_foreign(what: &str, path: &Path) -> Option<OwnedFd> {
    match what {
        "a file" => put_file(path, b"precious", 0o1600),
        "a directory" => {
            fs::create_dir(path).expect("mkdir");
            chmod(path, 0o1777);
        }
        "a fifo" => mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o1600), 0).expect("mkfifo"),
        "a link to a replaceable server at s" => symlink("s", path).expect("symlink"),
        "a link to nothing" => symlink("nothing", path).expect("symlink"),
        "a live server" => return Some(stranger(path).into()),
        "a server of ours that does not yield, moved there" => {
            let other = path.with_file_name("other");
            let server = ServerSocket::create(&other).expect("create");
            fs::rename(&other, path).expect("rename");
            return Some(server.into_listener().into());
        }
        "a live datagram socket" => {
            let socket = bound(path, SocketType::DGRAM);
            chmod(path, 0o1777);
            return Some(socket);
        }
        _ => panic!("{what}?"),
    }
    None
}

/// Threads that look at a path, and connect to it, without pause.
#[derive(Debug)]
pub struct Onlookers {
    stop: Arc<AtomicBool>,
    threads: Vec<(Arc<AtomicUsize>, JoinHandle<()>)>,
}

impl Onlookers {
    /// From here on, when each has looked once, nothing may be missing, refuse, or stay silent.
    #[must_use]
    pub fn of(path: &Path) -> Onlookers {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |look: fn(&Path)| {
            let (stop, path, looks) = (stop.clone(), path.to_owned(), Arc::new(AtomicUsize::new(0)));
            let counted = looks.clone();
            let thread = std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    look(&path);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
            (looks, thread)
        };
        let stat: fn(&Path) = |path| assert!(path.symlink_metadata().is_ok(), "absent");
        let connect: fn(&Path) = |path| {
            let client = UnixStream::connect(path).expect("never absent, never refused");
            assert!(!hear(client).is_empty(), "let in, and not served");
        };
        let threads = [stat, connect, connect].map(start).into();
        let onlookers = Onlookers { stop, threads };
        onlookers.until_each_has_looked();
        onlookers
    }

    /// Waits until each has looked once more.
    #[track_caller]
    pub fn until_each_has_looked(&self) {
        for (looks, thread) in &self.threads {
            let before = looks.load(Ordering::Relaxed);
            until("somebody looks", || looks.load(Ordering::Relaxed) > before || thread.is_finished());
        }
    }

    /// Fails if one saw what may not be.
    #[track_caller]
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for (_, thread) in self.threads {
            thread.join().expect("it saw the path absent, or was turned away");
        }
    }
}
