//! `unix-ss connect` beside other clients made of standard input and output.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::child::find;
use crate::command::{Process, build, build_static};
use crate::harness::{Group, Pace, Result, Run};
use crate::report::{Part, Section};

const TEXT: &str = "
Each client's standard input and output are pipes, at whose other ends this program writes and reads. Large streams: the time
of so many MiB from the start of the client to its end, all bytes counted (and at the pace of tests, compared). Small ones:
64 bytes to a server that echoes them and back, over a connection that stays; and a whole life: started, 5 bytes there and
back, ended.";
const NOTES: &str = include_str!("connect.md");
/// What streams are made of.
const BLOCK: usize = 256 * 1024;

struct Client {
    name: &'static str,
    program: Result<PathBuf, String>,
    args: fn(&str) -> Vec<String>,
}

fn clients(pace: Pace) -> Result<Vec<Client>> {
    fn ours(path: &str) -> Vec<String> {
        vec!["connect".to_owned(), path.to_owned()]
    }
    let peer = |name, program: &str, args| Client {
        name,
        program: find(program).ok_or_else(|| "not installed".to_owned()),
        args,
    };
    Ok(vec![
        Client { name: "unix-ss connect", program: Ok(build()?), args: ours },
        Client { name: "unix-ss connect, linked statically", program: build_static(pace), args: ours },
        peer("socat", "socat", |path| vec!["-".to_owned(), format!("UNIX-CONNECT:{path}")]),
        peer("socat -b 262144", "socat", |path| {
            ["-b", "262144", "-"].map(str::to_owned).into_iter().chain([format!("UNIX-CONNECT:{path}")]).collect()
        }),
        // -N: it tells the server of the end of its input, as the others do.
        peer("nc.openbsd -N -U", "nc.openbsd", |path| ["-N", "-U", path].map(str::to_owned).to_vec()),
    ])
}

/// What the server does with its client, and so what is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Download,
    Upload,
    RoundTrips,
    Life,
}

pub(crate) fn section(pace: Pace, dirs: &[PathBuf]) -> Result<Section> {
    let scratch = tempfile::Builder::new().prefix("unix-ss-bench.").tempdir_in(&dirs[0])?;
    let clients = clients(pace)?;
    let size = pace.choose(2, 32, 128);
    let kinds = [
        (Kind::Download, format!("{size} MiB from the server"), 1),
        (Kind::Upload, format!("{size} MiB to the server"), 1),
        (Kind::RoundTrips, "64 bytes there and back".to_owned(), 1000),
        (Kind::Life, "5 bytes there and back, and a process for it".to_owned(), 10),
    ];
    let mut parts = Vec::new();
    for (kind, title, batch) in kinds {
        let mut group = Group::new(title, batch).time(Duration::from_secs(3), Duration::from_secs(18));
        for (number, client) in clients.iter().enumerate() {
            let program = match &client.program {
                Ok(program) => program,
                Err(why) => {
                    group = group.absent(client.name, why.as_str());
                    continue;
                }
            };
            let path = scratch.path().join(number.to_string());
            let mut command = Command::new(program);
            command.args((client.args)(path.to_str().ok_or("not UTF-8")?));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
            group = group.add(client.name, run(kind, command, &path, size << 20, pace == Pace::Test)?);
            if number > 1 {
                group = group.target(clients[0].name, client.name, 1.0);
            }
        }
        parts.push(Part::Timed { place: String::new(), report: group.measure(pace)? });
    }
    Ok(Section {
        id: "connect",
        title: "connect: standard input and output",
        text: TEXT.into(),
        parts,
        notes: NOTES.into(),
    })
}

