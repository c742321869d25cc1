//! A worker that connects all the time, and tells what became of it.

use std::io::{ErrorKind as IoErrorKind, Read};
use std::time::Duration;

use rustix::io::Errno;
use unix_stream_server::{ErrorKind, connect_timeout, peer_credentials};

use super::{Job, SiteJob};
use crate::clock::now;
use crate::history::{Event, History, What, Word};
use crate::process::is_told_to_end;

/// No server holds for longer than some milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(job: &Job, history: &mut History) -> std::io::Result<()> {
    let mut random = fastrand::Rng::with_seed(job.seed);
    while !is_told_to_end(Duration::ZERO) {
        let site = job.choose_site(&mut random);
        let event = visit(job, &site);
        history.tell(&event)?;
        if event.word != Word::Answered {
            let pause = random.u64(..500);
            let _ = is_told_to_end(Duration::from_micros(pause));
        }
    }
    Ok(())
}

fn visit(job: &Job, site: &SiteJob) -> Event {
    let before = now();
    let result = connect_timeout(&site.path, PATIENCE);
    let connected = now();
    let event = |word| Event::new(What::Client, word, site.index, job.number).at([before, connected, now()]);
    let mut stream = match result {
        Ok(stream) => stream,
        Err(error) => {
            return event(match (error.kind(), Errno::from_raw_os_error(error.raw_os_error())) {
                (ErrorKind::TimedOut, _) => Word::TimedOut,
                (ErrorKind::NotASocket, _) => Word::NotASocket,
                (_, Errno::NOENT) => Word::Absent,
                (_, Errno::CONNREFUSED) => Word::Refused,
                (_, Errno::ACCESS) => Word::Denied,
                _ => Word::Failed,
            });
        }
    };
    let peer = peer_credentials(&stream).ok().flatten().and_then(|peer| peer.pid).unwrap_or(0);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Ok(16) => match u64::from_str_radix(&answer, 16) {
            Ok(token) => event(Word::Answered).token(token),
            Err(_) => event(Word::Failed),
        },
        Err(error) if matches!(error.kind(), IoErrorKind::WouldBlock | IoErrorKind::TimedOut) => {
            event(Word::Unanswered)
        }
        _ => event(Word::Reset),
    }
    .peer(peer)
}
