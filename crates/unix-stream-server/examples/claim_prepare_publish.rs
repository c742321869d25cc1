//! State that two servers must never touch at once: claim the path, prepare the state, only then let clients in. A
//! second server is told who is there before it touches the state, in every phase of the first.
//!
//! ```text
//! cargo run --example claim_prepare_publish /tmp/state.sock /tmp/state.txt     # twice, in two terminals
//! socat - UNIX-CONNECT:/tmp/state.sock                                         # prints the state
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use unix_stream_server::{LockScope, ServerSocket};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [path, state] = arguments.as_slice() else {
        eprintln!("usage: claim_prepare_publish PATH STATE_FILE");
        return ExitCode::from(2);
    };
    match serve(path.as_ref(), state.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("claim_prepare_publish: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(path: &Path, state: &Path) -> Result<(), Box<dyn Error>> {
    let builder = ServerSocket::builder().lock_scope(LockScope::Lifetime).lock_timeout(Duration::from_millis(200));
    let claim = builder.claim(path)?;

    // Ours alone from here on, and no client can come yet: replay a log, migrate a database.
    let mut file = OpenOptions::new().create(true).append(true).open(state)?;
    writeln!(file, "process {} starts; its path was {}", std::process::id(), claim.state())?;
    eprintln!("preparing for 3 seconds");
    thread::sleep(Duration::from_secs(3));

    let server = claim.listen()?;
    eprintln!("serving at {}", server.local_path().display());
    for client in server.incoming() {
        let mut client = client?;
        if let Err(error) = fs::read(state).and_then(|state| client.write_all(&state)) {
            eprintln!("a client was not served: {error}");
        }
    }
    Ok(())
}
