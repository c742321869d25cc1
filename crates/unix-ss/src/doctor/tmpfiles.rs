//! What systemd-tmpfiles removes by its age: tmpfiles.d(5).

mod age;
mod line;
mod pattern;
mod scope;
mod words;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::surroundings::is_mount_point;
use line::{Line, parse};
pub(super) use scope::Scope;

/// A line with an age, by which a path would be cleaned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) scope: Scope,
    pub(super) file: PathBuf,
    /// The directory that is cleaned.
    pub(super) directory: PathBuf,
    pub(super) age: String,
    /// The path, as the cleaner comes to it: through that directory.
    pub(super) name: PathBuf,
    /// What is to be excluded: the first that leads from that directory to the path. Of an exclusion for the path alone, the
    /// directories on the way would go while no server is there.
    pub(super) first: PathBuf,
    /// `false`: systemd may pass over the line, or another may keep the path.
    pub(super) is_sure: bool,
}

impl Rule {
    /// A line that keeps the path, and what leads to it, from being cleaned.
    pub(super) fn exclusion(&self) -> String {
        format!("x {}", words::quote(&self.first))
    }
}

/// The rules by which the path would be cleaned, given without symbolic links.
pub(super) fn rules_for(path: &Path, scope: Scope) -> Vec<Rule> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in scope.directories() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.as_bytes().ends_with(b".conf") && !name.as_bytes().starts_with(b".") {
                files.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    // One that is no file, as /dev/null, has the say about its name too, and says nothing.
    let texts = files.into_values().map(|file| (read(&file).unwrap_or_default(), file));
    decide(scope, &lines_of(scope, texts), path)
}

/// A path without symbolic links, as far as it is there.
pub(super) fn resolve(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) => resolve(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
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

fn lines_of(scope: Scope, texts: impl Iterator<Item = (Vec<u8>, PathBuf)>) -> Vec<(PathBuf, Line)> {
    let mut lines: Vec<(PathBuf, Line)> = Vec::new();
    for (text, file) in texts {
        for line in text.split(|byte| b"\n\r\0".contains(byte)).filter_map(|line| parse(line, scope)) {
            if !lines.iter().any(|(_, earlier)| line.is_double_of(earlier)) {
                lines.push((file.clone(), line));
            }
        }
    }
    lines
}

fn decide(scope: Scope, lines: &[(PathBuf, Line)], path: &Path) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (file, line) in lines.iter().filter(|(_, line)| line.may_clean()) {
        let Some(age) = age_of(line, lines) else { continue };
        for directory in directories(line, path) {
            let Some((name, first, is_sure)) = reached(lines, &directory, path, age.starts_with('~')) else { continue };
            let (file, age, is_sure) = (file.clone(), age.clone(), is_sure && line.is_sure);
            rules.push(Rule { scope, file, directory, age, name, first, is_sure });
        }
    }
    rules
}

/// Of `X` it is that of the directory above, of the first line for one, but for the tilde.
fn age_of(line: &Line, lines: &[(PathBuf, Line)]) -> Option<String> {
    let path = path_of(&line.path);
    let mut above = lines.iter().map(|(_, other)| other).filter(|other| b"dDvqQ".contains(&other.kind));
    let same = above.clone().find(|other| path_of(&other.path) == path);
    let above = same.or_else(|| above.find(|other| path.starts_with(path_of(&other.path))));
    let Some(inherited) = above.filter(|_| line.kind == b'X').and_then(|other| other.age.as_ref()) else {
        return line.age.clone();
    };
    let tilde = if line.age.as_ref().is_some_and(|age| age.starts_with('~')) { "~" } else { "" };
    Some(format!("{tilde}{}", inherited.trim_start_matches('~')))
}

