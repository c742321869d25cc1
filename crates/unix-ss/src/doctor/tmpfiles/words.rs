//! The words of a line in tmpfiles.d(5): quotes and escapes as in C, `%` for specifiers, patterns of glob(7).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::slice::Iter;

pub(super) struct Words<'a> {
    /// The first six, without their quotes and escapes.
    pub(super) words: Vec<Vec<u8>>,
    /// The argument, as it stands there.
    pub(super) rest: &'a [u8],
    /// All versions of systemd read the words so.
    pub(super) is_sure: bool,
}

/// `None` where the line cannot be read so, which systemd passes over.
pub(super) fn split(line: &[u8]) -> Option<Words<'_>> {
    let is_space = |byte: &u8| b" \t".contains(byte);
    let (mut words, mut is_sure, mut bytes) = (Vec::new(), true, line.trim_ascii().iter());
    while words.len() < 6 {
        let Some(&first) = bytes.find(|byte| !is_space(byte)) else { break };
        let (mut word, mut quote, mut next) = (Vec::new(), None, Some(first));
        while let Some(byte) = next {
            match byte {
                b'\\' => {
                    let mut ahead = bytes.clone();
                    let escaped = *bytes.next()?;
                    is_sure &= br#"\"'"#.contains(&escaped);
                    match unescape(&mut ahead) {
                        Some(read) => {
                            word.extend(read);
                            bytes = ahead;
                        }
                        // In version 252 every letter stands for itself.
                        None => word.push(escaped),
                    }
                }
                byte if quote == Some(byte) => quote = None,
                b'"' | b'\'' if quote.is_none() => quote = Some(byte),
                byte if quote.is_none() && is_space(&byte) => break,
                byte => word.push(byte),
            }
            next = bytes.next().copied();
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
    Some(Words { words, rest: bytes.as_slice().trim_ascii(), is_sure })
}

/// What follows a backslash: a byte, or a letter by its number.
fn unescape(bytes: &mut Iter<'_, u8>) -> Option<Vec<u8>> {
    let digit = |byte: u8, radix| char::from(byte).to_digit(radix);
    let first = *bytes.next()?;
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
        _ => return None,
    };
    let value = (0..digits)
        .try_fold(value, |value: u32, _| value.checked_mul(radix)?.checked_add(digit(*bytes.next()?, radix)?))?;
    match first {
        _ if value == 0 => None,
        b'u' | b'U' => Some(char::from_u32(value)?.to_string().into_bytes()),
        _ => Some(vec![u8::try_from(value).ok()?]),
    }
}

/// The word of a line with a pattern that means this path alone. Not all versions know an escape for what is no text: there
/// a `?` stands for each byte, which others fit too.
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
                letter if letter.is_control() => word.push_str(&"?".repeat(letter.len_utf8())),
                letter => word.push(letter),
            }
        }
        word.push_str(&"?".repeat(chunk.invalid().len()));
    }
    if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn words_are_read_with_their_quotes_and_escapes() {
        for (line, words, is_sure) in [
            ("d /a  b", "d|/a|b", true),
            ("d \"/a b\" '' -", "d|/a b||-", true),
            (r#"d /a\"c \'\\* 'd'"e f""#, r#"d|/a"c|'\*|de f"#, true),
            (r#"d /a\x20b"\"c" '\'d'"#, r#"d|/a b"c|'d"#, false),
            (r"d /a\040\n\*\u00e9\U000000e9", "d|/a \n*\u{e9}\u{e9}", false),
            (r"d \q\x2\400\ b", "d|qx2400 b", false),
            ("", "", true),
        ] {
            let read = split(line.as_bytes()).expect("words");
            assert_eq!((text(&read.words.join(&b'|')), read.is_sure), (words.to_owned(), is_sure), "{line}");
        }
        assert_eq!(split(b"\xff \\377").map(|read| read.words), Some(vec![b"\xff".to_vec(), b"\xff".to_vec()]));
        for broken in ["d \"/a", "d '/a", "d \\"] {
            assert!(split(broken.as_bytes()).is_none(), "{broken}");
        }
        let whole = split(b"C /a - - - 1d  it's \\q ").expect("words");
        assert_eq!((whole.words.len(), whole.rest, whole.is_sure), (6, &b"it's \\q"[..], true));
    }

    #[test]
    fn a_quoted_path_is_one_word_on_one_line() {
        for (path, word) in [
            ("/tmp/a-b", "/tmp/a-b"),
            ("/tmp/a b", "\"/tmp/a b\""),
            ("/tmp/50%", "/tmp/50%%"),
            ("/tmp/*[\\", r"/tmp/\\*\\[\\\\"),
            ("/tmp/a'\"\n\u{85}", r#"/tmp/a\'\"???"#),
        ] {
            assert_eq!(quote(Path::new(path)), word);
            assert!(split(word.as_bytes()).is_some_and(|read| read.words.len() == 1 && read.is_sure));
        }
    }
}
