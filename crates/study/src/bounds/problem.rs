//! The random problems that statements are evaluated on.

use ndarray::{Array1, Array2};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rl::env::TabularMdp;
use rl::error::Result;
use rl::meta::sampled::Credit;
use rl::policy::softmax;
use rl::stream::stream;
use rl::truth::bounds::Outcomes;
use rl::truth::bounds::softmax::Constants;
use rl::truth::max_abs;

use crate::tables::key;

/// A process with a policy, and numbers that are drawn with it: a function of seed and index.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What it is called in the file: `s0p7` is problem 7 of seed 0.
    pub name: String,
    /// Two states and two actions, so that all tuples of trajectories can be listed. Every other one may end early.
    pub mdp: TabularMdp,
    /// θ, `[2, 2]`.
    pub logits: Array2<f64>,
    /// Other logits, near or far.
    pub behaviour: Array2<f64>,
    /// Another task with the same transitions.
    pub other_task: TabularMdp,
    /// Three states and three actions, for what needs no list.
    pub wide: TabularMdp,
    /// Logits for it.
    pub wide_logits: Array2<f64>,
    /// Others.
    pub wide_behaviour: Array2<f64>,
    /// γ, from 0.2 to 0.98.
    pub gamma: f64,
    /// η, from 0.05 to 2, uniform in its logarithm.
    pub rate: f64,
    /// A number in [0, 1).
    pub share: f64,
    pub(super) seed: u64,
}

impl Problem {
    /// Problem number `index` of a seed.
    pub fn new(seed: u64, index: usize) -> Result<Self> {
        let key = key(&[seed, index as u64]);
        let mut rng = stream(key, 0);
        let early_end = index % 2 == 1;
        let process = |states: usize, actions: usize, rng: &mut ChaCha8Rng| -> Result<TabularMdp> {
            let mdp = TabularMdp::random(states, actions, 1.0, rng)?;
            let end = Array1::from_shape_fn(states, |s| if s % 2 == 0 { 0.1 } else { 0.4 });
            if early_end { mdp.with_termination(end) } else { Ok(mdp) }
        };
        let (mdp, wide) = (process(2, 2, &mut rng)?, process(3, 3, &mut rng)?);
        let rewards = Array2::from_shape_simple_fn((2, 2), || rng.random::<f64>());
        let other_task =
            TabularMdp::new(mdp.transition().clone(), rewards)?.with_termination(mdp.termination().clone())?;
        // Policies from nearly uniform to nearly certain, and distances from near to far.
        let scale = 10_f64.powf(rng.random_range(-1.0..0.3));
        let distance = 10_f64.powf(rng.random_range(-1.0..0.3));
        let (logits, wide_logits) = (normal(2, 2, scale, &mut rng), normal(3, 3, scale, &mut rng));
        Ok(Self {
            name: format!("s{seed}p{index}"),
            behaviour: &logits + &normal(2, 2, distance, &mut rng),
            wide_behaviour: &wide_logits + &normal(3, 3, distance, &mut rng),
            mdp,
            logits,
            other_task,
            wide,
            wide_logits,
            gamma: rng.random_range(0.2..0.98),
            rate: 10_f64.powf(rng.random_range(-1.3..0.3)),
            share: rng.random(),
            seed: key,
        })
    }

    /// A random stream of its own for each number from 1 on.
    pub fn stream(&self, number: u64) -> ChaCha8Rng {
        stream(self.seed, number)
    }

    /// π of [`wide_logits`](Self::wide_logits) and μ of the others.
    pub fn wide_policies(&self) -> [Array2<f64>; 2] {
        [softmax(&self.wide_logits), softmax(&self.wide_behaviour)]
    }

    /// Every trajectory of up to so many steps of the small process.
    pub fn outcomes(&self, steps: usize, credit: Credit) -> Result<Outcomes> {
        Outcomes::new(&self.mdp, steps, self.gamma, credit)
    }

    /// The constants of trajectories of so many steps there.
    pub fn constants(&self, steps: usize) -> Result<Constants> {
        Constants::softmax(max_abs(self.mdp.reward()), steps, self.gamma)
    }
}

/// Independent normal numbers.
pub fn normal(rows: usize, columns: usize, scale: f64, rng: &mut impl Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || -> f64 { StandardNormal.sample(rng) }) * scale
}
