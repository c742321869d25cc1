//! A worker that connects all the time, and tells what became of it.

use std::io::{ErrorKind as IoErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use unix_stream_server::{Error, ErrorKind, connect_timeout, peer_credentials};

use super::{Job, SiteJob};
use crate::clock::now;
use crate::history::{Event, History, What, Word};
use crate::process::is_told_to_end;
use crate::recipe::Defect;

/// No server is there for longer than a second, so nobody who waits as long as this is going to be served.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where a defect makes clients wait in vain, it is not to take as long to find that out.
pub(super) const PATIENCE_IF_NOT_WOKEN: Duration = Duration::from_secs(2);
/// The kernel counts time in ticks, and may be early by one.
const TICKS: Duration = Duration::from_millis(100);
/// How late a late client is, at most, in microseconds: well within the grace time of a server that is replaced.
const LATE_US: u64 = 8_000;

pub(super) fn run(job: &Job, history: &mut History) -> std::io::Result<()> {
    let mut random = fastrand::Rng::with_seed(job.seed);
    let is_short = job.defect == Some(Defect::ShutsWithoutWaking);
    let patience = if is_short { PATIENCE_IF_NOT_WOKEN } else { PATIENCE };
    while !is_told_to_end(Duration::ZERO) {
        let site = job.choose_site(&mut random);
        let event = match site.hand_overs && random.bool() {
            true => {
                visit(job, &site, patience, |path| connect_late(path, Duration::from_micros(random.u64(..LATE_US))))
            }
            false => {
                visit(job, &site, patience, |path| connect_timeout(path, patience).map_err(|error| of_error(&error)))
            }
        };
        history.tell(&event)?;
        if event.word != Word::Answered {
            let pause = random.u64(..500);
            let _ = is_told_to_end(Duration::from_micros(pause));
        }
    }
    Ok(())
}

fn visit(
    job: &Job,
    site: &SiteJob,
    patience: Duration,
    connect: impl FnOnce(&Path) -> Result<UnixStream, Word>,
) -> Event {
    let before = now();
    let result = connect(&site.path);
    let connected = now();
    let event = |word| Event::new(What::Client, word, site.index, job.number).at([before, connected, now()]);
    let mut stream = match result {
        Ok(stream) => stream,
        // When the time is over the kernel looks at the name once more, and says what it finds there by then.
        Err(_) if Duration::from_nanos(connected - before) > patience - TICKS => return event(Word::TimedOut),
        Err(word) => return event(word),
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

fn of_error(error: &Error) -> Word {
    match (error.kind(), Errno::from_raw_os_error(error.raw_os_error())) {
        (ErrorKind::TimedOut, _) => Word::TimedOut,
        (ErrorKind::NotASocket, _) => Word::NotASocket,
        (_, errno) => of_errno(errno),
    }
}

fn of_errno(errno: Errno) -> Word {
    match errno {
        Errno::NOENT => Word::Absent,
        Errno::CONNREFUSED => Word::Refused,
        Errno::ACCESS => Word::Denied,
        Errno::AGAIN => Word::TimedOut,
        _ => Word::Failed,
    }
}

/// As plain a client as there is, which is not scheduled for a while between its look at the name and its place in the
/// queue. The kernel does both in one call, which is rarely interrupted just there; through a pin it takes as long as
/// we like.
fn connect_late(path: &Path, pause: Duration) -> Result<UnixStream, Word> {
    let pin = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(of_errno)?;
    std::thread::sleep(pause);
    let connect = || {
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
        net::connect(&socket, &SocketAddrUnix::new(format!("/proc/self/fd/{}", pin.as_raw_fd()))?)?;
        Ok(UnixStream::from(socket))
    };
    connect().map_err(of_errno)
}
