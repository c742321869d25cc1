//! Who is let in, of those who may connect: `--allow-uid`, `--allow-gid`.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use unix_stream_server::PeerRules;

use crate::cli::AllowPeers;
use crate::message::{failed, say};

/// Refusals are reported at most so often, whoever comes however often.
const INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Gate {
    /// `None`: everybody.
    rules: Option<PeerRules>,
    /// Since the last report.
    refused: u64,
    next_report: Option<Instant>,
}

impl Gate {
    pub(super) fn new(allow: &AllowPeers) -> Result<Self, u8> {
        let rules = allow.rules().map_err(failed)?;
        Ok(Gate { rules, refused: 0, next_report: None })
    }

    /// Asked before anything of a client's reaches a program; whoever is not let in is to be hung up on.
    pub(super) fn lets_in(&mut self, client: &UnixStream) -> bool {
        let Some(rules) = &self.rules else { return true };
        let Err(refused) = rules.check(client) else { return true };
        self.refused += 1;
        let now = Instant::now();
        if self.next_report.is_none_or(|due| due <= now) {
            match self.refused {
                1 => say(format_args!("refused a client: {refused}")),
                n => say(format_args!("refused {n} clients; the last: {refused}")),
            }
            self.refused = 0;
            self.next_report = Some(now + INTERVAL);
        }
        false
    }
}
