//! What the library costs beside the system calls that it cannot do without, and beside git's order of calls.
//!
//! ```text
//! cargo bench -p unix-stream-server --bench create -- [--quick] [--dir DIR]...
//! ```
//!
//! Without `--dir`: the directory for temporary files and, where there is one, `/dev/shm`. `--quick` takes less than
//! 3 seconds instead of a minute. `--test`, and a run without cargo's `--bench` (which is one by `cargo test`), does
//! everything once and measures nothing worth reading.
//!
//! # Why not criterion or divan
//!
//! The quantities here are ratios. Those harnesses measure one contestant to the end and then the next, so whatever
//! happens to the machine in between (a journal commit, a clock that drops, a noisy neighbour) is counted as a
//! difference between the two. Here every round runs all contestants, in an order shuffled anew, and each is divided by
//! the reference *of its round*; what is told is the median of those ratios and their quartiles. They also time a
//! closure as a whole, while here the closing of what was created has to stay out.
//!
//! # The contestants
//!
//! | name | calls |
//! |---|---|
//! | bare | socket, bind, listen; unlink, close |
//! | limit | the same, between an `O_EXCL` lock file that is made and one that is removed: no lock file is cheaper |
//! | git's order | the 15 calls of `Raw::git_order` and `Raw::git_close` |
//! | library | `ServerSocket::create`; `close` |
//!
//! All but the library get their addresses ready made, pay for no error handling, and are what they look like: unsafe
//! against each other.

#[path = "create/contestants.rs"]
mod contestants;
#[path = "create/groups.rs"]
mod groups;
#[path = "create/harness.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use harness::{Mode, Result};

/// For all groups on all file systems together.
const FULL: Duration = Duration::from_secs(48);
const QUICK: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match arguments().and_then(|(mode, dirs)| run(mode, &dirs)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("create: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<(Mode, Vec<PathBuf>)> {
    let (mut bench, mut quick, mut test, mut dirs) = (false, false, false, Vec::new());
    let mut unknown = None;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--bench") => bench = true,
            Some("--quick") => quick = true,
            Some("--test") => test = true,
            Some("--dir") => dirs.push(PathBuf::from(arguments.next().ok_or("--dir needs a directory")?)),
            _ => unknown = unknown.or(Some(argument)),
        }
    }
    let mode = match (test, quick, bench) {
        (false, true, _) => Mode::Timed(QUICK),
        (false, false, true) => Mode::Timed(FULL),
        _ => Mode::Once,
    };
    // `cargo test --all-targets -- --nocapture` gives every target what is meant for libtest.
    if let (Some(unknown), Mode::Timed(_)) = (unknown, mode) {
        return Err(format!("what is {unknown:?}? The options are --quick, --test and --dir DIR").into());
    }
    if dirs.is_empty() {
        dirs.push(std::env::temp_dir());
        dirs.extend(Some(PathBuf::from("/dev/shm")).filter(|dir| dir.is_dir() && *dir != dirs[0]));
    }
    Ok((mode, dirs))
}

fn run(mode: Mode, dirs: &[PathBuf]) -> Result<()> {
    let system = rustix::system::uname();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let (name, release) = (system.sysname().to_string_lossy(), system.release().to_string_lossy());
    println!("{name} {release} on {}, {cpus} CPUs", system.machine().to_string_lossy());
    println!("each cell: median (lower quartile to upper quartile) over the rounds");
    let shares = u32::try_from(dirs.len() * groups::ALL.len())?;
    for dir in dirs {
        println!("\n== {}: {} ==", dir.display(), file_system(dir)?);
        for make in groups::ALL {
            let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(dir)?;
            make(scratch.path())?.measure(mode.share(shares))?.print();
        }
    }
    Ok(())
}

/// By the magic numbers of statfs(2).
fn file_system(dir: &Path) -> Result<String> {
    let magic = rustix::fs::statfs(dir)?.f_type as u32;
    let name = match magic {
        0x0000_ef53 => "ext2, ext3 or ext4",
        0x0102_1994 => "tmpfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0xf2f5_2010 => "f2fs",
        0x2fc1_2fc1 => "zfs",
        0x794c_7630 => "overlayfs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0x0000_6969 => "nfs",
        _ => return Ok(format!("file system {magic:#x}")),
    };
    Ok(format!("{name} ({magic:#x})"))
}
