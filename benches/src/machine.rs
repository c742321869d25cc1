//! What it ran on: figures without that say nothing.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::Result;

/// A sentence: kernel, processor, how many of them.
pub(crate) fn describe() -> String {
    let system = rustix::system::uname();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    format!(
        "{} {} on {}, {cpus} CPUs{}",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy(),
        model.map(|model| format!(" ({model})")).unwrap_or_default(),
    )
}

/// Raises the soft limit of descriptors to the hard one, and says what that is: for sections that need thousands.
pub(crate) fn raise_descriptor_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// By the magic numbers of statfs(2).
pub(crate) fn file_system(dir: &Path) -> Result<String> {
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a magic number; widths differ")]
    let magic = rustix::fs::statfs(dir)?.f_type as u32;
    Ok(match magic {
        0x0000_ef53 => "ext4".to_owned(), // and ext2 and ext3, which hardly anybody has
        0x0102_1994 => "tmpfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0xf2f5_2010 => "f2fs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        magic => format!("a file system of type {magic:#x}"),
    })
}
