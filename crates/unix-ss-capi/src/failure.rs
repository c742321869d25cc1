//! Which error is which result and errno, and the text for people.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};

use errno::Errno;
use unix_stream_server::{Error, ErrorKind};

/// What a C function reports: its result, errno, and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) result: c_int,
    pub(crate) errno: c_int,
    text: Text,
}

/// For people.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    /// Just this.
    Own(String),
    /// What can be said of the errno. To say that there is no memory must not need any.
    General,
}

/// In use.
const IN_USE: c_int = -2;
/// Any other error.
const FAILED: c_int = -1;

impl Failure {
    pub(crate) fn new(errno: c_int, text: impl Into<String>) -> Self {
        Failure { result: FAILED, errno, text: Text::Own(text.into()) }
    }

    pub(crate) fn null(argument: &str) -> Self {
        Failure::new(libc::EINVAL, format!("the argument {argument} is NULL"))
    }

    pub(crate) fn no_memory() -> Self {
        Failure { result: FAILED, errno: libc::ENOMEM, text: Text::General }
    }

    pub(crate) fn panicked() -> Self {
        Failure::new(libc::ENOTRECOVERABLE, "internal error; please report it")
    }

    /// Of a probe, whose raw errno says why.
    pub(crate) fn cannot_tell(path: &std::path::Path, errno: c_int) -> Self {
        let why = match errno {
            libc::ECONNREFUSED => "it refuses, but its file system may be shared with another kernel".to_owned(),
            errno => words(errno),
        };
        Failure::new(errno, format!("cannot tell whether a server lives at {}: {why}", path.display()))
    }

    /// For functions that have one kind of failure only.
    pub(crate) fn plain(self) -> Self {
        Failure { result: FAILED, ..self }
    }

    /// Tells C: remembers the text for `unix_ss_strerror`, sets errno last, and gives the result.
    pub(crate) fn report(self) -> c_int {
        let Failure { result, errno, text } = self;
        if let Text::Own(text) = text {
            // In a thread that is just ending there is nobody left to read it.
            let _ = LAST.try_with(|last| last.replace(Some((result, errno, text))));
        }
        errno::set_errno(Errno(errno));
        result
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let result = if error.kind() == ErrorKind::InUse { IN_USE } else { FAILED };
        let errno = match error.kind() {
            ErrorKind::CannotTell => cannot_tell(error.raw_os_error()),
            _ => error.raw_os_error(),
        };
        Failure { result, errno, text: Text::Own(error.to_string()) }
    }
}

/// Our own lack of descriptors or memory is told as such. Every other reason why a server could not be asked is one and
/// the same for C: the raw one (a refusal on a shared file system, a missing /proc) would read as an answer.
fn cannot_tell(errno: c_int) -> c_int {
    match errno {
        libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS => errno,
        _ => libc::EACCES,
    }
}

thread_local! {
    /// The last failure of this thread.
    static LAST: RefCell<Option<(c_int, c_int, String)>> = const { RefCell::new(None) };
    /// The text that `unix_ss_strerror` gave out last.
    static TEXT: RefCell<CString> = RefCell::default();
}

/// The text for a result and an errno, the thread's own until its next call of this.
pub(crate) fn describe(result: c_int, error: c_int) -> *const c_char {
    let last = LAST.try_with(|last| match &*last.borrow() {
        Some((last_result, last_error, text)) if (*last_result, *last_error) == (result, error) => Some(text.clone()),
        _ => None,
    });
    let text = match last.ok().flatten() {
        Some(text) => text,
        None if (result, error) == (FAILED, libc::ENOMEM) => return OUT_OF_MEMORY.as_ptr(),
        None => general(result, error),
    };
    let given = TEXT.try_with(|given| {
        // No path has a NUL in it, and so no text.
        *given.borrow_mut() = CString::new(text).unwrap_or_default();
        given.borrow().as_ptr()
    });
    given.unwrap_or(UNKNOWN.as_ptr())
}

pub(crate) const UNKNOWN: &CStr = c"unknown error";
const OUT_OF_MEMORY: &CStr = c"out of memory";

/// What can be said without knowing the occasion.
fn general(result: c_int, error: c_int) -> String {
    match (result, error) {
        (0.., _) => "success".to_owned(),
        (IN_USE, _) => "in use: a server lives at the path; stop it or choose another path".to_owned(),
        (_, libc::EEXIST) => "the path's lock was not had in time; whoever holds PATH.lock may be paused".to_owned(),
        (_, libc::ENOTSOCK) => "something that is not a socket is at the path; move it away".to_owned(),
        (_, libc::EAGAIN) => "no more clients are queued".to_owned(),
        (_, error) => system_text(error),
    }
}

/// As strerror(3) has it: without std's "(os error N)".
fn system_text(errno: c_int) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.rsplit_once(" (os error").map_or_else(|| text.clone(), |(text, _)| text.to_owned())
}

/// The same for the middle of a line, which begins with a small letter.
pub(crate) fn words(errno: c_int) -> String {
    let text = system_text(errno);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: c_int, error: c_int) -> String {
        let text = describe(result, error);
        let given = TEXT.with_borrow(|given| (given.as_ptr(), given.clone()));
        assert_eq!(text, given.0);
        given.1.into_string().expect("text")
    }

    #[test]
    fn only_our_own_lack_of_resources_is_told_apart_from_cannot_tell() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS] {
            assert_eq!(cannot_tell(errno), errno);
        }
        for errno in [libc::EACCES, libc::EPERM, libc::ECONNREFUSED, libc::ENOENT, libc::EINTR, libc::EIO] {
            assert_eq!(cannot_tell(errno), libc::EACCES);
        }
    }

    #[test]
    fn in_a_line_the_systems_words_are_a_part_of_it() {
        let failure = Failure::cannot_tell(std::path::Path::new("/s"), libc::EACCES);
        let Text::Own(text) = failure.text else { panic!("no text of its own") };
        assert_eq!(text, "cannot tell whether a server lives at /s: permission denied");
    }

    #[test]
    fn the_last_failure_of_this_thread_is_told_in_full_and_others_in_general() {
        assert_eq!(Failure::new(libc::EROFS, "the whole story").report(), -1);
        assert_eq!(errno::errno().0, libc::EROFS);
        assert_eq!(text(-1, libc::EROFS), "the whole story");
        assert_eq!(text(-1, libc::ENOENT), "No such file or directory");
        assert_eq!(text(0, libc::EROFS), "success");
        assert_eq!(text(7, 0), "success");
        assert!(text(-2, libc::EADDRINUSE).starts_with("in use"));
        std::thread::spawn(|| assert_eq!(text(-1, libc::EROFS), "Read-only file system")).join().expect("no panic");
    }
}
