//! The commands of `unix-ss-torture` beside the torture itself.

pub(crate) mod flood;
pub(crate) mod soak;

use std::io::{self, Write};
use std::time::Duration;

/// A whole number of seconds or milliseconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse::<u64>().map_err(|error| error.to_string());
    match (text, text.strip_suffix("ms"), text.strip_suffix('s')) {
        ("0", ..) => Ok(Duration::ZERO),
        (_, Some(digits), _) => number(digits).map(Duration::from_millis),
        (_, _, Some(digits)) => number(digits).map(Duration::from_secs),
        _ => Err("give a whole number and ms or s, or 0".to_owned()),
    }
}

pub(crate) fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()), // whoever read us has seen enough
        result => result,
    }
}
