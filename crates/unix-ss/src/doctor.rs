//! `doctor`: everything wrong or risky about a path, each with its remedy. It changes nothing.
//!
//! One file an organ; each looks at the [`Patient`] and adds what it finds.

mod acl;
mod cleaners;
mod held;
mod leftovers;
mod length;
mod listeners;
mod node;
mod patient;
mod report;
mod rights;
mod shell;
mod surroundings;
mod tmpfiles;
mod way;

use std::path::Path;

use crate::cli;
use crate::message::one_line;
use crate::output::print_each;
use patient::Patient;
use report::Report;

/// Prints what is found; the exit status: the highest of all paths'.
pub(crate) fn run(args: &cli::Doctor) -> u8 {
    print_each(&args.paths, |path| {
        let report = examine(path);
        let text = if args.json { report.json() } else { text(&report) };
        (text, report.exit_status())
    })
}

fn examine(path: &Path) -> Report {
    let mut report = Report::new(path);
    let patient = match Patient::new(path) {
        Ok(patient) => patient,
        Err(error) => {
            length::refused(&error, &mut report);
            return report;
        }
    };
    if path.is_relative() && std::env::current_dir().is_err() {
        let why = "the working directory is not there any more, so that a path that begins there leads nowhere";
        report.error("parent-missing", path, why, "go to a directory that is there, or give the path from the root on");
        return report;
    }
    length::examine(&patient, &mut report);
    way::examine(&patient, &mut report);
    node::examine(&patient, &mut report);
    leftovers::examine(&patient, &mut report);
    listeners::examine(&patient, &mut report);
    cleaners::examine(&patient, &mut report);
    surroundings::examine(&patient, &mut report);
    report
}

/// For people: a paragraph each, and a summary.
fn text(report: &Report) -> String {
    let mut text = String::new();
    for paragraph in report.paragraphs() {
        for line in paragraph {
            text.push_str(&one_line(&line));
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str(&one_line(&report.summary()));
    text.push('\n');
    text
}
