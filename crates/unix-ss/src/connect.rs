//! `connect`: a client made of standard input and output.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use unix_stream_server::{ConnectOptions, Error, ErrorKind};

use crate::cli::Connect;
use crate::message::{failed, say};
use crate::{exit, transfer};

/// The first pause between two tries, doubled each time up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

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
    // A time beyond the clock's end is for ever; some centuries will do.
    let far = Duration::from_secs(u64::from(u32::MAX));
    let deadline = Instant::now() + time.min(far);
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Waits in a full backlog by itself, for all of the time.
        let error = match options.clone().timeout(left).connect(&args.path) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !may_pass(&error) {
            return Err(error);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(LAST_PAUSE);
    }
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
