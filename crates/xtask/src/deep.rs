//! The deep check: what takes too long, or needs too many tools, for every commit. A person runs it before a release and now
//! and then, and docs/deep-check.md keeps what each part said and of which commit.

mod record;

use std::fs;
use std::time::{Instant, SystemTime};

use clap::{Args, ValueEnum};

use crate::root;
use crate::run::Step;
use record::{Row, merge};

const RECORD: &str = "docs/deep-check.md";
const FUZZ_TARGETS: &str = "fuzz/fuzz_targets";
const MUTANTS_IN: [&str; 2] =
    ["crates/unix-stream-server/src/protocol.rs", "crates/unix-stream-server/src/protocol/**"];
/// The values that cargo-mutants makes up for types of ours, none of which has one: they would not compile.
const MADE_UP: &str = r"::(new|from_iter|from|default)\(";

#[derive(Debug, Args)]
pub(crate) struct Deep {
    /// Which parts; all, unless given
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// With what to compare the interface [default: the last tag]
    #[arg(long, value_name = "REVISION")]
    baseline: Option<String>,
    /// How long to fuzz each target
    #[arg(long, default_value_t = 600)]
    fuzz_seconds: u32,
    /// In which files to plant mutants; more than once for several
    #[arg(long, value_name = "GLOB", default_values = MUTANTS_IN)]
    mutants_in: Vec<String>,
    /// Which share of the mutants, as 0/8
    #[arg(long, value_name = "K/N")]
    mutants_shard: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Does the interface break what it was? (cargo-semver-checks)
    Semver,
    /// Licences, sources and duplicates of the dependencies, as deny.toml has them (cargo-deny)
    Licences,
    /// Known defects of the dependencies; needs the network (cargo-deny)
    Advisories,
    /// Every set of the library's features (cargo-hack)
    Features,
    /// Is a line that is changed found by the tests? (cargo-mutants)
    Mutants,
    /// Bytes at random, for a while (cargo-fuzz)
    Fuzz,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn version(self) -> Step<'static> {
        Step::new(match self {
            Part::Semver => "cargo semver-checks --version",
            Part::Licences | Part::Advisories => "cargo deny --version",
            Part::Features => "cargo hack --version",
            Part::Mutants => "cargo mutants --version",
            Part::Fuzz => "cargo fuzz --version",
        })
    }

    fn steps(self, deep: &Deep) -> Result<Vec<Step<'static>>, String> {
        Ok(match self {
            Part::Semver => {
                let baseline = match &deep.baseline {
                    Some(revision) => revision.clone(),
                    None => {
                        Step::new("git describe --tags --abbrev=0").output().map_err(|_| "no tag; give --baseline")?
                    }
                };
                let step = Step::new("cargo semver-checks -p unix-stream-server --all-features --baseline-rev");
                vec![step.args(&[baseline.trim().to_owned()])]
            }
            Part::Licences => vec![Step::new("cargo deny --all-features --locked check licenses sources bans")],
            Part::Advisories => vec![Step::new("cargo deny --all-features --locked check advisories")],
            Part::Features => {
                vec![Step::new(
                    "cargo hack clippy -p unix-stream-server --lib --feature-powerset --locked -- -D warnings",
                )]
            }
            Part::Mutants => {
                // The unit tests are the simulated kernel and what is beside it: the oracle of the protocol. Said to each
                // cargo, or else all other tests are built for every mutant too. Most mutants are found within seconds,
                // and the rest of the tests takes minutes: so they end at the first that fails, which is an option of
                // the test harness that only RUSTC_BOOTSTRAP lets a stable one take.
                let step = Step::new("cargo mutants -p unix-stream-server --cargo-arg=--lib --colors never")
                    .env("RUSTC_BOOTSTRAP", "1");
                let option = |name: &str, value: &String| [name.to_owned(), value.clone()];
                let files: Vec<_> = deep.mutants_in.iter().flat_map(|glob| option("--file", glob)).collect();
                let shard: Vec<_> = deep.mutants_shard.iter().flat_map(|shard| option("--shard", shard)).collect();
                let rest = ["--exclude-re", MADE_UP, "--output", "target/mutants"].map(str::to_owned);
                let harness = ["--", "--", "-Z", "unstable-options", "--fail-fast"].map(str::to_owned);
                vec![step.args(&files).args(&shard).args(&rest).args(&harness)]
            }
            Part::Fuzz => fuzz_targets()?
                .into_iter()
                .map(|target| {
                    let limit = format!("-max_total_time={}", deep.fuzz_seconds);
                    let step = Step::new("cargo fuzz run").env("RUSTC_BOOTSTRAP", "1");
                    step.args(&[target, "--".to_owned(), limit])
                })
                .collect(),
        })
    }
}

/// Runs the parts, each to its end whatever the others did, and writes down what they said.
pub(crate) fn run(deep: &Deep) -> Result<(), String> {
    let parts = if deep.parts.is_empty() { Part::value_variants() } else { &*deep.parts };
    let mut failed = Vec::new();
    for part in parts {
        let row = row(*part, deep)?;
        if !row.passed() {
            failed.push(row.part.clone());
        }
        // After each part: one that is broken off takes nothing from those before it.
        let before = fs::read_to_string(root().join(RECORD)).unwrap_or_default();
        let all: Vec<String> = Part::value_variants().iter().map(|part| part.name()).collect();
        let text = merge(&before, row, &all);
        fs::write(root().join(RECORD), text).map_err(|error| format!("{RECORD}: {error}"))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn row(part: Part, deep: &Deep) -> Result<Row, String> {
    let tool = part.version().output().unwrap_or_else(|_| "not installed".to_owned());
    let rust = Step::new("rustc --version").output()?;
    let words = |text: &str| text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let commit = commit()?; // that of its beginning: whatever comes in hours is not what was checked
    let begun = Instant::now();
    let (steps, mut results) = match part.steps(deep) {
        Ok(steps) => (steps, Vec::new()),
        Err(error) => (Vec::new(), vec![format!("FAILED: {error}")]),
    };
    for step in &steps {
        let (passed, last) = step.told()?;
        results.push(format!("{}{last}", if passed { "passed: " } else { "FAILED: " }));
    }
    let commands: Vec<String> = steps.iter().map(|step| format!("`{}`", step.shown())).collect();
    Ok(Row {
        part: part.name(),
        date: crate::date::day(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs())),
        commit,
        tools: format!("{}, {}", words(&tool), words(&rust)),
        commands: commands.join("<br>"),
        result: format!("{} ({} s)", results.join("<br>"), begun.elapsed().as_secs()),
    })
}

/// The commit that is checked, and whether it is just that.
fn commit() -> Result<String, String> {
    let commit = Step::new("git rev-parse --short=12 HEAD").output()?;
    let changed = Step::new("git status --porcelain -- .").args(&[format!(":!{RECORD}")]).output()?;
    Ok(format!("{}{}", commit.trim(), if changed.is_empty() { "" } else { " and changes" }))
}

fn fuzz_targets() -> Result<Vec<String>, String> {
    let entries = fs::read_dir(root().join(FUZZ_TARGETS)).map_err(|error| format!("{FUZZ_TARGETS}: {error}"))?;
    let stem = |entry: std::io::Result<fs::DirEntry>| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned());
    let mut targets: Vec<String> = entries.filter_map(stem).collect();
    targets.sort();
    Ok(targets)
}
