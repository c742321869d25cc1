//! The C library of [`unix_stream_server`]: the functions of `unix-stream-server.h`.
//!
//! **The header is the manual**: `include/unix-stream-server.h`. All behaviour comes from the library; here it is
//! translated: C strings to paths, errors to results and errno, a public C struct to the state behind it.
//!
//! | file | what |
//! |---|---|
//! | `exports.rs` | the functions, and the only place that trusts C's pointers |
//! | `types.rs` | the header's structs, to the byte |
//! | `cancel.rs` | thread cancellation, kept out |
//! | `memory.rs` | memory from malloc, for what C sees |
//! | `server.rs` | what stands behind a `struct unix_ss_socket` |
//! | `failure.rs` | which error is which result and errno; the text for people |

mod cancel;
pub mod exports;
mod failure;
mod memory;
mod server;
mod types;

pub use types::{ListenOpts, Peer, Socket, State};
