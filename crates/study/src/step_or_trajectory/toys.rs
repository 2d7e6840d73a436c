//! Two objectives of N samples whose estimates have known variances: the mean of N normal numbers (Tang 2022, section 2.1 and
//! Lemma 14), and a meta-gradient where nothing can be learned (its App. D). Sampled ones beside the closed forms.

use ad::{Program, Tape, Var, values, vmap};
use ndarray::{ArrayD, arr1};
use rl::additive::{Additive, Gaussian, Reparameterised};
use rl::error::Result;
use rl::stream::stream;

use crate::statistics::mean_and_std;

/// μ, the parameter.
pub const MEAN: f64 = 0.5;
/// σ.
pub const STD: f64 = 1.0;
/// V_0, the constant value of App. D.
pub const VALUE: f64 = 1.0;

/// An estimate of one of the two gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toy {
    /// Of ∇E[X̄_N] = 1, X_i ~ N(μ, σ²), by the score function: X̄_N Σ u_i.
    MeanScoreFunction,
    /// By its linearisation, (1/N) Σ X_i u_i.
    MeanLinearised,
    /// Path-wise: 1.
    MeanPathWise,
    /// Of ∇E\[V_0\] = 0, the value of what was adapted with N actions a_i ~ N(θ, σ²) at rate 0, by the score function: V_0 Σ u_i.
    MetaScoreFunction,
    /// By the linearised one, which is the policy gradient where it was adapted to, from the same N: (1/N) Σ V_0 u_i.
    MetaLinearised,
}

/// All of them, in the order in which they are listed everywhere.
pub const TOYS: [Toy; 5] =
    [Toy::MeanScoreFunction, Toy::MeanLinearised, Toy::MeanPathWise, Toy::MetaScoreFunction, Toy::MetaLinearised];

impl Toy {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Toy::MeanScoreFunction => "mean, SF",
            Toy::MeanLinearised => "mean, LSF",
            Toy::MeanPathWise => "mean, PW",
            Toy::MetaScoreFunction => "meta, SF",
            Toy::MetaLinearised => "meta, LSF",
        }
    }

    /// The variance of one estimate from N samples. (`tests/step_or_trajectory.rs` proves them by quadrature.)
    pub fn variance(self, n: usize) -> f64 {
        let (n, ratio) = (n as f64, (MEAN / STD).powi(2));
        match self {
            Toy::MeanScoreFunction => ratio * n + 2.0,
            Toy::MeanLinearised => (ratio + 2.0) / n,
            Toy::MeanPathWise => 0.0,
            Toy::MetaScoreFunction => (VALUE / STD).powi(2) * n,
            Toy::MetaLinearised => (VALUE / STD).powi(2) / n,
        }
    }

    /// What Lemma 14 prints, where it is something else.
    pub fn printed_variance(self, n: usize) -> Option<f64> {
        let (n, ratio) = (n as f64, (MEAN / STD).powi(2));
        (self == Toy::MeanScoreFunction).then_some(ratio * n + 2.0 / n)
    }

    /// The estimate from noise ζ `[N, 1]`, X_i = θ + σ ζ_i; θ `[1]`.
    fn estimate(self, theta: Var, noise: Var) -> Var {
        let normal = Gaussian { std: STD };
        let samples = normal.transform(noise, theta).stop_gradient();
        let mean = Additive::new(normal, |x: Var, _| x, |mean: Var, _| mean.sum());
        match self {
            Toy::MeanScoreFunction => mean.score_function(samples, theta),
            Toy::MeanLinearised => mean.linearised_score_function(samples, theta),
            Toy::MeanPathWise => mean.path_wise(noise, theta),
            Toy::MetaScoreFunction => Additive::new(normal, |x: Var, _| x, |mean: Var, _| mean.full_like(VALUE).sum())
                .score_function(samples, theta),
            Toy::MetaLinearised => Additive::new(normal, |x: Var, _| x.full_like(VALUE), |mean: Var, _| mean.sum())
                .linearised_score_function(samples, theta),
        }
        .grad(theta)
    }

    /// (θ `[1]`, ζ `[estimates, N, 1]`) ↦ an estimate for each, `[estimates, 1]`, of each of [`TOYS`].
    pub fn program(n: usize, estimates: usize) -> Program {
        let tape = Tape::new();
        let theta = tape.input("theta", arr1(&[MEAN]));
        let noise = tape.input("noise", ArrayD::<f64>::zeros(vec![estimates, n, 1]));
        let results = TOYS.map(|toy| vmap(|noise| toy.estimate(theta, noise), noise));
        tape.compile([theta, noise], results)
    }
}

/// How many samples a program is given at once, about.
const BLOCK: usize = 50_000;

/// The variances of so many estimates of each of [`TOYS`], from the same noise.
pub fn sampled_variances(n: usize, estimates: usize, seed: u64) -> Result<[f64; TOYS.len()]> {
    let block = (BLOCK / n).clamp(1, estimates);
    let program = Toy::program(n, block);
    let rng = &mut stream(seed, n as u64);
    let mut all: [Vec<f64>; TOYS.len()] = Default::default();
    while all[0].len() < estimates {
        let noise = Gaussian { std: 1.0 }.noise(&arr1(&[0.0]).into_dyn(), block * n, rng);
        let noise = noise.into_shape_with_order(vec![block, n, 1]).expect("as many numbers");
        let results = program.run(&values![arr1(&[MEAN]), noise])?;
        all.iter_mut().zip(results).for_each(|(all, more)| all.extend(more));
    }
    Ok(all.map(|all| mean_and_std(&all[..estimates]).1.powi(2)))
}
