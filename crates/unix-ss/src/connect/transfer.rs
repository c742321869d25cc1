//! Both directions of a connection at once, each until its end.
//!
//! By read(2) and write(2), which wait by themselves: the fewest calls for small messages. Where much comes through a
//! pipe, without copying: see [`super::bulk`].

use std::fs::File;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::stdio;

use super::bulk::{is_much, splice_while_much};
use crate::exit;
use crate::message::{About, failed, reason, say};

/// Large enough that the copy costs little beside the rest; the kernel queues about 200 KiB a direction.
const BUFFER: usize = 128 * 1024;

/// Standard input to the server, the server to standard output; the exit status.
pub(crate) fn run(stream: &UnixStream, path: &Path) -> u8 {
    let input_failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = std::thread::Builder::new().spawn_scoped(scope, || send(stream, &input_failed));
        if let Err(error) = sender {
            return failed(format_args!("cannot start a thread to send with: {}", reason(&error)));
        }
        let status = receive(stream, path);
        let status = if input_failed.load(Ordering::SeqCst) { status.max(exit::FAILED) } else { status };
        // Not by returning: that would wait for the sender, which may wait for the input of somebody who has no more
        // to say. All that can still be of use has been written by now.
        std::process::exit(i32::from(status))
    })
}

fn send(stream: &UnixStream, failed: &AtomicBool) {
    let mut buffer = vec![0; BUFFER];
    let mut by_splice = is_pipe(stdio::stdin());
    loop {
        match read(stdio::stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                if write_all(stream, &buffer[..length]).is_err() {
                    break; // the server has hung up; what it said before that is the receiver's
                }
                if by_splice && is_much(length) {
                    // The socket is nobody's but ours. Whatever fails here fails again, and is told, in the copying.
                    by_splice =
                        stream.set_nonblocking(true).is_ok() && splice_while_much(stdio::stdin(), stream).is_ok();
                }
            }
            Err(errno) => {
                failed.store(true, Ordering::SeqCst);
                say(format_args!("cannot read standard input: {}", reason(&errno.into())));
                break;
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Write); // no more to come; refused only by a socket that knows that already
}

fn receive(stream: &UnixStream, path: &Path) -> u8 {
    let mut buffer = vec![0; BUFFER];
    let mut by_splice = is_pipe(stdio::stdout());
    let mut answered = false;
    loop {
        match read(stream, &mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                answered = true;
                match write_all(stdio::stdout(), &buffer[..length]) {
                    Ok(()) => {}
                    // Whoever read us wants no more, as `head` does: that is no failure, and nobody is left to tell.
                    Err(Errno::PIPE) => return exit::DONE,
                    Err(errno) => {
                        return failed(format_args!("cannot write standard output: {}", reason(&errno.into())));
                    }
                }
                if by_splice && is_much(length) {
                    match splice_while_much(stream, stdio::stdout()) {
                        Ok(()) => {}
                        Err(Errno::PIPE) => return exit::DONE,
                        Err(Errno::CONNRESET) => break,
                        Err(_) => by_splice = false, // it comes again, and is told, in the copying
                    }
                }
            }
            // The server hung up before it had read all. After an answer that is its right, like EPIPE while sending;
            // without one, it has served us nothing.
            Err(Errno::CONNRESET) if answered => break,
            Err(errno) => {
                let (name, why) = (path.display(), reason(&errno.into()));
                let errno = Some(errno.raw_os_error());
                return failed(About(path, errno, format_args!("cannot read from the server at {name}: {why}")));
            }
        }
    }
    close_stdout();
    // The other direction goes on until there is no more input, or the server hangs up for good. In both cases the
    // socket is now shut both ways, which POLLHUP says.
    while matches!(poll(&mut [PollFd::new(stream, PollFlags::empty())], None), Err(Errno::INTR | Errno::AGAIN)) {}
    exit::DONE
}

/// An end of file for whoever reads us. Descriptor 1 must not become free: the next file opened would get it.
fn close_stdout() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = stdio::dup2_stdout(null); // at the worst the reader waits for our end
    }
}

fn is_pipe(fd: impl AsFd) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(&fd, &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(&fd, PollFlags::IN)?,
            result => return result,
        }
    }
}

fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(&fd, PollFlags::OUT)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Standard input and output may be non-blocking: that is a property of the open file, which others share, so it is
/// theirs to set.
pub(crate) fn wait(fd: &impl AsFd, events: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(fd, events)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
