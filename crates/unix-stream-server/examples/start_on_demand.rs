//! A client that starts its server: the first call starts it in the background, every other finds it, and `quit` ends it.
//!
//! ```text
//! cargo run --example start_on_demand -- /tmp/counter.sock          you are number 1
//! cargo run --example start_on_demand -- /tmp/counter.sock          you are number 2
//! cargo run --example start_on_demand -- /tmp/counter.sock quit
//! ```
//!
//! The server creates its socket itself (`wait_listen`). One that takes it from its starter (`LISTEN_FDS`) needs no
//! waiting: its clients queue meanwhile.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use unix_stream_server::{ServerSocket, StartCommand, connect_or_start};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [path] => ask(path.as_ref(), "count"),
        [path, "serve"] => serve(path.as_ref()),
        [path, word] => ask(path.as_ref(), word),
        _ => Err("give a path, and perhaps a word".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("start_on_demand: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(path: &Path, word: &str) -> Result<(), Box<dyn Error>> {
    // Ourselves, in the other part. It finds the path absolute, though its directory is ours as well.
    let server = StartCommand::new(env::current_exe()?).arg(std::path::absolute(path)?).arg("serve").wait_listen(true);
    let mut stream = connect_or_start(path, &server)?;
    writeln!(stream, "{word}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    print!("{answer}");
    Ok(())
}

fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    let server = ServerSocket::create(path)?;
    for (count, client) in (1..).zip(server.incoming()) {
        let mut client = client?;
        let mut word = String::new();
        BufReader::new(&client).read_line(&mut word)?;
        if word.trim() == "quit" {
            break;
        }
        // A client that has left is no reason to end.
        let _ = writeln!(client, "you are number {count}");
    }
    server.close()?;
    Ok(())
}
