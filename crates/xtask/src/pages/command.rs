//! Section 1: the command and each of its subcommands, from the definition of its command line.

use std::io;

use clap::Command;
use clap_mangen::Man;

use super::Written;
use super::help::{Block, blocks, sections};
use super::roff::Page;

/// A page for the command and one for each subcommand that is not hidden.
pub(crate) fn pages(date: &str) -> io::Result<Vec<Written>> {
    let mut command = unix_ss_command::command().disable_help_subcommand(true);
    command.build();
    let mut all = vec![&command];
    all.extend(command.get_subcommands().filter(|one| !one.is_hide_set()));
    let names: Vec<String> = all.iter().map(|one| name(one)).collect();
    all.iter().map(|one| Ok(Written { name: name(one), section: 1, text: page(one, &names, date)? })).collect()
}

/// `unix-ss-serve`, as man(1) finds it for `man unix-ss serve`.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, names: &[String], date: &str) -> io::Result<String> {
    let own = name(command);
    let mut page = Page::new(&own, 1, date, "User Commands");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.section("NAME");
    page.text(&format!("{own} - {}", about.trim_end_matches('.')));
    page.section("SYNOPSIS");
    let usage = command.clone().render_usage().to_string();
    page.bold(usage.trim_start_matches("Usage:").trim());
    page.section("DESCRIPTION");
    let long = command.get_long_about().map_or(about, ToString::to_string);
    write(&mut page, &blocks(&long));

    // Options, and what their values may be, as clap_mangen sets them.
    let mut by_clap = Vec::new();
    let man = Man::new(command.clone());
    man.render_options_section(&mut by_clap)?;
    if command.get_subcommands().any(|one| !one.is_hide_set()) {
        man.render_subcommands_section(&mut by_clap)?;
    }
    page.raw(&String::from_utf8_lossy(&by_clap));

    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let after = sections(&after);
    for (title, blocks) in [("EXIT STATUS", &after.exit_status), ("NOTES", &after.notes), ("EXAMPLES", &after.examples)]
    {
        if !blocks.is_empty() {
            page.section(title);
            write(&mut page, blocks);
        }
    }
    let mut others: Vec<(String, u8)> =
        names.iter().filter(|name| **name != own).map(|name| (name.clone(), 1)).collect();
    others.push((super::functions::OVERVIEW.to_owned(), 3));
    page.see_also(&others);
    Ok(page.finish())
}

fn write(page: &mut Page, blocks: &[Block]) {
    for block in blocks {
        match block {
            Block::Prose(text) => page.paragraph(text),
            Block::Verbatim(lines) => page.verbatim(lines.iter().map(String::as_str)),
        }
    }
}