/// Those that the line has cleaned and that may lead to the path.
fn directories(line: &Line, path: &Path) -> Vec<PathBuf> {
    // A pattern of `x` has others not cleaned, and itself is cleaned as a name.
    if !line.is_pattern || line.kind == b'x' {
        // Without slashes that are not needed.
        return vec![path_of(&line.path).components().collect()];
    }
    let mut all = Vec::new();
    for pattern in pattern::braces(&line.path) {
        let mut found = vec![PathBuf::from("/")];
        for part in pattern::parts_of(&pattern).skip(1) {
            found = found.iter().flat_map(|directory| entries(directory, part, path)).collect();
        }
        all.extend(found);
    }
    all
}

/// What matches a part of a pattern. Of the path itself also what is not there yet.
fn entries(directory: &Path, part: &[u8], path: &Path) -> Vec<PathBuf> {
    if let Some(name) = pattern::only_name(part) {
        return vec![directory.join(path_of(&name))];
    }
    // One that is to be listed is not followed either.
    if directory.is_symlink() {
        return Vec::new();
    }
    let next = path.strip_prefix(resolve(directory)).ok().and_then(|rest| rest.components().next());
    let next = next.map(|part| part.as_os_str().to_owned());
    let others = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let others = others.filter(|name| Some(name) != next.as_ref()).collect::<Vec<_>>();
    let names = next.into_iter().chain(others).filter(|name| pattern::fits(part, name.as_bytes()));
    names.map(|name| directory.join(name)).collect()
}

