//! Races and torture for servers behind Unix domain sockets.
//!
//! - [`race`]: many servers start at once by several strategies, for people to see which lose servers, files or clients.
//! - [`torture`]: many processes do everything at random and write a history, which a checker judges.
//!
//! Both start the workers as this very program again, in a hidden mode: a program that uses this crate calls
//! [`worker`] when its first argument is [`WORKER`].

mod by_hand;
mod checker;
mod clock;
mod history;
mod process;
pub mod race;
mod recipe;
mod server;
pub mod torture;

use std::ffi::OsString;

pub use checker::{Rule, Violation};
pub use process::WORKER;
pub use recipe::{Defect, Strategy};

/// Becomes a worker; the exit status. `arguments`: those after [`WORKER`].
pub fn worker(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.peek().is_some_and(|mode| mode == "linger") {
        return torture::linger();
    }
    match process::begin(arguments) {
        Some((mode, job)) if mode == "torture" => torture::work(&job),
        Some((mode, job)) if mode == "race" => race::work(&job),
        _ => 2,
    }
}
