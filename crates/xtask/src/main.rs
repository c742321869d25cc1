//! `cargo xtask`: the habits of this project behind one word each.
//!
//! Each habit is plain commands, which it prints before it runs them; CONTRIBUTING.md has the same ones to copy.

mod api;
mod date;
mod deep;
mod habits;
mod links;
mod pages;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The habits of this project", disable_help_subcommand = true)]
enum Habit {
    /// Format, lints, documentation
    Check,
    /// The tests; arguments go to `cargo test`
    #[command(disable_help_flag = true)]
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<String>,
    },
    /// The benchmarks; arguments go to `unix-ss-bench`
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<String>,
    },
    /// Every schedule on the simulated kernel, every system call on the real one, torture, planted defects
    Prove {
        /// How long to torture
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Man pages (sections 1 and 3) and completions (bash, zsh, fish) into a directory
    Man {
        #[arg(default_value = "target/man")]
        into: PathBuf,
    },
    /// The tarball and Debian's packages into a directory
    Package {
        #[arg(default_value = "target/dist")]
        into: PathBuf,
    },
    /// Do all relative links in a directory's documents lead to something?
    Links {
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Have those that do not lead to the repository, or be none
        #[arg(long)]
        mend: bool,
    },
    /// Is the public interface what the committed listings say?
    Api {
        /// Say what differs; this is what it does without an option too
        #[arg(long)]
        check: bool,
        /// Rewrite the listings
        #[arg(long, conflicts_with = "check")]
        bless: bool,
    },
    /// What takes too long or too many tools for every commit; docs/deep-check.md says when it was last run
    Deep(deep::Deep),
}

fn main() -> ExitCode {
    let done = match Habit::parse() {
        Habit::Check => habits::check(),
        Habit::Test { more } => habits::test(&more),
        Habit::Bench { more } => habits::bench(&more),
        Habit::Prove { seconds } => habits::prove(seconds),
        Habit::Man { into } => pages::write(&into),
        Habit::Package { into } => package(&into),
        Habit::Links { dir, mend: true } => links::mend(&dir),
        Habit::Links { dir, .. } => links::check(&dir),
        Habit::Api { bless: true, .. } => api::run(api::Do::Bless),
        Habit::Api { .. } => api::run(api::Do::Check),
        Habit::Deep(deep) => deep::run(&deep),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn package(into: &Path) -> Result<(), String> {
    // Relative to where it was said, not to the project's root.
    let into = std::path::absolute(into).map_err(|error| format!("{}: {error}", into.display()))?;
    run::Step::new("packaging/build").args(&[into.display().to_string()]).run()
}

/// The project's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}
