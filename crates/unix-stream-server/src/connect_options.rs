//! A client that says who must be at the other end.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::PeerCredentials;
use crate::connect::{CONNECT, connect_until};
use crate::error::{Error, ErrorKind, Result};
use crate::peer::peer_credentials;
use crate::sys::overflow::{self, Ids};

/// How to connect, and to whom: for directories in which others may put sockets too.
///
/// Whoever comes first has a name: in `/tmp`, another user may have bound it before the server that was meant, and
/// would be told what was for that one. So a client there should [expect](Self::expect_uid) a user.
///
/// # Whose credentials
///
/// The kernel shows the process that called `listen` last, as it was at that moment. For a server that was *handed* its
/// socket that is whoever created it, often root, until the server calls listen(2) itself. Servers that adopt sockets
/// through this crate do so; of one that does not, expect the user who handed it the socket. (`unix-ss serve
/// --activate` runs as the user it creates the socket as, and with `--run-as` calls listen(2) again as that user.)
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
/// use std::time::Duration;
/// use unix_stream_server::{ConnectOptions, ErrorKind, ServerSocket};
///
/// # let me = rustix::process::geteuid().as_raw();
/// # if me == 65534 { return Ok(()) }
/// let server = ServerSocket::create(&path)?;
/// let options = ConnectOptions::new().timeout(Duration::from_secs(5));
/// let _stream = options.clone().expect_uid(me).connect(&path)?;
/// let error = options.expect_uid(me + 1).connect(&path).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WrongPeer);
/// assert_eq!(error.peer().map(|peer| peer.uid), Some(me));
/// # server.close()?; Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until `connect`"]
pub struct ConnectOptions {
    timeout: Option<Duration>,
    uids: Vec<u32>,
}

impl ConnectOptions {
    /// Waits for as long as it takes, and takes any server.
    pub fn new() -> Self {
        ConnectOptions::default()
    }

    /// How long to wait while the backlog is full; zero: only if it can be done at once. Default: as long as it takes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The server must be of this user, or of another that was expected too. Root is no exception: expect 0 if root may
    /// be the server, as for sockets that a service manager hands out.
    pub fn expect_uid(mut self, uid: u32) -> Self {
        self.uids.push(uid);
        self
    }

    /// Connects, and checks who answered before a byte is sent.
    ///
    /// # Errors
    ///
    /// Those of [`connect_timeout`](crate::connect_timeout), and [`WrongPeer`](ErrorKind::WrongPeer) (`EPERM`) if the
    /// server is of none of the users expected; [`Error::peer`] says who it is. That is also the answer where the kernel
    /// does not know the server, or shows the overflow id for it, which is shown for every user without a number in our
    /// user namespace.
    ///
    /// # Race condition
    ///
    /// None: the credentials are of the very connection, noted when it was made. Who has handed out the socket since, or
    /// taken the path, does not change them. The wrong server has seen a connection, and our credentials, but no data.
    pub fn connect(&self, path: impl AsRef<Path>) -> Result<UnixStream> {
        let path = path.as_ref();
        // A time beyond the clock's end is for ever.
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let stream = connect_until(path, deadline)?;
        if self.uids.is_empty() {
            return Ok(stream);
        }
        let peer = peer_credentials(&stream).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            Error::system(CONNECT, path, "getsockopt(SO_PEERCRED)", errno)
        })?;
        match peer {
            Some(peer) if self.uids.contains(&peer.uid) && overflow::is_known(Ids::Users, peer.uid) => Ok(stream),
            peer => Err(self.wrong(path, peer)),
        }
    }

    fn wrong(&self, path: &Path, peer: Option<PeerCredentials>) -> Error {
        let expected = self.uids.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
        let who = match peer {
            Some(peer) if self.uids.contains(&peer.uid) => {
                format!("is of uid {}, which stands for every user who has no number in this user namespace", peer.uid)
            }
            Some(peer) => format!("is {peer}"),
            None => "is not known to the kernel".to_owned(),
        };
        let why = format!(
            "the server {who}, and not of uid {expected} as expected; nothing was sent. Find out who has put it there"
        );
        Error::new(ErrorKind::WrongPeer, CONNECT, path, Errno::PERM, why).with_peer(peer)
    }
}
