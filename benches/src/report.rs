//! What came out: for the terminal and for docs/performance.md, which are the same text.

use std::fmt::Write;
use std::time::Duration;

use crate::harness::Target;

/// A part of docs/performance.md.
pub(crate) struct Section {
    /// A word, for `--only` and for the names of the pictures.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Markdown: what is measured, and against what.
    pub(crate) text: String,
    pub(crate) parts: Vec<Part>,
    /// Markdown: where the time goes, what was tried.
    pub(crate) notes: String,
}

pub(crate) enum Part {
    /// Times of contestants side by side. `place`: the file system, or wherever it was.
    Timed { place: String, report: Report },
    /// Anything else that was counted.
    Counted(Table),
    /// What was meant to be, what was found, and whether it is met.
    Verdict { found: String, is_met: bool },
}

/// Figures that are no times.
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// Times in nanoseconds by round and contestant.
pub(crate) struct Report {
    pub(crate) title: String,
    pub(crate) names: Vec<String>,
    pub(crate) references: Vec<String>,
    pub(crate) remarks: Vec<(String, String)>,
    pub(crate) absent: Vec<(String, String)>,
    pub(crate) targets: Vec<Target>,
    /// What the times of a contestant are meant to be under.
    pub(crate) limits: Vec<(String, Duration)>,
    pub(crate) batch: u32,
    pub(crate) rounds: Vec<Vec<f64>>,
}

/// Lower quartile, median, upper quartile.
pub(crate) type Quartiles = [f64; 3];

impl Report {
    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }

    pub(crate) fn time(&self, name: &str) -> Option<Quartiles> {
        let place = self.place(name)?;
        Some(self.quartiles(|round| round[place]))
    }

    /// The quartiles of the ratios of each round, not the ratio of quartiles: what happens to the machine in a round
    /// happens to both.
    pub(crate) fn ratio(&self, name: &str, reference: &str) -> Option<Quartiles> {
        let (place, reference) = (self.place(name)?, self.place(reference)?);
        Some(self.quartiles(|round| round[place] / round[reference]))
    }

    fn quartiles(&self, of: impl Fn(&Vec<f64>) -> f64) -> Quartiles {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
    }

    fn table(&self) -> Table {
        let mut head = vec![String::new(), "time".to_owned()];
        head.extend(self.references.iter().map(|reference| format!("/ {reference}")));
        if !self.remarks.is_empty() {
            head.push("what it does not do".to_owned());
        }
        let mut rows = Vec::new();
        for name in &self.names {
            let mut row = vec![name.clone()];
            row.extend(
                self.time(name).map(|[low, median, high]| {
                    format!("{} ({} to {})", duration(median), duration(low), duration(high))
                }),
            );
            for reference in &self.references {
                row.extend(self.ratio(name, reference).map(|[low, median, high]| match name == reference {
                    true => "1".to_owned(),
                    false => format!("{} ({} to {})", ratio(median), ratio(low), ratio(high)),
                }));
            }
            row.extend(self.remarks.iter().filter(|(of, _)| of == name).map(|(_, remark)| remark.clone()));
            rows.push(row);
        }
        rows.extend(self.absent.iter().map(|(name, why)| vec![name.clone(), format!("not measured: {why}")]));
        Table { title: format!("{} [{} rounds of {}]", self.title, self.rounds.len(), self.batch), head, rows }
    }

    fn verdicts(&self) -> Vec<String> {
        let verdict = |Target { contestant, reference, at_most }: &Target| {
            let [_, median, _] = self.ratio(contestant, reference)?;
            let met = if median <= *at_most { "met" } else { "**missed**" };
            Some(format!("{contestant} / {reference}: {}, meant to be at most {at_most}: {met}", ratio(median)))
        };
        let limit = |(contestant, limit): &(String, Duration)| {
            let [_, median, _] = self.time(contestant)?;
            let limit = limit.as_nanos() as f64;
            let met = if median < limit { "met" } else { "**missed**" };
            Some(format!("{contestant}: {}, meant to be under {}: {met}", duration(median), duration(limit)))
        };
        self.targets.iter().filter_map(verdict).chain(self.limits.iter().filter_map(limit)).collect()
    }
}

