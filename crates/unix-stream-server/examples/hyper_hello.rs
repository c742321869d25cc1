//! An HTTP server on hyper that ends without losing a client: at SIGTERM or Ctrl-C it takes its path away, answers
//! whoever is queued by then, and ends when the last request has been answered.
//!
//! ```text
//! cargo run --example hyper_hello --features tokio1 /tmp/hello.sock
//! curl --unix-socket /tmp/hello.sock http://localhost/      # in another terminal
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use unix_stream_server::ServerSocket;
use unix_stream_server::tokio1::SilentClients;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: hyper_hello PATH");
        return ExitCode::from(2);
    };
    match serve(path.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper_hello: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
pub(crate) async fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut clients = ServerSocket::create(path)?.into_tokio()?.clients_until(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    });

    let mut http = http1::Builder::new();
    // So that a client that stops in the middle of a request does not keep the server from its end for ever.
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    let requests = GracefulShutdown::new();
    let silent = SilentClients::new();
    while let Some(client) = clients.next().await {
        match client {
            Ok(client) => {
                let connection = http.serve_connection(TokioIo::new(silent.watch(client)), service_fn(hello));
                tokio::spawn(requests.watch(connection)); // a client that goes away in the middle is no fault
            }
            Err(error) => eprintln!("hyper_hello: {error}"), // out of descriptors, say; it is tried again
        }
    }
    if let Some(Err(error)) = clients.status() {
        eprintln!("hyper_hello: {error}");
    }
    // hyper closes a connection that nothing has been read from, though its client was let in and is about to speak.
    let _ = timeout(Duration::from_secs(5), silent.all_have_begun()).await;
    requests.shutdown().await;
    Ok(())
}

async fn hello(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(format!("hello, {} {}\n", request.method(), request.uri().path())))
}
