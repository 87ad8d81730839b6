//! How long to wait before trying again.

use std::time::Duration;

/// Waits that grow, each drawn at random up to its limit, so that clients that failed together do not return together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    limit: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, limit: first }
    }

    /// Returns the next wait: between half of its limit and all of it. The limit doubles.
    pub fn next(&mut self) -> Duration {
        let wait = self.limit.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.limit = (self.limit * 2).min(self.most);
        wait
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.limit = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for limit in [100, 200, 400, 800, 1_000, 1_000] {
            let wait = backoff.next().as_millis();
            assert!((limit / 2..=limit).contains(&wait), "{wait} of {limit}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
