//! What is said once of a shortage, however often something fails while it lasts.

use std::time::{Duration, Instant};

/// How long nothing must have failed for the next failure to be another shortage. That something works in between does
/// not end it: a limit may let every other try through.
const QUIET: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Complaint {
    /// When something failed last.
    last: Option<Instant>,
}

impl Complaint {
    /// To be asked at each failure: is it to be said?
    pub(crate) fn is_due(&mut self) -> bool {
        self.last.replace(Instant::now()).is_none_or(|last| last.elapsed() >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_until_nothing_has_failed_for_a_while() {
        let mut complaint = Complaint::default();
        assert!(complaint.is_due());
        // Set by hand, since there is no saying how long this test takes.
        complaint.last = Some(Instant::now() + QUIET);
        assert!(!complaint.is_due());
        complaint.last = Instant::now().checked_sub(QUIET);
        assert!(complaint.is_due());
    }
}
