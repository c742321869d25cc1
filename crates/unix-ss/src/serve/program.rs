//! How PROG is started for a client: what it finds in its environment and on its descriptors.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;
use unix_stream_server::peer_credentials;

use crate::cli::RUN_AS_EXEC;
use crate::identity::Identity;
use crate::prog::{ourselves, spawn, split, stale_variables};

/// PROG for one client each.
pub(super) struct Program {
    program: OsString,
    args: Vec<OsString>,
    path: PathBuf,
    stale: Vec<OsString>,
    run_as: Option<Identity>,
}

/// A client, with the descriptors that its PROG is to have: then only processes and memory can be lacking for a start.
pub(super) struct Accepted {
    pub(super) client: UnixStream,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
}

impl Accepted {
    /// Without enough descriptors the client comes back, for another try.
    pub(super) fn new(client: UnixStream) -> Result<Self, (UnixStream, io::Error)> {
        match (client.try_clone(), client.try_clone()) {
            (Ok(stdin), Ok(stdout)) => Ok(Accepted { client, stdin: stdin.into(), stdout: stdout.into() }),
            (Err(error), _) | (_, Err(error)) => Err((client, error)),
        }
    }
}

impl Program {
    pub(super) fn new(command: &[OsString], path: &Path, run_as: Option<Identity>) -> Self {
        let (program, args) = split(command);
        let (program, args, path) = (program.to_owned(), args.to_owned(), path.to_owned());
        Program { program, args, path, stale: stale_variables(), run_as }
    }

    pub(super) fn name(&self) -> std::path::Display<'_> {
        Path::new(&self.program).display()
    }

    /// Starts it with the client as standard input and output, by the conventions of UCSPI (ucspi-unix).
    ///
    /// The client itself is left as it was, for another try after an error for want of resources. Whoever drops it after
    /// a success leaves PROG the only owner.
    pub(super) fn start(&self, client: &UnixStream, stdin: OwnedFd, stdout: OwnedFd) -> io::Result<Pid> {
        let mut command = match &self.run_as {
            None => Command::new(&self.program),
            Some(identity) => {
                let mut command = ourselves(RUN_AS_EXEC);
                command.arg("--identity").arg(identity.to_string()).arg("--").arg(&self.program);
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
        let mut given = Some((stdin, stdout));
        let furnish = |command: &mut Command| {
            let (stdin, stdout) = match given.take() {
                Some(given) => given,
                None => (client.try_clone()?.into(), client.try_clone()?.into()),
            };
            command.stdin(stdin).stdout(stdout);
            // A group of its own, so that one signal reaches all that PROG starts, and a terminal's ^C comes to us alone.
            // With nothing more than this, std starts it by posix_spawn, which does not copy our memory map.
            command.process_group(0);
            Ok(())
        };
        // Not waited for by this handle: the server reaps every child that ends.
        spawn(command, furnish).map(|child| Pid::from_child(&child))
    }
}
