//! The promises under async runtimes: no client lost, no runtime blocked, nothing left behind.
//!
//! `cargo test -p unix-stream-server --all-features --test runtimes`

#[path = "../support/mod.rs"]
pub mod support;

mod axum0_8;
mod examples;
mod mio1;
mod smol;
mod tokio1;
