//! `status`: what stands at each path, for people and for programs.

use std::fmt::{self, Write};
use std::io;
use std::path::Path;

use serde::Serialize;
use unix_stream_server::{Error, FileKind, Inspection, LockState, PathState, PeerCredentials, inspect};

use crate::json::{self, PathKeys, errno_name};
use crate::message::{one_line, reason};
use crate::output::print_each;
use crate::{cli, exit};

/// Prints what is known; the exit status: the highest of all paths'.
pub(crate) fn run(args: &cli::Status) -> u8 {
    print_each(&args.paths, |path| {
        let report = Report::new(path, inspect(path));
        let line = if args.json { json::line(&report) } else { one_line(&report.to_string()).into_owned() };
        (line + "\n", report.exit_status())
    })
}

/// The line of `--json`, and what the one for people is made of.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    about: PathKeys,
    state: &'static str,
    kind: Option<&'static str>,
    errno: Option<String>,
    error: Option<String>,
    peer: Option<Peer>,
    mode: Option<String>,
    inode: Option<u64>,
    lock: Option<Lock>,
    #[serde(skip)]
    target: Option<String>,
}

#[derive(Serialize)]
struct Peer {
    pid: Option<u32>,
    uid: u32,
    gid: Option<u32>,
    program: Option<String>,
}

#[derive(Serialize)]
struct Lock {
    state: &'static str,
    pid: Option<u32>,
    uid: Option<u32>,
}

impl Report {
    fn new(path: &Path, inspected: Result<Inspection, Error>) -> Self {
        match inspected {
            Ok(inspection) => Report::of(path, &inspection),
            // A path that can name no socket.
            Err(error) => Report {
                errno: Some(errno_name(error.raw_os_error())),
                error: Some(error.reason().to_owned()),
                ..Report::empty(path)
            },
        }
    }

    /// Of what was found there.
    pub(crate) fn of(path: &Path, inspection: &Inspection) -> Self {
        let mut report = Report::empty(path);
        report.fill(inspection);
        report
    }

    fn empty(path: &Path) -> Self {
        Report {
            about: PathKeys::of(path),
            state: "cannot_tell",
            kind: None,
            errno: None,
            error: None,
            peer: None,
            mode: None,
            inode: None,
            lock: None,
            target: None,
        }
    }

    fn fill(&mut self, inspection: &Inspection) {
        self.mode = inspection.mode.map(|mode| format!("{mode:04o}"));
        self.inode = inspection.inode;
        self.lock = Lock::new(inspection.lock);
        self.target = inspection.target.as_ref().map(|target| target.display().to_string());
        // Of another user's server the kernel does not tell the process, but whose the socket is.
        let owner = |uid| Peer { pid: None, uid, gid: None, program: None };
        if matches!(inspection.state, PathState::Live { .. } | PathState::Busy | PathState::OtherType) {
            self.peer = inspection.listener_uid.map(owner);
        }
        self.state = match inspection.state {
            PathState::Absent => "absent",
            PathState::Dead => "dead",
            PathState::Live { peer } => {
                self.peer = peer.map(Peer::new).or_else(|| self.peer.take());
                "live"
            }
            PathState::Busy => "busy",
            PathState::OtherType => "other_type",
            PathState::NotASocket { kind } => {
                self.kind = Some(FileKind::as_str(kind));
                "not_a_socket"
            }
            PathState::CannotTell { errno } => {
                self.errno = Some(errno_name(errno));
                self.error = Some(reason(&io::Error::from_raw_os_error(errno)));
                "cannot_tell"
            }
            _ => "cannot_tell",
        };
    }

    fn exit_status(&self) -> u8 {
        match self.state {
            "live" | "busy" | "other_type" => exit::DONE,
            "absent" | "dead" | "not_a_socket" => exit::NOBODY,
            _ => exit::CANNOT_TELL,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.about.path)?;
        if let Some(target) = &self.target {
            write!(f, " -> {target}")?;
        }
        f.write_str(": ")?;
        match (self.state, &self.kind, &self.error) {
            ("dead", ..) => f.write_str("dead (nobody listens on it)")?,
            ("busy", ..) => f.write_str("busy (live, with a full backlog)")?,
            ("other_type", ..) => f.write_str("other type (live, but no stream socket)")?,
            ("not_a_socket", Some(kind), _) => write!(f, "not a socket, but a {kind}")?,
            ("cannot_tell", _, Some(error)) => write!(f, "cannot tell: {error}")?,
            (state, ..) => f.write_str(state)?,
        }
        if let Some(peer) = &self.peer {
            write!(f, ", {peer}")?;
        }
        if let Some(mode) = &self.mode {
            write!(f, ", mode {mode}")?;
        }
        match &self.lock {
            Some(lock) if lock.state != "none" => write!(f, ", {lock}"),
            Some(_) => Ok(()),
            None => f.write_str(", lock unknown"),
        }
    }
}

impl Peer {
    fn new(peer: PeerCredentials) -> Self {
        Peer { pid: peer.pid, uid: peer.uid, gid: Some(peer.gid), program: peer.pid.and_then(program) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a process that cannot be seen from here")?,
        }
        write!(f, " (uid {}", self.uid)?;
        if let Some(program) = &self.program {
            write!(f, ", {program}")?;
        }
        f.write_char(')')
    }
}

impl Lock {
    fn new(state: LockState) -> Option<Self> {
        let (state, pid, uid) = match state {
            LockState::None => ("none", None, None),
            LockState::Held { pid, uid } => ("held", pid, Some(uid)),
            LockState::Left { uid } => ("left", None, Some(uid)),
            LockState::Foreign { uid } => ("foreign", None, Some(uid)),
            _ => return None,
        };
        Some(Lock { state, pid, uid })
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            "held" => f.write_str("locked")?,
            "left" => f.write_str("a dead starter's lock is left")?,
            _ => f.write_str("locked by another program, or by a second link to the lock")?,
        }
        match (self.pid, self.uid) {
            (Some(pid), Some(uid)) => write!(f, " (process {pid}, uid {uid})"),
            (None, Some(uid)) => write!(f, " (uid {uid})"),
            _ => Ok(()),
        }
    }
}

/// A process's name, where the kernel tells it. A hint, as the pid is.
pub(crate) fn program(pid: u32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}
