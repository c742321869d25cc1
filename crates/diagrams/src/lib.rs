//! Sequence diagrams against time, from a text of a line a step: see [`Diagram`] for what it may say.
//!
//! Of our own because what there is draws text over lines (mscgen) or needs a Java machine (plantuml). The same text gives
//! the same bytes, so that a test can compare the pictures in the repository with their sources.

mod picture;
mod text;

use std::path::{Path, PathBuf};
use std::{fs, io};

pub use text::{Colour, Diagram, Party, Step};

/// What the sources end in, and the pictures.
const SOURCE: &str = "seq";
const PICTURE: &str = "svg";

/// Where the project keeps them.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagrams")
}

/// A picture that a source gives.
#[derive(Debug)]
pub struct Rendered {
    /// Where it belongs.
    pub path: PathBuf,
    /// What it is.
    pub svg: String,
}

/// All pictures of a directory, in the order of their names.
///
/// # Errors
///
/// Those of reading; `InvalidData` with file and line for a text that says nothing.
pub fn render_all(dir: &Path) -> io::Result<Vec<Rendered>> {
    let mut sources: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    sources.retain(|path| path.extension().is_some_and(|extension| extension == SOURCE));
    sources.sort();
    sources.into_iter().map(render).collect()
}

fn render(source: PathBuf) -> io::Result<Rendered> {
    let diagram: Diagram = fs::read_to_string(&source)?
        .parse()
        .map_err(|why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}:{why}", source.display())))?;
    Ok(Rendered { path: source.with_extension(PICTURE), svg: picture::svg(&diagram) })
}
