//! A worker that creates, holds, serves, and ends in one way or another, again and again.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use unix_stream_server::{PathState, ServerSocket};

use super::{Job, Party, SiteJob, client, may_be_killed};
use crate::clock::now;
use crate::history::{Event, History, What, Word};
use crate::process::{self, is_told_to_end, kill_self, light_fuse};
use crate::recipe::{Defect, Strategy};
use crate::server::{Server, Way, Wish, of_error};

const BACKLOGS: [Option<u32>; 5] = [Some(0), Some(1), Some(8), None, None];

/// How a server ends. To add an operation: a variant, its share in [`End::choose`], its steps in [`Worker::end`], and,
/// if it is a new kind of end, what the checker may conclude from its word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Drain,
    Close,
    Drop,
    /// By SIGKILL, with whoever is queued.
    Die,
}

impl End {
    fn choose(random: &mut fastrand::Rng) -> End {
        match random.u8(..100) {
            0..45 => End::Drain,
            45..70 => End::Close,
            70..85 => End::Drop,
            _ => End::Die,
        }
    }
}

pub(super) struct Worker {
    pub(super) job: Job,
    way: Way,
    pub(super) history: History,
    pub(super) random: fastrand::Rng,
    counter: u64,
    /// What is kept of servers that have ended, by a defect.
    kept: Vec<OwnedFd>,
}

impl Worker {
    pub(super) fn new(job: Job, party: Party, history: History) -> Self {
        let way = match (party, job.defect) {
            (Party::GitLike, _) => Strategy::Git.recipe().map_or(Way::Library, Way::Recipe),
            (Party::ByHand, Some(defect)) => Way::Recipe(defect.recipe()),
            _ => Way::Library,
        };
        let random = fastrand::Rng::with_seed(job.seed);
        Worker { job, way, history, random, counter: 0, kept: Vec::new() }
    }

    fn is_git(&self) -> bool {
        self.job.party == Some(Party::GitLike)
    }

    fn has(&self, defect: Defect) -> bool {
        self.job.party == Some(Party::ByHand) && self.job.defect == Some(defect)
    }

    pub(super) fn run(&mut self) -> std::io::Result<()> {
        while !is_told_to_end(Duration::ZERO) {
            let site = self.job.choose_site(&mut self.random);
            if matches!(self.job.party, Some(Party::Ours | Party::OtherUser)) && self.random.u8(..12) == 0 {
                self.clean(&site)?;
                continue;
            }
            let token = self.new_token();
            let dies = self.one_life(&site, token)?;
            if dies {
                kill_self(); // with the fuse lit, the next life would end without a word
            }
        }
        if !self.kept.is_empty() {
            // Our end would wake those who are blocked.
            std::thread::sleep(client::PATIENCE_IF_NOT_WOKEN * 2);
        }
        Ok(())
    }

    pub(super) fn new_token(&mut self) -> u64 {
        self.counter += 1;
        u64::from(self.job.number) << 20 | self.counter
    }

    /// Whether the fuse has been lit.
    fn one_life(&mut self, site: &SiteJob, token: u64) -> std::io::Result<bool> {
        let number = self.job.number;
        let event = |what, word| Event::new(what, word, site.index, number).token(token);
        let replaceable = site.hand_overs && self.random.u8(..4) != 0;
        let takes_over = site.hand_overs && self.random.u8(..4) != 0;
        let asks = match (replaceable, takes_over) {
            (true, true) => Word::Both,
            (true, false) => Word::Replaceable,
            (false, true) => Word::TakesOver,
            (false, false) => Word::None,
        };
        self.history.tell(&event(What::Try, asks).at([now()]))?;
        let dies = may_be_killed(self.job.party, self.job.defect) && self.random.u8(..16) == 0;
        if dies {
            self.history.tell(&event(What::Dying, Word::None).at([now()]))?;
            light_fuse(Duration::from_nanos(self.random.u64(..400_000)));
        }
        let wish = Wish {
            mode: site.mode,
            life: site.life,
            backlog: if site.short_queues { *self.random.choice(&BACKLOGS).unwrap_or(&None) } else { None },
            timeout: self.job.lock_timeout(),
            claims: self.random.u8(..4) == 0 && !takes_over, // a claim does not take over
            parts: self.random.u8(..4) == 0 && !site.hand_overs,
            replaceable,
            takes_over,
        };
        let before = now();
        let mut server = match Server::create(self.way, &site.path, wish) {
            Ok(server) => server,
            Err(word) => {
                self.history.tell(&event(What::Refused, word).at([before, now()]))?;
                let pause = self.random.u64(..2_000);
                let _ = is_told_to_end(Duration::from_micros(pause));
                return Ok(dies);
            }
        };
        self.history.tell(&event(What::Own, Word::None).at([before, now()]))?;
        server.set_nonblocking();
        if let (true, Server::Library(server), true) = (site.life && takes_over, &mut server, self.random.bool()) {
            let before = now();
            let word = server
                .wait_for_predecessor(self.job.lock_timeout())
                .map_or_else(|error| of_error(&error), |()| Word::None);
            self.history.tell(&event(What::Succeeded, word).at([before, now()]))?;
        }
        let mut server = if replaceable && self.random.u8(..8) != 0 {
            match self.hold_until_replaced(server, site, token)? {
                Some(server) => server,
                None => return Ok(dies),
            }
        } else {
            self.hold(server, token)
        };
        let mut token = token;
        if let Some(new) = self.heal(&mut server, site, (token, asks), before, dies)? {
            token = new;
            server = self.hold(server, token);
        }
        self.end(server, site, token)?;
        Ok(dies)
    }

