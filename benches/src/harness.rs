//! Contestants side by side: in every round each of them once, in an order of its own; then medians over the rounds.

use std::time::{Duration, Instant};

use crate::report::Report;

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Does its thing so many times and says how long that took.
pub(crate) type Run = Box<dyn FnMut(u32) -> Result<Duration>>;

/// Rounds that warm the caches and are forgotten.
const WARM_UP: usize = 2;
/// Quartiles of fewer rounds say nothing.
const ROUNDS_MIN: usize = 8;

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Everything once, to see that it works; the figures mean nothing.
    Test,
    /// Seconds, for a glance.
    Quick,
    /// Minutes: what docs/performance.md is written from.
    Full,
}

impl Pace {
    /// One of three, by the pace.
    pub(crate) fn choose<T>(self, test: T, quick: T, full: T) -> T {
        match self {
            Pace::Test => test,
            Pace::Quick => quick,
            Pace::Full => full,
        }
    }
}

/// Times the whole of it.
pub(crate) fn whole(mut work: impl FnMut() -> Result<()> + 'static) -> Run {
    Box::new(move |count| {
        let start = Instant::now();
        for _ in 0..count {
            work()?;
        }
        Ok(start.elapsed())
    })
}

/// Times `work` and not what becomes of its result.
pub(crate) fn timed<T>(
    mut work: impl FnMut() -> Result<T> + 'static,
    mut after: impl FnMut(T) -> Result<()> + 'static,
) -> Run {
    Box::new(move |count| {
        let mut sum = Duration::ZERO;
        for _ in 0..count {
            let start = Instant::now();
            let made = work()?;
            sum += start.elapsed();
            after(made)?;
        }
        Ok(sum)
    })
}

/// The most that the ratio of a contestant to another is meant to be.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) contestant: String,
    pub(crate) reference: String,
    pub(crate) at_most: f64,
}

/// Contestants that do the same thing. The first is the reference, whom all are divided by.
pub(crate) struct Group {
    title: String,
    batch: u32,
    time: [Duration; 2],
    contestants: Vec<(String, Run)>,
    remarks: Vec<(String, String)>,
    absent: Vec<(String, String)>,
    references: Vec<String>,
    targets: Vec<Target>,
    limits: Vec<(String, Duration)>,
}

impl Group {
    /// `batch` is how often a contestant runs in a round: enough to be long beside the clock's grain.
    pub(crate) fn new(title: impl Into<String>, batch: u32) -> Self {
        Group {
            title: title.into(),
            batch,
            time: [Duration::from_millis(150), Duration::from_secs(4)],
            contestants: Vec::new(),
            remarks: Vec::new(),
            absent: Vec::new(),
            references: Vec::new(),
            targets: Vec::new(),
            limits: Vec::new(),
        }
    }

    /// For how long to go on with the rounds, at the quick pace and at the full one. There are at least ten of them.
    pub(crate) fn time(mut self, quick: Duration, full: Duration) -> Self {
        self.time = [quick, full];
        self
    }

    pub(crate) fn add(mut self, name: impl Into<String>, run: Run) -> Self {
        self.contestants.push((name.into(), run));
        self
    }

    /// What the contestant does not do, or does besides: a column of the table.
    pub(crate) fn remark(mut self, name: &str, remark: impl Into<String>) -> Self {
        self.remarks.push((name.to_owned(), remark.into()));
        self
    }

    /// One that cannot be measured here, and why: it has a line of its own and is never left out in silence.
    pub(crate) fn absent(mut self, name: impl Into<String>, why: impl Into<String>) -> Self {
        self.absent.push((name.into(), why.into()));
        self
    }

    /// A further column of ratios, beside that to the first contestant.
    pub(crate) fn and_relative_to(mut self, name: &str) -> Self {
        self.references.push(name.to_owned());
        self
    }

    /// The ratio of `contestant` to `reference` is meant to be no more than this.
    pub(crate) fn target(mut self, contestant: &str, reference: &str, at_most: f64) -> Self {
        self.targets.push(Target { contestant: contestant.to_owned(), reference: reference.to_owned(), at_most });
        self
    }

    /// The time of `contestant` is meant to be under this.
    pub(crate) fn limit(mut self, contestant: &str, under: Duration) -> Self {
        self.limits.push((contestant.to_owned(), under));
        self
    }

    pub(crate) fn measure(mut self, pace: Pace) -> Result<Report> {
        let batch = pace.choose(1, self.batch, self.batch);
        let warm_up = pace.choose(0, WARM_UP, WARM_UP);
        let [quick, full] = self.time;
        let limit = pace.choose(Duration::ZERO, quick, full);
        let mut order: Vec<usize> = (0..self.contestants.len()).collect();
        let mut rounds = Vec::new();
        let mut random = fastrand::Rng::new();
        let start = Instant::now();
        loop {
            // Whoever comes before whom must not be a constant.
            random.shuffle(&mut order);
            let mut round = vec![0.0; order.len()];
            for &place in &order {
                let (name, run) = &mut self.contestants[place];
                let time = run(batch).map_err(|error| format!("{}: {name}: {error}", self.title))?;
                round[place] = time.as_nanos() as f64 / f64::from(batch);
            }
            rounds.push(round);
            let enough = pace == Pace::Test || rounds.len() >= warm_up + ROUNDS_MIN;
            if enough && start.elapsed() >= limit {
                break;
            }
        }
        rounds.drain(..warm_up);
        let names: Vec<String> = self.contestants.into_iter().map(|(name, _)| name).collect();
        let first = names.first().cloned().into_iter();
        Ok(Report {
            title: self.title,
            references: first.chain(self.references).collect(),
            remarks: self.remarks,
            absent: self.absent,
            targets: self.targets,
            limits: self.limits,
            names,
            batch,
            rounds,
        })
    }
}
