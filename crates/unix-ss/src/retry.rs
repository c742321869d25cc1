//! Looking again and again, until a time is over.

use std::time::{Duration, Instant};

/// The first pause between two looks, doubled each time up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// Tries again as long as the error may pass, within a time of which each try is told what is left.
pub(crate) fn try_within<T, E>(
    time: Duration,
    mut attempt: impl FnMut(Duration) -> Result<T, E>,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut retry = Retry::within(time);
    loop {
        let error = match attempt(retry.left()) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match retry.pause().filter(|_| may_pass(&error)) {
            Some(pause) => std::thread::sleep(pause), // at most the last pause, and not beyond the time
            None => return Err(error),
        }
    }
}

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
