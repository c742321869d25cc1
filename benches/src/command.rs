//! The command and its peers as processes: built, started, waited for, ended.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::child::find;
use crate::harness::{Pace, Result};

/// What every server runs for each client, and what the client is to hear.
pub(crate) const PROG: [&str; 2] = ["/bin/echo", "hello"];
pub(crate) const REPLY: &[u8] = b"hello\n";
/// How long anything may take that is no measurement.
const BOUND: Duration = Duration::from_secs(20);

/// Builds the command, and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    // .../target/release/unix-ss-bench
    let target = std::env::current_exe()?.ancestors().nth(2).ok_or("no target directory")?.to_owned();
    cargo(&target, &[], "")?;
    Ok(target.join("release/unix-ss"))
}

/// The same without shared libraries, which the C library's static form allows, at the full pace: it takes a minute.
pub(crate) fn build_static(pace: Pace) -> Result<PathBuf, String> {
    if pace != Pace::Full {
        return Err("only built by the full run".to_owned());
    }
    let build = || -> Result<PathBuf> {
        let target = std::env::current_exe()?.ancestors().nth(2).ok_or("no target directory")?.join("static");
        let rustc = Command::new("rustc").arg("-vV").output()?;
        let version = String::from_utf8_lossy(&rustc.stdout).into_owned();
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
        cargo(&target, &["--target", host], "-C target-feature=+crt-static")?;
        Ok(target.join(host).join("release/unix-ss"))
    };
    build().map_err(|error| error.to_string())
}

fn cargo(target: &Path, args: &[&str], flags: &str) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/unix-ss/Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "-q", "--manifest-path"]).arg(manifest).args(args);
    command.arg("--target-dir").arg(target).stdin(Stdio::null());
    if !flags.is_empty() {
        command.env("RUSTFLAGS", flags);
    }
    if command.status()?.success() { Ok(()) } else { Err("cargo cannot build the command".into()) }
}

/// A server that runs PROG for each client, or why it is not there.
pub(crate) struct Superserver {
    pub(crate) name: &'static str,
    program: Result<PathBuf, String>,
    args: fn(&str) -> Vec<String>,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().chain(&PROG).map(|&word| word.to_owned()).collect()
}

/// Ours first. Each with room for as many clients as come, where it has a limit.
pub(crate) fn superservers(pace: Pace) -> Result<Vec<Superserver>> {
    let peer = |name, program: &str, args| {
        let program = find(program).ok_or_else(|| "not installed".to_owned());
        Superserver { name, program, args }
    };
    let ours: fn(&str) -> Vec<String> = |path| words(&["serve", path, "--"]);
    Ok(vec![
        Superserver { name: "unix-ss serve", program: Ok(build()?), args: ours },
        Superserver { name: "unix-ss serve, linked statically", program: build_static(pace), args: ours },
        peer("s6-ipcserver", "s6-ipcserver", |path| words(&["-c", "1000", "-C", "1000", "-b", "4096", path])),
        peer("unixserver (ucspi-unix)", "unixserver", |path| words(&["-c", "1000", "-b", "4096", path])),
        peer("socat fork", "socat", |path| {
            vec![format!("UNIX-LISTEN:{path},fork,backlog=4096"), format!("EXEC:{}", PROG.join(" "))]
        }),
        peer("systemd-socket-activate --accept", "systemd-socket-activate", |path| {
            words(&["--accept", "--inetd", "-l", path])
        }),
    ])
}

impl Superserver {
    pub(crate) fn is_there(&self) -> Result<&Path, &str> {
        self.program.as_deref().map_err(String::as_str)
    }

    /// Started, not waited for.
    pub(crate) fn start(&self, path: &Path) -> Result<Process> {
        let mut command = Command::new(self.is_there()?);
        command.args((self.args)(path.to_str().ok_or("not UTF-8")?));
        Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Started, and it answers.
    pub(crate) fn serve(&self, path: &Path) -> Result<Process> {
        let mut process = self.start(path)?;
        process.answers(path)?;
        Ok(process)
    }
}

/// Ended, by its pid, when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Ok(Process(command.spawn()?))
    }

    /// Returns with its first answer.
    pub(crate) fn answers(&mut self, path: &Path) -> Result<()> {
        let end = Instant::now() + BOUND;
        loop {
            // Between bind() and listen() it refuses; and systemd's node is there before that.
            if let Ok(client) = UnixStream::connect(path) {
                return hear(client);
            }
            if self.0.try_wait()?.is_some() || Instant::now() > end {
                return Err("the server does not come".into());
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn wait(&mut self) -> Result<()> {
        if self.0.wait()?.success() { Ok(()) } else { Err("the program has failed".into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One client, who hears all of PROG's answer and its end.
pub(crate) fn ask(path: &Path) -> Result<()> {
    hear(UnixStream::connect(path)?)
}

fn hear(mut client: UnixStream) -> Result<()> {
    client.set_read_timeout(Some(BOUND))?;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard)?;
    match heard == REPLY {
        true => Ok(()),
        false => Err(format!("a wrong answer: {:?}", String::from_utf8_lossy(&heard)).into()),
    }
}
