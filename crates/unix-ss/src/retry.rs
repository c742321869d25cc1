//! Looking again and again, until a time is over.

use std::time::{Duration, Instant};

/// The first pause between two looks, doubled each time up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Retry {
    deadline: Instant,
    pause: Duration,
}

impl Retry {
    pub(crate) fn within(time: Duration) -> Self {
        // A time beyond the clock's end is for ever; some centuries will do.
        let far = Duration::from_secs(u64::from(u32::MAX));
        Retry { deadline: Instant::now() + time.min(far), pause: FIRST_PAUSE }
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long to sleep before the next look; `None` once the time is over.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let left = self.left();
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        (!left.is_zero()).then_some(pause)
    }
}
