//! The C examples of the chapters, of the migration page and of the READMEs, compiled without a warning and run. Each is the body of
//! `int example(const char *path)`, which returns 0.

pub mod support;

use std::fs;
use std::process::Command;

use support::{Bench, compiler, crate_dir, include_dir, text};

const BEFORE: &str = "#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include \"unix-stream-server.h\"

static int example(const char *path)
{
";
const AFTER: &str = "}

int main(int argc, char **argv)
{
	return argc == 2 ? example(argv[1]) : 99;
}
";

/// The blocks that are marked as C, and nothing more.
fn examples(document: &str) -> Vec<&str> {
    document.split("\n```c\n").skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default()).collect()
}

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn the_c_examples_of_the_documents_work() {
    let bench = Bench::new();
    for (document, least) in [
        ("../unix-stream-server/docs/from_c.md", 3),
        ("../../docs/migration.md", 1),
        ("../../README.md", 1),
        ("README.md", 1),
    ] {
        let page = fs::read_to_string(crate_dir().join(document)).expect("text");
        let examples = examples(&page);
        assert!(examples.len() >= least, "{document} has only {} examples", examples.len());
        for (index, body) in examples.iter().enumerate() {
            let program = bench.join(&format!("example-{index}"));
            let source = program.with_extension("c");
            fs::write(&source, format!("{BEFORE}{body}\n{AFTER}")).expect("a file");
            let mut command = Command::new(compiler());
            command
                .args(["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-I"])
                .arg(include_dir())
                .arg("-o")
                .arg(&program);
            command.arg(&source).arg("-L").arg(bench.path()).args(["-lunix_ss", "-Wl,-rpath,$ORIGIN"]);
            let output = command.output().expect("the compiler runs");
            assert!(output.status.success(), "{document}, example {index}: {}", text(&output));
            let output = bench.run(Command::new(&program).arg(bench.join("tmp").join("s")));
            assert!(output.status.success(), "{document}, example {index}: {}\n{}", output.status, text(&output));
        }
    }
}
