//! One random stream per trajectory, named by (seed, index), and how an outcome is drawn from one.
//!
//! Trajectory `index` draws from its own stream and from nothing else, so neither the order in which trajectories are
//! sampled, nor the number of threads, nor the size of the batch can change it. Changing the generator or [`draw`] changes
//! every sampled number of the crate.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The random stream number `index` of `seed`: ChaCha with 8 rounds, its key from `seed`, its stream `index`.
///
/// Streams of one seed do not overlap, and those of different seeds are unrelated: use one seed per batch.
///
/// ```
/// use rand::RngExt;
/// use rl::stream::stream;
///
/// let (a, b): (f64, f64) = (stream(7, 3).random(), stream(7, 3).random());
/// assert_eq!(a, b);
/// ```
pub fn stream(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

/// A seed for what these numbers name, such as an iteration and a task of it: another for any other names.
///
/// ```
/// use rl::stream::seed_of;
/// assert_ne!(seed_of(7, &[1, 2]), seed_of(7, &[2, 1]));
/// assert_ne!(seed_of(7, &[1]), seed_of(7, &[1, 0]));
/// ```
pub fn seed_of(seed: u64, names: &[u64]) -> u64 {
    // A number of no other stream: stream 2⁶⁴ − 1 of a seed is for this alone.
    names.iter().fold(seed, |seed, &name| {
        let mut rng = stream(seed, u64::MAX);
        rng.set_word_pos(u128::from(name) * 2);
        rng.next_u64()
    })
}

/// The number of an outcome, drawn with these probabilities from one uniform number; never one of probability 0, whatever
/// the rounding. `None` if that meets an entry that is no probability, such as NaN, or none that is positive.
///
/// What follows the outcome is not looked at, and that the sum is 1 is not checked: what is left of 1 goes to the last
/// outcome that can be.
pub fn draw(probabilities: impl IntoIterator<Item = f64>, rng: &mut impl Rng) -> Option<usize> {
    let mut left: f64 = rng.random();
    let mut last = None;
    for (outcome, p) in probabilities.into_iter().enumerate() {
        if left < p {
            return Some(outcome);
        }
        if p > 0.0 {
            left -= p;
            last = Some(outcome);
        } else if p != 0.0 {
            return None;
        }
    }
    last
}

/// [`draw`] of two outcomes, without a branch on which of them it is: nobody predicts that.
#[inline]
pub(crate) fn draw_of_two(probabilities: [f64; 2], rng: &mut impl Rng) -> Option<usize> {
    let [first, second] = probabilities;
    if first >= 0.0 && second > 0.0 {
        let left: f64 = rng.random();
        return Some(usize::from(left >= first));
    }
    draw(probabilities, rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, index: u64) -> Vec<u64> {
        let mut rng = stream(seed, index);
        (0..100).map(|_| rng.next_u64()).collect()
    }

    #[test]
    fn a_stream_is_a_function_of_seed_and_index() {
        assert_eq!(numbers(1, 2), numbers(1, 2));
    }

    #[test]
    fn streams_of_different_seeds_or_indices_share_no_number() {
        let mut all: Vec<u64> = (0..10).flat_map(|k| numbers(k / 3, k % 3)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }

    /// A generator whose bits are all the same: its uniform numbers are 0, or the largest below 1.
    struct Extreme(u64);
    impl rand::rand_core::TryRng for Extreme {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.0 as u32)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(self.0)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(self.0 as u8);
            Ok(())
        }
    }

    #[test]
    fn an_outcome_of_probability_zero_is_never_drawn() {
        let drawn = |probabilities: &[f64], bits| draw(probabilities.iter().copied(), &mut Extreme(bits));
        for probabilities in [&[0.0, 0.5, 0.5 - 1e-10, 0.0][..], &[0.0, 0.1, 0.9, 0.0, -0.0], &[0.0, 0.5, 0.5, 0.0]] {
            assert_eq!(drawn(probabilities, 0), Some(1), "at 0");
            assert_eq!(drawn(probabilities, u64::MAX), Some(2), "at the largest below 1");
        }
        // What is left by rounding: ten times 0.1 is a little less than 1.
        let tenths = [&[0.1; 10][..], &[0.0; 3]].concat();
        assert_eq!(drawn(&tenths, u64::MAX), Some(9));
        assert_eq!(drawn(&[1.0], u64::MAX), Some(0));
    }

    #[test]
    fn of_two_outcomes_the_same_is_drawn() {
        let nan = f64::NAN;
        let pairs = [[0.3, 0.7], [0.0, 1.0], [1.0, 0.0], [-0.0, 1.0], [0.5, 0.4], [0.7, 0.7], [0.0, 0.0]];
        for pair in pairs.into_iter().chain([[nan, 0.5], [0.5, nan], [-0.5, 1.0], [0.5, -0.1]]) {
            let [mut one, mut other] = [stream(5, 0), stream(5, 0)];
            for _ in 0..1000 {
                assert_eq!(draw(pair, &mut one), draw_of_two(pair, &mut other), "{pair:?}");
            }
            assert_eq!(one.next_u64(), other.next_u64());
            for bits in [0, u64::MAX] {
                assert_eq!(draw(pair, &mut Extreme(bits)), draw_of_two(pair, &mut Extreme(bits)), "{pair:?}");
            }
        }
    }

    #[test]
    fn nothing_is_drawn_from_what_are_no_probabilities() {
        let nan = f64::NAN;
        for probabilities in [&[][..], &[0.0, 0.0], &[nan, nan], &[0.5, nan], &[0.0, -0.5, 0.5], &[0.0, nan, 0.5]] {
            assert_eq!(draw(probabilities.iter().copied(), &mut Extreme(u64::MAX)), None, "{probabilities:?}");
        }
    }
}
