//! What the tests of the C library share: the library as the build left it, a C compiler, and programs to run.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// Somebody whom permission bits stop.
const NOBODY: u32 = 65_534;

/// How a program is linked with the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// To be found at run time.
    Shared,
    /// Into the program.
    Static,
    /// Not at all.
    Without,
}

/// A directory with the shared library under its run-time name, and the programs that were built.
#[derive(Debug)]
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    /// A new one, which every user can read.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bench = Bench { dir };
        open_to_all(bench.path());
        // Copied: the build's own directory may be one that other users cannot reach.
        fs::copy(library("libunix_ss.so"), bench.join("libunix_ss.so.0")).expect("the shared library was built");
        std::os::unix::fs::symlink("libunix_ss.so.0", bench.join("libunix_ss.so")).expect("symlink");
        fs::create_dir(bench.join("tmp")).expect("mkdir");
        fs::set_permissions(bench.join("tmp"), fs::Permissions::from_mode(0o777)).expect("chmod");
        bench
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A name in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Builds `tests/c/NAME.c` (several: the first gives the name) without a single warning.
    #[track_caller]
    pub fn build(&self, sources: &[&str], linkage: Linkage, flags: &[&str]) -> PathBuf {
        let program = self.join(sources[0]);
        let mut command = Command::new(compiler());
        command.args(["-std=gnu99", "-g", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror"]).args(flags);
        command.arg("-I").arg(include_dir()).arg("-o").arg(&program);
        command.args(sources.iter().map(|name| source(&format!("{name}.c"))));
        match linkage {
            Linkage::Shared => {
                command.arg("-L").arg(self.path()).arg("-lunix_ss").arg("-Wl,-rpath,$ORIGIN");
            }
            Linkage::Static => {
                command.arg(library("libunix_ss.a")).arg("-lm");
            }
            Linkage::Without => {}
        }
        let output = command.args(["-pthread", "-ldl"]).output().expect("the compiler runs");
        assert!(output.status.success(), "{command:?}\n{}", text(&output));
        program
    }

    /// Runs a program to its end, with a temporary directory in which it must leave nothing.
    pub fn run(&self, command: &mut Command) -> Output {
        command.env("TMPDIR", self.join("tmp"));
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let left: Vec<_> = fs::read_dir(self.join("tmp")).expect("tmp").flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{command:?} left {left:?} behind\n{}", text(&output));
        output
    }

    /// The same, and all its cases must pass.
    #[track_caller]
    pub fn must_pass(&self, command: &mut Command) {
        let output = self.run(command);
        let said = text(&output);
        assert!(output.status.success() && said.contains(" passed, 0 failed"), "{command:?}\n{said}");
    }
}

/// The command, as a user whom permission bits stop; `None` if we are one.
#[must_use]
pub fn as_nobody(program: &Path) -> Option<Command> {
    let mut command = Command::new(program);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    is_root().then_some(command)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Owned by the effective user (proc(5)).
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// All that a program said.
#[must_use]
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The C compiler.
#[must_use]
pub fn compiler() -> String {
    env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

/// Where the header is.
#[must_use]
pub fn include_dir() -> PathBuf {
    crate_dir().join("include")
}

/// A file of the C tests.
#[must_use]
pub fn source(name: &str) -> PathBuf {
    crate_dir().join("tests/c").join(name)
}

/// Where this crate is.
#[must_use]
pub fn crate_dir() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// A library as the build has put it beside this test program.
#[must_use]
pub fn library(name: &str) -> PathBuf {
    let path = env::current_exe().expect("a path").with_file_name(name);
    assert!(path.exists(), "{} was not built", path.display());
    path
}

fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
}
