//! Man pages and completions, each from the one place where what it tells is written: the command line's definition, and
//! the C header.

mod command;
mod functions;
mod header;
mod help;
mod roff;

use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};

use crate::root;

/// A page, not yet in a file.
struct Written {
    name: String,
    section: u8,
    text: String,
}

const BINARY: &str = "unix-ss";
pub(crate) const HEADER: &str = "crates/unix-ss-capi/include/unix-stream-server.h";

/// What each shell calls the file.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "completions/bash/unix-ss"),
    (Shell::Zsh, "completions/zsh/_unix-ss"),
    (Shell::Fish, "completions/fish/unix-ss.fish"),
];

/// Writes `man1/`, `man3/` and `completions/` into a directory; the date is that of SOURCE_DATE_EPOCH, or none.
pub(crate) fn write(into: &Path) -> Result<(), String> {
    let date = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => crate::date::day(seconds.parse().map_err(|_| format!("SOURCE_DATE_EPOCH is '{seconds}'"))?),
        Err(_) => String::new(),
    };
    let mut pages = command::pages(&date).map_err(|error| error.to_string())?;
    let header = fs::read_to_string(root().join(HEADER)).map_err(|error| format!("{HEADER}: {error}"))?;
    pages.extend(functions::pages(&header, &date).map_err(|error| format!("{HEADER}: {error}"))?);
    for page in pages {
        put(&into.join(format!("man{0}/{1}.{0}", page.section, page.name)), page.text.as_bytes())?;
    }
    for (shell, file) in COMPLETIONS {
        let mut script = Vec::new();
        generate(shell, &mut shown(&unix_ss_command::command()), BINARY, &mut script);
        put(&into.join(file), &script)?;
    }
    Ok(())
}

/// The functions that the header declares, in alphabetical order.
pub(crate) fn declared_functions() -> Result<Vec<String>, String> {
    let text = fs::read_to_string(root().join(HEADER)).map_err(|error| format!("{HEADER}: {error}"))?;
    let declarations = header::read(&text)?.declarations;
    let mut names: Vec<String> = declarations.into_iter().filter(|one| one.is_function).map(|one| one.name).collect();
    names.sort();
    Ok(names)
}

/// A command without what is hidden, which clap_complete would offer too.
fn shown(command: &Command) -> Command {
    // clap wants names that live as long as the program.
    let mut shown = Command::new(&*command.get_name().to_owned().leak());
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(&*version.to_owned().leak());
    }
    shown
        .args(command.get_arguments().filter(|one| !one.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|one| !one.is_hide_set()).map(self::shown))
}

fn put(file: &Path, text: &[u8]) -> Result<(), String> {
    let made = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, text));
    made.map_err(|error| format!("{}: {error}", file.display()))
}
