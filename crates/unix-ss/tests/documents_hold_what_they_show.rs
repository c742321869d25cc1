//! The shell examples of the chapters and of the migration page, run: each `sh` block in a directory of its own, and what
//! it prints must be the `text` block that follows it.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::eventually;
use rustix::process::{Pid, Signal, kill_process_group};

/// A fenced block: what stands behind the fence, its text, and where it begins.
struct Block {
    info: String,
    text: String,
    line: usize,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some(Block { info: info.to_owned(), text: String::new(), line: index + 1 }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documents() -> Vec<PathBuf> {
    let chapters = fs::read_dir(root().join("crates/unix-stream-server/docs")).expect("the chapters");
    let mut documents: Vec<PathBuf> = chapters.map(|entry| entry.expect("an entry").path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    documents
}

/// Runs those whose fence says `info`; how many there were.
fn run_all(info: &str) -> usize {
    let mut count = 0;
    for document in documents() {
        let blocks = blocks(&fs::read_to_string(&document).expect("text"));
        for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.info == info) {
            let shown = format!("{}:{}", document.display(), block.line);
            let said = blocks.get(index + 1).filter(|next| next.info == "text");
            let said = said.unwrap_or_else(|| panic!("{shown}: what does it print? A text block is missing"));
            assert_eq!(run(&block.text, &shown), said.text, "{shown}");
            count += 1;
        }
    }
    count
}

/// What the script prints. It must end well, leave no process behind that holds the terminal, and no socket.
fn run(script: &str, shown: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    fs::create_dir(&home).expect("mkdir");
    let (out, errors) = (dir.path().join("out"), dir.path().join("errors"));
    let ours = Path::new(env!("CARGO_BIN_EXE_unix-ss")).parent().expect("a directory");
    let path = format!("{}:{}", ours.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-u", "-c", script]).current_dir(&home).env("PATH", path);
    shell.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).stdin(Stdio::null());
    // Files: a pipe would stay open as long as anything that was started.
    shell.stdout(File::create(&out).expect("a file")).stderr(File::create(&errors).expect("a file"));
    let mut child = shell.process_group(0).spawn().expect("sh");
    let group = Pid::from_child(&child);
    let mut status = None;
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(shown, || {
            status = child.try_wait().expect("a child");
            status.is_some()
        });
    }));
    if !status.is_some_and(|status| status.success()) {
        let _ = kill_process_group(group, Signal::KILL); // what a failed script has left
    }
    if ended.is_err() {
        let _ = child.wait();
    }
    let errors = fs::read_to_string(errors).unwrap_or_default();
    assert!(status.is_some_and(|status| status.success()), "{shown}: {status:?}\n{errors}");
    for entry in fs::read_dir(&home).expect("home").map(|entry| entry.expect("an entry")) {
        assert!(!entry.file_type().expect("a type").is_socket(), "{shown} left {}", entry.path().display());
    }
    fs::read_to_string(out).expect("text")
}

#[test]
fn the_shell_examples_print_what_is_said() {
    assert!(run_all("sh") >= 4);
}

#[test]
#[ignore = "needs python3"]
fn those_with_python_do_too() {
    assert!(run_all("sh needs-python3") >= 2);
}

/// A unit's first line is its name, as a comment.
#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_has_nothing_to_say_of_the_units() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut units = Vec::new();
    for document in documents() {
        for block in blocks(&fs::read_to_string(&document).expect("text")).iter().filter(|block| block.info == "ini") {
            let name = block.text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a name");
            // Programs that are there.
            let text = block.text.replace("/usr/bin/greeterd", "/bin/sh").replace("/usr/bin/unix-ss", "/bin/sh");
            units.push(dir.path().join(name));
            fs::write(&units[units.len() - 1], text).expect("a file");
        }
    }
    assert!(units.len() >= 3);
    let mut analyze = Command::new("systemd-analyze");
    let output = common::run(analyze.args(["verify", "--man=no"]).args(&units).stdin(Stdio::null()));
    let said = common::text(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
}

/// A block with a fence that no test knows would be run by nobody.
#[test]
fn every_block_is_one_that_is_tested_or_says_why_not() {
    // Rust by rustdoc; C by the C library's tests; `before` is shown only.
    let known = ["", "standalone_crate", "rust", "rust,no_run", "c", "c before", "sh", "sh before"];
    let known = [&known[..], &["sh needs-python3", "text", "ini"]].concat();
    for document in documents().into_iter().chain([root().join("README.md")]) {
        for block in blocks(&fs::read_to_string(&document).expect("text")) {
            // A crate that we do not depend on.
            let foreign = block.info == "rust,ignore" && block.text.starts_with("use interprocess::");
            let at = format!("{}:{}", document.display(), block.line);
            assert!(foreign || known.contains(&&*block.info), "{at}: ```{}", block.info);
        }
    }
}
