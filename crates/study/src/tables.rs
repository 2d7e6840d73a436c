//! The random tables of the experiments of Liu et al. 2022 (App. G.1, Table 2), and how they say that estimates vary.

use ndarray::{Array1, ArrayD};
use rand_distr::{Distribution, StandardNormal};
use rl::env::TabularMdp;
use rl::error::Result;
use rl::policy::Table;
use rl::stream::stream;

use crate::statistics::mean_and_std;

/// The number of states S.
pub const STATES: usize = 20;
/// The number of actions A.
pub const ACTIONS: usize = 5;
/// Logits for them.
pub const POLICY: Table = Table { states: STATES, actions: ACTIONS };
/// The number of steps of a trajectory.
pub const HORIZON: usize = 20;
/// The discount.
pub const GAMMA: f64 = 0.8;
/// α, of the inner steps.
pub const RATE: f64 = 10.0;
/// Of the transitions' Dirichlet distribution: nearly deterministic.
const CONCENTRATION: f64 = 0.001;

/// The process number `index` of a seed.
pub fn process(seed: u64, index: usize) -> Result<TabularMdp> {
    TabularMdp::random(STATES, ACTIONS, CONCENTRATION, &mut stream(seed, index as u64))
}

/// A seed for each list of numbers, and unrelated ones for different lists.
pub fn key(numbers: &[u64]) -> u64 {
    // SplitMix64's finaliser, over the list.
    numbers.iter().fold(0, |key, number| {
        let mut x = (key ^ number).wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    })
}

/// Standard normal noise for each state's value, from a stream that no trajectory of the seed draws from.
pub fn noise(seed: u64) -> Array1<f64> {
    let rng = &mut stream(seed, u64::MAX);
    Array1::from_shape_simple_fn(STATES, || StandardNormal.sample(rng))
}

/// Σ over coordinates of the standard deviation over `estimates`: what the paper's code calls the variance. Corrected for
/// their small number n, as of normal numbers, of which the standard deviation falls short by a factor of 1 − 1/(4n − 3).
pub fn sum_of_std(estimates: &[ArrayD<f64>]) -> f64 {
    let shortfall = 1.0 - 1.0 / (4.0 * estimates.len() as f64 - 3.0);
    let coordinate = |i: usize| {
        let numbers: Vec<f64> = estimates.iter().map(|x| x.as_slice().expect("a dense array")[i]).collect();
        mean_and_std(&numbers).1 / shortfall
    };
    (0..estimates.first().map_or(0, ArrayD::len)).map(coordinate).sum()
}
