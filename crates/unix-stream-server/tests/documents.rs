//! What the documents say of the tests is true: each test that they name is there, and each file of tests is named.

use std::fs;
use std::path::{Path, PathBuf};

/// The project's root; `None` where the crate stands alone, without its documents.
fn root() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("PLATFORM.md").exists().then_some(root)
}

/// All `FILE::TEST` in a text.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    text.split('`').skip(1).step_by(2).filter_map(move |code| {
        let (file, test) = code.split_once("::")?;
        (is_word(file) && is_word(test) && test.contains('_')).then_some((file, test))
    })
}

/// The source that `file` stands for.
fn source(file: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match file {
        "sim" => all_in(&here.join("src/sim/tests")),
        _ if here.join("tests").join(file).join("main.rs").is_file() => all_in(&here.join("tests").join(file)),
        _ => fs::read_to_string(here.join(format!("tests/{file}.rs"))).unwrap_or_default(),
    }
}

/// All that is in a directory, and below.
fn all_in(dir: &Path) -> String {
    let files = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    files.map(|path| if path.is_dir() { all_in(&path) } else { fs::read_to_string(path).expect("text") }).collect()
}

#[test]
fn each_test_that_a_document_names_exists() {
    let Some(root) = root() else { return };
    for (document, least) in [("PLATFORM.md", 50), ("docs/how-to-lose-a-socket.md", 35)] {
        let text = fs::read_to_string(root.join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
        let mut count = 0;
        for (file, test) in named(&text) {
            count += 1;
            assert!(
                source(file).contains(&format!("fn {test}(")),
                "{document} names {file}::{test}, which is not there"
            );
        }
        assert!(count >= least, "{document} names only {count} tests");
    }
}

/// The paths that `code` stands for, which may say `{this,that}`.
fn alternatives(code: &str) -> Vec<String> {
    let Some((before, rest)) = code.split_once('{') else { return vec![code.to_owned()] };
    let (words, after) = rest.split_once('}').expect("an end");
    words.split(',').map(|word| format!("{before}{word}{after}")).collect()
}

/// All that is in `dir`, and below, relative to `root`.
fn files(root: &Path, dir: &Path) -> Vec<String> {
    let paths = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(root, &path),
            false => vec![path.strip_prefix(root).expect("below it").to_str().expect("UTF-8").to_owned()],
        })
        .collect()
}

/// In both directions: no file is left out, and no row is about what has gone.
#[test]
fn each_file_of_tests_is_in_a_row_of_where_a_test_goes() {
    let Some(root) = root() else { return };
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("text");
    let (_, section) = text.split_once("\n## Where a test goes\n").expect("the section");
    let (_, rows) = section.split_once("|---|").expect("a table");
    let (rows, _) = rows.split_once("\n\n").expect("an end");
    let all = files(&root, &root.join("crates"));
    let is_covered = |file: &str, place: &str| match place.split_once('*') {
        Some((start, end)) => file.starts_with(start) && file.ends_with(end),
        None => file == place || place.ends_with('/') && file.starts_with(place),
    };
    let places: Vec<String> = rows
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(alternatives)
        .filter_map(|place| match place.split_once('/') {
            Some(("crates", _)) => Some(place),
            Some(("tests" | "src", _)) => Some(format!("crates/unix-stream-server/{place}")),
            _ => None,
        })
        .collect();
    for place in &places {
        assert!(all.iter().any(|file| is_covered(file, place)), "nothing is at {place}");
    }
    let mut count = 0;
    for file in &all {
        let Some((_, test)) = file.split_once("/tests/") else { continue };
        let is_whole = !test.contains('/') || test.ends_with("/main.rs");
        if test.ends_with(".rs") && is_whole && !file.contains("/src/") {
            count += 1;
            assert!(places.iter().any(|place| is_covered(file, place)), "{file} is in no row");
        }
    }
    assert!(count > 50, "only {count}");
}

/// They are links; a tool that edits in place makes copies of them, which then go stale.
#[test]
fn what_the_chapters_show_of_the_projects_documents_is_just_that() {
    let Some(root) = root() else { return };
    let chapters = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (ours, theirs) in [
        ("migration.md", "docs/migration.md"),
        ("readme", "README.md"),
        ("create.svg", "docs/diagrams/create.svg"),
        ("drain.svg", "docs/diagrams/drain.svg"),
        ("take-over.svg", "docs/diagrams/take-over.svg"),
    ] {
        let text = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(text(chapters.join(ours)) == text(root.join(theirs)), "docs/{ours} is not a link to {theirs}");
    }
}
