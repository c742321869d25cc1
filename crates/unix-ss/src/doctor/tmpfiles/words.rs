//! The words of a line in tmpfiles.d(5): quotes and escapes as in C, `%` for specifiers, patterns of glob(7).

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The words, without their quotes and escapes; `None` where the line cannot be read so, which systemd passes over.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut bytes) = (Vec::new(), line.iter().copied());
    while let Some(first) = bytes.find(|byte| !byte.is_ascii_whitespace()) {
        let (mut word, mut quote, mut next) = (Vec::new(), None, Some(first));
        while let Some(byte) = next {
            match byte {
                b'\\' => word.extend(unescape(&mut bytes)?),
                byte if quote == Some(byte) => quote = None,
                b'"' | b'\'' if quote.is_none() => quote = Some(byte),
                byte if quote.is_none() && byte.is_ascii_whitespace() => break,
                byte => word.push(byte),
            }
            next = bytes.next();
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
    Some(words)
}

/// What follows a backslash: a byte, or a letter by its number.
fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let digit = |byte: u8, radix| char::from(byte).to_digit(radix);
    let first = bytes.next()?;
    let (value, digits, radix) = match first {
        b'x' => (0, 2, 16),
        b'u' => (0, 4, 16),
        b'U' => (0, 8, 16),
        b'0'..=b'7' => (digit(first, 8)?, 2, 8),
        b'a' => (7, 0, 10),
        b'b' => (8, 0, 10),
        b't' => (9, 0, 10),
        b'n' => (10, 0, 10),
        b'v' => (11, 0, 10),
        b'f' => (12, 0, 10),
        b'r' => (13, 0, 10),
        b's' => (32, 0, 10),
        b'\\' | b'"' | b'\'' => (first.into(), 0, 10),
        _ => return None,
    };
    let value = (0..digits)
        .try_fold(value, |value: u32, _| value.checked_mul(radix)?.checked_add(digit(bytes.next()?, radix)?))?;
    match first {
        _ if value == 0 => None,
        b'u' | b'U' => Some(char::from_u32(value)?.to_string().into_bytes()),
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

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn words_are_read_with_their_quotes_and_escapes() {
        let words = |line: &str| split(line.as_bytes()).map(|words| text(&words.join(&b'|')));
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
        assert_eq!(split(b"\xff \\377\\x01"), Some(vec![b"\xff".to_vec(), b"\xff\x01".to_vec()]));
        for broken in ["d \"/a", "d '/a", r"d \q", r"d \x2", r"d \400", r"d \000", "d \\", r"d \ud800"] {
            assert_eq!(split(broken.as_bytes()), None, "{broken}");
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
            assert_eq!(split(word.as_bytes()).map(|words| words.len()), Some(1));
        }
    }
}
