//! The clients of a server from its beginning to its graceful end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Sleep, sleep};

use super::server::unfinished;
use super::watch::Changes;
use super::{Drain, ServerSocket};
use crate::error::{Error, Result};
use crate::until_replaced::has_hung_up;
use crate::{Status, UntilReplaced};

/// After an error that is likely to come again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The clients of a server until it ends, and then those that are still queued: from
/// [`ServerSocket::clients_until`].
///
/// When `shutdown` is ready the path is removed, no new client gets in, those blocked in `connect` wake and look it up
/// again, and the queue is handed out. Then the stream ends (`None`), so nobody whose `connect` succeeded is lost.
///
/// A server that may be replaced ([`Builder::replaceable`](crate::Builder::replaceable)) also ends when it has been, or
/// has lost its path in another way: it goes on accepting for the grace time, hands out who is queued, and ends. The path
/// is its successor's then, and is not touched. With a `shutdown` that is never ready (`std::future::pending()`) that is
/// [`until_replaced`](crate::ServerSocket::until_replaced) for tokio.
///
/// Dropping it earlier removes the path and resets who is queued. A life lock
/// ([`LockScope::Lifetime`](crate::LockScope::Lifetime)) is given back only when it is dropped: keep it until those whom
/// it has handed out are served.
///
/// # Errors
///
/// An item that is an error of accept(2) loses nobody. One of the reactor, which cannot take a client that has been
/// accepted (`ENOSPC`: the user's limit of epoll(7), `/proc/sys/fs/epoll/max_user_watches`; `ENOMEM`), has cost that
/// client its connection. After one, such as `EMFILE`, the next client is not asked for before 100 ms
/// have passed, so that a loop that only reports errors does not spin.
#[must_use = "dropping it ends the server, and resets the queued clients"]
pub struct Clients {
    state: State,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    pause: Option<Pin<Box<Sleep>>>,
    grace: Duration,
    path: PathBuf,
    status: Option<Result<Status>>,
    life: Life,
}

/// What keeps the life lock, if there is one, after the last client has been handed out: until all copies are dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(Arc<OnceLock<crate::Drain>>);

impl Life {
    fn keep(&self, drain: crate::Drain) {
        let _ = self.0.set(drain); // a server ends once
    }
}

enum State {
    Serving(ServerSocket),
    /// The same of a server that may be replaced, and so looks out for it.
    Watching(ServerSocket, Changes),
    /// Replaced; until then it goes on accepting.
    Grace(ServerSocket, Pin<Box<Sleep>>),
    /// In the pool for what blocks: it may wait for the path's lock.
    Ending(JoinHandle<Result<crate::Drain>>),
    Draining(Drain),
    Ended,
}

impl Clients {
    pub(super) fn new(server: ServerSocket, shutdown: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        let path = server.local_path().to_owned();
        let state = if server.get_ref().is_replaceable() {
            let changes = Changes::of(server.get_ref());
            State::Watching(server, changes)
        } else {
            State::Serving(server)
        };
        Clients { state, shutdown, pause: None, grace: UntilReplaced::GRACE, path, status: None, life: Life::default() }
    }

    /// How long to go on accepting after being replaced. Default: [`UntilReplaced::GRACE`].
    ///
    /// A client that looks the path up just before the successor takes it, and is then not scheduled for so long, is
    /// refused (`ECONNREFUSED`).
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// The next client; `None` when the server has ended and all have been handed out.
    ///
    /// # Errors
    ///
    /// Those of accept(2): see [`Clients`]. `EPERM` in a forked child, and `ECANCELED` if the runtime shuts down, are
    /// the end.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has lost nobody, and the next one goes on where it was.
    pub async fn next(&mut self) -> Option<io::Result<UnixStream>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// What stood at the path just before it was removed: once the clients have ended, `None` before. Anything but
    /// [`Status::Ours`] means it had been lost.
    ///
    /// # Errors
    ///
    /// The name could not be removed, or the server could not be ended at all: see
    /// [`Drain::status`](crate::Drain::status).
    #[must_use]
    pub fn status(&self) -> Option<Result<Status, &Error>> {
        self.status.as_ref().map(|status| status.as_ref().copied())
    }

