//! Patterns: as fnmatch(3) takes them for a whole path, and the braces of glob(3). Letters are bytes, as in the C locale.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// No `*`, `?` or bracket matches a slash, or a dot that a name begins with.
pub(super) fn matches(pattern: &[u8], path: &Path) -> bool {
    let mut parts = path.components();
    parts_of(pattern).all(|part| parts.next().is_some_and(|name| fits(part, name.as_os_str().as_bytes())))
        && parts.next().is_none()
}

/// What is between the slashes, of which there may be more than are needed.
pub(super) fn parts_of(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    Path::new(OsStr::from_bytes(pattern)).components().map(|part: Component| part.as_os_str().as_bytes())
}

/// Of one name.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let is_hidden = name.first() == Some(&b'.') && matches!(pattern.first(), Some(b'*' | b'?' | b'['));
    !is_hidden && is_match(pattern, name)
}

/// The only one that it matches; `None` where there may be others.
pub(super) fn only_name(pattern: &[u8]) -> Option<Vec<u8>> {
    let (mut name, mut bytes) = (Vec::new(), pattern.iter());
    while let Some(&byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return None,
            b'\\' => name.extend(bytes.next()),
            _ => name.push(byte),
        }
    }
    Some(name)
}

/// The patterns that one with braces stands for: `a{b,c}` for `ab` and `ac`.
pub(super) fn braces(pattern: &[u8]) -> Vec<Vec<u8>> {
    let (mut cuts, mut depth, mut bytes) = (Vec::new(), 0, pattern.iter().enumerate());
    while let Some((at, &byte)) = bytes.next() {
        match (byte, depth) {
            (b'\\', _) => drop(bytes.next()),
            (b'{', 0) => (cuts, depth) = (vec![at], 1),
            (b'{', _) => depth += 1,
            (b',', 1) => cuts.push(at),
            (b'}', 1) => {
                cuts.push(at);
                let part = |from: usize, to: usize| pattern.get(from..to).unwrap_or_default();
                let (start, end) = (part(0, cuts.first().copied().unwrap_or_default()), part(at + 1, pattern.len()));
                let choices = cuts.iter().zip(cuts.iter().skip(1)).map(|(&from, &to)| part(from + 1, to));
                return choices.flat_map(|choice| braces(&[start, choice, end].concat())).collect();
            }
            (b'}', 2..) => depth -= 1,
            _ => {}
        }
    }
    vec![pattern.to_vec()]
}

fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| is_match(rest, name.get(skip..).unwrap_or_default())),
        ([b'?', rest @ ..], [_, name @ ..]) => is_match(rest, name),
        ([b'[', rest @ ..], [byte, name @ ..]) => match bracket(rest, *byte) {
            Some((has_it, rest)) => has_it && is_match(rest, name),
            None => *byte == b'[' && is_match(rest, name),
        },
        ([b'\\', one, rest @ ..] | [one, rest @ ..], [byte, name @ ..]) => one == byte && is_match(rest, name),
        _ => false,
    }
}

/// Is the byte among those of a bracket? And what is behind it; `None` where it does not end, so that it means itself.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (is_negated, mut rest) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let (mut has_it, mut is_first) = (false, true);
    loop {
        let (from, after) = match rest {
            [b']', after @ ..] if !is_first => return Some((has_it != is_negated, after)),
            [b'[', b':', after @ ..] => {
                let end = after.windows(2).position(|two| two == b":]")?;
                has_it |= is_of_class(after.get(..end)?, byte);
                (rest, is_first) = (after.get(end + 2..)?, false);
                continue;
            }
            [b'[', b'.', one, b'.', b']', after @ ..]
            | [b'[', b'=', one, b'=', b']', after @ ..]
            | [b'\\', one, after @ ..]
            | [one, after @ ..] => (*one, after),
            [] => return None,
        };
        let (to, after) = match after {
            [b'-', b']', ..] => (from, after),
            [b'-', b'\\', to, after @ ..] | [b'-', to, after @ ..] => (*to, after),
            _ => (from, after),
        };
        has_it |= (from..=to).contains(&byte);
        (rest, is_first) = (after, false);
    }
}

fn is_of_class(class: &[u8], byte: u8) -> bool {
    match class {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => b" \t".contains(&byte),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == b'\x0b',
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stays_within_a_name() {
        let matches = |pattern: &str, path| matches(pattern.as_bytes(), Path::new(path));
        assert!(matches("/a/*", "/a/b") && !matches("/a/*", "/a/b/c") && !matches("/a/*", "/a"));
        assert!(matches("/a//", "/a") && matches("//a/./b", "/a/b"));
        assert!(matches("/a/x?[0-9]", "/a/xy7") && !matches("/a/x?[0-9]", "/a/xy"));
    }

    #[test]
    fn a_name_is_matched_as_by_fnmatch() {
        for (pattern, fitting, others) in [
            ("*", &["b", ""][..], &[".b"][..]),
            (".*", &[".b"], &["b"]),
            ("[.]b", &[], &[".b"]),
            (r"\.b\*", &[".b*"], &[".bc", r".b\*"]),
            ("[ab]", &["a", "b"], &["c", "ab"]),
            ("[!a]*", &["b", "ba"], &["a", "aa"]),
            ("[^a-c]", &["d"], &["b"]),
            ("[]a]", &["]", "a"], &["b"]),
            (r"[\]a]", &["]", "a"], &["\\"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[[:digit:]x][[.y.]]", &["7y", "xy"], &["ay", "7x"]),
            ("[a", &["[a"], &["a"]),
            ("[[:digit:", &["[[:digit:"], &["7"]),
            ("a?b", &["axb"], &["a\u{e9}b", "ab"]),
        ] {
            for name in fitting {
                assert!(fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
            }
            for name in others {
                assert!(!fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn a_pattern_without_a_letter_for_others_is_a_name() {
        assert_eq!(only_name(br"a\*\\{b}"), Some(br"a*\{b}".to_vec()));
        assert!(only_name(br"a\\*").is_none() && only_name(b"a?").is_none() && only_name(b"[a]").is_none());
    }

    #[test]
    fn braces_stand_for_each_of_their_choices() {
        for (pattern, choices) in [
            ("/a", &["/a"][..]),
            ("/{a,b/c}x", &["/ax", "/b/cx"]),
            ("/{a,{b,c}d}", &["/a", "/bd", "/cd"]),
            ("/{a,b}{c,}", &["/ac", "/a", "/bc", "/b"]),
            ("/{a}", &["/a"]),
            ("/{a", &["/{a"]),
            (r"/\{a,b}", &[r"/\{a,b}"]),
        ] {
            let choices: Vec<_> = choices.iter().map(|choice| choice.as_bytes().to_vec()).collect();
            assert_eq!(braces(pattern.as_bytes()), choices, "{pattern}");
        }
    }
}
