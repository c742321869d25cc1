//! Which clients a server takes, by what the kernel says of who they are.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::{fmt, io};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::sys::overflow::{self, Ids};
use crate::sys::peercred;
use crate::{PeerCredentials, ServerSocket};

/// So many clients refused in a row, and a server that does not block gives its caller a turn.
const IN_A_ROW: usize = 64;

type Predicate = Arc<dyn Fn(&PeerCredentials) -> bool + Send + Sync>;

/// Which peers may be served: those that any of the rules allows. Without a rule, nobody.
///
/// The permission bits of the socket's file come first: who may not write to it does not get as far as this, and takes
/// no place in the queue. Rules are for what mode and group cannot say, and for sockets that everybody may write to.
///
/// # What is checked
///
/// What the kernel noted when the client called `connect`: its effective uid, its effective gid and its supplementary
/// groups. What becomes of that process later, or to whom it hands the connection, changes nothing. The pid is a hint,
/// and may be unknown (`None`) where the client is in another pid namespace.
///
/// **Nobody is allowed by being root**: say `.uid(0)` if root is to be let in. (Nothing keeps root out who wants in: it
/// can become any user.)
///
/// **Who is unknown is refused**, by every rule; a predicate is not even asked. That is a peer of which the kernel
/// knows nothing, and, in a user namespace that does not map every id, the *overflow* id (65534): the kernel shows it
/// for all users who have no number there, so it may be anybody.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
/// use unix_stream_server::{PeerRules, ServerSocket, connect};
///
/// # let (me, my_group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
/// # if me == 65534 { return Ok(()) }
/// let rules = PeerRules::new().uid(me).gid(50).predicate(|peer| peer.uid >= 1000 && peer.gid == 100);
/// let server = ServerSocket::builder().mode(0o666).create(&path)?;
/// let _client = connect(&path)?;
/// let (client, peer) = server.accept_from(&rules)?; // others are hung up on, unread
/// assert_eq!(peer.uid, me);
///
/// // At the end, too; and after any other accept: rules.check(&stream)
/// for client in rules.filter(server.drain()?) {
///     drop(client?);
/// }
/// # drop(client); Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "rules do nothing until a client is checked"]
pub struct PeerRules {
    uids: Vec<u32>,
    gids: Vec<u32>,
    predicates: Vec<Predicate>,
}

impl PeerRules {
    /// No rule yet, so nobody is allowed.
    pub fn new() -> Self {
        PeerRules::default()
    }

    /// Allows the peers of this effective uid.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uids.push(uid);
        self
    }

    /// Allows the peers who are in this group, be it their effective gid or a supplementary one.
    ///
    /// Supplementary groups need Linux 4.13; before it, only the effective gid is known.
    pub fn gid(mut self, gid: u32) -> Self {
        self.gids.push(gid);
        self
    }

    /// Allows the peers of whom this says `true`.
    ///
    /// It is asked before the client is handed out, in the thread that accepts: it should not wait for anything.
    pub fn predicate(mut self, allows: impl Fn(&PeerCredentials) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Arc::new(allows));
        self
    }

    /// Is the peer of this connection allowed? For servers that accept by other means: a runtime, a drain.
    ///
    /// Nothing is read from the connection, and nothing is closed: drop it if the answer is [`Refused`].
    ///
    /// # Errors
    ///
    /// [`Refused`], also where the kernel could not be asked.
    pub fn check(&self, stream: &impl AsFd) -> Result<PeerCredentials, Refused> {
        let stream = stream.as_fd();
        let unknown = |error: io::Error| Refused { peer: None, errno: error.raw_os_error() };
        let peer = match peercred::peer_credentials(stream).map_err(unknown)? {
            Some(peer) => peer,
            None => return Err(Refused { peer: None, errno: None }),
        };
        let refused = Refused { peer: Some(peer), errno: None };
        if !overflow::is_known(Ids::Users, peer.uid) {
            return Err(refused);
        }
        let allowed = self.uids.contains(&peer.uid)
            || self.allows_group(peer.gid)
            || (overflow::is_known(Ids::Groups, peer.gid) && self.predicates.iter().any(|allows| allows(&peer)))
            // The one that costs another call, last.
            || (!self.gids.is_empty()
                && peercred::peer_groups(stream).map_err(unknown)?.into_iter().any(|gid| self.allows_group(gid)));
        if allowed { Ok(peer) } else { Err(refused) }
    }

    fn allows_group(&self, gid: u32) -> bool {
        self.gids.contains(&gid) && overflow::is_known(Ids::Groups, gid)
    }

    /// Only the allowed ones of these clients; the others are closed, unread. For [`ServerSocket::incoming`] and for a
    /// [`Drain`](crate::Drain).
    ///
    /// Who wants to know whom it refused calls [`check`](Self::check) instead.
    pub fn filter<I>(&self, clients: I) -> Allowed<'_, I::IntoIter>
    where
        I: IntoIterator<Item = io::Result<UnixStream>>,
    {
        Allowed { rules: self, clients: clients.into_iter() }
    }
}

