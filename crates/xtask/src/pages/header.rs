//! The C header, read as the manual that it is: its opening comment, and its declarations with theirs.
//!
//! It is our own file, in one style: comments with ` * ` before each line, declarations that end in `;` or, a macro's, with
//! the line.

/// A part of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A line alone after two empty ones.
    Heading(String),
    Paragraph(String),
    Bullet(String),
    /// A word or a value, and what it means. `errno`: it stands in a list of errnos.
    Item {
        tag: String,
        text: String,
        errno: bool,
    },
    Code(Vec<String>),
}

#[derive(Debug)]
pub(crate) struct Declaration {
    /// Of a function, a type or a macro.
    pub(crate) name: String,
    pub(crate) is_function: bool,
    pub(crate) code: String,
    pub(crate) comment: Vec<Part>,
}

#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) opening: Vec<Part>,
    pub(crate) declarations: Vec<Declaration>,
}

/// Reads the header; an error says what is not in its style.
pub(crate) fn read(text: &str) -> Result<Header, String> {
    let (opening, rest) = comment(text).ok_or("the header begins with no comment")?;
    let after_extern = rest.split_once("extern \"C\" {\n#endif\n").ok_or("there is no extern \"C\" {")?.1;
    let mut body = after_extern.split_once("#ifdef __cplusplus").ok_or("extern \"C\" has no end")?.0;
    let mut declarations = Vec::new();
    loop {
        body = body.trim_start();
        if body.is_empty() {
            return Ok(Header { opening: parts(&opening), declarations });
        }
        let mut explained = Vec::new();
        if let Some((text, rest)) = comment(body) {
            explained = parts(&text);
            body = rest;
            if body.starts_with("\n\n") {
                continue; // it explains no one declaration
            }
            body = body.trim_start();
        }
        let end = if body.starts_with('#') {
            body.find('\n')
        } else if body.contains("{\n") && body.find('{') < body.find(';') {
            body.find("\n};").map(|at| at + 3)
        } else {
            body.find(';').map(|at| at + 1)
        };
        let (code, rest) = body.split_at(end.ok_or_else(|| format!("a declaration without end: {body}"))?);
        declarations.push(declaration(code, explained)?);
        body = rest;
    }
}

