//! An echo server with a thread for each client that ends without losing one: at the end of its standard input
//! (Ctrl-D) it takes its path away, serves whoever is queued by then, and ends when the last client has hung up.
//!
//! ```text
//! cargo run --example echo /tmp/echo.sock
//! socat - UNIX-CONNECT:/tmp/echo.sock        # in another terminal
//! ```

use std::error::Error;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread::{self, Builder, Scope};
use std::time::Duration;

use unix_stream_server::ServerSocket;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: echo PATH");
        return ExitCode::from(2);
    };
    match ServerSocket::create(path).map_err(Into::into).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(server: ServerSocket) -> Result<(), Box<dyn Error>> {
    let (listener, ownership) = server.into_parts()?;
    let accepting = listener.try_clone()?;
    thread::scope(|scope| {
        Builder::new().spawn_scoped(scope, move || serve_all(scope, accepting.incoming()))?;
        io::copy(&mut io::stdin(), &mut io::sink())?;
        // Both share the queued clients from here on, until the kernel says to each that there are no more.
        serve_all(scope, ownership.drain(listener)?);
        Ok(())
    })
}

fn serve_all<'scope>(scope: &'scope Scope<'scope, '_>, clients: impl Iterator<Item = io::Result<UnixStream>>) {
    for client in clients {
        let served = client.and_then(|client| {
            let echo = move || io::copy(&mut &client, &mut &client); // one that goes away in the middle is no fault
            Builder::new().spawn_scoped(scope, echo).map(drop)
        });
        match served {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::InvalidInput => return, // what accept says of a drained listener
            // Out of descriptors or threads, say. One not accepted yet stays queued; without a pause this would spin.
            Err(error) => {
                eprintln!("echo: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
