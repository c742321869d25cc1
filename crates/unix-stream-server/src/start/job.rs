//! The program, its arguments and its environment, ready for exec.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::{StartCommand, invalid};
use crate::error::Result;
use crate::sys::job::Job;

/// What would say something untrue to the server: it was meant for us.
const STALE: [&str; 6] =
    ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "UNIX_SS_OWNED_PATH"];
/// Where programs are looked for without `PATH` (confstr(3), `_CS_PATH`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What an activated server is told beside its process id.
pub(super) struct Activation<'a> {
    /// The duty to remove it comes with it.
    pub(super) owned: Option<&'a Path>,
}

pub(super) fn job(path: &Path, server: &StartCommand, activation: Option<&Activation<'_>>) -> Result<Job> {
    let string = |bytes: Vec<u8>, what: &str| {
        CString::new(bytes).map_err(|_| invalid(path, format!("{what} has a NUL byte in it; remove it")))
    };
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
    if !server.env_clear {
        env.extend(std::env::vars_os());
    }
    for (name, value) in &server.env {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(invalid(path, format!("{} is no name of a variable", Path::new(name).display())));
        }
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    for name in STALE {
        env.remove(OsStr::new(name));
    }
    if let Some(activation) = activation {
        let name = server.fd_name.as_str();
        if !(1..=255).contains(&name.len()) || !name.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b':') {
            return Err(invalid(
                path,
                "the descriptor's name is not 1 to 255 printable ASCII characters without a colon",
            ));
        }
        env.insert("LISTEN_FDS".into(), "1".into());
        env.insert("LISTEN_FDNAMES".into(), name.into());
        if let Some(owned) = activation.owned {
            env.insert("UNIX_SS_OWNED_PATH".into(), owned.into());
        }
    }
    let candidates = candidates(&server.program, env.get(OsStr::new("PATH")).map(OsString::as_os_str));
    let mut args = vec![string(server.program.as_bytes().to_vec(), "the program's name")?];
    for arg in &server.args {
        args.push(string(arg.as_bytes().to_vec(), "an argument")?);
    }
    let variables = env.into_iter().map(|(name, value)| {
        let mut variable = name.into_vec();
        variable.push(b'=');
        variable.extend_from_slice(value.as_bytes());
        string(variable, "a variable of the environment")
    });
    Ok(Job {
        candidates: candidates.into_iter().map(|file| string(file, "PATH")).collect::<Result<_>>()?,
        args,
        env: variables.collect::<Result<_>>()?,
        listen_pid: activation.is_some(),
    })
}

/// As execvp(3) looks: a name with a slash is a path, an empty directory is the working directory.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<Vec<u8>> {
    let name = program.as_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let path = path.map_or(DEFAULT_PATH.as_bytes(), OsStr::as_bytes);
    let file = |dir: &[u8]| match dir {
        b"" => name.to_vec(),
        dir => [dir, b"/", name].concat(),
    };
    path.split(|&byte| byte == b':').map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(all: &[CString]) -> Vec<&str> {
        all.iter().map(|string| string.to_str().expect("text")).collect()
    }

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        let look = |program: &str, path: Option<&str>| -> Vec<String> {
            let found = candidates(OsStr::new(program), path.map(OsStr::new));
            found.into_iter().map(|file| String::from_utf8(file).expect("text")).collect()
        };
        assert_eq!(look("a", Some("/x::/y/")), ["/x/a", "a", "/y//a"]);
        assert_eq!(look("./a", Some("/x")), ["./a"]);
        assert_eq!(look("a", None), ["/bin/a", "/usr/bin/a"]);
        assert_eq!(look("", Some("/x")), [""]);
    }

    #[test]
    fn what_was_meant_for_us_is_not_passed_on_and_cannot_be_forged() {
        let server = StartCommand::new("p").arg("x").env_clear().env("A", "1").env("LISTEN_FDS", "7").env("B", "2");
        let server = server.env("NOTIFY_SOCKET", "/n").env_remove("B").env("UNIX_SS_OWNED_PATH", "/o");
        let plain = job(Path::new("/s"), &server, None).expect("good");
        assert_eq!((strings(&plain.args), strings(&plain.env), plain.listen_pid), (vec!["p", "x"], vec!["A=1"], false));
        let activation = Activation { owned: Some(Path::new("/s")) };
        let job = job(Path::new("/s"), &server.fd_name("web"), Some(&activation)).expect("good");
        assert_eq!(strings(&job.env), ["A=1", "LISTEN_FDNAMES=web", "LISTEN_FDS=1", "UNIX_SS_OWNED_PATH=/s"]);
        assert!(job.listen_pid);
    }

    #[test]
    fn what_cannot_be_said_to_a_program_is_invalid() {
        let base = || StartCommand::new("p");
        let activation = Activation { owned: None };
        for bad in [
            base().arg("a\0b"),
            base().env("a=b", "c"),
            base().env("", "c"),
            base().env("a", "\0"),
            base().fd_name("a:b"),
            base().fd_name(""),
            StartCommand::new("p\0"),
        ] {
            let error = job(Path::new("/s"), &bad, Some(&activation)).err().expect("invalid");
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{error}");
        }
    }
}
