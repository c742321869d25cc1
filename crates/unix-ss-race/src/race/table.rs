//! The table that people read.

use super::{Outcome, Report};

/// A figure of an outcome.
pub(super) type Figure = fn(&Outcome) -> u64;

/// What is counted and how it is called.
pub(super) const HARMS: [(&str, Figure); 5] = [
    ("servers orphaned", |outcome| outcome.servers_orphaned),
    ("foreign files deleted", |outcome| outcome.foreign_files_deleted),
    ("clients lost", |outcome| outcome.clients_lost),
    ("spurious errors", |outcome| outcome.spurious_errors),
    ("stuck starts", |outcome| outcome.stuck_starts),
];

/// A line each strategy, under two lines of heads; each line ends in a newline.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut rows = vec![
        ["", "", "servers", "foreign files", "clients", "spurious", "stuck", "time to answer"].map(str::to_owned),
        ["strategy", "starts", "orphaned", "deleted", "lost", "errors", "starts", "median / longest"]
            .map(str::to_owned),
    ];
    for outcome in &report.outcomes {
        let times = format!("{} / {}", time(outcome.answer_median_us), time(outcome.answer_longest_us));
        let [orphaned, deleted, lost, errors, stuck] = HARMS.map(|(_, value)| value(outcome).to_string());
        let (strategy, starts) = (outcome.strategy.to_owned(), outcome.starts.to_string());
        rows.push([strategy, starts, orphaned, deleted, lost, errors, stuck, times]);
    }
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Words to the left, numbers to the right.
            match column {
                0 => line.push_str(&format!("{cell:width$}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Three digits at the most.
pub(super) fn time(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..10_000 => format!("{}.{} ms", microseconds / 1_000, microseconds % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", microseconds / 1_000),
        _ => format!("{}.{} s", microseconds / 1_000_000, microseconds % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_few_digits_and_a_unit() {
        assert_eq!(
            [7, 999, 1_000, 9_999, 12_345, 999_999, 1_230_000].map(time),
            ["7 µs", "999 µs", "1.0 ms", "9.9 ms", "12 ms", "999 ms", "1.2 s"]
        );
    }
}
