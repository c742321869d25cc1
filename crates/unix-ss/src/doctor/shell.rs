//! Paths in commands that people are to type: whoever names a directory must not have a shell run what he likes.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use rustix::process::geteuid;

use crate::message::misleads;

/// One word for a POSIX shell, on one line, and no option: as it is where that is safe, else `'...'`. Bytes that would
/// not be printed as they are make it `$'...'`, as POSIX.1-2024, bash, zsh and busybox have it.
pub(super) fn quote(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    // A name that is relative is the same with this before it.
    let dot = if bytes.starts_with(b"-") { "./" } else { "" };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(byte);
    let printed = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(misleads));
    match printed {
        Some(text) if !text.is_empty() && bytes.iter().all(is_plain) => format!("{dot}{text}"),
        Some(text) => format!("'{dot}{}'", text.replace('\'', r"'\''")),
        None => format!("$'{dot}{}'", escaped(bytes)),
    }
}

/// A command that only its user, or root, can give: says so to others.
pub(super) fn as_user(user: u32, command: &str) -> String {
    match user {
        _ if [0, user].contains(&geteuid().as_raw()) => command.to_owned(),
        0 => format!("as root: {command}"),
        user => format!("as uid {user} or root: {command}"),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    let octal = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(text, "\\{byte:03o}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' | '\'' => text.extend(['\\', letter]),
                letter if misleads(letter) => octal(&mut text, letter.encode_utf8(&mut [0; 4]).as_bytes()),
                letter => text.push(letter),
            }
        }
        octal(&mut text, chunk.invalid());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_it_must_be() {
        for (word, quoted) in [
            ("/run/me/s-1.sock", "/run/me/s-1.sock"),
            ("-rf", "./-rf"),
            ("my dir", "'my dir'"),
            ("$(touch pwned)", "'$(touch pwned)'"),
            ("it's", r"'it'\''s'"),
            ("a\nb'\\", r"$'a\012b\'\\'"),
            ("é ü", "'é ü'"),
            ("a\u{202e}b", r"$'a\342\200\256b'"),
            ("", "''"),
        ] {
            assert_eq!(quote(word), quoted);
        }
        assert_eq!(quote(OsStr::from_bytes(b"\xffz")), r"$'\377z'");
    }

    /// The C locale of this test's shell has no say: the bytes are the same.
    fn reads_the_word_and_nothing_else(shell: &str, word: &OsStr) -> Result<(), TestCaseError> {
        let quoted = quote(word);
        prop_assert!(!quoted.contains(misleads), "{quoted:?}");
        let dot: &[u8] = if word.as_bytes().starts_with(b"-") { b"./" } else { b"" };
        let expected = [dot, word.as_bytes(), b"."].concat();
        let script = format!("printf '%s.' {quoted}");
        let output = Command::new(shell).args(["-c", &script]).output().expect("a shell");
        prop_assert!(output.status.success(), "{script}: {output:?}");
        prop_assert_eq!(output.stdout, expected);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_shell_reads_a_word_that_can_be_printed_and_nothing_else(word in "\\PC{0,40}") {
            prop_assume!(!word.contains(misleads));
            prop_assert!(!quote(&word).starts_with('$'));
            reads_the_word_and_nothing_else("sh", OsStr::new(&word))?;
        }

        /// Not every `sh` has `$'...'`.
        #[test]
        #[ignore = "needs bash"]
        fn bash_reads_any_word_and_nothing_else(bytes in proptest::collection::vec(1..=255_u8, 0..40)) {
            reads_the_word_and_nothing_else("bash", &OsString::from_vec(bytes))?;
        }
    }
}
