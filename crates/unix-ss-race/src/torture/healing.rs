//! A server whose socket was deleted puts another there, and serves who is left in the old queue.
//!
//! To the history that is the end of one server and the beginning of another, each with a token of its own.

use std::io;

use unix_stream_server::{ServerSocket, Status};

use super::SiteJob;
use super::server::{Worker, answer};
use crate::clock::now;
use crate::history::{Event, What, Word};
use crate::server::{Server, of_error};

impl Worker {
    /// Heals, where there is something to be healed: the token from then on. `since`: when it may have got its path at the
    /// earliest; `dies`: its fuse has been lit.
    pub(super) fn heal(
        &mut self,
        server: &mut Server,
        site: &SiteJob,
        (token, asks): (u64, Word),
        since: u64,
        dies: bool,
    ) -> io::Result<Option<u64>> {
        let Server::Library(server) = server else { return Ok(None) };
        if server.status() != Status::Gone || self.random.u8(..3) == 0 {
            return Ok(None);
        }
        let number = self.job.number;
        let event = |what, word, token| Event::new(what, word, site.index, number).token(token);
        let new = self.new_token();
        // It does not take over, but a successor may take over from it as before.
        let asks = if matches!(asks, Word::Both | Word::Replaceable) { Word::Replaceable } else { Word::None };
        self.history.tell(&event(What::Try, asks, new).at([now()]))?;
        if dies {
            self.history.tell(&event(What::Dying, Word::None, new).at([now()]))?;
        }
        let before = now();
        match ServerSocket::heal(server) {
            Ok(Some(queue)) => {
                self.history.tell(&event(What::Own, Word::None, new).at([before, now()]))?;
                self.history.tell(&event(What::Closing, Word::Healed, token).at([before]))?;
                // Only descriptors can be missing, and that passes; at the end of the queue there is no error.
                queue.for_each(|client| client.into_iter().for_each(|client| answer(client, token)));
                self.history.tell(&event(What::Closed, Word::Gone, token).at([before, now()]))?;
                server.set_nonblocking(true)?;
                Ok(Some(new))
            }
            // It is there again: nobody here does that, and so the checker asks why.
            Ok(None) => {
                self.history.tell(&event(What::Unhealed, Word::StillOurs, new).at([before, now()])).map(|()| None)
            }
            // What stands there now may have come, and died, since it lost its path.
            Err(error) => {
                self.history.tell(&event(What::Unhealed, of_error(&error), new).at([since, now()])).map(|()| None)
            }
        }
    }
}
