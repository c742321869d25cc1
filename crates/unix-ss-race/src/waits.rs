//! How long many things took, in little room: a histogram whose buckets grow with what they hold.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets in each doubling: a time is known to an eighth.
const PARTS: u64 = 8;

/// Times, to an eighth each, and the longest exactly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Waits {
    buckets: BTreeMap<u64, u64>,
    longest: u64,
}

impl Waits {
    /// One more, in nanoseconds.
    pub(crate) fn add(&mut self, time: u64) {
        *self.buckets.entry(bucket(time)).or_default() += 1;
        self.longest = self.longest.max(time);
    }

    pub(crate) fn append(&mut self, other: &Waits) {
        for (&bucket, number) in &other.buckets {
            *self.buckets.entry(bucket).or_default() += number;
        }
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn median(&self) -> Duration {
        let half = self.buckets.values().sum::<u64>().div_ceil(2);
        let mut below = 0;
        let middle = self.buckets.iter().find(|&(_, number)| {
            below += number;
            below >= half
        });
        Duration::from_nanos(middle.map_or(0, |(&bucket, _)| least(bucket)))
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }
}

fn bucket(time: u64) -> u64 {
    match time.checked_ilog2() {
        Some(log @ 3..) => u64::from(log - 2) * PARTS + ((time >> (log - 3)) - PARTS),
        _ => time,
    }
}

/// The least time of a bucket.
fn least(bucket: u64) -> u64 {
    match bucket / PARTS {
        0 => bucket,
        doublings => (bucket % PARTS + PARTS) << (doublings - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_known_to_an_eighth_and_the_longest_exactly() {
        for time in (0..200).chain([999, 1_000, 123_456_789, u64::from(u32::MAX), 1 << 60]) {
            let known = least(bucket(time));
            assert!(known <= time && time - known <= time / PARTS, "{time}: {known}");
        }
        let mut waits = Waits::default();
        (0..101).for_each(|_| waits.add(1_000));
        let mut others = Waits::default();
        (0..100).for_each(|_| others.add(7_777_777));
        waits.append(&others);
        assert_eq!((waits.median(), waits.longest()), (Duration::from_nanos(960), Duration::from_nanos(7_777_777)));
    }
}
