//! One random stream per trajectory, named by (seed, index).
//!
//! Trajectory `index` draws from its own stream and from nothing else, so neither the order in which trajectories are
//! sampled, nor the number of threads, nor the size of the batch can change it. Changing the generator here changes
//! every sampled number of the crate.

use rand::SeedableRng;
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

#[cfg(test)]
mod tests {
    use rand::Rng;

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
}
