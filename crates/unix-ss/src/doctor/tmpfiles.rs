//! What systemd-tmpfiles removes by its age: tmpfiles.d(5).

mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The first that has a file of a name has the say about it.
const DIRECTORIES: [&str; 4] =
    ["/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d"];

/// A line with an age that concerns a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) file: PathBuf,
    /// The directory that is cleaned.
    pub(super) path: String,
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
        let text = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        lines.extend(text.lines().filter_map(parse).map(|line| (file.clone(), line)));
    }
    decide(&lines, path)
}

/// A line that cleans, or keeps from cleaning.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    kind: char,
    path: String,
    /// `None`: nothing goes by its age.
    age: Option<String>,
}

/// `d /tmp 1777 root root 10d`; the rest of it is of no interest here.
fn parse(line: &str) -> Option<Line> {
    let line = line.trim_start();
    if line.starts_with('#') {
        return None;
    }
    let mut words = words::split(line)?.into_iter();
    let kind = words.next()?.chars().next()?;
    // Those that have an age (or, with x and X, keep others from having one).
    if !"dDevqQCxX".contains(kind) {
        return None;
    }
    let path = expand(&words.next()?)?;
    let age = words.nth(3).filter(|age| !matches!(age.as_str(), "" | "-"));
    Some(Line { kind, path, age })
}

/// The directories that have a specifier. Whatever names the host, the boot or a user is left as what it can be: anything.
fn expand(path: &str) -> Option<String> {
    let mut expanded = String::new();
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expanded.push(letter);
            continue;
        }
        expanded.push_str(match letters.next()? {
            't' => "/run",
            'T' => "/tmp",
            'V' => "/var/tmp",
            'S' => "/var/lib",
            'C' => "/var/cache",
            'L' => "/var/log",
            'h' => "/root",
            '%' => "%",
            _ => "*",
        });
    }
    Some(expanded)
}

/// The line of the nearest directory above has the say, or one for the path itself.
fn decide(lines: &[(PathBuf, Line)], path: &Path) -> Option<Rule> {
    let ancestors: Vec<&Path> = path.ancestors().collect();
    for (height, ancestor) in ancestors.into_iter().enumerate() {
        let matching = lines.iter().filter(|(_, line)| matches(line.path.trim_end_matches('/'), ancestor));
        let matching: Vec<_> = matching.collect();
        // x keeps all that is below as well, X the thing itself.
        if matching.iter().any(|(_, line)| line.kind == 'x' || line.kind == 'X' && height == 0) {
            return None;
        }
        if height == 0 {
            // A line of its own keeps a file from being cleaned with its directory.
            if !matching.is_empty() {
                return None;
            }
            continue;
        }
        if let Some((file, line)) = matching.iter().find(|(_, line)| line.kind != 'X') {
            let age = line.age.clone()?;
            // Spares what is in the directory itself.
            if height == 1 && age.starts_with('~') {
                return None;
            }
            return Some(Rule { file: file.clone(), path: line.path.clone(), age });
        }
    }
    None
}

/// glob(7), without a `*` that matches a slash.
fn matches(pattern: &str, path: &Path) -> bool {
    let Some(path) = path.to_str() else { return false };
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| glob(pattern.as_bytes(), part.as_bytes()))
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
    use super::*;

    fn decided(config: &str, path: &str) -> Option<(String, String)> {
        let lines: Vec<_> = config.lines().filter_map(parse).map(|line| (PathBuf::from("c"), line)).collect();
        decide(&lines, Path::new(path)).map(|rule| (rule.path, rule.age))
    }

    fn some(path: &str, age: &str) -> Option<(String, String)> {
        Some((path.to_owned(), age.to_owned()))
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
    fn a_pattern_stays_within_a_name() {
        assert!(matches("/a/*", Path::new("/a/b")) && !matches("/a/*", Path::new("/a/b/c")));
        assert!(matches("/a/x?[0-9]", Path::new("/a/xy7")) && !matches("/a/x?[0-9]", Path::new("/a/xy")));
        assert!(!matches("/a/[", Path::new("/a/b")));
    }
}
