//! What was found: for people a paragraph each, for programs an object each.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::exit;
use crate::json::{self, PathKeys};

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// It does not work, or not for long.
    Error,
    /// It works by luck, or others can harm it.
    Warning,
    /// Good to know.
    Note,
}

pub(super) struct Finding {
    severity: Severity,
    id: &'static str,
    about: PathBuf,
    why: String,
    remedy: String,
}

pub(super) struct Report {
    path: PathBuf,
    findings: Vec<Finding>,
    cannot_tell: bool,
}

/// An object of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    examined: PathKeys,
    severity: Severity,
    finding: &'static str,
    about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    about_hex: Option<String>,
    why: &'a str,
    remedy: &'a str,
}

impl Report {
    pub(super) fn new(path: &Path) -> Self {
        Report { path: path.to_owned(), findings: Vec::new(), cannot_tell: false }
    }

    pub(super) fn error(&mut self, id: &'static str, about: &Path, why: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Error, id, about, why.into(), remedy.into());
    }

    pub(super) fn warning(
        &mut self,
        id: &'static str,
        about: &Path,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Severity::Warning, id, about, why.into(), remedy.into());
    }

    pub(super) fn note(&mut self, id: &'static str, about: &Path, why: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Note, id, about, why.into(), remedy.into());
    }

    /// Of a directory that is passed twice, say, it is told once.
    pub(super) fn add(&mut self, severity: Severity, id: &'static str, about: &Path, why: String, remedy: String) {
        if self.findings.iter().any(|told| (told.id, &*told.about, &told.why) == (id, about, &why)) {
            return;
        }
        self.findings.push(Finding { severity, id, about: about.to_owned(), why, remedy });
    }

    /// What stands at the path cannot be told.
    pub(super) fn cannot_tell(&mut self) {
        self.cannot_tell = true;
    }

    pub(super) fn exit_status(&self) -> u8 {
        match self.findings.iter().map(|finding| finding.severity).min() {
            _ if self.cannot_tell => exit::CANNOT_TELL,
            Some(Severity::Error | Severity::Warning) => exit::FAILED,
            Some(Severity::Note) | None => exit::DONE,
        }
    }

    /// The worst first; of the same severity, in the order in which they were found.
    fn sorted(&self) -> Vec<&Finding> {
        let mut sorted: Vec<_> = self.findings.iter().collect();
        sorted.sort_by_key(|finding| finding.severity);
        sorted
    }

    /// For programs: a line each.
    pub(super) fn json(&self) -> String {
        let line = |finding: &Finding| {
            let PathKeys { path: about, path_hex: about_hex } = PathKeys::of(&finding.about);
            json::line(&Line {
                examined: PathKeys::of(&self.path),
                severity: finding.severity,
                finding: finding.id,
                about,
                about_hex,
                why: &finding.why,
                remedy: &finding.remedy,
            }) + "\n"
        };
        self.sorted().into_iter().map(line).collect()
    }

    /// Each a headline and two lines.
    pub(super) fn paragraphs(&self) -> impl Iterator<Item = [String; 3]> {
        self.sorted().into_iter().map(|Finding { severity, id, about, why, remedy }| {
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            [
                format!("{severity}: {id}: {}", about.display()),
                format!("  why:    {why}"),
                format!("  remedy: {remedy}"),
            ]
        })
    }

    pub(super) fn summary(&self) -> String {
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
        let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let path = self.path.display();
        if self.cannot_tell {
            return format!("{path}: what stands there could not be told");
        }
        match (errors, warnings, notes) {
            (0, 0, 0) => format!("{path}: nothing is wrong"),
            (0, 0, notes) => format!("{path}: nothing is wrong; {}", plural(notes, "note")),
            (errors, warnings, notes) => format!(
                "{path}: {}, {}, {}",
                plural(errors, "error"),
                plural(warnings, "warning"),
                plural(notes, "note")
            ),
        }
    }
}
