//! The relative links of documents (`.md`): which are dead, and what stands for them where a part of the project is
//! installed without the rest.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::root;

/// Fails if a link in a document in or below `dir` is dead.
pub(crate) fn check(dir: &Path) -> Result<(), String> {
    let mut dead = Vec::new();
    let mut count = 0;
    for document in documents(dir)? {
        let text = read(&document)?;
        for link in links(&text) {
            count += 1;
            if !is_alive(&document, &link.target) {
                dead.push(format!("{}: {} leads nowhere", document.display(), link.target));
            }
        }
    }
    match (count, dead.is_empty()) {
        (0, _) => Err(format!("no link in {}", dir.display())),
        (_, true) => {
            println!("{}: {count} links, all alive", dir.display());
            Ok(())
        }
        _ => Err(dead.join("\n")),
    }
}

/// `dir` has some of the project's files, each where it is in the project. A link to one that it has not leads to the
/// repository from here on; as long as that has no address, the link's text stays, and what it led to.
pub(crate) fn mend(dir: &Path) -> Result<(), String> {
    let manifest = read(&root().join("Cargo.toml"))?;
    let repository = manifest.lines().find_map(|line| line.strip_prefix("repository = \"")?.strip_suffix('"'));
    for document in documents(dir)? {
        let mut text = read(&document)?;
        // One after the other: a picture may be a link.
        while let Some(link) = links(&text).into_iter().find(|link| !is_alive(&document, &link.target)) {
            let place = document.strip_prefix(dir).unwrap_or(&document).with_file_name(&link.target);
            let mended = elsewhere(repository, &text[link.text.clone()], &plain(&place));
            text.replace_range(link.whole, &mended);
        }
        fs::write(&document, text).map_err(|error| format!("{}: {error}", document.display()))?;
    }
    Ok(())
}

fn elsewhere(repository: Option<&str>, text: &str, place: &Path) -> String {
    let place = place.display().to_string();
    match repository {
        Some(address) => format!("[{text}]({address}/blob/v{}/{place})", env!("CARGO_PKG_VERSION")),
        None if text.trim_matches('`') == place => text.to_owned(),
        None => format!("{text} ({place})"),
    }
}

/// Without `.` and `..`, in words alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

fn is_alive(document: &Path, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let file = if file.is_empty() { document.to_owned() } else { document.with_file_name(file) };
    match anchor {
        Some(anchor) => fs::read_to_string(file).is_ok_and(|text| anchors(&text).contains(anchor)),
        None => file.exists(),
    }
}

struct Link {
    whole: Range<usize>,
    text: Range<usize>,
    target: String,
}

/// The relative ones, `[text](target)`, that are not in code.
fn links(document: &str) -> Vec<Link> {
    let shown = without_code(document);
    let ends = shown.match_indices("](").filter_map(|(middle, _)| {
        let start = shown[..middle].rfind('[')?;
        // A picture that is a link: the outer one of the two.
        let start = if shown[start..middle].contains("](") { shown[..start].rfind('[')? } else { start };
        let end = middle + shown[middle..].find(')')?;
        let target = document[middle + 2..end].to_owned();
        let image = shown[..start].ends_with('!');
        // https:, mailto:, crate::
        let relative = !target.contains(':');
        relative.then(|| Link { whole: start - usize::from(image)..end + 1, text: start + 1..middle, target })
    });
    ends.collect()
}

/// As long as before, with blanks for what is in a block of code or between backticks.
fn without_code(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    let (mut block, mut span) = (false, false);
    for line in document.split_inclusive('\n') {
        let fence = line.trim_start().starts_with("```");
        block ^= fence;
        span &= !line.trim().is_empty(); // a span ends with its paragraph
        for letter in line.chars() {
            span ^= letter == '`' && !block && !fence;
            if letter == '\n' || !(block || fence || span) {
                shown.push(letter);
            } else {
                shown.extend(std::iter::repeat_n(' ', letter.len_utf8()));
            }
        }
    }
    shown
}

/// What leads to its headings.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let shown = without_code(document);
    for (line, heading) in document.lines().zip(shown.lines()) {
        if heading.starts_with('#') {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

/// Those in and below `dir`, but for what is built there.
fn documents(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let of = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(of)? {
        let path = entry.map_err(of)?.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            found.append(&mut documents(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_in_the_projects_documents_is_dead() {
        assert_eq!(check(root()), Ok(()));
    }

    /// Those that begin with a directory of the project's root.
    #[test]
    fn no_path_that_the_projects_documents_name_in_code_is_missing() {
        let mut count = 0;
        for document in documents(root()).expect("documents") {
            let text = read(&document).expect("text");
            for word in text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
                let is_path = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                let Some((first, _)) = word.split_once('/') else { continue };
                let is_ours = !["", ".", "..", "target"].contains(&first) && root().join(first).is_dir();
                if is_path && is_ours {
                    count += 1;
                    assert!(root().join(word).exists(), "{} names {word}, which is not there", document.display());
                }
            }
        }
        assert!(count > 50, "only {count}");
    }

    #[test]
    fn what_is_dead_is_told_and_mended() {
        let dir = tempfile::tempdir().expect("a directory");
        let (above, below) = (dir.path().join("README.md"), dir.path().join("docs/page.md"));
        fs::create_dir(dir.path().join("docs")).expect("mkdir");
        let alive =
            "# `A` heading, twice\n[x](docs/page.md) [x](#a-heading-twice) `[x](code)` [x](https://host/gone)\n";
        fs::write(&above, format!("{alive}```\n[x](code)\n```\n[x\ny](gone/z.rs) [gone](gone)\n")).expect("a file");
        fs::write(
            &below,
            "[`up`](../README.md#a-heading-twice) ![p](../gone.svg) [`no`](../README.md#no) [![p](../a)](b)\n",
        )
        .expect("a file");
        let dead = check(dir.path()).expect_err("dead");
        assert_eq!(dead.lines().count(), 6, "{dead}");
        assert!(dead.contains("README.md: gone/z.rs leads nowhere"), "{dead}");
        mend(dir.path()).expect("mended");
        check(dir.path()).expect("alive");
        if !read(&root().join("Cargo.toml")).expect("text").contains("\nrepository = ") {
            assert_eq!(read(&above), Ok(format!("{alive}```\n[x](code)\n```\nx\ny (gone/z.rs) gone\n")));
            assert!(read(&below).expect("text").contains(" p (gone.svg) `no` (README.md#no) p (a) (docs/b)\n"));
        }
        let with_an_address = elsewhere(Some("https://host/us"), "x", &plain(Path::new("docs/../src/z.rs")));
        assert!(with_an_address.starts_with("[x](https://host/us/blob/v"), "{with_an_address}");
        assert!(with_an_address.ends_with("/src/z.rs)"), "{with_an_address}");
        fs::remove_file(&above).expect("a file");
        fs::remove_file(&below).expect("a file");
        check(dir.path()).expect_err("nothing was looked at");
    }
}
