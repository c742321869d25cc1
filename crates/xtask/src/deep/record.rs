//! docs/deep-check.md: a row for each part, of which one is replaced at a time.

const HEAD: &str = "\
# The deep check

What takes too long, or needs too many tools, for every commit: `cargo xtask deep [PART...]` runs it and writes this page.
A row tells of the last run of its part, which may be of another commit than its neighbours; the command is what was
run, with its limits, and the result ends with the last line that it said. CONTRIBUTING.md names the tools.

| part | date | commit | tools | command | result |
|---|---|---|---|---|---|
";

#[derive(Debug)]
pub(super) struct Row {
    pub(super) part: String,
    pub(super) date: String,
    pub(super) commit: String,
    pub(super) tools: String,
    pub(super) commands: String,
    pub(super) result: String,
}

impl Row {
    pub(super) fn passed(&self) -> bool {
        !self.result.contains("FAILED: ")
    }

    fn line(&self) -> String {
        let cells = [&self.part, &self.date, &self.commit, &self.tools, &self.commands, &self.result];
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    }
}

/// The page with one row new, and all others as they were; of what never ran, that is said.
pub(super) fn merge(before: &str, row: Row, parts: &[String]) -> String {
    let line = |part: &String| {
        if *part == row.part {
            return row.line();
        }
        let old = before.lines().find(|line| line.starts_with(&format!("| {part} |")));
        old.map_or_else(|| format!("| {part} | never | | | | |\n"), |old| format!("{old}\n"))
    };
    HEAD.to_owned() + &parts.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(part: &str, result: &str) -> Row {
        let text = |text: &str| text.to_owned();
        let (date, commit, tools, commands) = (text("2026-01-02"), text("abc"), text("t 1"), text("`a | b`"));
        Row { part: text(part), date, commit, tools, commands, result: text(result) }
    }

    #[test]
    fn a_new_row_replaces_its_own_alone() {
        let parts = ["one".to_owned(), "two".to_owned()];
        let first = merge("", row("two", "passed: well"), &parts);
        assert!(
            first.ends_with("| one | never | | | | |\n| two | 2026-01-02 | abc | t 1 | `a \\| b` | passed: well |\n")
        );
        let second = merge(&first, row("one", "FAILED: it"), &parts);
        assert!(second.contains("| one | 2026-01-02 | abc | t 1 | `a \\| b` | FAILED: it |\n| two | 2026-01-02 |"));
        assert!(!row("one", "passed: a<br>FAILED: b").passed());
    }
}
