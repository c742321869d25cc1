//! For tokio 1: the server socket, the clients and the drain as futures and streams. Feature `tokio1`.
//!
//! ```no_run
//! # async fn answer(_: tokio::net::UnixStream) {}
//! # async fn shutdown() {}
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use unix_stream_server::ServerSocket;
//!
//! let server = ServerSocket::create("/run/user/1000/greeter")?.into_tokio()?;
//! let mut clients = server.clients_until(shutdown());
//! while let Some(client) = clients.next().await {
//!     match client {
//!         Ok(client) => drop(tokio::spawn(answer(client))),
//!         Err(error) => eprintln!("{error}"), // out of descriptors, say; nobody is lost by it
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Which call do I use?
//!
//! | I want to | call |
//! |---|---|
//! | serve until I say so, and lose no client | [`ServerSocket::clients_until`] |
//! | accept in a loop of my own | [`ServerSocket::accept`], or the socket as a [`Stream`]; then [`ServerSocket::drain`] |
//! | serve HTTP by hyper until I say so | [`SilentClients`], and `examples/hyper_hello.rs`; by axum: feature `axum0_8` |
//! | be told when the path is taken from me | [`ServerSocket::stolen`]; of each change: [`Watch`] |
//! | put a new socket where a cleaner has deleted mine | [`into_inner`](ServerSocket::into_inner), [`heal`](crate::ServerSocket::heal), `into_tokio` |
//! | end at once | [`ServerSocket::close`], or drop it |
//! | be a client | [`connect()`] |
//!
//! # What blocks
//!
//! The runtime's threads are used for system calls that do not wait, as tokio's own sockets use them. `close` and
//! `drain` may have to wait for the path's lock, so they go to the pool for what blocks
//! ([`spawn_blocking`](tokio::task::spawn_blocking)). A server that is *dropped* removes its path on the spot: when the
//! drop is over the path is free. That takes microseconds, and at most 100 ms (200 with a life lock) where somebody
//! else's paused process has the lock. Whatever else may wait (`create`, `heal`, `wait_for_predecessor`) is called before
//! `into_tokio`, or in the pool.
//!
//! The runtime needs I/O and time (`enable_all`); without them tokio panics, as for its own sockets and timers.
//!
//! # Fork
//!
//! A forked child shares the reactor's epoll(7) with its parent: what it drops of tokio's is taken out of there for both,
//! so that the parent hears of no client any more. The path is safe, as ever; let the child exec or `_exit`.
//!
//! # Other runtimes
//!
//! Those that take any descriptor need no feature: a [`ServerSocket`](crate::ServerSocket) is one (`AsFd`). With smol's
//! async-io:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
//! use async_io::Async;
//! use unix_stream_server::{ServerSocket, connect};
//!
//! # async_io::block_on(async {
//! let server = Async::new(ServerSocket::create(&path)?)?;
//! # let _first = connect(&path)?;
//! let (client, _) = server.read_with(|server| server.accept()).await?; // a std stream: Async::new(client)?
//! # drop(client); let _second = connect(&path)?;
//! // At the end. It may wait for the path's lock: `blocking::unblock` it where that matters.
//! for client in server.into_inner()?.drain()? {
//!     drop(client?);
//! }
//! # assert!(!path.exists()); Ok(()) }) }
//! ```

mod clients;
mod connect;
mod drain;
mod register;
mod server;
mod silence;
mod watch;

pub use clients::Clients;
#[cfg(feature = "axum0_8")]
pub(crate) use clients::Life;
pub use connect::connect;
pub use drain::Drain;
pub use server::ServerSocket;
pub use silence::{Connection, SilentClients};
pub use watch::Watch;

#[cfg(doc)]
use futures_core::Stream;
