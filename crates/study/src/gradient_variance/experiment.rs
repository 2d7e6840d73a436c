//! The experiment: LVC learns, and on the way meta-gradients are estimated at its parameters, many times, by each estimator. All
//! see the same tasks, and the same trajectories before adaptation.

use rayon::prelude::*;
use rl::error::Result;
use rl::stream::seed_of;
use train::Learner;
use train::run::config::{Baseline, Config, Inner, Precision};

use crate::meta_gradient::{Scatter, learner, scatter_of};
use crate::output::progress;
use crate::saved::Saved;
use crate::under_way::UnderWay;

/// An estimator of the inner step's derivative, with what it goes with.
#[derive(Clone, Copy, Debug)]
pub struct Estimator {
    /// As in tables and files.
    pub name: &'static str,
    /// What the inner step ascends. (The centred DiCE has the mean reward at each time for a baseline, whatever there is outside.)
    pub inner: Inner,
    /// What returns are compared with.
    pub baseline: Baseline,
    /// The rate of the inner step.
    pub rate: f64,
    /// How many times the study's rounds it is measured by: more where a difference is small.
    pub times: usize,
}

const fn estimator(name: &'static str, inner: Inner, baseline: Baseline) -> Estimator {
    Estimator { name, inner, baseline, rate: 0.1, times: 1 }
}

/// All of them; the last one learns.
pub const ESTIMATORS: [Estimator; 6] = [
    estimator("dice", Inner::DiceCentred, Baseline::LinearFeature),
    estimator("dice_time", Inner::DiceCentred, Baseline::LinearTime),
    estimator("lvc_time", Inner::Lvc, Baseline::LinearTime),
    Estimator { rate: 0.01, ..estimator("dice_short", Inner::DiceCentred, Baseline::LinearFeature) },
    Estimator { times: 4, ..estimator("dice_loaded", Inner::Loaded, Baseline::LinearFeature) },
    Estimator { times: 4, ..estimator("lvc", Inner::Lvc, Baseline::LinearFeature) },
];

/// What is compared: DiCE and LVC as places among [`ESTIMATORS`].
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// With which baselines.
    pub with: &'static str,
    /// The place of DiCE.
    pub dice: usize,
    /// The place of LVC.
    pub lvc: usize,
}

/// The paper's pair, and pairs in which fewer things differ at once.
pub const COMPARISONS: [Comparison; 4] = [
    Comparison { with: "the paper's baselines", dice: 0, lvc: 5 },
    Comparison { with: "a baseline of time for both", dice: 1, lvc: 2 },
    Comparison { with: "a baseline of features for both", dice: 4, lvc: 5 },
    Comparison { with: "the paper's, DiCE's inner rate 0.01", dice: 3, lvc: 5 },
];

/// What is measured. Everything random is a function of the seed.
#[derive(Clone, Debug)]
pub struct Study {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// The tasks, by the name that `train` has for them.
    pub env: String,
    /// How many independent runs of training there are.
    pub runs: usize,
    /// How many iterations each has.
    pub iterations: usize,
    /// How many of them lie between two measurements; there is one at the start.
    pub every: usize,
    /// The number of meta-gradients of a measurement.
    pub rounds: usize,
    /// The number of tasks of an iteration, and of a meta-gradient.
    pub tasks: usize,
    /// The number of trajectories of a task, before and after the inner step.
    pub rollouts: usize,
    /// The number of steps of a trajectory.
    pub horizon: usize,
    /// The widths of the policy's hidden layers.
    pub hidden: Vec<usize>,
    /// The type that is computed in.
    pub precision: Precision,
}

/// One measurement of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// The mean return after adaptation of the iteration that follows.
    pub returns: f64,
    /// For each of [`ESTIMATORS`].
    pub scatters: [Scatter; ESTIMATORS.len()],
}

/// How many numbers a measurement is saved as.
const NUMBERS: usize = 1 + 2 * ESTIMATORS.len();

impl Study {
    /// The iterations before which there is a measurement.
    pub fn measured(&self) -> Vec<usize> {
        (0..=self.iterations).step_by(self.every).collect()
    }

