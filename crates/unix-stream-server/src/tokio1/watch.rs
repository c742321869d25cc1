//! Being told the moment a path is lost, or is back.

use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::register::{errno_of, register};
use crate::Status;
use crate::error::{Error, Result};
use crate::watch::WATCH;

/// A [`Watch`](crate::Watch) in tokio's reactor: from [`into_tokio`](crate::Watch::into_tokio).
///
/// It stands for itself: the server may be elsewhere meanwhile, or have ended.
///
/// Dropping it blocks the thread for some milliseconds: see the hazards of [`Watch`](crate::Watch).
/// [`into_inner`](Self::into_inner) and [`spawn_blocking`](tokio::task::spawn_blocking) do that elsewhere.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
/// use unix_stream_server::{ServerSocket, Status};
///
/// let server = ServerSocket::create(&path)?;
/// let mut watch = server.watch()?.into_tokio()?;
/// std::fs::remove_file(&path)?;
/// assert_eq!(watch.changed().await?, Status::Gone);
/// # Ok(()) }) }
/// ```
pub struct Watch {
    io: AsyncFd<crate::Watch>,
}

impl crate::Watch {
    /// The watch as one of tokio's. Feature `tokio1`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no tokio runtime here, `ENOSPC` if the reactor cannot take it.
    ///
    /// # Panics
    ///
    /// tokio panics in a runtime without I/O: build it with `enable_io` or `enable_all`.
    pub fn into_tokio(self) -> Result<Watch> {
        let registered = register(self, WATCH, Self::local_path);
        registered.map(|io| Watch { io }).map_err(|(_, error)| error)
    }
}

impl Watch {
    /// Waits until the path's status is something else than was told last (at first: [`Status::Ours`]), and tells it.
    ///
    /// # Errors
    ///
    /// [`Forked`](crate::ErrorKind::Forked) in a forked child; [`System`](crate::ErrorKind::System) if the runtime shuts
    /// down.
    ///
    /// # Cancel safety
    ///
    /// A change is taken in the very poll that tells it, so a future that is dropped has missed nothing.
    pub async fn changed(&mut self) -> Result<Status> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    /// [`changed`](Self::changed) for those who write futures by hand.
    ///
    /// # Errors
    ///
    /// Those of [`changed`](Self::changed).
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<Status>> {
        loop {
            let checked = match ready!(self.io.poll_read_ready_mut(cx)) {
                Ok(mut ready) => {
                    let checked = ready.get_inner_mut().check();
                    // It has taken all that there was. What comes from now on makes it ready again.
                    ready.clear_ready();
                    checked
                }
                Err(error) => Err(Error::system(WATCH, self.local_path(), "epoll_wait", errno_of(&error))),
            };
            if let Some(news) = checked.transpose() {
                return Poll::Ready(news);
            }
        }
    }

    /// The path, absolute where the working directory was known.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        self.io.get_ref().local_path()
    }

    /// The watch itself.
    #[must_use]
    pub fn get_ref(&self) -> &crate::Watch {
        self.io.get_ref()
    }

    /// The watch, out of the reactor.
    #[must_use]
    pub fn into_inner(self) -> crate::Watch {
        self.io.into_inner()
    }
}

/// The changes, one after the other, for ever.
impl Stream for Watch {
    type Item = Result<Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_changed(cx).map(Some)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

/// How often a path is looked at where no watch is to be had.
const INTERVAL: Duration = Duration::from_millis(100);

/// The moments at which it is worth looking at the path of a server again.
#[derive(Debug)]
pub(super) enum Changes {
    Watched(Box<Watch>),
    /// Out of descriptors, or the path was lost before.
    Polled(Interval),
}

impl Changes {
    pub(super) fn of(server: &crate::ServerSocket) -> Self {
        match server.watch().and_then(crate::Watch::into_tokio) {
            Ok(watch) => Changes::Watched(Box::new(watch)),
            Err(_) => {
                let mut timer = interval(INTERVAL);
                timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Changes::Polled(timer)
            }
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // An error says that we are a forked child, or that the runtime ends: there is nothing to wait for.
            Changes::Watched(watch) => match ready!(watch.poll_changed(cx)) {
                Ok(_) => Poll::Ready(()),
                Err(_) => Poll::Pending,
            },
            Changes::Polled(timer) => timer.poll_tick(cx).map(drop),
        }
    }
}
