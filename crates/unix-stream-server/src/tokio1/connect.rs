//! Clients.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;

use super::register::errno_of;
use super::server::into_tokio;
use crate::error::{Error, ErrorKind, Result};

const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Connects to the server at a path of any length, following symbolic links: [`connect()`](crate::connect()) for tokio.
///
/// On a full backlog it waits for as long as that takes. No system call can wait for that without blocking a thread
/// (poll(2) says at once that such a socket is ready and hung up), so it asks again and again, with a growing pause of
/// at most 20 ms; `tokio::time::timeout` bounds it.
///
/// # Errors
///
/// Those of [`connect()`](crate::connect()).
///
/// # Cancel safety
///
/// A future that is dropped has connected to nobody.
pub async fn connect(path: impl AsRef<Path>) -> Result<UnixStream> {
    let path = path.as_ref();
    let mut pause = FIRST_PAUSE;
    loop {
        match crate::connect_timeout(path, Duration::ZERO) {
            Ok(stream) => return into_tokio(stream).map_err(|error| failed(path, &error)),
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(error),
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::system(crate::connect::CONNECT, path, "register", errno_of(error))
}

/// Between half of it and the whole, so that clients that were turned away together do not come back together.
fn jittered(pause: Duration) -> Duration {
    // A fresh RandomState has fresh random keys.
    let chance = RandomState::new().build_hasher().finish();
    pause.mul_f64(0.5 + (chance % 1024) as f64 / 2048.0)
}
