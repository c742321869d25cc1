//! For whom systemd-tmpfiles cleans: where it reads its rules, and what their specifiers stand for.

use std::env::{split_paths, var_os};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Scope {
    System,
    /// `systemd-tmpfiles --user`, of the user who asks.
    User,
}

impl Scope {
    /// Where the rules are. Of files with one name, the first has the say.
    pub(super) fn directories(self) -> Vec<PathBuf> {
        if self == Scope::System {
            return ["/etc", "/run", "/usr/local/lib", "/usr/lib"]
                .map(|dir| Path::new(dir).join("tmpfiles.d"))
                .to_vec();
        }
        let listed = |name, usual: &str| split_paths(&variable(name).unwrap_or_else(|| usual.into())).collect();
        let all: [Vec<PathBuf>; 5] = [
            listed("XDG_CONFIG_DIRS", "/etc/xdg"),
            config().into_iter().collect(),
            variable("XDG_RUNTIME_DIR").map(PathBuf::from).into_iter().collect(),
            in_home("XDG_DATA_HOME", ".local/share").into_iter().collect(),
            listed("XDG_DATA_DIRS", "/usr/local/share:/usr/share"),
        ];
        all.concat().into_iter().map(|dir| dir.join("user-tmpfiles.d")).collect()
    }

    /// Where a rule of one's own belongs.
    pub(in super::super) fn own_directory(self) -> PathBuf {
        match self {
            Scope::System => "/etc/tmpfiles.d".into(),
            Scope::User => config().unwrap_or_else(|| "~/.config".into()).join("user-tmpfiles.d"),
        }
    }

    /// A path with its specifiers replaced, and whether all are known. One that is not stands for anything: `*`.
    pub(super) fn expand(self, path: &[u8]) -> (Vec<u8>, bool) {
        let (mut expanded, mut is_known, mut bytes) = (Vec::new(), true, path.iter());
        while let Some(&byte) = bytes.next() {
            let value = match (byte, bytes.as_slice().first()) {
                (b'%', Some(&name)) => {
                    bytes.next();
                    self.specifier(name)
                }
                _ => Some(vec![byte]),
            };
            is_known &= value.is_some();
            expanded.extend(value.unwrap_or_else(|| b"*".to_vec()));
        }
        (expanded, is_known)
    }

    fn specifier(self, name: u8) -> Option<Vec<u8>> {
        let is_system = self == Scope::System;
        let either = |system: &str, user: Option<PathBuf>| {
            if is_system { Some(system.into()) } else { user.map(|path| path.into_os_string().into_vec()) }
        };
        match name {
            b'%' => Some(b"%".to_vec()),
            b't' => either("/run", variable("XDG_RUNTIME_DIR").map(PathBuf::from)),
            b'T' => Some(b"/tmp".to_vec()),
            b'V' => Some(b"/var/tmp".to_vec()),
            b'S' => either("/var/lib", config()),
            b'C' => either("/var/cache", in_home("XDG_CACHE_HOME", ".cache")),
            b'L' => either("/var/log", config().map(|dir| dir.join("log"))),
            b'h' => either("/root", variable("HOME").map(PathBuf::from)),
            b'u' | b'g' => either("root", None),
            b'U' => either("0", Some(geteuid().as_raw().to_string().into())),
            b'G' => either("0", Some(getegid().as_raw().to_string().into())),
            b'b' => {
                Some(line_of("/proc/sys/kernel/random/boot_id")?.into_iter().filter(|&byte| byte != b'-').collect())
            }
            b'm' => line_of("/etc/machine-id"),
            b'H' => line_of("/proc/sys/kernel/hostname"),
            b'l' => Some(line_of("/proc/sys/kernel/hostname")?.split(|&byte| byte == b'.').next()?.to_vec()),
            b'v' => line_of("/proc/sys/kernel/osrelease"),
            _ => None,
        }
    }
}

fn variable(name: &str) -> Option<OsString> {
    var_os(name).filter(|value| !value.is_empty())
}

fn in_home(name: &str, usual: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).or_else(|| Some(Path::new(&variable("HOME")?).join(usual)))
}

fn config() -> Option<PathBuf> {
    in_home("XDG_CONFIG_HOME", ".config")
}

fn line_of(file: &str) -> Option<Vec<u8>> {
    let text = fs::read(file).ok()?;
    Some(text.trim_ascii().to_vec()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specifier_that_is_not_known_stands_for_anything() {
        let expanded = |path: &str| {
            let (path, is_known) = Scope::System.expand(path.as_bytes());
            (String::from_utf8(path).expect("UTF-8"), is_known)
        };
        assert_eq!(expanded("%t/a%%%T%"), ("/run/a%/tmp%".to_owned(), true));
        assert_eq!(expanded("/a-%z-b"), ("/a-*-b".to_owned(), false));
        let (boot, is_known) = expanded("%b");
        assert!(!is_known || boot.len() == 32 && boot.bytes().all(|byte| byte.is_ascii_hexdigit()), "{boot}");
    }
}
