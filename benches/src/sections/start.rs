//! How long a server's command takes from its start to its first client's answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::command::{Superserver, superservers};
use crate::harness::{Group, Pace, Result, Run};
use crate::report::{Part, Section};

const TEXT: &str = "
From the start of the command to the end of its first client's connection: the command is loaded, makes its socket, accepts,
and runs `/bin/echo hello`. The client tries to connect without pause. `/bin/echo` alone, in the last line, is what any of
them pays twice: for being started, and for starting it.";
const NOTES: &str = include_str!("start.md");

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(&dirs[0])?;
    let report = group(pace, scratch.path())?.measure(pace)?;
    let parts = vec![Part::Timed { place: String::new(), report }];
    Ok(Section {
        id: "start",
        title: "serve: from its start to its first client",
        text: TEXT.into(),
        parts,
        notes: NOTES.into(),
    })
}

fn group(pace: Pace, dir: &Path) -> Result<Group> {
    let mut group = Group::new("start, accept, answer", 5).time(Duration::from_secs(3), Duration::from_secs(20));
    let servers = superservers(pace)?;
    let ours = servers[0].name;
    for (number, server) in servers.into_iter().enumerate() {
        let (name, path) = (server.name, dir.join(number.to_string()));
        group = match server.is_there() {
            Err(why) => group.absent(name, why.to_owned()),
            Ok(_) => group.add(name, starts(server, path)),
        };
        if name.starts_with("systemd") {
            group = group.target(ours, name, 1.0);
        }
    }
    Ok(group.add("/bin/echo hello", Box::new(echo)))
}

fn starts(server: Superserver, path: PathBuf) -> Run {
    Box::new(move |count| {
        let mut sum = Duration::ZERO;
        for _ in 0..count {
            let start = Instant::now();
            let mut process = server.start(&path)?;
            process.answers(&path)?;
            sum += start.elapsed();
            drop(process);
            std::fs::remove_file(&path)?; // a killed server's
        }
        Ok(sum)
    })
}

fn echo(count: u32) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        let said = std::process::Command::new(crate::command::PROG[0]).arg(crate::command::PROG[1]).output()?;
        if said.stdout != crate::command::REPLY {
            return Err("a wrong answer".into());
        }
    }
    Ok(start.elapsed())
}
