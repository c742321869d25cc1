//! Commands, printed before they run, so that each can be copied and run without this program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::root;

/// One command: what is set in its environment, and its words; it runs in the project's root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step<'a> {
    pub(crate) environment: Vec<(&'a str, String)>,
    pub(crate) words: Vec<String>,
}

impl<'a> Step<'a> {
    /// A command without spaces in its words.
    pub(crate) fn new(command: &str) -> Step<'a> {
        Step { words: command.split(' ').map(str::to_owned).collect(), ..Step::default() }
    }

    pub(crate) fn env(mut self, name: &'a str, value: &str) -> Step<'a> {
        self.environment.push((name, value.to_owned()));
        self
    }

    pub(crate) fn args(mut self, words: &[String]) -> Step<'a> {
        self.words.extend_from_slice(words);
        self
    }

    /// As a shell would take it.
    pub(crate) fn shown(&self) -> String {
        let quoted = |word: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.to_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        };
        let environment = self.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let words: Vec<String> = environment.chain(self.words.iter().map(|word| quoted(word))).collect();
        words.join(" ")
    }

    fn command(&self) -> Result<Command, String> {
        let (program, arguments) = self.words.split_first().ok_or("an empty command")?;
        let mut command = Command::new(program);
        // cargo has told this program about itself; a cargo that it starts is to build as a shell's does.
        for (name, _) in std::env::vars_os() {
            let told = name.to_string_lossy().starts_with("CARGO_PKG_")
                || name == "CARGO_MANIFEST_DIR"
                || name == "CARGO_MANIFEST_PATH";
            if told {
                command.env_remove(name);
            }
        }
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(root());
        Ok(command)
    }

    /// Prints it, runs it, and fails if it does.
    pub(crate) fn run(&self) -> Result<(), String> {
        eprintln!("+ {}", self.shown());
        let status = self.command()?.status().map_err(|error| format!("{}: {error}", self.words[0]))?;
        if status.success() { Ok(()) } else { Err(format!("{status}: {}", self.shown())) }
    }

    /// Prints it, runs it, and passes on what it says: whether it succeeded, and the last line that it said.
    pub(crate) fn told(&self) -> Result<(bool, String), String> {
        eprintln!("+ {}", self.shown());
        // One pipe for both, so that the last line is the last.
        let mut child = Step {
            words: ["sh", "-c", &format!("{} 2>&1", self.shown())].map(str::to_owned).into(),
            ..Step::default()
        }
        .command()?
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("sh: {error}"))?;
        let mut last = String::new();
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|output| output.split(b'\n')) {
            let line = String::from_utf8_lossy(&line.map_err(|error| error.to_string())?).into_owned();
            println!("{line}");
            if !line.trim().is_empty() {
                last = line.trim().to_owned();
            }
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        Ok((status.success(), last))
    }

    /// What it prints; its errors go where ours go. Not printed itself.
    pub(crate) fn output(&self) -> Result<String, String> {
        let output = self.command()?.stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| format!("{}: {error}", self.words[0]))?;
        if !output.status.success() {
            return Err(format!("{}: {}", output.status, self.shown()));
        }
        String::from_utf8(output.stdout).map_err(|_| format!("not UTF-8: {}", self.shown()))
    }
}

/// One after the other, up to the first that fails.
pub(crate) fn all(steps: &[Step<'_>]) -> Result<(), String> {
    steps.iter().try_for_each(Step::run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_a_shell_takes_it() {
        let step = Step::new("cargo doc -q").env("RUSTDOCFLAGS", "-D warnings").args(&["it's".to_owned()]);
        assert_eq!(step.shown(), r"RUSTDOCFLAGS='-D warnings' cargo doc -q 'it'\''s'");
    }

    #[test]
    fn what_a_step_said_last_is_known() {
        let step =
            |script: &str| Step { words: ["sh", "-c", script].map(str::to_owned).into(), ..Step::default() }.told();
        assert_eq!(step("echo a; echo b >&2; echo"), Ok((true, "b".to_owned())));
        assert_eq!(step("echo a; exit 3"), Ok((false, "a".to_owned())));
    }

    #[test]
    fn a_step_that_fails_ends_the_row() {
        assert!(
            all(&[Step::new("true"), Step::new("false"), Step::new("does-not-exist")]).unwrap_err().contains("false")
        );
        assert_eq!(Step::new("echo a b").output().as_deref(), Ok("a b\n"));
    }
}
