//! An echo server on mio, in one thread, that ends without losing a client: at the end of its standard input (Ctrl-D) it
//! takes its path away, serves whoever is queued by then, and ends when the last client has hung up.
//!
//! ```text
//! cargo run --example mio_echo --features mio1 /tmp/echo.sock
//! socat - UNIX-CONNECT:/tmp/echo.sock        # in another terminal
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use unix_stream_server::{ServerSocket, mio1};

const SERVER: Token = Token(0);
const END: Token = Token(1);
const FIRST_CLIENT: usize = 2;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: mio_echo PATH");
        return ExitCode::from(2);
    };
    match serve(path.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mio_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut server = ServerSocket::create(path)?.into_mio()?;
    poll.registry().register(&mut server, SERVER, Interest::READABLE)?;
    let waker = Arc::new(Waker::new(poll.registry(), END)?); // kept here: its event would go with it
    std::thread::spawn({
        let waker = Arc::clone(&waker);
        move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            let _ = waker.wake();
        }
    });

    let mut clients = Clients { registry: poll.registry().try_clone()?, all: HashMap::new(), next: FIRST_CLIENT };
    let mut server = Some(server);
    let mut again = None;
    let mut events = Events::with_capacity(256);
    while server.is_some() || !clients.all.is_empty() {
        match poll.poll(&mut events, again.take()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match (event.token(), &mut server) {
                (END, _) => {
                    if let Some(server) = server.take() {
                        clients.take_queued(server)?;
                    }
                }
                (SERVER, _) => {}
                (client, _) => clients.echo(client),
            }
        }
        // In every turn and not only at an event: after EMFILE nothing tells that the client is still there.
        if let Some(server) = &server {
            again = clients.accept(server);
        }
    }
    Ok(())
}

struct Clients {
    registry: Registry,
    all: HashMap<Token, Client>,
    next: usize,
}

struct Client {
    stream: UnixStream,
    /// Heard, and not yet sent back.
    pending: Vec<u8>,
    has_ended: bool,
}

impl Clients {
    /// Takes all who are there; the time after which to try again if that failed.
    fn accept(&mut self, server: &mio1::ServerSocket) -> Option<Duration> {
        loop {
            match server.accept().and_then(|(client, _)| self.add(client)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => {
                    eprintln!("mio_echo: {error}");
                    return Some(Duration::from_millis(100));
                }
            }
        }
    }

    fn take_queued(&mut self, mut server: mio1::ServerSocket) -> Result<(), Box<dyn Error>> {
        self.registry.deregister(&mut server)?;
        for client in server.drain()? {
            self.add(client?)?;
        }
        Ok(())
    }

    fn add(&mut self, mut stream: UnixStream) -> io::Result<()> {
        let token = Token(self.next);
        self.next += 1;
        self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.all.insert(token, Client { stream, pending: Vec::new(), has_ended: false });
        Ok(())
    }

    fn echo(&mut self, token: Token) {
        let Some(client) = self.all.get_mut(&token) else { return };
        // Closing it deregisters it. One that goes away in the middle is no fault.
        if client.echo().is_err() || client.has_ended && client.pending.is_empty() {
            self.all.remove(&token);
        }
    }
}

impl Client {
    /// Everything that can be done without waiting.
    fn echo(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            while !self.pending.is_empty() {
                match self.stream.write(&self.pending) {
                    Ok(sent) => drop(self.pending.drain(..sent)),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            if self.has_ended {
                return Ok(());
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => self.has_ended = true,
                Ok(read) => self.pending.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