    fn clean(&mut self, site: &SiteJob) -> std::io::Result<()> {
        let before = now();
        let cleaned = ServerSocket::builder().lock_timeout(self.job.lock_timeout()).remove_dead(&site.path);
        let word = match cleaned {
            Ok(PathState::Absent) => Word::Absent,
            Ok(_) => Word::Removed,
            Err(error) => of_error(&error),
        };
        self.history.tell(&Event::new(What::Cleaned, word, site.index, self.job.number).at([before, now()]))
    }

    /// Serves for a while, or lets its queue fill.
    fn hold(&mut self, mut server: Server, token: u64) -> Server {
        let hold = match self.random.u8(..4) {
            0 => 0,
            1 => self.random.u64(..1_000),
            2 => self.random.u64(..5_000),
            _ => self.random.u64(..25_000),
        };
        let end = Instant::now() + Duration::from_micros(hold);
        let serves = self.random.u8(..4) != 0;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return server;
            }
            if let (true, Server::ByHand(server)) = (self.has(Defect::BindsAgain), &mut server) {
                if server.status().is_stolen() {
                    server.bind_again();
                }
            }
            if !serves {
                if is_told_to_end(left) {
                    return server;
                }
                continue;
            }
            let time = Timespec::try_from(left.min(Duration::from_millis(5))).ok();
            let mut fds =
                [PollFd::new(&server, PollFlags::IN), PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
            let _ = poll(&mut fds, time.as_ref());
            let told = !fds[1].revents().is_empty();
            while let Some(client) = server.accept() {
                answer(client, token);
            }
            if told {
                return server;
            }
        }
    }

    fn end(&mut self, server: Server, site: &SiteJob, token: u64) -> std::io::Result<()> {
        let number = self.job.number;
        let event = |what, word| Event::new(what, word, site.index, number).token(token);
        let end = match End::choose(&mut self.random) {
            End::Die if self.has(Defect::ShutsWithoutWaking) => End::Drain,
            end => end,
        };
        if self.has(Defect::InheritedListener) {
            leave_a_child(&server);
        }
        if end == End::Drain && self.has(Defect::ShutsWithoutWaking) {
            self.kept.extend(server.as_fd().try_clone_to_owned());
        }
        let how = match end {
            End::Die => {
                self.history.tell(&event(What::Dying, Word::None).at([now()]))?;
                kill_self();
            }
            End::Drain | End::Close | End::Drop if self.is_git() => Word::Free,
            End::Drain => Word::Drain,
            End::Close => Word::Close,
            End::Drop => Word::Drop,
        };
        let before = now();
        self.history.tell(&event(What::Closing, how).at([before]))?;
        if self.has(Defect::AnswersAfterItsEnd) {
            self.history.tell(&event(What::Closed, Word::StillOurs).at([before, now()]))?;
            let end = Instant::now() + Duration::from_millis(5);
            while Instant::now() < end {
                server.accept().into_iter().for_each(|client| answer(client, token));
            }
            server.drain(|client| answer(client, token));
            return Ok(());
        }
        let found = match how {
            Word::Drain => server.drain(|client| answer(client, token)),
            Word::Drop => {
                server.drop();
                Word::None
            }
            _ => server.close(),
        };
        self.history.tell(&event(What::Closed, found).at([before, now()]))
    }
}

/// Says who it is that answers.
pub(super) fn answer(mut client: UnixStream, token: u64) {
    let _ = client.write_all(format!("{token:016x}").as_bytes()); // a prober has gone already
}

/// A child that has the listener, and is gone after a while or with the conductor.
fn leave_a_child(server: &Server) {
    let Ok(copy) = server.as_fd().try_clone_to_owned() else { return };
    let _ = rustix::io::fcntl_setfd(&copy, FdFlags::empty());
    let _ = Command::new("/proc/self/exe")
        .args([process::WORKER, "linger"])
        .stdin(Stdio::inherit())
        .stdout(Stdio::null())
        .spawn();
}
