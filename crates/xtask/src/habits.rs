//! The rows of commands behind `check`, `test`, `bench` and `prove`. CONTRIBUTING.md has them too.

use std::path::Path;

use crate::run::{Step, all};

/// Format, lints and documentation, with warnings as errors.
pub(crate) fn check() -> Result<(), String> {
    let documented = |command: &str| Step::new(command).env("RUSTDOCFLAGS", "-D warnings");
    let lints = ["--".to_owned(), "-D".to_owned(), "warnings".to_owned()];
    all(&[
        Step::new("cargo fmt --all --check"),
        Step::new("cargo clippy --workspace --all-targets --locked --quiet").args(&lints),
        Step::new("cargo clippy -p unix-stream-server --all-targets --all-features --locked --quiet").args(&lints),
        documented("cargo doc --workspace --no-deps --document-private-items --locked --quiet"),
        documented(
            "cargo doc -p unix-stream-server --all-features --no-deps --document-private-items --locked --quiet",
        ),
        documented("cargo rustdoc -p unix-ss-capi --lib --locked --quiet -- --document-private-items"),
    ])
}

/// What the two commands of the README's tests run.
pub(crate) fn test(more: &[String]) -> Result<(), String> {
    all(&[
        Step::new("cargo test --workspace --locked").args(more),
        Step::new("cargo test -p unix-stream-server --all-features --test runtimes --locked").args(more),
        Step::new("cargo test -p unix-stream-server --all-features --doc --locked").args(more),
    ])
}

/// Everything side by side.
pub(crate) fn bench(more: &[String]) -> Result<(), String> {
    all(&[Step::new("cargo run --release --locked --quiet -p unix-ss-bench --").args(more)])
}

/// Every schedule, every system call, and everything at once.
pub(crate) fn prove(seconds: u32) -> Result<(), String> {
    let torture = Step::new("cargo run --release --locked --quiet -p unix-ss-race --");
    let mut dirs = vec!["--dir".to_owned(), std::env::temp_dir().display().to_string()];
    if Path::new("/dev/shm").is_dir() {
        dirs.extend(["--dir".to_owned(), "/dev/shm".to_owned()]);
    }
    all(&[
        Step::new("cargo test -p unix-stream-server --lib --locked sim"),
        Step::new("cargo test -p unix-stream-server --test steps --locked").env("UNIX_STREAM_SERVER_ALL_STEPS", "1"),
        torture.clone().args(&["--seconds".to_owned(), seconds.to_string()]).args(&dirs),
        torture.args(&["--plant".to_owned(), "all".to_owned()]),
    ])
}