fn run(kind: Kind, mut command: Command, path: &Path, size: usize, compare: bool) -> Result<Run> {
    let _ = std::fs::remove_file(path); // the last kind's
    let listener = UnixListener::bind(path)?;
    if kind == Kind::RoundTrips {
        let mut line = Line::open(&mut command, &listener)?;
        return Ok(Box::new(move |count| {
            let start = Instant::now();
            for _ in 0..count {
                line.round_trip(&[7; 64])?;
            }
            Ok(start.elapsed())
        }));
    }
    Ok(Box::new(move |count| {
        let mut sum = Duration::ZERO;
        for _ in 0..count {
            let start = Instant::now();
            match kind {
                Kind::Download => download(&mut command, &listener, size, compare)?,
                Kind::Upload => upload(&mut command, &listener, size, compare)?,
                _ => life(&mut command, &listener)?,
            }
            sum += start.elapsed();
        }
        Ok(sum)
    }))
}

fn download(command: &mut Command, listener: &UnixListener, size: usize, compare: bool) -> Result<()> {
    let mut client = Process::start(command)?;
    drop(client.0.stdin.take());
    let output = client.0.stdout.take().ok_or("no pipe")?;
    let (server, _) = listener.accept()?;
    let sender = thread::spawn(move || send(server, size));
    receive(output, size, compare)?;
    sender.join().map_err(|_| "the server panicked")??;
    client.wait()
}

fn upload(command: &mut Command, listener: &UnixListener, size: usize, compare: bool) -> Result<()> {
    let mut client = Process::start(command)?;
    let input = client.0.stdin.take().ok_or("no pipe")?;
    let (server, _) = listener.accept()?;
    let sender = thread::spawn(move || send(input, size));
    receive(server, size, compare)?;
    sender.join().map_err(|_| "the sender panicked")??;
    client.wait()
}

fn life(command: &mut Command, listener: &UnixListener) -> Result<()> {
    let mut line = Line::open(command, listener)?;
    line.round_trip(b"hello")?;
    drop(line.input);
    if line.server.read(&mut [0])? != 0 {
        return Err("more than was sent".into());
    }
    line.server.shutdown(Shutdown::Both)?;
    line.output.read_to_end(&mut Vec::new())?;
    line.client.wait()
}

/// A connection of a client whose standard input and output are ours, and the server is too.
struct Line {
    client: Process,
    input: ChildStdin,
    output: ChildStdout,
    server: UnixStream,
}

impl Line {
    fn open(command: &mut Command, listener: &UnixListener) -> Result<Self> {
        let mut client = Process::start(command)?;
        let (input, output) = (client.0.stdin.take().ok_or("no pipe")?, client.0.stdout.take().ok_or("no pipe")?);
        Ok(Line { client, input, output, server: listener.accept()?.0 })
    }

    fn round_trip(&mut self, message: &[u8]) -> Result<()> {
        let mut heard = vec![0; message.len()];
        self.input.write_all(message)?;
        self.server.read_exact(&mut heard)?;
        self.server.write_all(&heard)?;
        self.output.read_exact(&mut heard)?;
        if heard == message { Ok(()) } else { Err("a wrong answer".into()) }
    }
}

/// Bytes that tell where they belong in it: each eight are their own offset.
fn block() -> Vec<u8> {
    (0..BLOCK as u64).step_by(8).flat_map(u64::to_le_bytes).collect()
}

/// The block again and again: to make others would take time, which is not to be measured.
fn send(mut to: impl Write, size: usize) -> std::io::Result<()> {
    let block = block();
    (0..size / BLOCK).try_for_each(|_| to.write_all(&block))
}

fn receive(mut from: impl Read, size: usize, compare: bool) -> Result<()> {
    let expected = block();
    let mut buffer = vec![0; BLOCK];
    let mut sum = 0;
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        if compare {
            let wrong = |(at, byte): (usize, &u8)| *byte != expected[(sum + at) % BLOCK];
            if buffer[..length].iter().enumerate().any(wrong) {
                return Err("wrong bytes".into());
            }
        }
        sum += length;
    }
    if sum == size { Ok(()) } else { Err(format!("{sum} bytes of {size}").into()) }
}
