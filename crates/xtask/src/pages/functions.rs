//! Section 3: the functions of the C library and what they have in common, from the comments of the header.

use super::Written;
use super::header::{Declaration, Header, Part, read};
use super::roff::Page;

/// The page of the header's opening comment.
pub(crate) const OVERVIEW: &str = "unix-stream-server";
const MANUAL: &str = "C Library Functions";
const INCLUDE: &str = "#include <unix-stream-server.h>";

/// A page for the header, and one for each function.
pub(crate) fn pages(header: &str, date: &str) -> Result<Vec<Written>, String> {
    let header = read(header)?;
    let functions: Vec<&Declaration> = header.declarations.iter().filter(|one| one.is_function).collect();
    let mut names: Vec<(String, u8)> = functions.iter().map(|one| (one.name.clone(), 3)).collect();
    names.push((OVERVIEW.to_owned(), 3));
    names.sort();
    let mut pages = vec![Written { name: OVERVIEW.to_owned(), section: 3, text: overview(&header, &names, date)? }];
    for function in functions {
        let text = page(function, &header, &names, date)?;
        pages.push(Written { name: function.name.clone(), section: 3, text });
    }
    Ok(pages)
}

fn overview(header: &Header, names: &[(String, u8)], date: &str) -> Result<String, String> {
    let mut page = Page::new(OVERVIEW, 3, date, MANUAL);
    page.section("NAME");
    // "unix-stream-server.h - what it is for".
    let Some((Part::Paragraph(title), parts)) = header.opening.split_first() else {
        return Err("the header's opening comment begins with no title".to_owned());
    };
    let about = title.split_once(" - ").ok_or("the header's title has no ' - '")?.1;
    page.text(&format!("{OVERVIEW} - {}", about.trim_end_matches('.')));
    page.section("SYNOPSIS");
    let mut lines = vec![INCLUDE.to_owned()];
    for one in &header.declarations {
        lines.push(String::new());
        lines.extend(one.code.lines().map(tabs));
    }
    page.verbatim(lines.iter().map(String::as_str));
    page.section("DESCRIPTION");
    for part in parts {
        write(&mut page, part);
    }
    see_also(&mut page, names, OVERVIEW);
    Ok(page.finish())
}

fn page(function: &Declaration, header: &Header, names: &[(String, u8)], date: &str) -> Result<String, String> {
    let own = &function.name;
    let Some(Part::Paragraph(first)) = function.comment.first() else {
        return Err(format!("{own} begins with no sentence"));
    };
    let mut page = Page::new(own, 3, date, MANUAL);
    page.section("NAME");
    page.text(&format!("{own} - {}", summary(first)));
    page.section("SYNOPSIS");
    let mut lines = vec![INCLUDE.to_owned(), String::new()];
    lines.extend(function.code.lines().map(tabs));
    page.verbatim(lines.iter().map(String::as_str));
    page.paragraph("Link with `-lunix_ss`, or as `pkg-config --cflags --libs unix-ss` says.");

    page.section("DESCRIPTION");
    let returns = |part: &Part| matches!(part, Part::Paragraph(text) if text.starts_with("Returns"));
    let at = function.comment.iter().position(returns).unwrap_or(function.comment.len());
    let (description, result) = function.comment.split_at(at);
    for part in description {
        write(&mut page, part);
    }
    page.paragraph(&format!("The rules for all functions are in `{OVERVIEW}`(3)."));
    let is_errno = |part: &&Part| matches!(part, Part::Item { errno: true, .. });
    if !result.is_empty() {
        page.section("RETURN VALUE");
        for part in result.iter().filter(|part| !is_errno(part)) {
            write(&mut page, &pointing_to_errors(part));
        }
    }
    if result.iter().any(|part| is_errno(&part)) {
        page.section("ERRORS");
        for part in result.iter().filter(is_errno) {
            write(&mut page, part);
        }
    }
    types(&mut page, function, header);
    let mentions =
        |part: &&Part| matches!(part, Part::Code(lines) if lines.iter().any(|line| line.contains(own.as_str())));
    let examples: Vec<&Part> = header.opening.iter().filter(mentions).collect();
    if !examples.is_empty() {
        page.section("EXAMPLES");
        for part in examples {
            write(&mut page, part);
        }
    }
    see_also(&mut page, names, own);
    Ok(page.finish())
}

/// In the header "and errno:" stands before the list, in a page two sections before it.
fn pointing_to_errors(part: &Part) -> Part {
    let mut part = part.clone();
    if let Part::Paragraph(text) | Part::Item { text, .. } = &mut part {
        if let Some(before) = text.strip_suffix("and errno:") {
            *text = format!("{before}and errno: see ERRORS.");
        }
    }
    part
}

/// The types and macros that a function's prototype or description speaks of, as the header has them.
fn types(page: &mut Page, function: &Declaration, header: &Header) {
    let mut text = function.code.clone();
    for part in &function.comment {
        match part {
            Part::Paragraph(one) | Part::Bullet(one) | Part::Item { text: one, .. } => text.push_str(one),
            Part::Heading(_) | Part::Code(_) => {}
        }
    }
    let spoken_of = |one: &&Declaration| {
        let keyword = one.code.split(' ').next().unwrap_or_default();
        !one.is_function && !one.code.starts_with('#') && text.contains(&format!("{keyword} {}", one.name))
    };
    for one in header.declarations.iter().filter(spoken_of) {
        page.section(&format!("{} {}", one.code.split(' ').next().unwrap_or_default(), one.name));
        for part in &one.comment {
            write(page, part);
        }
        page.verbatim(one.code.lines().map(tabs).collect::<Vec<_>>().iter().map(String::as_str));
    }
}

/// The first sentence, as it goes after a name: without its end, and not as long as a paragraph.
fn summary(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = line.split(['.', '?', ':', ';']).next().unwrap_or(&line);
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn write(page: &mut Page, part: &Part) {
    match part {
        Part::Heading(text) => page.section(text),
        Part::Paragraph(text) => page.paragraph(text),
        Part::Bullet(text) => page.bullet(text),
        Part::Item { tag, text, .. } => page.item(tag, text),
        Part::Code(lines) => {
            page.verbatim(lines.iter().map(|line| tabs(line)).collect::<Vec<_>>().iter().map(String::as_str))
        }
    }
}

fn see_also(page: &mut Page, names: &[(String, u8)], own: &str) {
    let mut others: Vec<(String, u8)> = names.iter().filter(|(name, _)| name != own).cloned().collect();
    others.extend([("unix-ss".to_owned(), 1), ("unix".to_owned(), 7)]);
    page.see_also(&others);
}

/// A tab is eight columns wide, also in a page, where it could be anything.
fn tabs(line: &str) -> String {
    let mut wide = String::new();
    for letter in line.chars() {
        match letter {
            '\t' => wide.extend(std::iter::repeat_n(' ', 8 - wide.len() % 8)),
            _ => wide.push(letter),
        }
    }
    wide
}
