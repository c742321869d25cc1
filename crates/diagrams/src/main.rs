//! Draws all pictures of docs/diagrams anew: `cargo run -p diagrams`.

use std::process::ExitCode;
use std::{fs, io};

fn main() -> ExitCode {
    match draw() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("diagrams: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw() -> io::Result<()> {
    for picture in diagrams::render_all(&diagrams::directory())? {
        fs::write(picture.path, picture.svg)?;
    }
    Ok(())
}
