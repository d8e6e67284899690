//! How long to wait before the next attempt at something that failed. Pure: randomness is an argument.

use std::time::Duration;

/// Exponential backoff: its upper end doubles with each attempt, from `base` up to `cap`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exponential {
    pub base: Duration,
    pub cap: Duration,
}

impl Exponential {
    /// The upper end after so many attempts, counted from 1.
    pub(crate) fn ceiling(self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        self.base.saturating_mul(doubled).min(self.cap)
    }

    /// Full jitter: a part of the upper end, as a random number in 0..1 has it.
    pub(crate) fn jittered(self, attempts: u32, random: f64) -> Duration {
        self.ceiling(attempts).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_end_doubles_from_the_base_to_the_cap_and_no_number_of_attempts_is_too_large() {
        let backoff = Exponential { base: Duration::from_secs(1), cap: Duration::from_secs(5) };
        let ceilings = [0, 1, 2, 3, 4, u32::MAX].map(|attempts| backoff.ceiling(attempts).as_secs());
        assert_eq!(ceilings, [1, 1, 2, 4, 5, 5]);
        let longest = Exponential { base: Duration::MAX / 3, cap: Duration::MAX };
        assert_eq!(longest.ceiling(u32::MAX), Duration::MAX);
        let halves = [-1.0, 0.0, 0.5, 2.0].map(|random| backoff.jittered(3, random).as_millis());
        assert_eq!(halves, [0, 0, 2_000, 4_000]);
    }
}