    /// For each run, its measurements. What is saved are runs.
    pub fn run(&self, saved: &Saved) -> Result<Vec<Vec<Measurement>>> {
        let progress = progress(self.runs * self.measured().len(), "measurements");
        let runs: Result<Vec<_>> = (0..self.runs)
            .into_par_iter()
            .map(|run| {
                let name = run.to_string();
                let numbers = saved.part(&name, || self.one(run, saved, &name, |done| progress.inc(done)));
                Ok(numbers?.chunks(NUMBERS).map(Measurement::from_numbers).collect())
            })
            .collect();
        progress.finish_and_clear();
        runs
    }

    /// The numbers of one run.
    fn one(&self, run: usize, saved: &Saved, name: &str, done: impl Fn(u64)) -> Result<Vec<f64>> {
        let seed = seed_of(self.seed, &[run as u64]) >> 1;
        let configs = ESTIMATORS.map(|estimator| self.config(&estimator, seed));
        let mut learners = configs.iter().map(learner).collect::<Result<Vec<_>>>()?;
        let [others @ .., learning] = &mut learners[..] else { unreachable!("there are estimators") };
        let mut under_way = UnderWay::new(saved, name, &configs[others.len()]);
        let (first, mut numbers) = under_way.resume(learning)?;
        done((numbers.len() / NUMBERS) as u64);
        for iteration in first as usize..=self.iterations {
            let measures = iteration.is_multiple_of(self.every);
            let mut scatters = Vec::new();
            if measures {
                let state = learning.state();
                for other in others.iter_mut() {
                    other.restore(state.clone())?;
                }
                for (learner, estimator) in others.iter().chain([&*learning]).zip(&ESTIMATORS) {
                    scatters.push(scatter_of(learner, self.rounds * estimator.times, iteration as u64)?);
                }
            }
            let adapted = learning.iterate(iteration as u64)?.returns.swap_remove(1);
            if measures {
                numbers.push(adapted.iter().sum::<f64>() / adapted.len() as f64);
                numbers.extend(scatters.iter().flat_map(|scatter| [scatter.variance, scatter.square]));
                done(1);
            }
            under_way.keep(learning, iteration as u64 + 1, &numbers)?;
        }
        Ok(numbers)
    }

    /// Rothfuss et al. 2019: policy gradients outside, by Adam of rate 1e-3, one inner step.
    fn config(&self, estimator: &Estimator, seed: u64) -> Config {
        Config {
            algorithm: "lvc-vpg".to_owned(),
            inner: estimator.inner,
            baseline: estimator.baseline,
            env: self.env.clone(),
            seed,
            precision: self.precision,
            tasks: self.tasks,
            rollouts: self.rollouts,
            horizon: self.horizon,
            hidden: self.hidden.clone(),
            inner_rate: estimator.rate,
            outer_steps: 1,
            kl_price: 0.0,
            ..Config::default()
        }
    }
}

impl Measurement {
    fn from_numbers(numbers: &[f64]) -> Self {
        let scatter = |e: usize| Scatter { variance: numbers[1 + 2 * e], square: numbers[2 + 2 * e] };
        Self { returns: numbers[0], scatters: std::array::from_fn(scatter) }
    }
}

impl Comparison {
    /// By how much DiCE's ‖std‖/‖mean‖, ‖std‖ and ‖mean‖ are larger than LVC's: of the mean signals of these measurements, and of
    /// the mean squares. NaN where means are not told from 0.
    pub fn ratios<'m>(&self, measurements: impl IntoIterator<Item = &'m Measurement>) -> [f64; 3] {
        let mut sums = [[0.0; 3]; 2];
        for Measurement { scatters, .. } in measurements {
            for (sums, e) in sums.iter_mut().zip([self.dice, self.lvc]) {
                let scatter = scatters[e];
                let numbers = [scatter.signal(), scatter.variance, scatter.square];
                sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
            }
        }
        let [dice, lvc] = sums;
        [lvc[0] / dice[0], dice[1] / lvc[1], dice[2] / lvc[2]].map(f64::sqrt)
    }

    /// 1/s²(LVC) − b²/s²(DiCE), s the relative standard deviation ‖std‖/‖mean‖, the mean over a run's measurements: above 0 if and
    /// only if DiCE's is more than b times LVC's. Unlike a ratio of estimates it is hardly biased: ‖mean‖² is not at all.
    pub fn beyond(&self, bound: f64, run: &[Measurement]) -> f64 {
        let signal = |e: usize| run.iter().map(|one| one.scatters[e].signal()).sum::<f64>() / run.len() as f64;
        signal(self.lvc) - bound.powi(2) * signal(self.dice)
    }
}
