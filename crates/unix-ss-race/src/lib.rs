//! Races and torture for servers behind Unix domain sockets.
//!
//! - [`race`]: many servers start at once by several strategies, for people to see which lose servers, files or clients.
//! - [`torture`]: many processes do everything at random and write a history, which a checker judges.
//! - [`flood`]: clients connect without pause while the server is replaced; nobody may be lost.
//! - [`soak`]: long lives of servers, whose descriptors and memory are counted.
//!
//! All start the workers as this very program again, in a hidden mode: a program that uses this crate calls
//! [`worker`] when its first argument is [`WORKER`].

#[cfg(not(target_os = "linux"))]
compile_error!("the torture knows Linux alone: it reads /proc, and makes sockets by Linux's calls");

mod by_hand;
mod checker;
mod clock;
pub mod flood;
pub mod heap;
mod history;
mod process;
pub mod race;
mod recipe;
mod server;
pub mod soak;
pub mod torture;
mod waits;

use std::ffi::OsString;
use std::path::Path;

pub use checker::{Rule, Violation};
pub use heap::Counted;
pub use process::WORKER;
pub use recipe::{Defect, Pauses, Strategy};

/// Becomes a worker; the exit status. `arguments`: those after [`WORKER`].
pub fn worker(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.peek().is_some_and(|mode| mode == "linger") {
        return torture::linger();
    }
    match process::begin(arguments) {
        Some((mode, dir)) if mode == "enter" => process::enter(&dir),
        Some((mode, job)) if mode == "torture" => torture::work(&job),
        Some((mode, job)) if mode == "race" => race::work(&job),
        Some((mode, job)) if mode == "flood" => flood::work(&job),
        Some((mode, job)) if mode == "soak" => soak::work(&job),
        _ => 2,
    }
}

/// The kind of file system that a directory is on.
fn file_system(dir: &Path) -> std::io::Result<String> {
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a magic number; widths differ")]
    let magic = rustix::fs::statfs(dir)?.f_type as u32;
    Ok(match magic {
        0xef53 => "ext4".to_owned(), // and ext2 and ext3, which hardly anybody has
        0x0102_1994 => "tmpfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        magic => format!("a file system of type {magic:#x}"),
    })
}
