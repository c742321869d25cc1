//! Standard error under `--verbose` and `--log-format`: who listens to the library's events and to the command's own.
//!
//! Without `--verbose` nobody subscribes, and an event costs one comparison. A subscriber of our own, since there are no
//! spans, no filters and no colours to be had: two formats of one line.

mod line;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::cli::LogFormat;
use crate::message::{Said, write};
use line::Line;

static JSON: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicU8 = AtomicU8::new(0);

/// As the options ask.
pub(crate) fn start(verbose: u8, format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    VERBOSE.store(verbose, Ordering::Relaxed);
    let level = match verbose {
        0 => return,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    // It fails only where another has been set, and nobody sets one.
    let _ = tracing::subscriber::set_global_default(Log { level });
}

/// The same options for another process of ours.
pub(crate) fn options() -> Vec<&'static str> {
    let verbose = usize::from(VERBOSE.load(Ordering::Relaxed).min(2));
    let mut options = vec!["--verbose"; verbose];
    options.extend(is_json().then_some("--log-format=json"));
    options
}

pub(crate) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// What `say` says, in the other format.
pub(crate) fn error_line(what: &impl Said) -> String {
    Line::error(what).json()
}

struct Log {
    level: Level,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Not only events: whether anybody listens is asked without one.
        !metadata.is_span() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level))
    }

    fn event(&self, event: &Event<'_>) {
        let line = Line::of(event);
        write(&if is_json() { line.json() } else { line.text() });
    }

    // There are no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