    /// The path that is served.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        &self.path
    }

    /// The server socket, until it is shut.
    #[must_use]
    pub fn server(&self) -> Option<&ServerSocket> {
        match &self.state {
            State::Serving(server) | State::Watching(server, _) | State::Grace(server, _) => Some(server),
            State::Ending(_) | State::Draining(_) | State::Ended => None,
        }
    }

    #[cfg(feature = "axum0_8")]
    pub(crate) fn life(&self) -> Life {
        self.life.clone()
    }

    /// Goes on to the next state if it is time for it. Before each client, so that a flood of them does not keep the
    /// server from its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) {
        if self.server().is_some() && self.shutdown.as_mut().poll(cx).is_ready() {
            self.end();
        }
        if let State::Watching(server, changes) = &mut self.state {
            let mut is_lost = false;
            while !is_lost && changes.poll(cx).is_ready() {
                is_lost = server.status().is_stolen();
            }
            if is_lost {
                self.be_replaced();
            }
        }
        if let State::Grace(_, over) = &mut self.state {
            if over.as_mut().poll(cx).is_ready() {
                self.end();
            }
        }
    }

    /// Did this client only come to tell that we have been replaced, as a successor does?
    fn was_told_by(&mut self, client: &UnixStream) -> bool {
        if let State::Watching(server, _) = &self.state {
            if server.status().is_stolen() {
                self.be_replaced();
            }
        }
        matches!(self.state, State::Grace(..)) && has_hung_up(client)
    }

    fn be_replaced(&mut self) {
        if let State::Watching(server, _) = mem::replace(&mut self.state, State::Ended) {
            self.state = State::Grace(server, Box::pin(sleep(self.grace)));
        }
    }

    /// The next client, whichever queue it is in.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<UnixStream>>> {
        match &mut self.state {
            State::Serving(server) | State::Watching(server, _) | State::Grace(server, _) => {
                Pin::new(server).poll_next(cx)
            }
            State::Draining(drain) => Pin::new(drain).poll_next(cx),
            State::Ending(_) | State::Ended => Poll::Ready(None),
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn end(&mut self) {
        match mem::replace(&mut self.state, State::Ended) {
            State::Serving(server) | State::Watching(server, _) | State::Grace(server, _) => {
                let server = server.into_inner();
                self.state = State::Ending(spawn_blocking(|| server.drain()));
            }
            state => self.state = state,
        }
    }

    fn be_drained(&mut self) {
        if let State::Draining(drain) = mem::replace(&mut self.state, State::Ended) {
            let mut drain = drain.into_inner();
            self.status = Some(drain.take_status());
            self.life.keep(drain);
        }
    }

    fn not_ended(&mut self, error: Error) -> io::Error {
        let told = io::Error::new(io::Error::from_raw_os_error(error.raw_os_error()).kind(), error.to_string());
        self.state = State::Ended;
        self.status = Some(Err(error));
        told
    }
}

impl Stream for Clients {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let clients = &mut *self;
        loop {
            clients.poll_end(cx);
            match &mut clients.state {
                State::Ended => return Poll::Ready(None),
                State::Ending(ending) => {
                    let drained = ready!(Pin::new(ending).poll(cx));
                    match drained.unwrap_or_else(|error| Err(unfinished(&clients.path, error))) {
                        Ok(drain) => clients.state = State::Draining(Drain::new(drain)),
                        Err(error) => return Poll::Ready(Some(Err(clients.not_ended(error)))),
                    }
                }
                _ => {
                    ready!(clients.poll_pause(cx));
                    let client = ready!(clients.poll_client(cx));
                    match &client {
                        Some(Ok(client)) if clients.was_told_by(client) => continue,
                        Some(Ok(_)) => {}
                        Some(Err(_)) => clients.pause = Some(Box::pin(sleep(PAUSE))),
                        None => clients.be_drained(),
                    }
                    return Poll::Ready(client);
                }
            }
        }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Serving(_) | State::Watching(..) => "serving",
            State::Grace(..) => "replaced",
            State::Ending(_) => "ending",
            State::Draining(_) => "draining",
            State::Ended => "ended",
        };
        f.debug_struct("Clients")
            .field("path", &self.path)
            .field("state", &state)
            .field("status", &self.status)
            .finish()
    }
}
