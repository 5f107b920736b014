//! Counting: latencies in a histogram, medians over rounds.

use std::time::Duration;

/// Values below 2^`EXACT_BITS` have a bucket each; above, a bucket spans 1/32 of its value.
const EXACT_BITS: u32 = 6;
const HALF: u64 = 1 << (EXACT_BITS - 1);
const BUCKETS: usize = (64 - EXACT_BITS as usize) * HALF as usize + (1 << EXACT_BITS);

/// Latencies in microseconds, within 3 %, in constant memory.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    /// An empty histogram.
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0 }
    }

    /// Counts one latency.
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)] += 1;
        self.count += 1;
    }

    /// The latency in milliseconds that `share` (0 to 1) of the values do not exceed; 0 without values.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let mut left = share * self.count as f64;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            left -= count as f64;
            if count > 0 && left <= 0.0 {
                return floor_of(bucket as u64) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }
}

fn bucket_of(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(EXACT_BITS);
    let bucket = u64::from(shift) * HALF + (value >> shift);
    usize::try_from(bucket).unwrap_or(BUCKETS - 1)
}

fn floor_of(bucket: u64) -> u64 {
    let shift = (bucket / HALF).saturating_sub(1);
    (bucket - shift * HALF) << shift
}

/// The middle, the least and the greatest of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The median; of an even number of values the upper middle one.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Some(Self { median: *values.get(values.len() / 2)?, min: *values.first()?, max: *values.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_at_most_a_32nd_below_it() {
        for value in (0..100_000).chain([u64::from(u32::MAX), u64::MAX / 2, u64::MAX]) {
            let floor = floor_of(bucket_of(value) as u64);
            assert!(floor <= value && value - floor <= value / 32, "{value} in the bucket of {floor}");
        }
    }

    #[test]
    fn a_quantile_is_the_value_below_which_that_share_lies() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        assert!((histogram.quantile_ms(0.5) - 50.0).abs() < 2.0);
        assert!((histogram.quantile_ms(0.99) - 99.0).abs() < 4.0);
    }

    #[test]
    fn the_median_ignores_order() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
    }
}
