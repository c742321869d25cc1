//! The clients that have been let in and have not begun to speak.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// How HTTP/2 begins. As long as what a client has said is a beginning of this, hyper-util does not know which version
/// it speaks, and closes the connection if it is asked to shut down.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The clients that have been let in and have not begun to speak: to be waited for before an HTTP server is told to shut
/// its connections down.
///
/// # Race condition
///
/// A client connects, the server is told to end, the client sends its request. hyper's graceful shutdown, and so that of
/// all that is built on it, closes a connection on which nothing has been read yet: that client was let in, and gets no
/// answer. So wrap each stream, and before the shutdown wait until nobody is silent. Not for ever: a client may connect
/// and say nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (client, mut other) = tokio::net::UnixStream::pair()?;
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use std::time::Duration;
/// use tokio::time::timeout;
/// use unix_stream_server::tokio1::SilentClients;
///
/// let silent = SilentClients::new();
/// let mut client = silent.watch(client); // to be served in place of the stream
/// assert!(timeout(Duration::from_millis(10), silent.all_have_begun()).await.is_err());
/// # other.write_all(b"GET /").await?; client.read(&mut [0; 5]).await?;
/// // Later, when it has spoken, or has been closed:
/// silent.all_have_begun().await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct SilentClients {
    count: Arc<watch::Sender<usize>>,
}

impl SilentClients {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a client as silent until its first bytes are read, or the connection is dropped.
    pub fn watch(&self, stream: UnixStream) -> Connection {
        self.count.send_modify(|count| *count += 1);
        Connection {
            stream,
            silent: Some(Silent { seen: 0, count: Arc::clone(&self.count) }),
            #[cfg(feature = "axum0_8")]
            _life: None,
        }
    }

    /// Waits until no client is silent: each has begun a request, or has gone.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time, as by a timeout.
    pub async fn all_have_begun(&self) {
        // The sender lives as long as we do, so there is no error.
        let _ = self.count.subscribe().wait_for(|&count| count == 0).await;
    }
}

/// A client's stream that is watched: from [`SilentClients::watch`].
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// Gone when the first bytes have been read.
    silent: Option<Silent>,
    /// The server's life lasts until its last client has been served.
    #[cfg(feature = "axum0_8")]
    _life: Option<super::Life>,
}

impl Connection {
    #[cfg(feature = "axum0_8")]
    pub(crate) fn keeping(self, life: super::Life) -> Self {
        Connection { _life: Some(life), ..self }
    }

    /// The stream itself.
    #[must_use]
    pub fn get_ref(&self) -> &UnixStream {
        &self.stream
    }
}

/// Counted until it is dropped.
#[derive(Debug)]
struct Silent {
    /// Bytes of the preface read so far.
    seen: usize,
    count: Arc<watch::Sender<usize>>,
}

impl Silent {
    /// Still silent after these bytes, or their end? Any beginning but that of the preface is a request's.
    fn is_after(&mut self, bytes: &[u8]) -> bool {
        let expected = &PREFACE[self.seen..];
        self.seen += bytes.len();
        !bytes.is_empty() && expected.len() > bytes.len() && expected.starts_with(bytes)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let new = &buffer.filled()[before..];
        if result.is_ready() && self.silent.as_mut().is_some_and(|silent| !silent.is_after(new)) {
            self.silent = None;
        }
        result
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