fn declaration(code: &str, comment: Vec<Part>) -> Result<Declaration, String> {
    let words = |text: &str| -> Vec<String> {
        text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let is_type = code.starts_with("struct ") && code.contains("{\n") || code.starts_with("enum ");
    let is_function = !is_type && !code.starts_with('#');
    let name =
        if is_function { words(code.split('(').next().unwrap_or(code)).pop() } else { words(code).get(1).cloned() };
    let name = name.ok_or_else(|| format!("a declaration without a name: {code}"))?;
    Ok(Declaration { name, is_function, code: code.to_owned(), comment })
}

/// The comment at the beginning of a text, without its frame, and what comes after it.
fn comment(text: &str) -> Option<(Vec<String>, &str)> {
    let (inside, rest) = text.strip_prefix("/*")?.split_once("*/")?;
    let line = |line: &str| {
        let line = line.trim_start_matches(' ');
        line.strip_prefix('*').unwrap_or(line).trim_end().to_owned()
    };
    Some((inside.trim_matches(['\n', ' ']).lines().map(line).collect(), rest))
}

/// What each line of a comment is; `line` has what stands after the star.
fn parts(lines: &[String]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut empty = 0; // lines since the last text
    for (number, line) in lines.iter().enumerate() {
        if line.is_empty() {
            empty += 1;
            continue;
        }
        let alone = lines.get(number + 1).is_none_or(String::is_empty);
        let part = if empty >= 2 && alone {
            Part::Heading(line.trim().to_owned())
        } else {
            part(line, parts.last(), empty > 0)
        };
        let goes_on = empty == 0 || matches!((&part, parts.last()), (Part::Code(_), Some(Part::Code(_))));
        match (parts.last_mut(), part) {
            (Some(Part::Code(before)), Part::Code(line)) if goes_on => {
                before.extend(std::iter::repeat_n(String::new(), empty));
                before.extend(line);
            }
            (
                Some(Part::Paragraph(before) | Part::Bullet(before) | Part::Item { text: before, .. }),
                Part::Paragraph(line),
            ) if goes_on => {
                before.push('\n');
                before.push_str(&line);
            }
            (_, part) => parts.push(part),
        }
        empty = 0;
    }
    parts
}

/// What one line begins; a `Paragraph` if it may also go on with what was before.
fn part(line: &str, before: Option<&Part>, new: bool) -> Part {
    let in_item = !new && matches!(before, Some(Part::Item { .. } | Part::Bullet(_)));
    let item = |tag: &str, text: &str, errno| Part::Item { tag: tag.to_owned(), text: text.trim().to_owned(), errno };
    if let Some(text) = line.strip_prefix('\t') {
        let (tag, meaning) = text.split_once('\t').unwrap_or((text, ""));
        if is_errnos(tag) {
            return item(tag, meaning, true);
        }
        return if in_item { Part::Paragraph(text.trim().to_owned()) } else { Part::Code(vec![text.to_owned()]) };
    }
    let text = line.trim_start();
    if let Some(text) = text.strip_prefix("- ") {
        return Part::Bullet(text.to_owned());
    }
    // A value that is returned, or a rule: a word, and tabs before what it means.
    match text.split_once('\t') {
        Some((tag, meaning)) if tag.parse::<i32>().is_ok() || tag.chars().all(char::is_alphabetic) => {
            item(tag, meaning, false)
        }
        _ => Part::Paragraph(text.to_owned()),
    }
}

/// `EMFILE, ENFILE, ...`
fn is_errnos(tag: &str) -> bool {
    let one = |word: &str| word == "..." || word.starts_with('E') && word.chars().all(|c| c.is_ascii_uppercase());
    tag.starts_with('E') && tag.split(", ").all(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraph(text: &str) -> Part {
        Part::Paragraph(text.to_owned())
    }

    #[test]
    fn a_comment_is_taken_apart_as_it_is_written() {
        let text = "/*\n * Does it.\n * Well.\n *\n *\tcode(a);\n *\n *\tcode(b);\n *\n * Returns\n *   0\tdone\n *  -1\tand errno:\n \
                    *\tEINTR, ...\n *\t\t\tsome\n *\t\t\tmore\n *\tEPERM\t\tno\n *\n * - one\n *   two\n *\n *\n * Rules\n *\n * End.\n */\n\
                    int x(void);";
        let (lines, rest) = comment(text).expect("a comment");
        assert_eq!(rest, "\nint x(void);");
        let item = |tag: &str, text: &str, errno| Part::Item { tag: tag.into(), text: text.into(), errno };
        let expected = [
            paragraph("Does it.\nWell."),
            Part::Code(vec!["code(a);".into(), String::new(), "code(b);".into()]),
            paragraph("Returns"),
            item("0", "done", false),
            item("-1", "and errno:", false),
            item("EINTR, ...", "\nsome\nmore", true),
            item("EPERM", "no", true),
            Part::Bullet("one\ntwo".into()),
            Part::Heading("Rules".into()),
            paragraph("End."),
        ];
        assert_eq!(parts(&lines), expected);
    }

    #[test]
    fn declarations_keep_their_comments() {
        let header = "/* It. */\nextern \"C\" {\n#endif\n\n#define A 1\n/* An S. */\nstruct s {\n\tint a; /* an a */\n};\n\n\
                      /* General. */\n\n/* Does. */\nconst struct s *f(int a,\n\t\tint b);\n#ifdef __cplusplus\n}\n";
        let header = read(header).expect("in style");
        let found: Vec<(&str, bool, &[Part])> =
            header.declarations.iter().map(|one| (one.name.as_str(), one.is_function, &*one.comment)).collect();
        let expected: [(&str, bool, &[Part]); 3] =
            [("A", false, &[]), ("s", false, &[paragraph("An S.")]), ("f", true, &[paragraph("Does.")])];
        assert_eq!(found, expected);
        assert_eq!(header.declarations[1].code, "struct s {\n\tint a; /* an a */\n};");
    }
}
