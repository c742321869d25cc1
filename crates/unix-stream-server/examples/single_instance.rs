//! One instance of a program: the first start becomes it and prints the messages it gets; every later start hands its
//! arguments to it and ends, even if many start at once or the instance ends in between.
//! ```text
//! cargo run --example single_instance /tmp/instance.sock                 # the message `quit` ends it
//! cargo run --example single_instance /tmp/instance.sock hello there     # in another terminal
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::{env, process::ExitCode, time::Duration};

use libc::{ECONNREFUSED, ENOENT};
use unix_stream_server::{ServerSocket, connect_timeout};

const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("single_instance: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: single_instance PATH [MESSAGE...]")?;
    loop {
        match ServerSocket::create(&path) {
            Err(error) if error.is_in_use() => {}
            server => return be_the_instance(server?),
        }
        match connect_timeout(&path, PATIENCE) {
            // It has ended since create saw it alive: the place is free, perhaps for us.
            Err(error) if [ENOENT, ECONNREFUSED].contains(&error.raw_os_error()) => {}
            instance => return Ok(tell(instance?)?),
        }
    }
}

fn be_the_instance(server: ServerSocket) -> Result<(), Box<dyn Error>> {
    while !hear(server.accept()?.0).is_ok_and(|message| message == "quit") {}
    server.drain()?.for_each(|client| drop(client.and_then(hear)));
    Ok(())
}

fn hear(mut client: UnixStream) -> io::Result<String> {
    let mut message = String::new();
    client.set_read_timeout(Some(PATIENCE))?; // one that is stuck must not keep the others waiting
    (&client).take(64 * 1024).read_to_string(&mut message)?;
    // None from the connection by which another start's create found out that we live.
    message.lines().try_for_each(|line| writeln!(io::stdout(), "message: {line}"))?;
    client.write_all(b"heard")?;
    Ok(message)
}

fn tell(mut instance: UnixStream) -> io::Result<()> {
    let message: Vec<_> = env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    instance.write_all(message.join(" ").as_bytes())?;
    instance.shutdown(std::net::Shutdown::Write)?;
    instance.read_exact(&mut [0; 5]) // the answer: without it nobody knows that the message arrived
}
