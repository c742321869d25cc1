//! PROG as it stands on the command line: what starts it, and why it cannot be started.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::cli::Serve;
use crate::message::{About, reason, say};
use crate::{exit, log};

/// PROG and its arguments; clap has seen to it that there is one.
pub(crate) fn split(prog: &[OsString]) -> (&OsStr, &[OsString]) {
    match prog.split_first() {
        Some((program, args)) => (program, args),
        None => (OsStr::new(""), &[]),
    }
}

/// What starts it, in an environment that says nothing untrue.
pub(crate) fn command(prog: &[OsString]) -> Command {
    let (program, args) = split(prog);
    let mut command = Command::new(program);
    command.args(args);
    remove_stale_variables(&mut command);
    command
}

pub(crate) fn remove_stale_variables(command: &mut Command) {
    for variable in stale_variables() {
        command.env_remove(variable);
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

/// Starts it, as execvp(3) would: a file in no format that the kernel knows is a script for sh. `furnish` says what it
/// finds, and is asked once more for sh.
pub(crate) fn spawn(
    mut command: Command,
    mut furnish: impl FnMut(&mut Command) -> io::Result<()>,
) -> io::Result<Child> {
    furnish(&mut command)?;
    match command.spawn() {
        Err(error) if has_no_format(&error) => {
            let mut script = by_sh(&command).ok_or(error)?;
            furnish(&mut script)?;
            script.spawn()
        }
        result => result,
    }
}

/// Becomes it, as well also where execvp(3) knows no scripts (musl). Returns only if that failed.
pub(crate) fn exec(mut command: Command) -> io::Error {
    let error = command.exec();
    match by_sh(&command).filter(|_| has_no_format(&error)) {
        Some(mut script) => script.exec(),
        None => error,
    }
}

fn has_no_format(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error())
}

/// The same, with the same environment, read by sh.
fn by_sh(command: &Command) -> Option<Command> {
    let mut script = Command::new("/bin/sh");
    script.arg("--").arg(find(command.get_program(), false).ok()?).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    Some(script)
}

/// Says why it cannot be run; the exit status.
pub(crate) fn cannot_run(prog: &[OsString], error: &io::Error) -> u8 {
    let (program, _) = split(prog);
    let path = Path::new(program);
    say(About(path, error.raw_os_error(), format_args!("cannot run {}: {}", path.display(), reason(error))));
    exit::of_start(error)
}

/// Before a server that works is replaced: can PROG be run at all? The exit status if not.
pub(crate) fn must_be_there(args: &Serve, as_another_user: bool) -> Result<(), u8> {
    if !args.replace {
        return Ok(());
    }
    let (program, _) = split(&args.program);
    let found = find(program, as_another_user);
    found.map(drop).map_err(|error| {
        let (path, why) = (Path::new(program), reason(&error));
        let told = format_args!("cannot run {}: {why}; nothing was replaced", path.display());
        say(About(path, error.raw_os_error(), told));
        exit::of_start(&error)
    })
}

/// As execvp(3) looks for it. What another user may run, only a try can tell.
fn find(program: &OsStr, as_another_user: bool) -> io::Result<PathBuf> {
    let check = |path: PathBuf| {
        let metadata = std::fs::metadata(&path)?;
        if metadata.is_dir() {
            return Err(Errno::ACCESS.into());
        }
        let wanted = if as_another_user { Access::EXISTS } else { Access::EXEC_OK };
        accessat(CWD, &path, wanted, AtFlags::EACCESS)?;
        Ok(path)
    };
    if program.as_bytes().contains(&b'/') {
        return check(PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut found = io::Error::from(Errno::NOENT);
    for directory in std::env::split_paths(&path) {
        match check(directory.join(program)) {
            Ok(path) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found = error,
            Err(_) => {}
        }
    }
    Err(found)
}

/// Ourselves once more, in another mode: a supervisor of PROG, or a hidden half of ours that becomes PROG.
pub(crate) fn ourselves(mode: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("unix-ss").arg(mode).args(log::options());
    command
}

/// Says why we could not be started once more; the exit status.
pub(crate) fn cannot_run_ourselves(error: &io::Error) -> u8 {
    let hint = if lacks_resources(error) { "" } else { "; is /proc mounted?" };
    say(format_args!("cannot start itself again to run PROG: {}{hint}", reason(error)));
    exit::CANNOT_RUN
}

/// An error that will pass: too many descriptors, processes, or pages for the moment.
pub(crate) fn lacks_resources(error: &io::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN];
    lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
