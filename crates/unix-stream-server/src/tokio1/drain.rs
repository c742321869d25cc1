//! The clients that were still queued when the server closed, as a stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::net::UnixStream;

use super::server::into_tokio;
use crate::Status;
use crate::error::{Error, Result};

/// After so many clients at once other tasks get their turn: there can be thousands, and none is waited for.
const TURN: u32 = 32;

/// The clients whose `connect` had succeeded when the server was closed: from
/// [`ServerSocket::drain`](super::ServerSocket::drain).
///
/// The path is already free for a successor and no new client gets in. Those left when this is dropped are reset.
#[must_use = "the queued clients are reset when this is dropped"]
pub struct Drain {
    inner: crate::Drain,
    handed_out: u32,
}

impl Drain {
    /// `inner` must not block: its server was made non-blocking.
    pub(super) fn new(inner: crate::Drain) -> Self {
        Drain { inner, handed_out: 0 }
    }

    /// The next client; `None` when all have been handed out.
    ///
    /// # Errors
    ///
    /// Such as `EMFILE`: the client is still queued, and the next call tries again. Pause before it, or it spins.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has lost nobody.
    pub async fn next(&mut self) -> Option<io::Result<UnixStream>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// What stood at the path just before it was removed: see [`Drain::status`](crate::Drain::status).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn status(&self) -> Result<Status, &Error> {
        self.inner.status()
    }

    /// The path that was served.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        self.inner.local_path()
    }

    pub(super) fn into_inner(self) -> crate::Drain {
        self.inner
    }
}

impl Stream for Drain {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.handed_out == TURN {
            self.handed_out = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.handed_out += 1;
        // The queue is shut, so whoever is to come is there already: nothing is waited for.
        Poll::Ready(self.inner.next().map(|client| client.and_then(into_tokio)))
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