impl fmt::Debug for PeerRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRules")
            .field("uids", &self.uids)
            .field("gids", &self.gids)
            .field("predicates", &self.predicates.len())
            .finish()
    }
}

impl ServerSocket {
    /// The next client that the rules allow, and who it is. Others are closed on the way, unread.
    ///
    /// # Errors
    ///
    /// Those of accept(2), as for [`accept`](Self::accept). `Interrupted` (`EINTR`) from a server that does not block,
    /// when many clients in a row were refused: others should get their turn, and the next call goes on. A server that
    /// blocks waits on, as it would on an empty queue; the queue is first come, first served, so an allowed client gets
    /// in behind any flood of others. Either kind of server says `Interrupted` too when it has refused a client and the
    /// path does not lead to it any more: a successor's knock, which is to wake it, may come from a user whom no rule
    /// allows. So on `Interrupted` look at [`status`](Self::status), and go on.
    ///
    /// # Hazard
    ///
    /// Until they are refused, the others take places in the queue, and a full one keeps everybody waiting. Who may
    /// connect at all is for the mode of the socket's file to say.
    pub fn accept_from(&self, rules: &PeerRules) -> io::Result<(UnixStream, PeerCredentials)> {
        let mut refused = 0_usize;
        loop {
            let (client, _) = self.accept()?;
            match rules.check(&client) {
                Ok(peer) => return Ok((client, peer)),
                Err(_) => drop(client),
            }
            refused += 1;
            let in_a_row = refused % IN_A_ROW == 0 && rustix::fs::fcntl_getfl(self.as_fd())?.contains(OFlags::NONBLOCK);
            // It goes by the path and not by the hang-up: who has knocked may be about to hang up.
            if in_a_row || self.was_stolen() {
                return Err(Errno::INTR.into());
            }
        }
    }
}

/// The allowed ones of some clients: from [`PeerRules::filter`].
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for the next"]
pub struct Allowed<'a, I> {
    rules: &'a PeerRules,
    clients: I,
}

impl<I: Iterator<Item = io::Result<UnixStream>>> Iterator for Allowed<'_, I> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<Self::Item> {
        let rules = self.rules;
        // A loop inside, not a call of itself: a flood of refused clients grows no stack.
        self.clients.find(|client| client.as_ref().map_or(true, |client| rules.check(client).is_ok()))
    }
}

/// A peer that no rule allows, or of whom nothing is known: from [`PeerRules::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Who it is; `None` where the kernel does not know.
    pub peer: Option<PeerCredentials>,
    /// The raw errno, where the kernel could not be asked.
    pub errno: Option<i32>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.peer, self.errno) {
            (_, Some(errno)) => {
                let why = crate::error::describe(Errno::from_raw_os_error(errno));
                write!(f, "the kernel could not be asked who it is: {why}")
            }
            (Some(peer), _) => write!(f, "no rule allows {peer}"),
            (None, None) => f.write_str("the kernel does not know who it is"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for io::Error {
    /// `EPERM`, or the errno of the question.
    fn from(refused: Refused) -> Self {
        io::Error::from_raw_os_error(refused.errno.unwrap_or(Errno::PERM.raw_os_error()))
    }
}
