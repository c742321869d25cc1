//! docs/performance.md: a head that says what was measured on what, and the sections.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::harness::Result;
use crate::plot;
use crate::report::Section;

const HEAD: &str = "# Performance\n\n\
    Written by `cargo run --release -p unix-ss-bench -- --write docs`, which takes some minutes; `--help` tells of shorter\n\
    runs. Every figure is the median over many rounds, and in brackets the lower and the upper quartile. All contestants\n\
    of a table run in each round, in an order of its own, and a ratio is taken within its round: a busy machine slows\n\
    both sides of it. The times themselves are this machine's.\n";

pub(crate) struct Document {
    dir: PathBuf,
    head: String,
    /// Each begins with its title.
    sections: Vec<String>,
}

impl Document {
    /// A new one, or one of which some sections are to be measured anew, which must then have been on the same machine.
    pub(crate) fn open(dir: &Path, machine: &str, is_new: bool) -> Result<Self> {
        let head = format!("{HEAD}\nMeasured on {machine}.\n");
        let mut sections = Vec::new();
        let old = match fs::read_to_string(dir.join("performance.md")) {
            Ok(old) if !is_new => Some(old),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => None,
        };
        if let Some(old) = old {
            let mut parts = old.split("\n## ");
            if parts.next().map(str::trim_end) != Some(head.trim_end()) {
                return Err("performance.md was measured on another machine or file system: measure all of it".into());
            }
            sections.extend(parts.map(|part| format!("## {}\n", part.trim_end())));
        }
        fs::create_dir_all(dir.join("performance"))?;
        Ok(Document { dir: dir.to_owned(), head, sections })
    }

    /// Adds the section, or puts it in its old one's place, and writes everything.
    pub(crate) fn put(&mut self, section: &Section) -> Result<()> {
        let mut pictures = Vec::new();
        for (name, svg) in plot::pictures(section)? {
            fs::write(self.dir.join("performance").join(&name), svg)?;
            pictures.push(format!("performance/{name}"));
        }
        let text = section.markdown(&pictures);
        let title = format!("## {}\n", section.title);
        match self.sections.iter_mut().find(|old| old.starts_with(&title)) {
            Some(old) => *old = text,
            None => self.sections.push(text),
        }
        let all: Vec<&str> = std::iter::once(&self.head).chain(&self.sections).map(|part| part.trim_end()).collect();
        fs::write(self.dir.join("performance.md"), all.join("\n\n") + "\n")?;
        Ok(())
    }
}
