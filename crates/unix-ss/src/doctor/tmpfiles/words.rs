//! The words of a line in tmpfiles.d(5): quotes and escapes as in C, `%` for specifiers, patterns of glob(7).

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The words, without their quotes and escapes; `None` where the line cannot be read so, which systemd passes over.
/// Bytes that are no UTF-8 are replaced: no path that is looked for has them.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let (mut words, mut letters) = (Vec::new(), line.chars().peekable());
    while let Some(first) = letters.find(|letter| !letter.is_whitespace()) {
        let (mut word, mut quote, mut next) = (Vec::new(), None, Some(first));
        while let Some(letter) = next {
            match letter {
                '\\' => word.extend(unescape(&mut letters)?),
                letter if quote == Some(letter) => quote = None,
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                letter if quote.is_none() && letter.is_whitespace() => break,
                letter => word.extend(letter.encode_utf8(&mut [0; 4]).bytes()),
            }
            next = letters.next();
        }
        if quote.is_some() {
            return None;
        }
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

/// What follows a backslash: a byte, or a letter by its number.
fn unescape(letters: &mut impl Iterator<Item = char>) -> Option<Vec<u8>> {
    let first = letters.next()?;
    let (value, digits, radix) = match first {
        'x' => (0, 2, 16),
        'u' => (0, 4, 16),
        'U' => (0, 8, 16),
        '0'..='7' => (first.to_digit(8)?, 2, 8),
        'a' => (7, 0, 10),
        'b' => (8, 0, 10),
        't' => (9, 0, 10),
        'n' => (10, 0, 10),
        'v' => (11, 0, 10),
        'f' => (12, 0, 10),
        'r' => (13, 0, 10),
        's' => (32, 0, 10),
        '\\' | '"' | '\'' => (first.into(), 0, 10),
        _ => return None,
    };
    let value = (0..digits)
        .try_fold(value, |value: u32, _| value.checked_mul(radix)?.checked_add(letters.next()?.to_digit(radix)?))?;
    match first {
        _ if value == 0 => None,
        'u' | 'U' => Some(char::from_u32(value)?.to_string().into_bytes()),
        _ => Some(vec![u8::try_from(value).ok()?]),
    }
}

/// The word of a line that means this path alone.
pub(super) fn quote(path: &Path) -> String {
    let mut word = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '%' => word.push_str("%%"),
                // The pattern has one backslash before it, and a word two for each of a pattern.
                '*' | '?' | '[' => word.extend(['\\', '\\', letter]),
                '\\' => word.push_str(r"\\\\"),
                '"' | '\'' => word.extend(['\\', letter]),
                letter if letter.is_control() => octal(&mut word, letter.encode_utf8(&mut [0; 4]).as_bytes()),
                letter => word.push(letter),
            }
        }
        octal(&mut word, chunk.invalid());
    }
    if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word }
}

fn octal(word: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(word, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_with_their_quotes_and_escapes() {
        let words = |line| split(line).map(|words| words.join("|"));
        for (line, read) in [
            ("d /a  b", "d|/a|b"),
            (" d \"/a b\" '' -", "d|/a b||-"),
            (r#"d /a\x20b"\"c" '\'d'"#, r#"d|/a b"c|'d"#),
            (r"d /a\040\n\\*\u00e9\U000000e9", "d|/a \n\\*\u{e9}\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(words(line), Some(read.to_owned()), "{line}");
        }
        assert_eq!(words(r"\303\251"), Some("é".to_owned()));
        for broken in ["d \"/a", "d '/a", r"d \q", r"d \x2", r"d \400", r"d \000", "d \\", r"d \ud800"] {
            assert_eq!(split(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_quoted_path_is_one_word_on_one_line() {
        for (path, word) in [
            ("/tmp/a-b", "/tmp/a-b"),
            ("/tmp/a b", "\"/tmp/a b\""),
            ("/tmp/50%", "/tmp/50%%"),
            ("/tmp/*[\\", r"/tmp/\\*\\[\\\\"),
            ("/tmp/a'\"\n", r#"/tmp/a\'\"\012"#),
        ] {
            assert_eq!(quote(Path::new(path)), word);
            assert_eq!(split(word).map(|words| words.len()), Some(1));
        }
    }
}
