//! The text of a diagram.

use std::str::FromStr;

/// A sequence diagram. Its text has a line for each step; `#` begins a comment.
///
/// ```text
/// title TEXT
/// party ID TEXT            a vertical line; from left to right
/// call FROM TO TEXT        an arrow
/// answer FROM TO TEXT      a dashed arrow
/// note ID TEXT             a box; also `good` and `bad`
/// state ID COLOUR TEXT     what is so from here on: grey, blue, violet, or `none`
/// hold ID, release ID      the path's lock
/// later TEXT               a line across
/// ```
///
/// ```
/// let diagram: diagrams::Diagram = "title Hello\nparty a server\nnote a listens".parse()?;
/// assert_eq!(diagram.steps.len(), 1);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Default)]
pub struct Diagram {
    /// Above it all.
    pub title: String,
    /// From left to right.
    pub parties: Vec<Party>,
    /// From top to bottom.
    pub steps: Vec<Step>,
}

/// One of those who act.
#[derive(Debug)]
pub struct Party {
    id: String,
    /// As the reader sees it.
    pub name: String,
}

/// What happens in a row. Parties are told by their place.
#[derive(Debug)]
pub enum Step {
    /// An arrow; `dashed` for an answer.
    Arrow {
        /// Where it begins.
        from: usize,
        /// Where it ends.
        to: usize,
        /// An answer.
        dashed: bool,
        /// Above it.
        text: String,
    },
    /// A box on a party's line.
    Box(usize, Colour, String),
    /// What is so from here on.
    State(usize, Colour, String),
    /// The party has the lock from here on, or has it no more.
    Lock(usize, bool),
    /// A line across.
    Later(String),
}

/// What a box or a state is painted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Neither good nor bad.
    Plain,
    /// As it should be.
    Good,
    /// Harm.
    Bad,
    /// What is dead.
    Grey,
    /// The first server's.
    Blue,
    /// The second server's.
    Violet,
    /// Nothing is there.
    None,
}

impl FromStr for Diagram {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut diagram = Diagram::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                diagram.line(line).map_err(|why| format!("{}: {why}", index + 1))?;
            }
        }
        if diagram.title.is_empty() || diagram.parties.is_empty() {
            return Err("1: give a title and a party".to_owned());
        }
        Ok(diagram)
    }
}

impl Diagram {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (keyword, rest) = word(line);
        let step = match keyword {
            "title" => {
                self.title = some(rest)?;
                return Ok(());
            }
            "party" => {
                let (id, name) = word(rest);
                self.parties.push(Party { id: some(id)?, name: some(name)? });
                return Ok(());
            }
            "call" | "answer" => {
                let (from, rest) = word(rest);
                let (to, text) = word(rest);
                let (from, to) = (self.party(from)?, self.party(to)?);
                if from == to {
                    return Err("an arrow leads to another party".to_owned());
                }
                Step::Arrow { from, to, dashed: keyword == "answer", text: some(text)? }
            }
            "note" | "good" | "bad" => {
                let colour = match keyword {
                    "good" => Colour::Good,
                    "bad" => Colour::Bad,
                    _ => Colour::Plain,
                };
                let (id, text) = word(rest);
                Step::Box(self.party(id)?, colour, some(text)?)
            }
            "state" => {
                let (id, rest) = word(rest);
                let (colour, text) = word(rest);
                let colour = match colour {
                    "grey" => Colour::Grey,
                    "blue" => Colour::Blue,
                    "violet" => Colour::Violet,
                    "none" => Colour::None,
                    other => return Err(format!("{other:?} is no colour of a state")),
                };
                Step::State(self.party(id)?, colour, some(text)?)
            }
            "hold" | "release" => Step::Lock(self.party(rest)?, keyword == "hold"),
            "later" => Step::Later(some(rest)?),
            other => return Err(format!("{other:?} is no kind of step")),
        };
        self.steps.push(step);
        Ok(())
    }

    fn party(&self, id: &str) -> Result<usize, String> {
        self.parties.iter().position(|party| party.id == id).ok_or_else(|| format!("there is no party {id:?}"))
    }
}

/// The first word, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(first, rest)| (first, rest.trim_start()))
}

fn some(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a text is missing".to_owned()) } else { Ok(text.to_owned()) }
}
