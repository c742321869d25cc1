//! What systemd-tmpfiles removes by its age: tmpfiles.d(5).

mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// The first that has a file of a name has the say about it.
const DIRECTORIES: [&str; 4] =
    ["/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d"];

/// A line with an age that concerns a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) file: PathBuf,
    /// The directory that is cleaned: a path, or a pattern.
    pub(super) path: PathBuf,
    pub(super) age: String,
}

/// A line that keeps the path, and what is below it, from being cleaned.
pub(super) fn exclusion(path: &Path) -> String {
    format!("x {}", words::quote(path))
}

/// The rule by which the path would be cleaned.
pub(super) fn rule_for(path: &Path) -> Option<Rule> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in DIRECTORIES {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "conf") {
                files.entry(entry.file_name()).or_insert_with(|| entry.path());
            }
        }
    }
    let mut lines = Vec::new();
    for file in files.into_values() {
        // One that is no file, as /dev/null, has the say about its name too, and says nothing.
        let text = read(&file).unwrap_or_default();
        lines.extend(text.split(|&byte| byte == b'\n').filter_map(parse).map(|line| (file.clone(), line)));
    }
    decide(&lines, path)
}

/// A file's bytes; what is no file is not waited for.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file =
        File::from(open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?);
    let mut bytes = Vec::new();
    if file.metadata()?.is_file() {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// A line that cleans, or keeps from cleaning.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    kind: u8,
    /// A pattern of glob(7).
    path: Vec<u8>,
    /// `None`: nothing goes by its age.
    age: Option<String>,
}

/// `d /tmp 1777 root root 10d`; the rest of it is of no interest here.
fn parse(line: &[u8]) -> Option<Line> {
    let line = line.trim_ascii_start();
    if line.starts_with(b"#") {
        return None;
    }
    let mut words = words::split(line)?.into_iter();
    let kind = *words.next()?.first()?;
    // Those that have an age (or, with x and X, keep others from having one).
    if !b"dDevqQCxX".contains(&kind) {
        return None;
    }
    let path = expand(&words.next()?)?;
    let age = words.nth(3).map(|age| String::from_utf8_lossy(&age).into_owned());
    Some(Line { kind, path, age: age.filter(|age| !matches!(age.as_str(), "" | "-")) })
}

/// The directories that have a specifier. Whatever names the host, the boot or a user is left as what it can be: anything.
fn expand(path: &[u8]) -> Option<Vec<u8>> {
    let mut expanded = Vec::new();
    let mut bytes = path.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            expanded.push(byte);
            continue;
        }
        expanded.extend_from_slice(match bytes.next()? {
            b't' => b"/run",
            b'T' => b"/tmp",
            b'V' => b"/var/tmp",
            b'S' => b"/var/lib",
            b'C' => b"/var/cache",
            b'L' => b"/var/log",
            b'h' => b"/root",
            b'%' => b"%",
            _ => b"*",
        });
    }
    Some(expanded)
}

/// The line of the nearest directory above has the say, or one for the path itself.
fn decide(lines: &[(PathBuf, Line)], path: &Path) -> Option<Rule> {
    let ancestors: Vec<&Path> = path.ancestors().collect();
    for (height, ancestor) in ancestors.into_iter().enumerate() {
        let matching = lines.iter().filter(|(_, line)| matches(&line.path, ancestor));
        let matching: Vec<_> = matching.collect();
        // x keeps all that is below as well, X the thing itself.
        if matching.iter().any(|(_, line)| line.kind == b'x' || line.kind == b'X' && height == 0) {
            return None;
        }
        if height == 0 {
            // A line of its own keeps a file from being cleaned with its directory.
            if !matching.is_empty() {
                return None;
            }
            continue;
        }
        if let Some((file, line)) = matching.iter().find(|(_, line)| line.kind != b'X') {
            let age = line.age.clone()?;
            // Spares what is in the directory itself.
            if height == 1 && age.starts_with('~') {
                return None;
            }
            return Some(Rule { file: file.clone(), path: OsString::from_vec(line.path.clone()).into(), age });
        }
    }
    None
}

/// glob(7), without a `*` that matches a slash.
fn matches(mut pattern: &[u8], path: &Path) -> bool {
    while let Some(shorter) = pattern.strip_suffix(b"/") {
        pattern = shorter;
    }
    let parts = |path| <[u8]>::split(path, |&byte| byte == b'/');
    let (patterns, parts) = (parts(pattern), parts(path.as_os_str().as_bytes()));
    patterns.clone().count() == parts.clone().count() && patterns.zip(parts).all(|(pattern, part)| glob(pattern, part))
}

