//! `doctor`: everything wrong or risky about a path, each with its remedy. It changes nothing.
//!
//! One file an organ; each looks at the [`Patient`] and adds what it finds.

mod cleaners;
mod leftovers;
mod length;
mod listeners;
mod node;
mod patient;
mod report;
mod surroundings;
mod tmpfiles;
mod way;

use std::io::{self, Write};

use crate::message::{one_line, reason, say};
use crate::{cli, exit};
use patient::Patient;
use report::Report;

/// Prints what is found; the exit status: the highest of all paths'.
pub(crate) fn run(args: &cli::Doctor) -> u8 {
    let mut highest = exit::DONE;
    for path in &args.paths {
        let report = examine(path);
        highest = highest.max(report.exit_status());
        match io::stdout().lock().write_all(print(args, &report).as_bytes()) {
            Ok(()) => {}
            // Whoever read us has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return highest,
            Err(error) => {
                say(format_args!("cannot write standard output: {}", reason(&error)));
                return exit::FAILED;
            }
        }
    }
    highest
}

fn examine(path: &std::path::Path) -> Report {
    let mut report = Report::new(path);
    let patient = match Patient::new(path) {
        Ok(patient) => patient,
        Err(error) => {
            length::refused(&error, &mut report);
            return report;
        }
    };
    length::examine(&patient, &mut report);
    way::examine(&patient, &mut report);
    node::examine(&patient, &mut report);
    leftovers::examine(&patient, &mut report);
    listeners::examine(&patient, &mut report);
    cleaners::examine(&patient, &mut report);
    surroundings::examine(&patient, &mut report);
    report
}

fn print(args: &cli::Doctor, report: &Report) -> String {
    if args.json {
        return report.lines().map(|line| line + "\n").collect();
    }
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
