//! When it is worth looking at the path again.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the path is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// The moments at which the path of a server may have changed.
pub(super) struct Changes {
    timer: Interval,
}

impl Changes {
    pub(super) fn of(_server: &crate::ServerSocket) -> Self {
        let mut timer = interval(INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Changes { timer }
    }

    /// Ready when it is worth a look since the last time it was.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.timer.poll_tick(cx));
        Poll::Ready(())
    }
}
