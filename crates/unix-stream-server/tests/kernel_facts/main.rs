//! The facts of the kernel that the protocol relies on, each as a test named by the fact.
//!
//! The library is not used here: a failure says that the ground differs, not that the building does. `PLATFORM.md` has
//! the same facts as a table. The tests run as root and as an ordinary user; the few that need root say so and pass.
#![cfg(target_os = "linux")]

mod binding;
mod connecting;
mod ending;
mod identity;
mod listeners;
mod locking;
mod peercred;
mod pins;
mod renaming;
mod sock_diag;
mod support;
#[path = "../support/unshared.rs"]
pub mod unshared;
mod watching;