/// Of `[...]` it takes any letter.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'\\', rest)), Some((one, name))) => {
            rest.first() == Some(one) && glob(rest.get(1..).unwrap_or_default(), name)
        }
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skip| glob(rest, name.get(skip..).unwrap_or_default())),
        (Some((b'?', rest)), Some((_, name))) => glob(rest, name),
        (Some((b'[', rest)), Some((_, name))) => match rest.iter().skip(1).position(|&byte| byte == b']') {
            Some(end) => glob(rest.get(end + 2..).unwrap_or_default(), name),
            None => false,
        },
        (Some((one, rest)), Some((other, name))) => one == other && glob(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    fn decided(config: &str, path: impl AsRef<Path>) -> Option<(PathBuf, String)> {
        let lines = config.lines().filter_map(|line| parse(line.as_bytes()));
        let lines: Vec<_> = lines.map(|line| (PathBuf::from("c"), line)).collect();
        decide(&lines, path.as_ref()).map(|rule| (rule.path, rule.age))
    }

    fn some(path: &str, age: &str) -> Option<(PathBuf, String)> {
        Some((PathBuf::from(path), age.to_owned()))
    }

    #[test]
    fn the_nearest_directory_with_an_age_has_the_say() {
        let config = "# comment\nq /tmp 1777 root root 10d\nd /tmp/keep 0755 root root -\ne /tmp/*/short - - - 1h\n";
        assert_eq!(decided(config, "/tmp/s"), some("/tmp", "10d"));
        assert_eq!(decided(config, "/tmp/a/b/s"), some("/tmp", "10d"));
        assert_eq!(decided(config, "/tmp/keep/s"), None);
        assert_eq!(decided(config, "/tmp/a/short/s"), some("/tmp/*/short", "1h"));
        assert_eq!(decided(config, "/tmpfile/s"), None);
        assert_eq!(decided(config, "/run/s"), None);
        assert_eq!(decided("D! %t/app 0755 root root 5m", "/run/app/s"), some("/run/app", "5m"));
        assert_eq!(decided("r /tmp/s\nf /tmp/s 0644 - - 3d", "/tmp/s"), None);
    }

    #[test]
    fn what_is_excluded_stays() {
        let config = "q /tmp 1777 root root 10d\nx /tmp/mine\nX /tmp/one/s\nx /tmp/systemd-private-%b-*\n";
        assert_eq!(decided(config, "/tmp/mine/deep/s"), None);
        assert_eq!(decided(config, "/tmp/one/s"), None);
        assert_eq!(decided(config, "/tmp/one/other"), some("/tmp", "10d"));
        assert_eq!(decided(config, "/tmp/systemd-private-1-x/s"), None);
        assert_eq!(decided("q /tmp - - - 1d\nd /tmp/s - - - -", "/tmp/s"), None, "a line of its own");
    }

    #[test]
    fn a_line_is_read_with_its_quotes() {
        assert_eq!(decided("d \"/tmp/e 7\" - - - 1s", "/tmp/e 7/s"), some("/tmp/e 7", "1s"));
        assert_eq!(decided("d /tmp/e\\x207 '' \"\" - 1s", "/tmp/e 7/s"), some("/tmp/e 7", "1s"));
        assert_eq!(decided("# it's\nd \"/tmp\n", "/tmp/s"), None);
    }

    #[test]
    fn an_age_with_a_tilde_spares_what_is_in_the_directory_itself() {
        assert_eq!(decided("d /run/app - - - ~1s", "/run/app/s"), None);
        assert_eq!(decided("d /run/app - - - ~1s", "/run/app/sub/s"), some("/run/app", "~1s"));
    }

    #[test]
    fn an_exclusion_means_its_path_alone() {
        for path in ["/tmp/a b/s", "/tmp/50%/s", "/tmp/*/s", "/tmp/[a]?\\/s", "/tmp/it's \"s\"/s", "/tmp/a\nb\u{e9}/s"]
        {
            let config = format!("q /tmp - - - 1d\n{}", exclusion(Path::new(path)));
            assert_eq!(decided(&config, path), None, "{config}");
            assert_eq!(decided(&config, "/tmp/x/s"), some("/tmp", "1d"), "{config}");
        }
    }

    #[test]
    fn an_exclusion_of_a_name_that_is_no_text_is_read_as_well() {
        let path = Path::new(OsStr::from_bytes(b"/tmp/\xff*/s"));
        let config = format!("q /tmp - - - 1d\n{}", exclusion(path));
        assert_eq!(decided(&config, path), None, "{config}");
        assert_eq!(decided(&config, OsStr::from_bytes(b"/tmp/\xfe/s")), some("/tmp", "1d"), "{config}");
    }

    #[test]
    fn a_pattern_stays_within_a_name() {
        let matches = |pattern: &str, path| matches(pattern.as_bytes(), Path::new(path));
        assert!(matches("/a/*", "/a/b") && !matches("/a/*", "/a/b/c") && matches("/a//", "/a"));
        assert!(matches("/a/x?[0-9]", "/a/xy7") && !matches("/a/x?[0-9]", "/a/xy"));
        assert!(!matches("/a/[", "/a/b"));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let (fifo, file) = (dir.path().join("fifo"), dir.path().join("file"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("a fifo");
        fs::write(&file, "x").expect("a file");
        assert_eq!(read(&fifo).expect("nothing"), b"");
        assert_eq!(read(Path::new("/dev/null")).expect("nothing"), b"");
        assert_eq!(read(&file).expect("a file"), b"x");
    }
}
