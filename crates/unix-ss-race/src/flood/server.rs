//! A server: takes over, serves until it is replaced in turn, and ends. It tells the conductor, a line each.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::Options;
use super::client::REQUEST;
use crate::clock::now;

/// For the lock, a predecessor's end, a client's request: none of them takes long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(options: &Options, path: &Path, number: u64) -> io::Result<()> {
    let mut conductor = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    // One write of a few bytes to a pipe: it does not mix with others'.
    let mut say = |words: &str| conductor.write_all(format!("{number} {words}\n").as_bytes());
    let before = now();
    let mut server = match options.builder().lock_timeout(PATIENCE).create(path) {
        Ok(server) => server,
        Err(error) => return say(&format!("Failed {error}")),
    };
    say(&format!("Up {}", now() - before))?;
    if let Err(error) = server.wait_for_predecessor(PATIENCE) {
        return say(&format!("Failed {error}"));
    }
    say(&format!("Ready {}", now() - before))?;
    let answer = format!("{number} {}\n", std::process::id());
    for client in server.until_replaced().grace(options.grace) {
        match client {
            Ok(client) => serve(client, &answer),
            Err(error) => return say(&format!("Failed {error}")),
        }
    }
    say("Ended 0")
}

/// What becomes of a client is told by the client.
fn serve(mut client: UnixStream, answer: &str) {
    let _ = client.set_read_timeout(Some(PATIENCE));
    let mut request = [0; REQUEST.len()];
    if client.read_exact(&mut request).is_ok() {
        let _ = client.write_all(answer.as_bytes());
    }
}
