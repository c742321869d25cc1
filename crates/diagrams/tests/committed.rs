//! The pictures in the repository are those of their sources.

use std::fs;

use diagrams::{Diagram, directory, render_all};

#[test]
fn each_picture_is_the_one_that_its_source_gives() {
    let pictures = render_all(&directory()).expect("sources that say something");
    assert!(pictures.len() >= 7, "only {} sources", pictures.len());
    for picture in pictures {
        let committed = fs::read_to_string(&picture.path).unwrap_or_default();
        assert!(
            committed == picture.svg,
            "{} is not what its source gives: cargo run -p diagrams",
            picture.path.display()
        );
    }
}

#[test]
fn each_picture_has_a_source() {
    for entry in fs::read_dir(directory()).expect("docs/diagrams") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            assert!(path.with_extension("seq").exists(), "{} has no source", path.display());
        }
    }
}

#[test]
fn a_text_that_says_nothing_is_told_with_its_line() {
    for (text, why) in [
        ("title T\nparty a A\ncall a b hello", "3: there is no party \"b\""),
        ("title T\nparty a A\n\ncall a a hello", "4: an arrow leads to another party"),
        ("title T\nparty a A\njump a", "3: \"jump\" is no kind of step"),
        ("title T\nparty a A\nstate a pink it", "3: \"pink\" is no colour of a state"),
        ("title T\nparty a A\nnote a", "3: a text is missing"),
        ("party a A", "1: give a title and a party"),
    ] {
        assert_eq!(text.parse::<Diagram>().expect_err(text), why);
    }
}

#[test]
fn a_picture_may_stand_inside_markdown() {
    for picture in render_all(&directory()).expect("sources") {
        assert!(picture.svg.lines().all(|line| !line.trim().is_empty()), "an empty line would end the HTML block");
        let first = picture.svg.lines().next().expect("a line");
        assert!(first.starts_with("<svg ") && first.ends_with('>'), "a tag alone in its line begins one: {first}");
    }
}
