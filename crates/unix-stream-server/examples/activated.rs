//! An echo server, line by line, that serves the socket that a service manager hands in, and makes its own where it is
//! started by hand. The line `quit` ends it, without losing a client: with a manager, who is queued then waits for the
//! next start; without one, who is queued is still served.
//!
//! ```text
//! systemd-socket-activate -l /tmp/activated.sock target/debug/examples/activated   # or
//! unix-ss serve --activate /tmp/activated.sock -- target/debug/examples/activated  # or
//! cargo run --example activated /tmp/activated.sock
//! socat - UNIX-CONNECT:/tmp/activated.sock                                         # in another terminal
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use unix_stream_server::{AdoptedSocket, ServerSocket, from_env, notify};

fn main() -> ExitCode {
    match run(std::env::args_os().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("activated: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until told to quit: what was handed in, or else a socket of its own at `path`.
pub fn run(path: Option<OsString>) -> Result<(), Box<dyn Error>> {
    // First of all: descriptors are known by their number only.
    let socket: AdoptedSocket = match (from_env()?.take_first(), path) {
        (Some(socket), _) => socket,
        (None, Some(path)) => ServerSocket::create(path)?.into(),
        (None, None) => return Err("no socket was handed in; usage: activated PATH".into()),
    };
    // One that was left non-blocking by its maker would make accept() return at once.
    socket.set_nonblocking(false)?;
    tell(notify::ready());
    for client in socket.incoming() {
        // One that goes away in the middle is no fault.
        if client.and_then(echo).unwrap_or_default() == Last::Quit {
            break;
        }
    }
    tell(notify::stopping());
    for client in socket.drain()? {
        let _ = client.and_then(echo);
    }
    Ok(())
}

#[derive(Default, PartialEq, Eq)]
enum Last {
    #[default]
    Line,
    Quit,
}

fn echo(client: UnixStream) -> std::io::Result<Last> {
    for line in BufReader::new(&client).lines() {
        let line = line?;
        (&client).write_all(format!("{line}\n").as_bytes())?;
        if line == "quit" {
            return Ok(Last::Quit);
        }
    }
    Ok(Last::Line)
}

/// The clients matter more than the one who was to be told.
fn tell(told: unix_stream_server::Result<bool>) {
    if let Err(error) = told {
        eprintln!("activated: {error}; serving all the same");
    }
}
