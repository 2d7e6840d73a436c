//! The experiment: on random processes, bias and variance of gradients and Hessians by DiCE with each control variate, exactly,
//! by enumeration of every trajectory (every pair of them, for what compares two).

use ad::{Tape, Var};
use ndarray::{Array1, Array2, ArrayD, array};
use rayon::prelude::*;
use rl::batch::Batch;
use rl::env::{Horizon, TabularMdp};
use rl::error::Result;
use rl::meta::sampled::{self, MetaBatch};
use rl::objective::{
    DiceBaseline, DiceLeaveOneOut, DiceMao, DiceTmaml, End, Estimator, ImportanceSampling, LoadedDice, allow_biased,
};
use rl::policy::Table;
use rl::truth::{SampledUpdate, Setting, derivatives, max_abs};

use crate::exact::{Estimate, Problem, estimates};
use crate::output::progress;
use crate::saved::Saved;
use crate::tables::key;

/// γ.
const GAMMA: f64 = 0.9;

/// Steps of the trajectories that an inner update is made of, their number N, and its rate η.
const INNER: (usize, usize, f64) = (2, 2, 1.0);

/// The estimators, in the order in which they are listed everywhere: plain DiCE, the baselines that work, and TMAML.
pub fn estimators() -> [Box<dyn Estimator>; 6] {
    [
        Box::new(ImportanceSampling),
        Box::new(DiceBaseline),
        Box::new(DiceMao),
        Box::new(DiceLeaveOneOut),
        Box::new(LoadedDice::UNBIASED),
        Box::new(DiceTmaml),
    ]
}

/// Plain DiCE's place in [`estimators`].
pub const DICE: usize = 0;
/// That of DiCE with the baseline of the gradient.
pub const BASELINE: usize = 1;
/// That of the one with the second-order baseline, too.
pub const MAO: usize = 2;
/// That of the others' mean as baseline.
pub const LEAVE_ONE_OUT: usize = 3;
/// Loaded DiCE's.
pub const LOADED: usize = 4;
/// TMAML's.
pub const TMAML: usize = 5;

/// What is known of an estimate of a derivative, as squared lengths of the array of all entries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Σ over entries of the variance, times the number of trajectories: of one trajectory. (Of one that is compared with
    /// another of its pair: twice the variance of the pair's mean.)
    pub variance: f64,
    /// ‖E\[estimate\] − truth‖².
    pub bias: f64,
    /// ‖truth‖².
    pub truth: f64,
}

impl Moments {
    /// The root mean squared error of a mean of `trajectories`, over the length of the truth.
    pub fn relative_error(&self, trajectories: f64) -> f64 {
        ((self.bias + self.variance / trajectories) / self.truth).sqrt()
    }
}

/// On one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Of the gradient and the Hessian, for each of [`estimators`].
    pub moments: [[Moments; 2]; 6],
    /// How far the bias of TMAML's Hessian is from 2 E Σ_t γ^t b(s_t) u_t u_tᵀ, over the largest entry of that.
    pub from_closed_form: f64,
    /// ‖E\[Ĵ\] − E\[Ĵ_LSF\]‖ / ‖E\[Ĵ_LSF\]‖ of meta-gradients by an update of two trajectories, Ĵ that with TMAML's Hessian.
    pub from_linearised: f64,
}

impl Measured {
    /// As they are saved.
    pub fn numbers(&self) -> Vec<f64> {
        let moments = self.moments.as_flattened().iter().flat_map(|m| [m.variance, m.bias, m.truth]);
        [self.from_closed_form, self.from_linearised].into_iter().chain(moments).collect()
    }

