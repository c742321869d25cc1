//! For axum 0.8: [`axum::serve()`] over a server socket, which ends without losing a client. Feature `axum0_8`.
//!
//! ```no_run
//! # async fn terminated() {}
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, extract::ConnectInfo, routing::get};
//! use unix_stream_server::{ServerSocket, axum0_8};
//!
//! async fn hello(ConnectInfo(client): ConnectInfo<axum0_8::Client>) -> String {
//!     match client.credentials {
//!         Some(credentials) => format!("hello, {credentials}\n"),
//!         None => "hello, whoever you are\n".to_owned(),
//!     }
//! }
//!
//! let app = Router::new().route("/", get(hello)).into_make_service_with_connect_info::<axum0_8::Client>();
//! let server = ServerSocket::create("/run/user/1000/api")?.into_tokio()?;
//! let (listener, handed_out) = axum0_8::listener(server.clients_until(terminated()));
//! axum::serve(listener, app).with_graceful_shutdown(handed_out).await?;
//! # Ok(()) }
//! ```
//!
//! # Race condition
//!
//! axum stops accepting the moment its shutdown signal is ready, and drops the listener: who is queued then is reset. It
//! also closes each connection whose first bytes it has not read by then, though its client has been let in (see
//! [`SilentClients`]). So here the
//! *clients* get the signal (`clients_until`), and axum's shutdown signal is what [`listener`] gives beside the listener:
//! ready once the path is gone, the last queued client has been handed out, and each client has begun its request.
//!
//! A client that has connected and says nothing is waited for, but not for ever: see [`Listener::silence`].
//!
//! # Hazard
//!
//! A client that has begun its request and stalls inside it, or does not read its answer, is waited for *without* a limit:
//! axum's graceful shutdown has none. Where clients are not trusted, limit requests in the app (tower-http's timeouts), and
//! the end as a whole: `tokio::time::timeout` around the served future, counted from the signal. Who is served then is cut
//! off.
//!
//! # What else there is
//!
//! A life lock ([`LockScope::Lifetime`](crate::LockScope::Lifetime)) is held until the last connection has been served.
//!
//! What HTTP leaves open stays so: an idle kept-alive connection is closed at the end, and if a client sends its next
//! request at that very moment it has to send it again on a new connection.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::unix::SocketAddr;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::tokio1::{Clients, Connection, SilentClients};
use crate::{PeerCredentials, peer_credentials};

/// How long a silent client is waited for.
const SILENCE: Duration = Duration::from_secs(5);

/// A listener for [`axum::serve()`], and the future for its `with_graceful_shutdown`. Only with both nobody is lost.
///
/// Dropping the listener early ends the server as dropping the [`Clients`] does; then the future is ready.
pub fn listener(clients: Clients) -> (Listener, impl Future<Output = ()> + Send + 'static) {
    let (handed_out, last) = oneshot::channel();
    let silent = SilentClients::new();
    let address = clients.server().and_then(|server| server.get_ref().local_addr().ok()).map(SocketAddr::from);
    let listener = Listener {
        clients,
        address,
        silent: silent.clone(),
        silence: SILENCE,
        handed_out: Some(handed_out),
        report: Box::new(|_| {}),
    };
    let all_served = async move {
        // An error is a listener that was dropped: it hands out nobody any more.
        if let Ok(silence) = last.await {
            let _ = timeout(silence, silent.all_have_begun()).await;
        }
    };
    (listener, all_served)
}

/// The clients of a server as [`axum::serve()`] wants them: from [`listener`].
pub struct Listener {
    clients: Clients,
    address: Option<SocketAddr>,
    silent: SilentClients,
    silence: Duration,
    /// Told when the last client has been handed out: how long to wait for the silent ones.
    handed_out: Option<oneshot::Sender<Duration>>,
    report: Box<dyn FnMut(&io::Error) + Send>,
}

impl Listener {
    /// How long, once the server ends, a client that has connected may take to begin its request before it is closed
    /// unanswered. Default: 5 seconds.
    #[must_use]
    pub fn silence(mut self, longest: Duration) -> Self {
        self.silence = longest;
        self
    }

    /// What is to be told of errors, for a log: [`axum::serve()`] has no place for them. A failed accept (`EMFILE`) loses
    /// nobody and is tried again; the last error may be that the path could not be removed.
    #[must_use]
    pub fn on_error(mut self, report: impl FnMut(&io::Error) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// The clients that it hands out.
    #[must_use = "it only looks"]
    pub fn clients(&self) -> &Clients {
        &self.clients
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.clients.next().await {
                Some(Ok(client)) => match client.peer_addr() {
                    Ok(address) => return (self.silent.watch(client).keeping(self.clients.life()), address),
                    Err(error) => (self.report)(&error), // it has gone already
                },
                Some(Err(error)) => (self.report)(&error),
                None => break,
            }
        }
        if let Some(handed_out) = self.handed_out.take() {
            if let Some(Err(error)) = self.clients.status() {
                (self.report)(&io::Error::other(error.to_string()));
            }
            let _ = handed_out.send(self.silence); // nobody listens: then nobody waits
        }
        // Until axum hears of it.
        pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address.clone().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// Who a client is, for axum's `ConnectInfo` extractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// As of its `connect`; `None` where the kernel does not say. Nobody in particular must not pass for somebody.
    pub credentials: Option<PeerCredentials>,
}

impl Connected<IncomingStream<'_, Listener>> for Client {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Client { credentials: peer_credentials(stream.io()).ok().flatten() }
    }
}
