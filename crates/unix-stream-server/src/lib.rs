//! Put a server behind a Unix domain socket without races, thefts, stale files or lost clients.
//!
//! A Unix domain socket stays in the file system after its server is gone, so a new server cannot tell a live one from
//! cruft, and deleting it to bind again orphans whoever is alive. This crate holds `<path>.lock` while it finds out,
//! replaces only what is proven dead, tells whether the path was taken from us later, and removes it at the end.
//!
//! One path, one server. Of any number that start at once one gets it, and the others are told who. A server that is killed
//! at any point stops no later start.
//!
//! # Which call do I use?
//!
//! | I want to | call |
//! |---|---|
//! | serve at a path | [`ServerSocket::create`] |
//! | choose mode, owner, backlog, timeouts | [`ServerSocket::builder`] |
//! | know that the path is mine before I touch my state | [`Builder::claim`], then [`Claim::listen`] |
//! | know whether my path still leads to me | [`ServerSocket::status`], [`ServerSocket::was_stolen`] |
//! | be told at once when it does not any more | [`ServerSocket::watch`] |
//! | put a new socket where a cleaner has deleted mine | [`ServerSocket::heal`] |
//! | end and lose no client | [`ServerSocket::drain`] |
//! | end at once | [`ServerSocket::close`] |
//! | replace a running server by its next version, losing nobody | [`Builder::replaceable`], [`Builder::take_over`], [`ServerSocket::until_replaced`] |
//! | give the listener to a runtime | [`ServerSocket::into_parts`]; the features below |
//! | serve a socket that a service manager or parent hands in | [`from_env`], [`adopt`](adopt()) |
//! | tell a service manager that I am ready, or about to end | [`notify`] |
//! | remove a dead server's socket without serving | [`Builder::remove_dead`] |
//! | be a client | [`connect()`], [`connect_timeout`] |
//! | be a client, and start the server if nobody serves | [`connect_or_start`] |
//! | be a client of just this user's server | [`ConnectOptions`] |
//! | know who serves at a path | [`probe()`], [`inspect`] |
//! | be told when that changes | [`PathWatch`] |
//! | know who still serves at a path that leads elsewhere by now | [`lost_listeners`] |
//! | know whether this kernel alone serves sockets on a file system | [`is_local`] |
//! | know who my client is | [`peer_credentials`], [`peer_groups`], [`peer_pidfd`] |
//! | serve only some users or groups | [`PeerRules`], [`ServerSocket::accept_from`] |
//! | have a directory for my sockets that is mine alone | [`runtime_dir()`] |
//! | remove what dead servers left in a directory | [`CleanOptions`] |
//!
//! # Hazards
//!
//! Each with its test or its reason: [`docs::limitations`].
//!
//! ## Everybody must play
//!
//! Servers that unlink and bind without the lock can still steal a path; then [`ServerSocket::was_stolen`] says so, and
//! nothing of theirs is deleted.
//!
//! ## A directory that others may write
//!
//! They can put files at the lock's name, which delays a start up to its timeout. Keep sockets in a directory of your own:
//! [`runtime_dir()`].
//!
//! ## Forked children
//!
//! One that keeps the listener keeps a dead server alive in the eyes of the kernel. All descriptors here are close-on-exec.
//!
//! ## Network and shared file systems
//!
//! A live socket of another kernel refuses like a dead one, so a refusal there is an error ([`ErrorKind::CannotTell`]),
//! not death. See [`Builder::assume_local`] and [`LockScope::Lifetime`].
//!
//! ## A path over 107 bytes
//!
//! It does not fit a socket address and is bound through its directory. Tools that list sockets then show another name, and
//! systemd-tmpfiles cannot see that it is live.
//!
//! ## An overlay's layers
//!
//! A server bound through the merged directory refuses through the upper one. Use one view.
//!
//! ## Clients that say nothing
//!
//! Whoever asks whether a server lives does so by connecting. Expect clients that leave without a word.
//!
//! # What it does not do
//!
//! It changes no umask, working directory, signal handler or environment, starts no thread, and registers nothing at
//! exit. Datagram and seqpacket sockets and abstract names (`@` is a character) are not served.
//!
//! # Example
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
//! use std::io::{Read, Write};
//! use std::thread;
//! use unix_stream_server::{ErrorKind, ServerSocket, connect};
//!
//! let server = ServerSocket::create(&path)?;
//!
//! // A second one is told, and changes nothing.
//! let second = ServerSocket::create(&path).unwrap_err();
//! assert_eq!(second.kind(), ErrorKind::InUse);
//! println!("already running: {second}"); // ... in use by process 4711 (uid 1000)
//!
//! let client = thread::spawn({
//!     let path = path.clone();
//!     move || -> std::io::Result<String> {
//!         let mut answer = String::new();
//!         connect(path)?.read_to_string(&mut answer)?;
//!         Ok(answer)
//!     }
//! });
//! loop {
//!     let (mut client, _) = server.accept()?;
//!     // One that has gone already only asked whether we live, as the second server did.
//!     if client.write_all(b"hello").is_ok() {
//!         break;
//!     }
//! }
//! assert_eq!(client.join().expect("a thread")?, "hello");
//!
//! // The end: the path goes, and whoever is queued is still served.
//! for client in server.drain()? {
//!     let _ = client?.write_all(b"hello");
//! }
//! assert!(!path.exists());
//! # Ok(()) }
//! ```
//!
//! More of them, each whole and run by the tests: [`docs`], and `examples/` in the repository.
//!
//! # Features
//!
//! None is on by default, and without them the crate needs rustix and libc alone.
//!
//! | feature | gives |
//! |---|---|
//! | `tokio1` | `into_tokio`, the module `tokio1`: server, clients and drain as futures and streams |
//! | `axum0_8` | the module `axum0_8`: a listener for `axum::serve` that loses no client at the end |
//! | `mio1` | `into_mio`, the module `mio1`: the server as an event source |
//! | `tracing` | events of what it does and finds, to whoever subscribes: see below |
//!
//! Runtimes that take any descriptor (smol's async-io) need none.
//!
//! # Tracing
//!
//! With the feature `tracing` it tells what it does by events of the crate of that name. They make no system call of their
//! own, but for one reading of `/proc/locks` at the beginning of a wait, if somebody listens. Each has the field `path`.
//! Levels and targets are kept; events and fields are added.
//!
//! | level | target | event | further fields |
//! |---|---|---|---|
//! | WARN | `unix_stream_server::status` | the path was lost: once, when `status`, `was_stolen` or a `Watch` notices; cannot be told (`Watch`) | `status` |
//! | WARN | `unix_stream_server::socket` | a server ended whose path was not its own any more, or could not be removed | `how` (close, drain, drop, unpublish), `status` or `error` |
//! | INFO | `unix_stream_server::status` | a successor has the path of a replaceable server; the path is back (`Watch`) | `status` |
//! | INFO | `unix_stream_server::socket` | listening; took the path over from a live server; ended; put a new socket where ours was deleted | of an end: `how`, `status` |
//! | INFO | `unix_stream_server::socket` | removed the socket that a dead server left | `name` |
//! | INFO | `unix_stream_server::lock` | waiting for the lock | `lock`, `held_by`, `pid` where the kernel tells |
//! | INFO | `unix_stream_server::lock` | got the lock, or did not get it, after a wait | `waited_us` (microseconds), `error` |
//! | INFO | `unix_stream_server::lock` | took over the lock that a dead holder left | `lock` |
//! | DEBUG | `unix_stream_server::verdict` | looked at what stands there | `name`, `state` (as [`PathState`] is displayed) |
//! | DEBUG | `unix_stream_server::socket` | handed out the last client of the queue of a drain | |
//!
//! # Platforms
//!
//! It is tested on Linux. For Android, macOS, FreeBSD, NetBSD, OpenBSD and illumos there is code that was type-checked and
//! never ran; PLATFORM.md in the repository says which promise holds where. In short: away from Linux a path has to fit an
//! address, the life lock is the default ([`LockScope`]), only root can make a server replaceable, and
//! [`connect_or_start`] starts nothing.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)
)]

