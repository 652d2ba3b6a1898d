use std::time::Duration;

/// A histogram of durations, which doors report of their requests.
///
/// ```
/// use sd_core::door::Latency;
/// use std::time::Duration;
///
/// let mut latency = Latency::default();
/// latency.add(Duration::from_micros(3), 2);
/// assert_eq!((latency.count(), latency.sum()), (2, Duration::from_micros(6)));
/// // Between 2 and 4 µs.
/// assert_eq!(latency.buckets().nth(2), Some((Duration::from_micros(4), 2)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; Self::BUCKETS],
    sum: Duration,
}

impl Latency {
    /// The number of buckets. The last one has no upper bound.
    pub const BUCKETS: usize = 24;

    /// The histogram with these numbers in its buckets and this sum.
    #[must_use]
    pub fn from_parts(counts: [u64; Self::BUCKETS], sum: Duration) -> Self {
        Self { counts, sum }
    }

    /// The number of the bucket for this duration.
    #[inline]
    #[must_use]
    pub fn bucket(took: Duration) -> usize {
        let bits = u128::BITS - took.as_micros().leading_zeros();
        (bits as usize).min(Self::BUCKETS - 1)
    }

    /// Adds `count` durations of this length.
    #[inline]
    pub fn add(&mut self, took: Duration, count: u64) {
        self.counts[Self::bucket(took)] += count;
        self.sum = self.sum.saturating_add(took.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    /// Upper bounds, and the number of durations below each bound and not below the one before. The bounds are 1 µs and
    /// its doubles up to 4.2 s. The last one is [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.counts.iter().enumerate().map(|(number, count)| {
            let is_last = number == Self::BUCKETS - 1;
            (if is_last { Duration::MAX } else { Duration::from_micros(1 << number) }, *count)
        })
    }

    /// The number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Adds the durations of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}
