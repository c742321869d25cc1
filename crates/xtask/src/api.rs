//! The public interface as it is, against the listings that are committed: of the library for Rust, and the C library's
//! symbols. Who changes one of them changes the listing in the same commit, and so sees it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::pages::declared_functions;
use crate::root;
use crate::run::Step;

const RUST: &str = "crates/unix-stream-server/public-api.txt";
const C: &str = "crates/unix-ss-capi/symbols.txt";

#[derive(Clone, Copy)]
pub(crate) enum Do {
    /// Fail where a listing differs.
    Check,
    /// Rewrite the listings.
    Bless,
}

/// Compares or rewrites both listings.
pub(crate) fn run(what: Do) -> Result<(), String> {
    let rust = rust()?;
    let c = c()?;
    match what {
        Do::Bless => {
            write(RUST, &rust)?;
            write(C, &c)
        }
        Do::Check => {
            let differences = [compare(RUST, &rust)?, compare(C, &c)?].concat();
            if differences.is_empty() {
                println!("the public interface is as listed: {RUST}, {C}");
                return Ok(());
            }
            Err(format!("{differences}if that is meant, 'cargo xtask api --bless' changes the listings"))
        }
    }
}

/// What the library shows with all its features, without what every type has.
fn rust() -> Result<String, String> {
    let target = target_directory()?;
    // Its own directory: the variable makes some build scripts run anew. rustdoc's JSON is not stable, hence the variable.
    Step::new("cargo doc -p unix-stream-server --all-features --lib --no-deps --locked --quiet --target-dir")
        .args(&[target.join("api").display().to_string()])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json")
        .run()?;
    let json = target.join("api/doc/unix_stream_server.json");
    // A program of its own, since what it needs is newer than the Rust with which this one is built.
    Step::new("cargo run --quiet --locked -p xtask --features list-interface --bin list-interface --")
        .args(&[json.display().to_string()])
        .output()
}

/// What the shared library exports, which is to be what the header declares.
fn c() -> Result<String, String> {
    Step::new("cargo build -p unix-ss-capi --locked --quiet").run()?;
    let library = target_directory()?.join("debug/libunix_ss.so").display().to_string();
    let exported = Step::new("nm --dynamic --defined-only --format=just-symbols").args(&[library]).output()?;
    let declared = lines(declared_functions()?);
    if exported != declared {
        return Err(format!("the header declares\n{declared}and the library exports\n{exported}"));
    }
    Ok(exported)
}

/// Where cargo builds, as the environment or a configuration has it.
fn target_directory() -> Result<PathBuf, String> {
    let metadata = Step::new("cargo metadata --format-version 1 --no-deps --locked").output()?;
    let (_, rest) = metadata.split_once("\"target_directory\":\"").ok_or("cargo metadata names no target directory")?;
    let (directory, _) = rest.split_once('"').ok_or("cargo metadata is cut off")?;
    Ok(PathBuf::from(directory))
}

fn lines(all: impl IntoIterator<Item = String>) -> String {
    all.into_iter().map(|line| line + "\n").collect()
}

fn write(file: &str, text: &str) -> Result<(), String> {
    fs::write(root().join(file), text).map_err(|error| format!("{file}: {error}"))?;
    println!("{file}: {} lines", text.lines().count());
    Ok(())
}

/// What was added and what is gone; nothing, if nothing.
fn compare(file: &str, now: &str) -> Result<String, String> {
    let listed = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
    Ok(differences(file, &listed, now))
}

fn differences(file: &str, listed: &str, now: &str) -> String {
    if listed == now {
        return String::new();
    }
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (listed.lines().collect(), now.lines().collect());
    let gone = before.difference(&after).map(|line| format!("- {line}\n"));
    let new = after.difference(&before).map(|line| format!("+ {line}\n"));
    let shown: String = gone.chain(new).collect();
    format!("{file} is not what the code says:\n{}", if shown.is_empty() { "only the order\n" } else { &shown })
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn every_difference_is_told() {
        assert_eq!(differences("f", "a\nb\n", "a\nb\n"), "");
        assert_eq!(differences("f", "a\nb\n", "b\nc\n"), "f is not what the code says:\n- a\n+ c\n");
        assert_eq!(differences("f", "a\nb\n", "b\na\n"), "f is not what the code says:\nonly the order\n");
    }
}
