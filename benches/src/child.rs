//! A contestant that is another program: told a count in a line, it answers with nanoseconds in a line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::harness::{Result, Run};

struct Contestant {
    program: Child,
    /// Taken at the end: its end of file ends the program.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Contestant {
    fn run(&mut self, count: u32) -> Result<Duration> {
        let questions = self.questions.as_mut().ok_or("it has ended")?;
        writeln!(questions, "{count}")?;
        questions.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let nanoseconds = answer.trim().parse().map_err(|_| "the program gave no figure")?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.program.wait();
    }
}

/// Starts it; it ends with the closure.
pub(crate) fn contestant(command: &mut Command) -> Result<Run> {
    let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let questions = program.stdin.take();
    let answers = BufReader::new(program.stdout.take().ok_or("no pipe")?);
    let mut contestant = Contestant { program, questions, answers };
    Ok(Box::new(move |count| contestant.run(count)))
}

/// Compiles a C program with what pkg-config says of a library; the reason why not, for people.
pub(crate) fn compile(source: &Path, library: &str, into: &Path) -> Result<PathBuf, String> {
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", library]).output();
    let flags = flags.map_err(|error| format!("pkg-config: {error}"))?;
    if !flags.status.success() {
        return Err(format!("pkg-config does not know {library}"));
    }
    let flags = String::from_utf8_lossy(&flags.stdout).into_owned();
    let program = into.join(library);
    let mut cc = Command::new("cc");
    cc.arg("-O2").arg("-o").arg(&program).arg(source).args(flags.split_whitespace());
    let done = cc.output().map_err(|error| format!("cc: {error}"))?;
    if done.status.success() { Ok(program) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// Is there a program of this name on the PATH?
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
