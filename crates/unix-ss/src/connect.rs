//! `connect`: a client made of standard input and output.

mod bulk;
mod transfer;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use unix_stream_server::{ConnectOptions, Error, ErrorKind};

use crate::cli::Connect;
use crate::exit;
use crate::message::{failed, say};
use crate::retry::try_within;

/// Connects and transfers; the exit status.
pub(crate) fn run(args: &Connect) -> u8 {
    let options = match args.expect.options() {
        Ok(options) => options,
        Err(why) => return failed(why),
    };
    let stream = match args.wait {
        None => options.connect(&args.path),
        Some(time) => connect_within(args, &options, time),
    };
    match stream {
        Ok(stream) => transfer::run(&stream, &args.path),
        Err(error) => {
            say(&error);
            exit::of_client(&error)
        }
    }
}

/// Until somebody listens and has room, or the time is over; the last error then.
fn connect_within(args: &Connect, options: &ConnectOptions, time: Duration) -> Result<UnixStream, Error> {
    // Waits in a full backlog by itself, for all of the time.
    try_within(time, |left| options.clone().timeout(left).connect(&args.path), may_pass)
}

/// Nothing is there yet, nobody listens yet, or nobody has accepted yet.
fn may_pass(error: &Error) -> bool {
    let errno = Errno::from_raw_os_error(error.raw_os_error());
    match error.kind() {
        ErrorKind::TimedOut => true,
        ErrorKind::System => [Errno::NOENT, Errno::CONNREFUSED].contains(&errno),
        _ => false,
    }
}
