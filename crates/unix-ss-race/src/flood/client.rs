//! A client: connects, asks, reads the answer, and again, until it is told to end.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::Tally;
use crate::clock::now;
use crate::process::is_told_to_end;

/// Whoever is not served within it is not served at all.
const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const REQUEST: &[u8; 8] = b"who?    ";

pub(super) fn run(path: &Path) -> io::Result<()> {
    let address = SocketAddrUnix::new(path)?;
    let mut tally = Tally::default();
    while !is_told_to_end(Duration::ZERO) {
        let before = now();
        let counter = match connect(&address) {
            Ok(stream) => match ask(stream) {
                Ok(true) => {
                    tally.waits.add(now() - before);
                    &mut tally.answered
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    &mut tally.reset
                }
                Ok(false) | Err(_) => &mut tally.unanswered,
            },
            Err(Errno::NOENT) => &mut tally.absent,
            Err(Errno::CONNREFUSED) => &mut tally.refused,
            Err(_) => &mut tally.failed,
        };
        *counter += 1;
    }
    // One line, at the end of a file that all clients share.
    io::stdout().write_all((serde_json::to_string(&tally)? + "\n").as_bytes())
}

/// As any program does it, but for a bound on the wait for room in the queue.
fn connect(address: &SocketAddrUnix) -> Result<UnixStream, Errno> {
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    net::connect(&socket, address)?;
    Ok(UnixStream::from(socket))
}

/// Was there an answer by somebody: a number, a process, a whole line?
fn ask(mut stream: UnixStream) -> io::Result<bool> {
    stream.write_all(REQUEST)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let words: Vec<&str> = answer.split(' ').collect();
    Ok(matches!(words[..], [number, pid] if number.parse::<u64>().is_ok() && pid.ends_with('\n')))
}
