//! The text after a command's options, taken apart into the sections of a man page.
//!
//! It is paragraphs with empty lines between. One that begins `Examples:` or `Exit status` is a section of its own, whatever
//! its command; all else is notes.

/// A stretch of text: running, or kept as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Prose(String),
    Verbatim(Vec<String>),
}

#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) examples: Vec<Block>,
    pub(crate) exit_status: Vec<Block>,
    pub(crate) notes: Vec<Block>,
}

/// The sections of the text that clap prints after the options.
pub(crate) fn sections(text: &str) -> Sections {
    let mut sections = Sections::default();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let paragraph = paragraph.trim_matches('\n');
        if let Some(rest) = paragraph.strip_prefix("Examples:\n") {
            sections.examples.extend(blocks(rest));
        } else if let Some(rest) = paragraph.strip_prefix("Exit statuses:\n") {
            sections.exit_status.extend(blocks(rest));
        } else if let Some(rest) = paragraph.strip_prefix("Exit status: ") {
            sections.exit_status.extend(blocks(rest));
        } else if !paragraph.starts_with("See `") {
            sections.notes.extend(blocks(paragraph));
        }
    }
    sections
}

/// A text's stretches: what is indented is kept as it is.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut new = true; // the last line was empty: what comes is a paragraph of its own
    for line in text.lines() {
        if line.trim().is_empty() {
            new = true;
            continue;
        }
        match (line.starts_with(' '), blocks.last_mut()) {
            (true, Some(Block::Verbatim(lines))) if !new => lines.push(line.to_owned()),
            (true, _) => blocks.push(Block::Verbatim(vec![line.to_owned()])),
            (false, Some(Block::Prose(text))) if !new => {
                text.push(' ');
                text.push_str(line);
            }
            (false, _) => blocks.push(Block::Prose(line.to_owned())),
        }
        new = false;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_paragraph_finds_its_section() {
        let text = "The lines:\n  a  first\n  b  second\n\nExamples:\n  run\n\nOf two\nlines.\n\nExit status: 0 if so.\n\n\
                    Exit statuses:\n    0  done\n\nSee `help`.";
        let found = sections(text);
        assert_eq!(found.examples, [Block::Verbatim(vec!["  run".into()])]);
        let statuses = [Block::Prose("0 if so.".into()), Block::Verbatim(vec!["    0  done".into()])];
        assert_eq!(found.exit_status, statuses);
        let notes = [
            Block::Prose("The lines:".into()),
            Block::Verbatim(vec!["  a  first".into(), "  b  second".into()]),
            Block::Prose("Of two lines.".into()),
        ];
        assert_eq!(found.notes, notes);
    }
}
