//! TayPO-2 from some of its pairs of steps.

use ad::Var;
use ndarray::{Array1, Array3};
use rand::RngExt;

use super::{End, Estimator, Facts, TayPo};
use crate::batch::Batch;
use crate::stream::stream;

/// TayPO-2 with the sum over the steps k before t estimated from m of them: V̂^μ + Σ_t γ^t d_t A_t (1 + c_t Σ_{k ∈ K_t} d_k).
///
/// K_t is a reservoir: a set of min(m, t) steps before t, uniform among all such sets, and c_t = t / min(m, t). A step k < t
/// is in K_t with probability min(m, t) / t = 1 / c_t, so given the trajectory the expectation over K_t is Σ_{k<t} d_k.
/// Hence it is unbiased for TayPO-2, at every order of derivative, with m pairs for each step, and is TayPO-2 itself where
/// m ≥ H − 1. Tang et al. 2021 mention such a scheme (appendix E).
///
/// The reservoir is kept as in Vitter 1985, algorithm R: step k takes the place r, if r < m, where r is uniform in 0 … k.
/// For each place that is a recurrence along the trajectory, a scan of O(H). The sets of different t overlap, which changes
/// no expectation.
///
/// The prefix sum of [`TayPo`] sums *all* pairs in O(H), because a pair's weight is a product. Sub-sampling shows what
/// fewer pairs cost in variance, and is for weights that are not.
///
/// The draws are made when the surrogate is recorded: trajectory n's from the n-th stream of the seed. A compiled program
/// keeps them; record with another seed for others.
#[derive(Clone, Debug)]
pub struct TayPo2Subsampled {
    pairs: usize,
    draw: Draw,
}

/// The place in the reservoir that each step takes, if any.
type Places = Vec<Option<usize>>;

#[derive(Clone, Debug)]
enum Draw {
    /// Drawn for each trajectory from its stream of this seed.
    FromSeed(u64),
    /// These, for each trajectory.
    Fixed(Places),
}

impl TayPo2Subsampled {
    /// With `pairs` = m earlier steps for each step.
    ///
    /// Panics if it is 0.
    #[track_caller]
    pub fn new(pairs: usize, seed: u64) -> Self {
        assert!(pairs >= 1, "TayPo2Subsampled: give at least one pair for each step");
        Self { pairs, draw: Draw::FromSeed(seed) }
    }

    fn places(&self, trajectory: usize, horizon: usize) -> Places {
        match &self.draw {
            Draw::Fixed(places) => places.clone(),
            Draw::FromSeed(seed) => {
                let rng = &mut stream(*seed, trajectory as u64);
                let drawn = (0..horizon).map(|k| if k < self.pairs { k } else { rng.random_range(0..=k) });
                drawn.map(|place| Some(place).filter(|&place| place < self.pairs)).collect()
            }
        }
    }
}

impl Estimator for TayPo2Subsampled {
    fn facts(&self) -> Facts {
        Facts {
            name: "taypo2_subsampled".into(),
            claim: TayPo { order: 2 }.facts().claim,
            end: End::Critic,
            smallest_batch: 1,
        }
    }

    fn draws(&self, horizon: usize) -> Vec<(f64, Box<dyn Estimator>)> {
        if matches!(self.draw, Draw::Fixed(_)) {
            return Vec::new();
        }
        let mut all: Vec<(f64, Places)> = vec![(1.0, Vec::new())];
        for k in 0..horizon {
            let (steps, places) = (k as f64 + 1.0, self.pairs as f64);
            let choices: Vec<(f64, Option<usize>)> = if k < self.pairs {
                vec![(1.0, Some(k))]
            } else if k + 1 == horizon {
                vec![(1.0, None)] // Nothing comes after the last step: its place does not matter.
            } else {
                let taken = (0..self.pairs).map(|place| (1.0 / steps, Some(place)));
                taken.chain([(1.0 - places / steps, None)]).collect()
            };
            all = (all.iter())
                .flat_map(|(p, begun)| {
                    choices.iter().map(move |(q, choice)| (p * q, [&begun[..], &[*choice]].concat()))
                })
                .collect();
        }
        let fixed = |places| -> Box<dyn Estimator> { Box::new(Self { pairs: self.pairs, draw: Draw::Fixed(places) }) };
        all.into_iter().map(|(probability, places)| (probability, fixed(places))).collect()
    }

    fn redrawn(&self, seed: u64) -> Option<Box<dyn Estimator>> {
        matches!(self.draw, Draw::FromSeed(_)).then(|| Box::new(Self::new(self.pairs, seed)) as Box<dyn Estimator>)
    }

    fn formula(&self, batch: &Batch) -> Var {
        let (trajectories, horizon) = (batch.steps.trajectories(), batch.steps.horizon());
        let mut enters = Array3::<f64>::zeros((trajectories, horizon, self.pairs));
        for n in 0..trajectories {
            for (k, place) in self.places(n, horizon).into_iter().enumerate() {
                if let Some(place) = place {
                    enters[[n, k, place]] = 1.0;
                }
            }
        }
        let weight = |t: usize| if t == 0 { 0.0 } else { t as f64 / self.pairs.min(t) as f64 };
        let deviation = batch.steps.on_steps(batch.ratio() - 1.0);
        // What each place holds after step k: d_k if that enters, else what it held before.
        let enters = deviation.constant(enters);
        let reservoir = (deviation.insert_axis(2) * enters).scan(1.0 - enters, 1).sum_axes(&[2]);
        let weights = deviation.constant(Array1::from_shape_fn(horizon, weight));
        let before = reservoir.slice(1, 0..horizon - 1).pad(1, 1, 0) * weights;
        batch.plain_value() + batch.discounted_sum(deviation * batch.credit(batch.advantages()) * (before + 1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_set_of_earlier_steps_is_equally_likely() {
        // 60 000 trajectories; a count is within five standard deviations of a binomial one.
        let (trajectories, horizon, pairs) = (60_000, 6, 2);
        let estimator = TayPo2Subsampled::new(pairs, 3);
        let mut counts = vec![HashMap::new(); horizon + 1];
        for n in 0..trajectories {
            let mut reservoir = vec![None; pairs];
            for (k, place) in estimator.places(n, horizon).into_iter().enumerate() {
                place.into_iter().for_each(|place| reservoir[place] = Some(k));
                let mut set: Vec<usize> = reservoir.iter().copied().flatten().collect();
                set.sort_unstable();
                *counts[k + 1].entry(set).or_insert(0.0) += 1.0;
            }
        }
        for (t, counts) in counts.iter().enumerate().skip(1) {
            let sets = if t == 1 { 1 } else { t * (t - 1) / 2 };
            assert_eq!(counts.len(), sets, "as many sets of two among {t}");
            let p = 1.0 / sets as f64;
            let deviation = (trajectories as f64 * p * (1.0 - p)).sqrt();
            for (set, count) in counts {
                assert!((count - trajectories as f64 * p).abs() <= 5.0 * deviation, "t = {t}, {set:?}: {count}");
            }
        }
    }
}
