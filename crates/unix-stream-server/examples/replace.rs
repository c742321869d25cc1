//! A server that its own next version replaces while clients come and go: started again, it takes the path over from the
//! one that runs, which serves who is left to it, and ends. No client is turned away.
//!
//! ```text
//! cargo run --example replace /tmp/replace.sock 1
//! cargo run --example replace /tmp/replace.sock 2        # in another terminal: version 1 ends, version 2 serves
//! socat - UNIX-CONNECT:/tmp/replace.sock                 # says which version answers
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use unix_stream_server::ServerSocket;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), Some(version)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: replace PATH VERSION");
        return ExitCode::from(2);
    };
    let version = version.to_string_lossy().into_owned();
    match ServerSocket::builder().replaceable(true).take_over(true).create(path).map_err(Into::into) {
        Ok(server) => match serve(server, &version) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(error.as_ref()),
        },
        Err(error) => failed(Box::<dyn Error>::as_ref(&error)),
    }
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("replace: {error}");
    ExitCode::FAILURE
}

pub(crate) fn serve(server: ServerSocket, version: &str) -> Result<(), Box<dyn Error>> {
    writeln!(io::stdout(), "version {version} serves")?;
    for client in server.until_replaced() {
        // One that goes away in the middle is no fault; one that could not be accepted is still queued.
        match client {
            Ok(mut client) => drop(writeln!(client, "version {version}")),
            Err(error) => {
                eprintln!("replace: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    writeln!(io::stdout(), "version {version} was replaced, and has served all its clients")?;
    Ok(())
}
