//! The clients of a server from its beginning to its graceful end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Sleep, sleep};

use super::server::unfinished;
use super::{Drain, ServerSocket};
use crate::Status;
use crate::error::{Error, Result};

/// After an error that is likely to come again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The clients of a server until it ends, and then those that are still queued: from
/// [`ServerSocket::clients_until`].
///
/// When `shutdown` is ready the path is removed, no new client gets in, those blocked in `connect` wake and look it up
/// again, and the queue is handed out. Then the stream ends (`None`), so nobody whose `connect` succeeded is lost.
///
/// Dropping it earlier removes the path and resets who is queued.
///
/// # Errors
///
/// An item that is an error loses nobody. After one, such as `EMFILE`, the next client is not asked for before 100 ms
/// have passed, so that a loop that only reports errors does not spin.
#[must_use = "dropping it ends the server, and resets the queued clients"]
pub struct Clients {
    state: State,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    pause: Option<Pin<Box<Sleep>>>,
    path: PathBuf,
    status: Option<Result<Status>>,
}

enum State {
    Serving(ServerSocket),
    /// In the pool for what blocks: it may wait for the path's lock.
    Ending(JoinHandle<Result<crate::Drain>>),
    Draining(Drain),
    Ended,
}

impl Clients {
    pub(super) fn new(server: ServerSocket, shutdown: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        let path = server.local_path().to_owned();
        Clients { state: State::Serving(server), shutdown, pause: None, path, status: None }
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

    /// The server socket, until it has begun to end.
    #[must_use]
    pub fn server(&self) -> Option<&ServerSocket> {
        match &self.state {
            State::Serving(server) => Some(server),
            _ => None,
        }
    }

    /// Ready when the server is to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shutdown.as_mut().poll(cx)
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn end(&mut self) {
        if let State::Serving(server) = mem::replace(&mut self.state, State::Ended) {
            let server = server.into_inner();
            self.state = State::Ending(spawn_blocking(|| server.drain()));
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
            // Before the next client, so that a flood of them does not keep the server from its end.
            if matches!(clients.state, State::Serving(_)) && clients.poll_end(cx).is_ready() {
                clients.end();
            }
            let client = match &mut clients.state {
                State::Ended => return Poll::Ready(None),
                State::Ending(ending) => match ready!(Pin::new(ending).poll(cx)) {
                    Ok(Ok(drain)) => {
                        clients.state = State::Draining(Drain::new(drain));
                        continue;
                    }
                    Ok(Err(error)) => return Poll::Ready(Some(Err(clients.not_ended(error)))),
                    Err(error) => {
                        let error = unfinished(&clients.path, error);
                        return Poll::Ready(Some(Err(clients.not_ended(error))));
                    }
                },
                State::Serving(_) | State::Draining(_) => {
                    ready!(clients.poll_pause(cx));
                    match &mut clients.state {
                        State::Serving(server) => ready!(Pin::new(server).poll_next(cx)),
                        State::Draining(drain) => ready!(Pin::new(drain).poll_next(cx)),
                        State::Ending(_) | State::Ended => None,
                    }
                }
            };
            match &client {
                Some(Ok(_)) => {}
                Some(Err(_)) => clients.pause = Some(Box::pin(sleep(PAUSE))),
                None => {
                    if let State::Draining(drain) = mem::replace(&mut clients.state, State::Ended) {
                        clients.status = Some(drain.into_status());
                    }
                }
            }
            return Poll::Ready(client);
        }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Serving(_) => "serving",
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
