//! A line of tmpfiles.d(5), as systemd-tmpfiles takes it when it cleans.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::pattern::matches;
use super::scope::Scope;
use super::words::{Words, split};
use super::{age, path_of};

/// A line for a path: what it does not clean, it keeps from being cleaned with the directory above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: u8,
    /// From the root on.
    pub(super) path: Vec<u8>,
    /// The path stands for all that match it, not for itself alone.
    pub(super) is_pattern: bool,
    /// `None`: nothing goes by its age.
    pub(super) age: Option<String>,
    /// There is no doubt that systemd takes the line, and for that path.
    pub(super) is_sure: bool,
}

impl Line {
    pub(super) fn is_for(&self, name: &Path) -> bool {
        if self.is_pattern { matches(&self.path, name) } else { path_of(&self.path) == name }
    }

    /// Where it cleans, it cleans its directory.
    pub(super) fn may_clean(&self) -> bool {
        b"dDevqQCxX".contains(&self.kind)
    }

    /// Of those for one path that differ in age, say, systemd takes the first alone, but for those that only set rights or
    /// attributes.
    pub(super) fn is_double_of(&self, earlier: &Line) -> bool {
        let both = |is: fn(&Line) -> bool| is(self) && is(earlier);
        // If not, the later one may be the only one of them that cleans.
        let is_clear = earlier.is_sure && (earlier.age.is_none() || b"dDevqQC".contains(&earlier.kind));
        is_clear
            && both(|line| !b"zZmtTaAhH".contains(&line.kind))
            && self.is_pattern == earlier.is_pattern
            && path_of(&self.path) == path_of(&earlier.path)
    }
}

/// `d /tmp 1777 root root 10d`; `None` for a line that systemd passes over, in this scope or when it only cleans.
pub(super) fn parse(line: &[u8], scope: Scope) -> Option<Line> {
    let line = line.trim_ascii_start();
    if line.starts_with(b"#") {
        return None;
    }
    let Words { words, rest, is_sure } = split(line)?;
    let mut words = words.into_iter();
    let command = words.next()?;
    let (&kind, modifiers) = command.split_first()?;
    let (path, is_known) = scope.expand(&words.next()?);
    let mut next = || String::from_utf8_lossy(&words.next().unwrap_or_default()).into_owned();
    let (mode, user, group, age) = (next(), next(), next(), next());
    if !b"fFwdDevqQpLcbCxXrRzZmtTaAhH".contains(&kind) || !path.starts_with(b"/") || !is_mode(&mode) {
        return None;
    }
    let path = match path_of(&path).strip_prefix("/var/run") {
        // systemd itself knows where that leads.
        Ok(rest) if rest.components().next().is_some() => {
            Path::new("/run").join(rest).into_os_string().into_encoded_bytes()
        }
        _ => path,
    };
    let is_sure = is_sure
        && is_known
        && is_obeyed(modifiers)?
        && is_argument(kind, &path, rest)?
        && exists("/etc/passwd", &user)
        && exists("/etc/group", &group);
    let age = Some(age).filter(|age| !is_unset(age));
    if age.as_deref().is_some_and(|age| !age::is_valid(age)) {
        return None;
    }
    let age = age.filter(|age| !age::is_never(age));
    Some(Line { kind, path, is_pattern: !is_known || b"wexXrRzZmtTaAhH".contains(&kind), age, is_sure })
}

fn is_unset(word: &str) -> bool {
    matches!(word, "" | "-")
}

/// `None` where the line is not for cleaning, or an error; `false` where that hangs on the version, or on more.
fn is_obeyed(modifiers: &[u8]) -> Option<bool> {
    let mut is_sure = true;
    for (at, modifier) in modifiers.iter().enumerate() {
        match modifier {
            // Not twice, of course.
            one if modifiers.iter().take(at).any(|other| other == one) => return None,
            b'-' | b'+' | b'=' => {}
            b'~' | b'^' | b'$' => is_sure = false,
            // `!` is for the boot alone.
            _ => return None,
        }
    }
    Some(is_sure)
}

fn is_mode(word: &str) -> bool {
    let digits = word.trim_start_matches(['~', ':']);
    is_unset(word) || u32::from_str_radix(digits, 8).is_ok_and(|mode| mode <= 0o7777)
}

/// A user or group by number, or one whom the file has; of others, who may be known elsewhere, it cannot be told.
fn exists(file: &str, word: &str) -> bool {
    let name = word.trim_start_matches(':');
    let line = format!("{name}:");
    is_unset(word)
        || name.parse::<u32>().is_ok_and(|number| number != u32::MAX)
        || fs::read(file)
            .is_ok_and(|text| text.split(|&byte| byte == b'\n').any(|each| each.starts_with(line.as_bytes())))
}

/// `None` where it lacks, or is of no use; `false` where that cannot be told.
fn is_argument(kind: u8, path: &[u8], argument: &[u8]) -> Option<bool> {
    let given = if matches!(argument, b"" | b"-") { None } else { Some(argument) };
    // Those may stand for something else.
    let is_plain = !argument.iter().any(|byte| br"%\".contains(byte));
    if kind == b'C' {
        let source = given.map_or_else(|| [b"/usr/share/factory/", path].concat(), <[u8]>::to_vec);
        let is_missing = |error: Error| error.kind() == ErrorKind::NotFound;
        let is_of_no_use = !source.starts_with(b"/") || fs::symlink_metadata(path_of(&source)).is_err_and(is_missing);
        return if is_plain && is_of_no_use { None } else { Some(is_plain) };
    }
    match given {
        None if b"wcbtTaAhH".contains(&kind) => None,
        None => Some(true),
        // Not read at all, or by rules of its own.
        Some(_) => Some(is_plain || !b"fFwLcbtTaAhH".contains(&kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sure(line: &str) -> Option<bool> {
        parse(line.as_bytes(), Scope::System).map(|line| line.is_sure)
    }

    #[test]
    fn a_line_that_systemd_passes_over_is_none() {
        for line in [
            "# d /a",
            "; d /a",
            "y /a",
            "d a",
            "d",
            "\"\" /a",
            "d! /a",
            "D! /a",
            "x! /a",
            "dd /a",
            "d? /a",
            "d-- /a",
            "d /a 99",
            "d /a 77777",
            "d /a x",
            "d /a - - - 10dd",
            "x /a - - - foo",
            "w /a",
            "c /a - - - - -",
            "C /a - - - -",
            "C /a - - - - /nowhere",
            "C /a - - - - etc",
            "d \"/a",
            "d /a \\",
        ] {
            assert_eq!(is_sure(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_is_sure_unless_something_cannot_be_told() {
        for line in [
            "d /a",
            "d-+= /a",
            "d /a ~:0755 root root 1d",
            "d /a - 0 :0 - it's",
            "r /a",
            "C /a - - - - /etc",
            "f /a - - - - it's",
            "w /a - - - - x",
            "\td  '/a b' -",
        ] {
            assert_eq!(is_sure(line), Some(true), "{line}");
        }
        for line in [
            "d$ /a",
            "f^ /a",
            "f~ /a",
            "d /a - no-such-user-1",
            "d /a - - no-such-group-1",
            "d /a - 4294967295",
            "d /%z",
            "d /a\\x20b",
            "f /a - - - - \\q",
            "C /a - - - - %t/x",
        ] {
            assert_eq!(is_sure(line), Some(false), "{line}");
        }
    }
}
