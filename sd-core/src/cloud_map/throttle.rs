//! The token buckets of the operations whose rate is limited.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::{
    api::error::Error,
    model::{Scope, Timestamp, action::Action},
    settings::quotas::Rate,
};

/// Below this many buckets none is thrown away.
const FEW: usize = 1024;

/// The buckets of all scopes. Full buckets are not stored, so idle accounts use no memory.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Buckets>);

#[derive(Default)]
struct Buckets {
    /// When each is going to be full, in nanoseconds since the Unix epoch: each token that it lacks takes an interval.
    full_at: HashMap<(Scope, Action), u128>,
    /// How many there were after full ones were thrown away.
    kept: usize,
}

impl Throttle {
    /// Takes a token.
    ///
    /// # Errors
    /// `RequestLimitExceeded` if there is none.
    pub(crate) fn admit(&self, rate: &'static Rate, scope: &Scope, now: Timestamp) -> Result<(), Error> {
        let (now, interval) = (u128::from(now.as_millis()) * 1_000_000, rate.interval.as_nanos());
        let empty = now + interval * u128::from(rate.burst);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.clean(now);
        let full_at = buckets.full_at.entry((scope.clone(), rate.action)).or_insert(now);
        // A bucket is never emptier than empty: a clock that was set back does not stop the account for so long.
        let taken = (*full_at).clamp(now, empty) + interval;
        if taken > empty {
            *full_at = empty.min(*full_at);
            return Err(Error::RequestLimitExceeded(rate));
        }
        *full_at = taken;
        Ok(())
    }

    /// Fills all buckets.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Buckets::default();
    }
}

impl Buckets {
    /// Drops full buckets whenever their number has doubled since the last time.
    fn clean(&mut self, now: u128) {
        if self.full_at.len() < FEW.max(2 * self.kept) {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        self.kept = self.full_at.len();
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::quotas::Quotas;

    fn rate() -> &'static Rate {
        Quotas::aws().rate(Action::DiscoverInstances).unwrap()
    }

    /// How many requests in a row are admitted.
    fn admitted(throttle: &Throttle, now: Timestamp) -> usize {
        (0..10_000).take_while(|_| throttle.admit(rate(), &Scope::default(), now).is_ok()).count()
    }

    #[test]
    fn a_bucket_starts_full_and_fills_up_to_its_size() {
        let throttle = Throttle::default();
        let start = Timestamp::from_millis(1_600_000_000_000);
        let later = |millis| start.after(Duration::from_millis(millis));
        assert_eq!(admitted(&throttle, start), 2000);
        assert_eq!(admitted(&throttle, start), 0);
        assert_eq!(admitted(&throttle, later(1)), 1);
        assert_eq!(admitted(&throttle, later(1001)), 1000);
        assert_eq!(admitted(&throttle, later(1_000_000)), 2000);
    }

    #[test]
    fn a_clock_that_is_set_back_costs_no_more_than_a_bucket() {
        let throttle = Throttle::default();
        let hour = Duration::from_secs(3600);
        let start = Timestamp::from_millis(1_600_000_000_000);
        assert_eq!(admitted(&throttle, start.after(hour)), 2000);
        assert_eq!(admitted(&throttle, start), 0);
        assert_eq!(admitted(&throttle, start.after(Duration::from_secs(1))), 1000);
    }

    #[test]
    fn scopes_that_stopped_asking_are_forgotten() {
        let throttle = Throttle::default();
        for second in 0..5000 {
            let scope = Scope::parse(&format!("{second:012}"), "us-east-1").unwrap();
            throttle.admit(rate(), &scope, Timestamp::from_millis(second * 1000)).unwrap();
        }
        assert!(throttle.0.lock().unwrap().full_at.len() <= FEW);
    }
}