/// How the cleaner of a directory comes to the path, what it meets first, and whether that is sure.
fn reached(
    lines: &[(PathBuf, Line)],
    directory: &Path,
    path: &Path,
    spares_its_own: bool,
) -> Option<(PathBuf, PathBuf, bool)> {
    // A link that is to be cleaned is not followed, one on the way there is.
    if directory.is_symlink() {
        return None;
    }
    let rest = path.strip_prefix(resolve(directory)).ok()?;
    let first = directory.join(rest.components().next()?);
    let (mut name, mut is_sure) = (directory.to_owned(), true);
    for part in rest.components() {
        name.push(part);
        if is_mount_point(&name) {
            return None;
        }
        // One that has a line is left to that.
        match lines.iter().filter(|(_, line)| line.is_for(&name)).map(|(_, line)| line.is_sure).max() {
            Some(true) => return None,
            Some(false) => is_sure = false,
            None => {}
        }
    }
    if spares_its_own && first == name { None } else { Some((name, first, is_sure)) }
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    fn rules(config: &str, path: impl AsRef<Path>) -> Vec<Rule> {
        let texts = [(config.as_bytes().to_vec(), PathBuf::from("c"))];
        decide(Scope::System, &lines_of(Scope::System, texts.into_iter()), path.as_ref())
    }

    /// The directories that are cleaned, and the ages.
    #[track_caller]
    fn cleans(config: &str, path: impl AsRef<Path>, expected: &[(&str, &str)]) {
        let rules = rules(config, path);
        let found: Vec<_> = rules.iter().map(|rule| (rule.directory.to_str().expect("UTF-8"), &*rule.age)).collect();
        assert_eq!(found, expected, "{config}");
    }

    #[test]
    fn each_directory_with_an_age_is_cleaned_but_for_what_has_a_line() {
        let config = "# comment\nq /t 1777 root root 10d\nd /t/keep 0755 root root -\ne /t/*/short - - - 1h\n";
        cleans(config, "/t/s", &[("/t", "10d")]);
        cleans(config, "/t/a/b/s", &[("/t", "10d")]);
        cleans(config, "/t/keep/s", &[]);
        cleans(config, "/t/a/short/s", &[("/t/a/short", "1h")]);
        cleans(config, "/tfile/s", &[]);
        cleans(config, "/t", &[]);
        cleans("D %t/no-app 0755 root root 5m", "/run/no-app/s", &[("/run/no-app", "5m")]);
        cleans("d /t - - - infinity", "/t/s", &[]);
        for kind in ["r", "R", "z", "L", "p", "f", "x", "X", "d"] {
            cleans(&format!("d /t - - - 1s\n{kind} /t/s"), "/t/s", &[]);
            cleans(&format!("{kind} /t/a\nd /t - - - 1s"), "/t/other/s", &[("/t", "1s")]);
        }
        cleans("d /t - - - 1s\nC /t/sub", "/t/sub/s", &[("/t", "1s")]);
        cleans("d /t - - - 1s\nC /t/sub - - - - /etc", "/t/sub/s", &[]);
    }

    #[test]
    fn of_the_lines_for_a_path_the_first_counts_and_patterns_apart() {
        cleans("d /t - - - -\nd /t - - - 1s", "/t/s", &[]);
        cleans("f /t\nd+ /t - - - 1s", "/t/s", &[]);
        cleans("x /t\ne /t - - - 1s", "/t/s", &[]);
        for line in ["R /t - - - 1s\ne", "d /t\ne", "x /t\nd", "z /t\nd", "z /t\ne", "d /t - no-such-user-1\nd"] {
            cleans(&format!("{line} /t - - - 1s"), "/t/s", &[("/t", "1s")]);
        }
    }

    #[test]
    fn what_is_excluded_stays() {
        let config = "q /t 1777 root root 10d\nx /t/mine\nX /t/one/s\nx /t/systemd-private-%%-*\n";
        cleans(config, "/t/mine/deep/s", &[]);
        cleans(config, "/t/one/s", &[]);
        cleans(config, "/t/one/other", &[("/t", "10d")]);
        cleans(config, "/t/systemd-private-%-x/s", &[]);
        cleans("e /t - - - 1s\nx /t/*", "/t/.hidden/s", &[("/t", "1s")]);
        cleans("e /t - - - 1s\nx! /t/k", "/t/k/s", &[("/t", "1s")]);
        cleans("e /t - - - 1s\nx /t/{x,y}", "/t/x/s", &[("/t", "1s")]);
        // With an age they clean as well: x its own name, X what matches.
        cleans("x /t/j - - - 1s", "/t/j/s", &[("/t/j", "1s")]);
        cleans("x /t/* - - - 1s", "/t/j/s", &[]);
        cleans("X /t/* - - - 1s", "/t/j/s", &[("/t/j", "1s")]);
    }

    #[test]
    fn what_is_below_an_x_in_capitals_has_the_age_of_its_directory() {
        cleans("d /t - - - 1s\nX /t/x", "/t/x/s", &[("/t/x", "1s")]);
        cleans("d /t - - - 9d\nd /t/a - - - 1s\nX /t/a/x", "/t/a/x/s", &[("/t/a/x", "9d")]);
        cleans("d /t - - - 9d\nX /t/x - - - 1s\nd /t/x - - - 2s", "/t/x/s", &[("/t/x", "2s"), ("/t/x", "2s")]);
        cleans("d /t - - - ~1s\nX /t/x", "/t/x/s", &[("/t/x", "1s")]);
        cleans("d /t - - - 1s\nX /t/x - - - ~2s", "/t/x/s", &[]);
        cleans("e /t - - - 1s\nX /t/x", "/t/x/s", &[]);
        cleans("d /t\nX /t/x - - - 1s", "/t/x/s", &[("/t/x", "1s")]);
    }

    #[test]
    fn a_pattern_is_one_only_where_the_kind_of_line_says_so() {
        cleans("e /t/{x,y} - - - 1s", "/t/x/s", &[("/t/x", "1s")]);
        cleans("e /t/[ab]?/* - - - 1s", "/t/ax/y/s", &[("/t/ax/y", "1s")]);
        cleans("e /t/* - - - 1s", "/t/.z/s", &[]);
        cleans("d /t/* - - - 1s", "/t/x/s", &[]);
        cleans("d /t/* - - - 1s", "/t/*/s", &[("/t/*", "1s")]);
        cleans("d //t//./hh/ - - - 1s", "/t/hh/s", &[("/t/hh", "1s")]);
    }

    #[test]
    fn a_line_is_read_with_its_quotes() {
        cleans("d \"/t/e 7\" - - - 1s", "/t/e 7/s", &[("/t/e 7", "1s")]);
        cleans("d '/t/e'\\ 7 '' \"\" - 1s it's", "/t/e 7/s", &[("/t/e 7", "1s")]);
        cleans("# it's\rd \"/t\n", "/t/s", &[]);
    }

    #[test]
    fn an_age_with_a_tilde_spares_what_is_in_the_directory_itself() {
        cleans("d /t - - - ~1s", "/t/s", &[]);
        cleans("d /t - - - ~1s", "/t/sub/s", &[("/t", "~1s")]);
    }

    #[test]
    fn links_on_the_way_to_a_directory_are_followed_and_give_the_path_another_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("a path");
        fs::create_dir_all(dir.join("real/sub")).expect("directories");
        symlink("real", dir.join("link")).expect("a link");
        let (path, place) = (dir.join("real/sub/s"), dir.display());
        for pattern in ["link/sub", "l*/sub", r"{link,x}/su\\b", "real/../link/sub"] {
            let found = rules(&format!("e {place}/{pattern} - - - 1s"), &path);
            assert!(
                matches!(&*found, [rule] if rule.name.ends_with("link/sub/s") && rule.first == rule.name),
                "{found:?}"
            );
        }
        let names: Vec<_> =
            rules(&format!("e {place}/*/sub - - - 1s"), &path).into_iter().map(|rule| rule.name).collect();
        assert_eq!(names, [path.clone(), dir.join("link/sub/s")]);
        // Whoever keeps the path must know the cleaner's name for it.
        let found = rules(&format!("d {place}/link/sub - - - 1s\nx {place}/real/sub/s"), &path);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(rules(&format!("d {place}/link/sub - - - 1s\nx {place}/link/sub/s"), &path), []);
        // One that is to be cleaned or listed itself is not followed.
        assert_eq!(rules(&format!("e {place}/link/* - - - 1s"), &path), []);
        assert_eq!(rules(&format!("e {place}/link - - - 1s"), dir.join("real/s")), []);
        cleans("d /var/run/no-app - - - 1s", "/run/no-app/s", &[("/run/no-app", "1s")]);
    }

    #[test]
    fn a_line_that_may_count_or_not_makes_the_rule_unsure() {
        for config in [
            "d /t - no-such-user-1 - 1s",
            "d /t - - - 1s\nd /t/s - no-such-user-1",
            "d /t/ - - - 1s\nx /t/%z",
            "e /%z - - - 1s",
        ] {
            let rules = rules(config, "/t/s");
            assert!(matches!(&*rules, [Rule { is_sure: false, .. }]), "{config} {rules:?}");
        }
        assert!(matches!(&*rules("d /t - root root 1s", "/t/s"), [Rule { is_sure: true, .. }]));
    }

    #[test]
    fn an_exclusion_keeps_all_that_leads_to_the_path() {
        for name in [&b"a b"[..], b"50%", b"*", b"[a]?\\", b"it's \"s\"", b"{a,b}", b"a\nb\xc3\xa9", b"\xff*"] {
            for rest in ["s", "deep/s"] {
                let path = Path::new("/t").join(OsStr::from_bytes(name)).join(rest);
                let rules_of = |config: &str, path: &Path| rules(config, path);
                let found = rules_of("q /t - - - 1d", &path);
                let [rule] = &*found else { panic!("{found:?}") };
                assert_eq!(rule.first, Path::new("/t").join(OsStr::from_bytes(name)));
                let config = format!("q /t - - - 1d\n{}", rule.exclusion());
                cleans(&config, &path, &[]);
                cleans(&config, &rule.first, &[]);
                cleans(&config, "/t/x/s", &[("/t", "1d")]);
            }
        }
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