#[cfg(windows)]
compile_error!("unix-stream-server needs Unix domain sockets in the file system; Windows is not supported");
#[cfg(not(any(
    windows,
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "illumos"
)))]
compile_error!("unix-stream-server has no code for this system; PLATFORM.md tells which it has, and what a port needs");

mod activation;
mod adopted;
mod builder;
mod claim;
mod clean;
mod connect;
mod connect_options;
mod diagnosis;
#[cfg(any(doc, doctest))]
pub mod docs;
mod drain;
mod error;
mod heal;
pub mod notify;
mod ownership;
mod peer;
mod place;
mod probe;
mod process;
mod protocol;
mod queued;
mod rules;
mod runtime_dir;
mod server;
#[cfg(test)]
mod sim;
mod start;
mod start_lock;
mod state;
mod sys;
mod trace;
mod until_replaced;
mod watch;

#[cfg(feature = "axum0_8")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum0_8")))]
pub mod axum0_8;
#[cfg(feature = "mio1")]
#[cfg_attr(docsrs, doc(cfg(feature = "mio1")))]
pub mod mio1;
#[cfg(feature = "tokio1")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio1")))]
pub mod tokio1;

pub use activation::{Activation, OtherDescriptor, from_env, from_env_with_others};
pub use adopted::{AdoptError, AdoptedSocket, adopt};
pub use builder::{Builder, LockScope};
pub use claim::Claim;
pub use clean::{CleanEvent, CleanOptions, Leftover, Outcome};
pub use connect::{connect, connect_timeout};
pub use connect_options::ConnectOptions;
pub use diagnosis::{LostListener, is_local, lost_listeners};
pub use drain::Drain;
pub use error::{Error, ErrorKind, Result};
pub use heal::OldQueue;
pub use ownership::Ownership;
pub use peer::{peer_credentials, peer_groups, peer_pidfd};
pub use probe::{Inspection, LockState, inspect, probe};
pub use process::Process;
pub use queued::{QueuedClient, queued_clients};
pub use rules::{Allowed, PeerRules, Refused};
pub use runtime_dir::runtime_dir;
pub use server::{IntoPartsError, ServerSocket};
pub use start::{StartCommand, connect_or_start};
pub use start_lock::StartLock;
pub use state::{FileKind, PathState, PeerCredentials, Status};
pub use until_replaced::UntilReplaced;
pub use watch::{PathEvent, PathReport, PathWatch, Watch};

#[cfg(fuzzing)]
#[doc(hidden)]
pub use activation::fuzz as fuzz_listen_variables;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use sys::bound::fuzz as fuzz_sock_diag_of_one;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use sys::diag::fuzz as fuzz_sock_diag;
