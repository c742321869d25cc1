//! What the documents say of the tests is true: each test that they name is there.

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
        "runtimes" => all_in(&here.join("tests/runtimes")),
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