/// Two figures behind the point, or of those that are very small.
fn ratio(ratio: f64) -> String {
    if ratio < 0.0995 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

/// Three figures and a unit.
pub(crate) fn duration(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let digits = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

impl Section {
    /// As Markdown, which is also fit to be read on a terminal. `pictures`: the files that show it.
    pub(crate) fn markdown(&self, pictures: &[String]) -> String {
        let mut out = format!("## {}\n\n{}\n", self.title, self.text.trim());
        for part in &self.parts {
            let (table, verdicts) = match part {
                Part::Timed { place, report } => {
                    let mut table = report.table();
                    if !place.is_empty() {
                        table.title = format!("{place}: {}", table.title);
                    }
                    (table, report.verdicts())
                }
                Part::Counted(Table { title, head, rows }) => {
                    (Table { title: title.clone(), head: head.clone(), rows: rows.clone() }, Vec::new())
                }
                Part::Verdict { found, is_met } => {
                    let met = if *is_met { "met" } else { "**missed**" };
                    let _ = writeln!(out, "\n- {found}: {met}"); // a String takes everything
                    continue;
                }
            };
            out.push_str(&table.markdown());
            for verdict in verdicts {
                let _ = writeln!(out, "\n- {verdict}"); // a String takes everything
            }
        }
        for picture in pictures {
            let _ = writeln!(out, "\n![{}]({picture})", self.title);
        }
        if !self.notes.trim().is_empty() {
            let _ = writeln!(out, "\n{}", self.notes.trim());
        }
        out
    }
}

impl Table {
    fn markdown(&self) -> String {
        let columns = self.head.len();
        let cell = |row: &[String], column: usize| row.get(column).map_or("", String::as_str).replace('|', "\\|");
        let width = |column: usize| {
            let rows = self.rows.iter().map(|row| cell(row, column).chars().count());
            rows.chain([self.head[column].chars().count(), 3]).max().unwrap_or(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &[String]| {
            let cells = (0..columns).map(|column| format!("{:<width$}", cell(row, column), width = widths[column]));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = format!("| {} |\n", widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join(" | "));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("\n**{}**\n\n{}{rule}{rows}", self.title, line(&self.head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let rounds =
            vec![vec![100.0, 150.0], vec![200.0, 220.0], vec![100.0, 160.0], vec![400.0, 480.0], vec![10.0, 15.0]];
        Report {
            title: "create".to_owned(),
            names: vec!["limit".to_owned(), "library".to_owned()],
            references: vec!["limit".to_owned()],
            remarks: Vec::new(),
            absent: vec![("s6".to_owned(), "not installed".to_owned())],
            targets: vec![Target { contestant: "library".to_owned(), reference: "limit".to_owned(), at_most: 1.25 }],
            limits: vec![("library".to_owned(), Duration::from_nanos(160))],
            batch: 16,
            rounds,
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        // 1.5, 1.1, 1.6, 1.2, 1.5; the ratio of the medians would be 1.6.
        assert_eq!(report().ratio("library", "limit"), Some([1.2, 1.5, 1.5]));
    }

    #[test]
    fn a_missed_target_and_an_absent_contestant_are_told() {
        let parts = vec![Part::Timed { place: "tmpfs".to_owned(), report: report() }];
        let section = Section { id: "create", title: "Create", text: String::new(), parts, notes: String::new() };
        let text = section.markdown(&["create.svg".to_owned()]);
        assert!(text.contains("library / limit: 1.50, meant to be at most 1.25: **missed**"), "{text}");
        assert!(text.contains("library: 160 ns, meant to be under 160 ns: **missed**"), "{text}");
        assert!(text.contains("| s6 ") && text.contains("not measured: not installed"), "{text}");
        assert!(text.contains("**tmpfs: create [5 rounds of 16]**") && text.contains("(create.svg)"), "{text}");
    }

    #[test]
    fn times_have_three_figures() {
        let times = [5.0, 999.0, 1_234.0, 45_678.0, 999_999.0, 1.5e9].map(duration);
        assert_eq!(times, ["5.00 ns", "999 ns", "1.23 µs", "45.7 µs", "1000 µs", "1.50 s"]);
    }
}
