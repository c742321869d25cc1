//! Contestants side by side: in every round each of them once, in an order of its own; then medians over the rounds.

use std::time::{Duration, Instant};

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Does its thing so many times and says how long that took.
type Run = Box<dyn FnMut(u32) -> Result<Duration>>;

/// Rounds that warm the caches and are forgotten.
const WARM_UP: usize = 3;
/// Quartiles of fewer rounds say nothing.
const ROUNDS_MIN: usize = 8;

#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Once,
    Timed(Duration),
}

impl Mode {
    pub(crate) fn share(self, shares: u32) -> Self {
        match self {
            Mode::Once => Mode::Once,
            Mode::Timed(all) => Mode::Timed(all / shares),
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

pub(crate) struct Group {
    title: &'static str,
    batch: u32,
    contestants: Vec<(&'static str, Run)>,
    /// Whom the others are divided by: their places among the contestants.
    references: Vec<usize>,
}

impl Group {
    /// `batch` is how often a contestant runs in a round: enough to be long beside the clock's grain.
    pub(crate) fn new(title: &'static str, batch: u32) -> Self {
        Group { title, batch, contestants: Vec::new(), references: vec![0] }
    }

    pub(crate) fn add(mut self, name: &'static str, run: Run) -> Self {
        self.contestants.push((name, run));
        self
    }

    /// A second column of ratios.
    pub(crate) fn and_relative_to(mut self, name: &str) -> Self {
        self.references.extend(self.contestants.iter().position(|contestant| contestant.0 == name));
        self
    }

    pub(crate) fn measure(mut self, mode: Mode) -> Result<Report> {
        let (batch, warm_up) = match mode {
            Mode::Once => (1, 0),
            Mode::Timed(_) => (self.batch, WARM_UP),
        };
        let mut order: Vec<usize> = (0..self.contestants.len()).collect();
        let mut rounds = Vec::new();
        let mut chance = 0x9e37_79b9_7f4a_7c15;
        let start = Instant::now();
        loop {
            shuffle(&mut order, &mut chance);
            let mut round = vec![0.0; order.len()];
            for &place in &order {
                round[place] = self.contestants[place].1(batch)?.as_nanos() as f64 / f64::from(batch);
            }
            rounds.push(round);
            let enough = match mode {
                Mode::Once => true,
                Mode::Timed(limit) => start.elapsed() >= limit && rounds.len() >= WARM_UP + ROUNDS_MIN,
            };
            if enough {
                break;
            }
        }
        rounds.drain(..warm_up);
        let Group { title, contestants, references, .. } = self;
        Ok(Report {
            title,
            names: contestants.iter().map(|contestant| contestant.0).collect(),
            references,
            batch,
            rounds,
        })
    }
}

/// Fisher and Yates, by xorshift: whoever comes before whom must not be a constant.
fn shuffle(order: &mut [usize], chance: &mut u64) {
    for last in (1..order.len()).rev() {
        *chance ^= *chance << 13;
        *chance ^= *chance >> 7;
        *chance ^= *chance << 17;
        order.swap(last, (*chance % (last as u64 + 1)) as usize);
    }
}

/// What came out, in nanoseconds by round and contestant.
pub(crate) struct Report {
    title: &'static str,
    names: Vec<&'static str>,
    references: Vec<usize>,
    batch: u32,
    rounds: Vec<Vec<f64>>,
}

impl Report {
    pub(crate) fn print(&self) {
        println!("\n{} [{} rounds of {}]", self.title, self.rounds.len(), self.batch);
        print!("  {:<24}{:>29}", "", "ns");
        for &reference in &self.references {
            print!("{:>26}", format!("/ {}", self.names[reference]));
        }
        println!();
        for (place, name) in self.names.iter().enumerate() {
            let [low, median, high] = self.quartiles(|round| round[place]);
            print!("  {name:<24}{:>29}", format!("{median:.0} ({low:.0} to {high:.0})"));
            for &reference in &self.references {
                let [low, median, high] = self.quartiles(|round| round[place] / round[reference]);
                let cell = if place == reference { "1".into() } else { format!("{median:.2} ({low:.2} to {high:.2})") };
                print!("{cell:>26}");
            }
            println!();
        }
    }

    fn quartiles(&self, of: impl Fn(&Vec<f64>) -> f64) -> [f64; 3] {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
    }
}
