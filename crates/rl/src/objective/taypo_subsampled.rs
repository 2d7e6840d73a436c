//! TayPO-2 from some of its pairs of steps.

use ad::{Index, Var};
use ndarray::{Array2, Array3};
use rand::RngExt;

use super::{Claim, Estimator, TayPo};
use crate::batch::Batch;
use crate::stream::stream;

/// TayPO-2 with the sum over the steps k before t estimated from m of them: V̂^μ + Σ_t γ^t d_t A_t (1 + c_t Σ_{k ∈ K_t} d_k).
///
/// K_t is a set of min(m, t) steps before t, drawn uniformly without replacement for every trajectory and every t, and
/// c_t = t / min(m, t). A step k < t is in K_t with probability min(m, t) / t = 1 / c_t, so given the trajectory the
/// expectation over K_t is Σ_{k<t} d_k. Hence it is unbiased for TayPO-2, at every order of derivative, at a cost of
/// O(m·H) pairs, and is TayPO-2 itself where m ≥ H − 1. Tang et al. 2021 mention such a scheme (appendix E).
///
/// The prefix sum of [`TayPo`] sums *all* pairs in O(H) where, as here, a pair's weight is a product. Sub-sampling is for
/// studying what fewer pairs cost in variance, and for pairs that are dear.
///
/// The sets are drawn when the surrogate is recorded: trajectory n's from the n-th stream of `seed`. A compiled program
/// keeps them; record with another seed for others.
#[derive(Clone, Debug)]
pub struct TayPo2Subsampled {
    pairs: usize,
    drawn: Drawn,
}

/// Where the sets K_0 … K_{H−1} come from.
#[derive(Clone, Debug)]
enum Drawn {
    /// Drawn for each trajectory from its stream of this seed.
    FromSeed(u64),
    /// These, for each trajectory.
    Fixed(Vec<Vec<usize>>),
}

impl TayPo2Subsampled {
    /// With `pairs` = m earlier steps for each step.
    ///
    /// Panics if it is 0.
    #[track_caller]
    pub fn new(pairs: usize, seed: u64) -> Self {
        assert!(pairs >= 1, "TayPo2Subsampled: give at least one pair for each step");
        Self { pairs, drawn: Drawn::FromSeed(seed) }
    }

    /// K_0 … K_{H−1} of one trajectory.
    fn earlier_steps(&self, trajectory: usize, horizon: usize) -> Vec<Vec<usize>> {
        match &self.drawn {
            Drawn::Fixed(sets) => sets.clone(),
            Drawn::FromSeed(seed) => {
                let rng = &mut stream(*seed, trajectory as u64);
                let mut draw = |t: usize| {
                    // Floyd's algorithm: each of the subsets with the same probability.
                    let mut set = Vec::with_capacity(self.pairs.min(t));
                    for last in t - self.pairs.min(t)..t {
                        let k = rng.random_range(0..=last);
                        set.push(if set.contains(&k) { last } else { k });
                    }
                    set
                };
                (0..horizon).map(&mut draw).collect()
            }
        }
    }
}

impl Estimator for TayPo2Subsampled {
    fn name(&self) -> String {
        "taypo2_subsampled".to_owned()
    }

    fn claim(&self) -> Claim {
        TayPo { order: 2 }.claim()
    }

    fn bootstraps(&self) -> bool {
        true
    }

    fn draws(&self, horizon: usize) -> Vec<(f64, Box<dyn Estimator>)> {
        if matches!(self.drawn, Drawn::Fixed(_)) {
            return Vec::new();
        }
        let mut all = vec![Vec::new()];
        for t in 0..horizon {
            let sets = subsets(t, self.pairs.min(t));
            all = (all.iter())
                .flat_map(|begun: &Vec<Vec<usize>>| sets.iter().map(|set| [&begun[..], &[set.clone()]].concat()))
                .collect();
        }
        let probability = 1.0 / all.len() as f64;
        let fixed = |sets| -> Box<dyn Estimator> { Box::new(Self { pairs: self.pairs, drawn: Drawn::Fixed(sets) }) };
        all.into_iter().map(|sets| (probability, fixed(sets))).collect()
    }

    fn formula(&self, batch: &Batch) -> Var {
        let (trajectories, horizon) = (batch.episodes.trajectories(), batch.episodes.horizon());
        let mut earlier = Array3::<i32>::zeros((trajectories, horizon, self.pairs));
        let mut weights = Array2::<f64>::zeros((horizon, self.pairs));
        for n in 0..trajectories {
            for (t, set) in self.earlier_steps(n, horizon).iter().enumerate() {
                for (j, &k) in set.iter().enumerate() {
                    earlier[[n, t, j]] = k as i32;
                    weights[[t, j]] = t as f64 / set.len() as f64;
                }
            }
        }
        let deviation = batch.on_steps(batch.ratio() - 1.0);
        let trajectory = Array3::from_shape_fn(earlier.dim(), |(n, _, _)| n as i32);
        let [trajectory, earlier] = [trajectory, earlier].map(|index| Index::constant(deviation, index));
        let before = (deviation.gather(&[trajectory, earlier]) * weights).sum_axes(&[2]);
        batch.plain_value() + batch.discounted_sum(deviation * batch.advantages() * (before + 1.0))
    }
}

/// The subsets of {0, …, n − 1} with this many members.
fn subsets(n: usize, size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let with_largest = |largest: usize| {
        subsets(largest, size - 1).into_iter().map(move |mut set| {
            set.push(largest);
            set
        })
    };
    (size - 1..n).flat_map(with_largest).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_set_of_earlier_steps_is_drawn_equally_often() {
        // 60 000 trajectories; a count is within five standard deviations of a binomial one.
        let (trajectories, horizon, pairs) = (60_000, 6, 2);
        let estimator = TayPo2Subsampled::new(pairs, 3);
        let mut counts = vec![HashMap::new(); horizon];
        for n in 0..trajectories {
            for (t, mut set) in estimator.earlier_steps(n, horizon).into_iter().enumerate() {
                set.sort_unstable();
                *counts[t].entry(set).or_insert(0.0) += 1.0;
            }
        }
        for (t, counts) in counts.iter().enumerate() {
            let sets = subsets(t, pairs.min(t));
            assert_eq!(counts.len(), sets.len());
            let p = 1.0 / sets.len() as f64;
            let deviation = (trajectories as f64 * p * (1.0 - p)).sqrt();
            for set in &sets {
                let count = counts[set];
                assert!((count - trajectories as f64 * p).abs() <= 5.0 * deviation, "t = {t}, {set:?}: {count}");
            }
        }
    }

    #[test]
    fn subsets_are_all_those_of_a_size() {
        assert_eq!(subsets(4, 2), [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]);
        assert_eq!(subsets(3, 0), [[0; 0]]);
        assert_eq!(subsets(7, 3).len(), 35);
    }
}
