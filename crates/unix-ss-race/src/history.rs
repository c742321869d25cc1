//! What happened: an append-only file that all processes of a run write, a line each event.
//!
//! A line is one write() to a file opened with `O_APPEND`, so lines do not mix. All are 128 bytes, a power of two, so
//! none crosses a page: the kernel heeds a SIGKILL in the middle of a write only between pages, and no line is torn.
//!
//! A line carries the times before and after what it tells, from one clock, or, where it announces something, the time
//! before. Whoever judges may take for certain only what holds wherever in between it happened.

use std::fs::File;
use std::io::{self, Write};

/// All lines have this length, with the newline.
pub(crate) const LINE: usize = 128;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum $name { $($word),* }

        impl $name {
            pub(crate) fn as_str(self) -> &'static str {
                match self { $($name::$word => stringify!($word)),* }
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $(stringify!($word) => Some($name::$word),)* _ => None }
            }
        }
    };
}

words! {
    /// What a line tells, and what its three times are.
    What {
        // A worker has been started (peer: its pid, word: its party). [at]
        Born,
        // A worker is about to create a server (token), or has been refused (word), or owns the path. [before, after]
        Try, Refused, Own,
        // A server is about to end (word: how), and has ended (word: what it found at its path). [before, after]
        Closing, Closed,
        // A worker may kill itself from now on. [before]
        Dying,
        // The conductor is about to kill a worker; a worker has ended and is reaped (word: by a SIGKILL that the conductor
        // did not send). [before] [after]
        Kill, Reaped,
        // The conductor has deleted a socket from outside. [before, after]
        Deleted,
        // The conductor has put something foreign there (word: where), and has found it again, or not. [before, after]
        Planted, Unplanted,
        // A client (word: what became of it; token: who answered; peer: who listened). [connect, connected, end]
        Client,
        // A replaceable server has lost its path, and waited for a client or a knock in vain until then. [at]
        Slept,
        // A server that has taken over has waited for its predecessor's life lock (word: how that went). [before, after]
        Succeeded,
        // A server could not put another socket where it had none any more (word: why not). [when it had one, after]
        Unhealed,
        // A dead socket was to be removed (word: what came of it). [before, after]
        Cleaned,
    }
}

words! {
    /// A word that says more.
    Word {
        None,
        // parties
        Ours, ByHand, GitLike, OtherUser, Visitor,
        // what a server that is tried allows and asks for
        Replaceable, TakesOver, Both,
        // refusals
        InUse, Locked, NotASocket, CannotTell, Moved, Denied, Failed,
        // ends
        Drain, Close, Drop, Free,
        // replaced, and then accepting for the grace time and handing out its queue
        HandedOver,
        // its socket was deleted; it has put another there, and handed out the old queue
        Healed,
        // what an end found
        StillOurs, Gone, Replaced, Unknown,
        // clients
        Answered, Absent, Refused, TimedOut, Reset, Unanswered,
        // foreign files
        AtPath, AtLock, Unharmed, Harmed,
        // cleaning: a dead socket is gone (or: Absent)
        Removed,
        // ends of processes
        Killed,
    }
}

/// An event, as it is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) word: Word,
    pub(crate) site: u8,
    pub(crate) worker: u32,
    /// A server's identity, which its clients are told; 0: none.
    pub(crate) token: u64,
    pub(crate) peer: u32,
    pub(crate) t: [u64; 3],
}

impl Event {
    pub(crate) fn new(what: What, word: Word, site: u8, worker: u32) -> Self {
        Event { what, word, site, worker, token: 0, peer: 0, t: [0; 3] }
    }

    pub(crate) fn token(mut self, token: u64) -> Self {
        self.token = token;
        self
    }

    pub(crate) fn peer(mut self, peer: u32) -> Self {
        self.peer = peer;
        self
    }

    pub(crate) fn at<const N: usize>(mut self, times: [u64; N]) -> Self {
        self.t[..N].copy_from_slice(&times);
        self
    }

    /// The line, filled up to its length.
    pub(crate) fn line(&self) -> String {
        let Event { what, word, site, worker, token, peer, t } = self;
        let text =
            format!("{} {} {site} {worker} {token:x} {peer} {} {} {}", what.as_str(), word.as_str(), t[0], t[1], t[2]);
        format!("{text:<127}\n")
    }

    pub(crate) fn parse(line: &str) -> Option<Event> {
        let mut words = line.split_whitespace();
        let event = Event {
            what: What::parse(words.next()?)?,
            word: Word::parse(words.next()?)?,
            site: words.next()?.parse().ok()?,
            worker: words.next()?.parse().ok()?,
            token: u64::from_str_radix(words.next()?, 16).ok()?,
            peer: words.next()?.parse().ok()?,
            t: [words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?],
        };
        words.next().is_none().then_some(event)
    }
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct History(File);

impl History {
    /// Of a file opened with `O_APPEND`.
    pub(crate) fn new(file: File) -> Self {
        History(file)
    }

    /// Adds a line.
    pub(crate) fn tell(&mut self, event: &Event) -> io::Result<()> {
        let line = event.line();
        debug_assert_eq!(line.len(), LINE);
        match self.0.write(line.as_bytes())? {
            LINE => Ok(()),
            written => {
                Err(io::Error::other(format!("{written} of {LINE} bytes of a line of the history were written")))
            }
        }
    }
}

/// Reads it all; a line that cannot be read is an error, since its absence might excuse somebody.
pub(crate) fn read(text: &str) -> Result<Vec<Event>, String> {
    text.lines()
        .enumerate()
        .map(|(number, line)| Event::parse(line).ok_or_else(|| format!("line {} of the history: {line:?}", number + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_128_bytes_and_says_the_same_when_read_back() {
        let longest = Event {
            what: What::Unplanted,
            word: Word::Unanswered,
            site: u8::MAX,
            worker: u32::MAX,
            token: u64::from(u32::MAX) << 20,
            peer: u32::MAX,
            t: [10_u64.pow(17); 3],
        };
        for event in [longest, Event::new(What::Try, Word::None, 0, 1).token(7).at([1, 2])] {
            let line = event.line();
            assert_eq!(line.len(), LINE, "{line}");
            assert_eq!(Event::parse(&line), Some(event));
        }
    }

    #[test]
    fn a_torn_line_is_noticed() {
        let line = Event::new(What::Own, Word::None, 0, 1).line();
        assert!(read(&line[..40]).is_ok_and(|events| events.len() == 1));
        assert!(read(&line[..8]).is_err());
        assert!(read(&(line[..20].to_owned() + &line)).is_err());
    }
}
