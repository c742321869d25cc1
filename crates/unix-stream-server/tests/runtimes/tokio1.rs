//! tokio: futures that may be dropped, streams that end, and threads of the runtime that are never held up.

mod accepting;
mod connecting;
mod ending;
mod replaced;
mod watching;

use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use unix_stream_server::connect_timeout;

use crate::support::PATIENCE;

/// A runtime with one thread: whoever blocks it blocks everything.
fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs a future to its end, which must come.
#[track_caller]
fn run<T>(future: impl Future<Output = T>) -> T {
    one_thread().block_on(async { timeout(PATIENCE, future).await.expect("it hangs") })
}

/// Answers a client: what it says, back.
async fn answer(mut client: tokio::net::UnixStream) {
    let mut word = Vec::new();
    // One that has gone in the middle is no fault here.
    if client.read_to_end(&mut word).await.is_ok() {
        let _ = client.write_all(&word).await;
    }
}

/// A client that says a word and wants it back.
fn ask(mut client: UnixStream) {
    client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    client.write_all(b"word").expect("write");
    client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("not reset");
    assert_eq!(answer, b"word", "a client was let in and not answered");
}

/// Clients, each in a thread, that are all to be answered.
fn clients(path: &Path, count: usize) -> Vec<thread::JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let path = PathBuf::from(path);
            thread::spawn(move || ask(connect_timeout(path, PATIENCE).expect("a server is there")))
        })
        .collect()
}

/// Waits for threads without blocking the runtime; their panics are ours.
async fn join<T: Send + 'static>(threads: Vec<thread::JoinHandle<T>>) -> Vec<T> {
    let joined = tokio::task::spawn_blocking(|| {
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    joined.await.expect("they did not panic")
}
