//! The life of a server that may be replaced: it sleeps until a client comes or a successor knocks.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use unix_stream_server::ServerSocket;

use super::SiteJob;
use super::server::{Worker, answer};
use crate::by_hand::{ByHand, accept_one};
use crate::checker::GRACE;
use crate::clock::now;
use crate::history::{Event, What, Word};
use crate::server::Server;

/// What ended a sleep.
#[derive(PartialEq, Eq)]
enum Woken {
    ByClient,
    /// The time is over, or the conductor says so.
    ToEnd,
}

impl Worker {
    /// Serves for a while; what is left to be ended, or nothing if it has been replaced.
    pub(super) fn hold_until_replaced(
        &mut self,
        server: Server,
        site: &SiteJob,
        token: u64,
    ) -> io::Result<Option<Server>> {
        let hold = match self.random.u8(..4) {
            0 => self.random.u64(..2_000),
            1 | 2 => self.random.u64(..30_000),
            _ => self.random.u64(..200_000),
        };
        let end = Instant::now() + Duration::from_micros(hold);
        match server {
            Server::Library(server) => self.until_replaced(server, site, token, end),
            Server::ByHand(server) => self.by_hand_until_replaced(server, site, token, end),
            server @ Server::Parts(..) => Ok(Some(server)),
        }
    }

    fn until_replaced(
        &mut self,
        server: ServerSocket,
        site: &SiteJob,
        token: u64,
        end: Instant,
    ) -> io::Result<Option<Server>> {
        let id = server.device_and_inode();
        let is_lost = || fs::symlink_metadata(&site.path).map(|node| (node.dev(), node.ino())).ok() != Some(id);
        // To sleep on, since the iterator would sleep for as long as nobody comes.
        let listener = server.as_fd().try_clone_to_owned()?;
        let mut clients = server.until_replaced().grace(GRACE);
        let mut seen_lost = false;
        loop {
            if !seen_lost {
                if self.sleep(&listener, end, site, token, &is_lost)? == Woken::ToEnd && !is_lost() {
                    break;
                }
                seen_lost = is_lost();
            }
            let before = now();
            match clients.next() {
                Some(Ok(client)) => {
                    answer(client, token);
                    // Replaced in that call, it may have accepted the knock too.
                    seen_lost = is_lost();
                }
                Some(Err(_)) => std::thread::sleep(Duration::from_millis(1)),
                None => return self.handed_over(site, token, before).map(|()| None),
            }
        }
        drop(listener);
        // Its path led to it when it was last looked at, and next() has not been called since.
        Ok(clients.into_server().ok().map(Server::Library))
    }

    fn by_hand_until_replaced(
        &mut self,
        server: ByHand,
        site: &SiteJob,
        token: u64,
        end: Instant,
    ) -> io::Result<Option<Server>> {
        let is_lost = || server.status().is_stolen();
        loop {
            let woken = self.sleep(&server.listener, end, site, token, &is_lost)?;
            if is_lost() {
                break;
            }
            if woken == Woken::ToEnd {
                return Ok(Some(Server::ByHand(server)));
            }
            accept_one(&server.listener).into_iter().for_each(|client| answer(client, token));
            if is_lost() {
                break; // it may have been the knock
            }
        }
        let before = now();
        server.hand_over(GRACE, |client| answer(client, token))?;
        self.handed_over(site, token, before).map(|()| None)
    }

    /// Until somebody is in the queue, or it is to end. Who has been replaced must not sleep on: that is told.
    fn sleep(
        &mut self,
        listener: &impl AsFd,
        end: Instant,
        site: &SiteJob,
        token: u64,
        is_lost: &dyn Fn() -> bool,
    ) -> io::Result<Woken> {
        let mut fds =
            [PollFd::new(listener, PollFlags::IN), PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(1..) if fds[1].revents().is_empty() => return Ok(Woken::ByClient),
                Ok(_) => break,
            }
        }
        // In this order: it had been replaced at that moment, and nobody is there who came before it.
        let lost = is_lost();
        let moment = now();
        let nobody = Timespec { tv_sec: 0, tv_nsec: 0 };
        if lost && matches!(poll(&mut fds[..1], Some(&nobody)), Ok(0)) {
            let event = Event::new(What::Slept, Word::None, site.index, self.job.number);
            self.history.tell(&event.token(token).at([moment]))?;
        }
        Ok(Woken::ToEnd)
    }

    fn handed_over(&mut self, site: &SiteJob, token: u64, before: u64) -> io::Result<()> {
        let event = |what, word| Event::new(what, word, site.index, self.job.number).token(token);
        self.history.tell(&event(What::Closing, Word::HandedOver).at([before]))?;
        self.history.tell(&event(What::Closed, Word::Replaced).at([before, now()]))
    }
}
