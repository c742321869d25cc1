//! How PROG is started: what it finds in its environment and on its descriptors.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::process::Pid;
use unix_stream_server::peer_credentials;

use crate::cli::{RUN_AS_EXEC, Serve};
use crate::identity::Identity;
use crate::message::{reason, say};
use crate::{exit, log};

/// PROG for one client each.
pub(crate) struct Program {
    program: OsString,
    args: Vec<OsString>,
    path: PathBuf,
    stale: Vec<OsString>,
    run_as: Option<Identity>,
}

/// A client, with the descriptors that its PROG is to have: then only processes and memory can be lacking for a start.
pub(crate) struct Accepted {
    pub(crate) client: UnixStream,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
}

impl Accepted {
    /// Without enough descriptors the client comes back, for another try.
    pub(crate) fn new(client: UnixStream) -> Result<Self, (UnixStream, io::Error)> {
        match (client.try_clone(), client.try_clone()) {
            (Ok(stdin), Ok(stdout)) => Ok(Accepted { client, stdin: stdin.into(), stdout: stdout.into() }),
            (Err(error), _) | (_, Err(error)) => Err((client, error)),
        }
    }
}

impl Program {
    pub(crate) fn new(command: &[OsString], path: &Path, run_as: Option<Identity>) -> Self {
        let (program, args) = split(command);
        let (program, args, path) = (program.to_owned(), args.to_owned(), path.to_owned());
        Program { program, args, path, stale: stale_variables(), run_as }
    }

    pub(crate) fn name(&self) -> std::path::Display<'_> {
        Path::new(&self.program).display()
    }

    /// Starts it with the client as standard input and output, by the conventions of UCSPI (ucspi-unix).
    ///
    /// The client itself is left as it was, for another try after an error for want of resources. Whoever drops it after
    /// a success leaves PROG the only owner.
    pub(crate) fn start(&self, client: &UnixStream, stdin: OwnedFd, stdout: OwnedFd) -> io::Result<Pid> {
        let mut command = match &self.run_as {
            None => Command::new(&self.program),
            Some(identity) => {
                let mut command = Command::new("/proc/self/exe");
                command.arg0("unix-ss").arg(RUN_AS_EXEC).arg("--identity").arg(identity.to_string());
                command.args(log::options()).arg("--").arg(&self.program);
                command
            }
        };
        command.args(&self.args);
        for variable in &self.stale {
            command.env_remove(variable);
        }
        command.env("PROTO", "UNIX").env("UNIXLOCALPATH", &self.path);
        if let Ok(Some(peer)) = peer_credentials(client) {
            if let Some(pid) = peer.pid {
                command.env("UNIXREMOTEPID", pid.to_string());
            }
            command.env("UNIXREMOTEEUID", peer.uid.to_string()).env("UNIXREMOTEEGID", peer.gid.to_string());
        }
        command.stdin(stdin).stdout(stdout);
        // A group of its own, so that one signal reaches all that PROG starts, and a terminal's ^C comes to us alone.
        // With nothing more than this, std starts it by posix_spawn, which does not copy our memory map.
        command.process_group(0);
        // Not waited for by this handle: the server reaps every child that ends.
        command.spawn().map(|child| Pid::from_child(&child))
    }
}

/// Before a server that works is replaced: can PROG be run at all? The exit status if not.
pub(crate) fn must_be_there(args: &Serve, as_another_user: bool) -> Result<(), u8> {
    if !args.replace {
        return Ok(());
    }
    let (program, _) = split(&args.program);
    find(program, as_another_user).map_err(|error| {
        say(format_args!("cannot run {}: {}; nothing was replaced", Path::new(program).display(), reason(&error)));
        exit::of_start(&error)
    })
}

/// As execvp(3) looks for it. What another user may run, only a try can tell.
fn find(program: &OsStr, as_another_user: bool) -> io::Result<()> {
    let check = |path: &Path| {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(Errno::ACCESS.into());
        }
        let wanted = if as_another_user { Access::EXISTS } else { Access::EXEC_OK };
        Ok(accessat(CWD, path, wanted, AtFlags::EACCESS)?)
    };
    if program.as_bytes().contains(&b'/') {
        return check(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut found = io::Error::from(Errno::NOENT);
    for directory in std::env::split_paths(&path) {
        match check(&directory.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found = error,
            Err(_) => {}
        }
    }
    Err(found)
}

/// PROG and its arguments; clap has seen to it that there is one.
pub(crate) fn split(command: &[OsString]) -> (&OsStr, &[OsString]) {
    match command.split_first() {
        Some((program, args)) => (program, args),
        None => (OsStr::new(""), &[]),
    }
}

/// Variables of ours that would say something untrue to PROG: what we were handed by a service manager, or by another
/// server of this kind that we run behind.
pub(crate) fn stale_variables() -> Vec<OsString> {
    const NAMES: [&str; 7] = [
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "NOTIFY_SOCKET",
        "UNIX_SS_OWNED_PATH",
        "PROTO",
    ];
    let is_stale = |name: &OsString| {
        let name = name.as_bytes();
        NAMES.iter().any(|stale| stale.as_bytes() == name)
            || name.starts_with(b"UNIXLOCAL")
            || name.starts_with(b"UNIXREMOTE")
    };
    std::env::vars_os().map(|(name, _)| name).filter(is_stale).collect()
}

/// An error that will pass: too many descriptors, processes, or pages for the moment.
pub(crate) fn lacks_resources(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN];
    lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Has this client gone without having sent a byte? Then nobody would read an answer.
///
/// A client that has only shut down its sending side waits for an answer, and is no such one: it polls no POLLHUP.
pub(crate) fn hung_up(client: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::{RecvFlags, recv};

    let mut fds = [PollFd::new(client, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut fds, Some(&now)).is_err() || !fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return false;
    }
    // Data that was sent before the end is served all the same.
    !matches!(recv(client, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
}
