//! An HTTP API on axum that is replaced by its next version, or ends, without losing a client, and tells each who it is.
//!
//! ```text
//! cargo run --example axum_api --features axum0_8 /tmp/api.sock
//! while curl -sS --unix-socket /tmp/api.sock http://localhost/; do :; done     # in another terminal
//! cargo run --example axum_api --features axum0_8 /tmp/api.sock                # in a third: the first one ends
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::signal::unix::{SignalKind, signal};
use unix_stream_server::ServerSocket;
use unix_stream_server::axum0_8::{self, Client};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: axum_api PATH");
        return ExitCode::from(2);
    };
    match serve(path.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum_api: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
pub(crate) async fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let server = ServerSocket::builder().replaceable(true).take_over(true).create(path)?.into_tokio()?;
    // Until a signal, or a successor.
    let clients = server.clients_until(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    });
    let (listener, handed_out) = axum0_8::listener(clients);
    let listener = listener.on_error(|error| eprintln!("axum_api: {error}"));
    let api = Router::new().route("/", get(who));
    axum::serve(listener, api.into_make_service_with_connect_info::<Client>())
        .with_graceful_shutdown(handed_out)
        .await?;
    Ok(())
}

/// Which process answers, and whom.
async fn who(ConnectInfo(client): ConnectInfo<Client>) -> String {
    let server = std::process::id();
    match client.credentials {
        Some(client) => format!("process {server} to {client}\n"),
        None => format!("process {server} to somebody\n"),
    }
}