    fn from_numbers(numbers: &[f64]) -> Self {
        let moments = |estimator: usize, order: usize| {
            let at = 2 + 3 * (2 * estimator + order);
            Moments { variance: numbers[at], bias: numbers[at + 1], truth: numbers[at + 2] }
        };
        Self {
            moments: std::array::from_fn(|estimator| [0, 1].map(|order| moments(estimator, order))),
            from_closed_form: numbers[0],
            from_linearised: numbers[1],
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Study {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// How many random processes.
    pub mdps: usize,
    /// The number of steps of a trajectory.
    pub horizon: usize,
}

impl Study {
    /// The numbers of every process. What is saved are processes.
    pub fn run(&self, saved: &Saved) -> Result<Vec<Measured>> {
        let progress = progress(self.mdps, "processes");
        let one = |index: usize| {
            let numbers = saved.part(&index.to_string(), || {
                // Two states, two actions, transitions drawn from Dirichlet(1), and episodes that may end.
                let problem = Problem::new(key(&[self.seed, index as u64]), true, self.horizon)?;
                Ok(measure(&problem.mdp, &problem.logits, self.horizon)?.numbers())
            })?;
            progress.inc(1);
            Ok(Measured::from_numbers(&numbers))
        };
        let measured = (0..self.mdps).into_par_iter().map(one).collect();
        progress.finish_and_clear();
        measured
    }
}

/// V(s) over so many steps: the critic b.
fn values(mdp: &TabularMdp, logits: &Array2<f64>, horizon: usize) -> Array1<f64> {
    let tape = Tape::new();
    let policy = tape.constant(logits).softmax();
    let values = mdp.record(&tape).finite_value(policy, GAMMA, horizon, None).value();
    values.into_dimensionality().expect("a number for each state")
}

/// One process with one policy, and the right critic.
pub fn measure(mdp: &TabularMdp, logits: &Array2<f64>, horizon: usize) -> Result<Measured> {
    let critic = values(mdp, logits, horizon);
    let setting = Setting::new(mdp, logits, horizon, GAMMA).with_critic(&critic);
    let truth = |terminal: Option<Array1<f64>>| -> Result<[Array1<f64>; 2]> {
        let all = derivatives(mdp, logits, GAMMA, &Horizon::Finite { steps: horizon, terminal }, 2)?;
        Ok([flat(&all[1]), flat(&all[2])])
    };
    let (ending, bootstrapped) = (truth(None)?, truth(Some(critic.clone()))?);

    let estimators = estimators();
    // Of those that need so many trajectories. (What none of them claims is what is measured.)
    let of_batches = |batch: usize| {
        let needed = estimators.iter().filter(|estimator| estimator.facts().smallest_batch == batch);
        let surrogates = |batch: &Batch| needed.map(|estimator| allow_biased(&**estimator).surrogate(batch)).collect();
        estimates(&setting, batch, surrogates)
    };
    let (mut single, mut pairs) = (of_batches(1)?.into_iter(), of_batches(2)?.into_iter());
    let mut moments = [[Moments::default(); 2]; 6];
    let mut excess = Array1::zeros(0);
    for (estimator, moments) in estimators.iter().zip(&mut moments) {
        let facts = estimator.facts();
        let estimates = if facts.smallest_batch == 1 { single.next() } else { pairs.next() };
        let truths = if facts.end == End::Critic { &bootstrapped } else { &ending };
        for ((moments, Estimate { mean, variance }), truth) in
            moments.iter_mut().zip(estimates.expect("one of each")).zip(truths)
        {
            let bias = mean - truth;
            *moments = Moments {
                variance: variance * facts.smallest_batch as f64,
                bias: bias.dot(&bias),
                truth: truth.dot(truth),
            };
            // TMAML's Hessian is the last one.
            excess = bias;
        }
    }
    let left = flat(&closed_form(&setting, horizon)?);
    Ok(Measured {
        moments,
        from_closed_form: max_abs(&(&excess - &left)) / max_abs(&left),
        from_linearised: from_linearised(mdp, logits)?,
    })
}

/// 2 E Σ_t γ^t b(s_t) u_t u_tᵀ, u_t = ∇log π(a_t|s_t), of θ's shape twice: the bias of TMAML's Hessian.
fn closed_form(setting: &Setting, horizon: usize) -> Result<ArrayD<f64>> {
    setting.expectation(|batch, _, theta| {
        let scores = batch.log_prob().jacobian(theta).reshape(&[horizon, theta.size()]);
        let baseline = batch.steps.on_steps(batch.values_here_and_next().0) * batch.discounts();
        (scores * baseline.reshape(&[horizon, 1])).t().matmul(scores) * 2.0
    })
}

fn from_linearised(mdp: &TabularMdp, logits: &Array2<f64>) -> Result<f64> {
    let (horizon, trajectories, rate) = INNER;
    let critic = values(mdp, logits, horizon);
    let problem = SampledUpdate::new(mdp, logits, horizon, GAMMA).trajectories(trajectories).rate(rate);
    let expectation = |surrogate: &dyn Fn(&MetaBatch<'_>) -> Var| -> Result<ArrayD<f64>> {
        Ok(problem.check(surrogate, 1)?.orders.swap_remove(1).expectation)
    };
    let tamed = |meta: &MetaBatch<'_>| {
        let baseline = meta.theta[Table::LOGITS].constant(&critic).gather([meta.inner[0].states()]);
        let points = meta.adapt(|batch| allow_biased(&DiceTmaml).surrogate(&batch.with_critic(baseline)));
        meta.value(&points[1])
    };
    let linearised = expectation(&sampled::linearised_score_function)?;
    let difference = expectation(&tamed)? - &linearised;
    Ok((square(&difference) / square(&linearised)).sqrt())
}

/// A process of one state and one step, where all is known by hand: two actions, the first with probability p = ¼, which alone is
/// paid. V = p, and by the difference of the logits V″ = p(1 − p)(1 − 2p), while what is left of TMAML's control variate is
/// 2 V p(1 − p): the same number, so that its Hessian is twice the right one.
pub fn by_hand() -> Result<(TabularMdp, Array2<f64>)> {
    let mdp = TabularMdp::new(ndarray::Array3::ones((1, 2, 1)), array![[1.0, 0.0]])?;
    Ok((mdp, array![[0.0, 3_f64.ln()]]))
}

fn flat(x: &ArrayD<f64>) -> Array1<f64> {
    x.iter().copied().collect()
}

fn square(x: &ArrayD<f64>) -> f64 {
    x.iter().map(|x| x * x).sum()
}
