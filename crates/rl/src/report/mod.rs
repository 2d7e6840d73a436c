//! How good an estimator is at a number of trajectories: bias, variance, and what follows from them, beside the exact truth.
//!
//! Enumeration ([`truth`](crate::truth)) proves whether an estimator is biased; here is measured what that matters at N
//! trajectories. Estimates are repeated on independent batches, the same batches for all estimators, in parallel; the bits do
//! not depend on the number of threads.

use std::path::Path;

use ad::{Program, Tape, Value, Var};
use ndarray::{Array2, ArrayD};
use rand::Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::objective::{Estimator, allow_biased};
use crate::rollout::Episodes;
use crate::stream::stream;
use crate::truth::{Setting, derivative_or_zero, max_abs};

mod interval;
mod table;

pub use interval::Interval;
use interval::Vectors;

/// What is measured, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The orders of derivative, from 0 (the value) to 3.
    pub orders: Vec<usize>,
    /// The numbers N of trajectories to estimate from.
    pub samples: Vec<usize>,
    /// How many independent estimates there are of each, at least 2. Intervals shrink with its square root.
    pub repeats: usize,
    /// Everything random is a function of this number.
    pub seed: u64,
}

impl Default for Plan {
    /// Gradient and Hessian at 10, 100 and 1000 trajectories, 100 times.
    fn default() -> Self {
        Self { orders: vec![1, 2], samples: vec![10, 100, 1000], repeats: 100, seed: 0 }
    }
}

/// Estimators measured against the exact truth. Printed, it is a table; see [`to_csv`](Self::to_csv) and
/// [`to_json`](Self::to_json).
///
/// ```
/// use rl::{env::TabularMdp, objective::all, report::{EstimatorReport, Plan}, stream::stream, truth::Setting};
///
/// let mdp = TabularMdp::random(3, 2, 1.0, &mut stream(0, 0))?;
/// let setting = Setting::new(&mdp, &ndarray::Array2::zeros((3, 2)), 5, 0.9);
/// let plan = Plan { samples: vec![10, 40], repeats: 20, ..Plan::default() };
/// let report = EstimatorReport::new(&setting, &all(), &plan)?;
/// println!("{report}");
/// let best = report.best(2, 40).expect("it was measured");
/// println!("for the Hessian from 40 trajectories, {} has the least error", best.estimator);
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EstimatorReport {
    /// How many independent estimates each row is made of.
    pub repeats: usize,
    /// The seed they were drawn with.
    pub seed: u64,
    /// One for each order, number of trajectories and estimator, in this order.
    pub rows: Vec<Row>,
}

/// One estimator of the derivative of one order, from N trajectories. ĝ is an estimate, with all its entries as one vector, and
/// g the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The estimator's name.
    pub estimator: String,
    /// The order of derivative.
    pub order: usize,
    /// The number of trajectories N.
    pub samples: usize,
    /// Whether the estimator claims to be unbiased at this order.
    pub claimed: bool,
    /// ‖g‖.
    pub truth_norm: f64,
    /// ‖E ĝ − g‖. Its square is estimated without bias; a lower end of 0 says that no bias was detected.
    pub bias: Interval,
    /// E‖ĝ − E ĝ‖².
    pub variance: Interval,
    /// E‖ĝ − g‖² = bias² + variance.
    pub mean_squared_error: Interval,
    /// The mean of ⟨ĝ, g⟩ / ‖ĝ‖‖g‖; nothing if g is 0.
    pub cosine: Option<Interval>,
    /// The mean of Pearson's correlation of the entries of ĝ and g; nothing if g is constant.
    pub correlation: Option<Interval>,
    /// ‖E ĝ‖ / √variance; nothing if the variance is 0.
    pub signal_to_noise: Option<Interval>,
}

impl Row {
    /// √(mean squared error) / ‖g‖: 1 is as wrong as an estimate of 0. Nothing if g is 0.
    pub fn relative_error(&self) -> Option<Interval> {
        let Interval { value, low, high } = self.mean_squared_error;
        let relative = |square: f64| square.sqrt() / self.truth_norm;
        (self.truth_norm > 0.0).then(|| Interval { value: relative(value), low: relative(low), high: relative(high) })
    }

    /// The estimates, one a row `[R, D]`, beside the truth, `[D]`.
    fn new(
        name: String,
        claimed: bool,
        (order, samples): (usize, usize),
        estimates: Array2<f64>,
        truth: &[f64],
    ) -> Self {
        let errors = &estimates - &ndarray::aview1(truth);
        let squares: Vec<f64> = errors.rows().into_iter().map(|error| error.dot(&error)).collect();
        let alignment = |centred: bool| {
            let each: Option<Vec<f64>> =
                estimates.rows().into_iter().map(|row| alignment(row.as_slice()?, truth, centred)).collect();
            each.map(|each| Interval::of_mean(&each).within(-1.0, 1.0))
        };
        let (cosine, correlation) = (alignment(false), alignment(true));
        let spread = Vectors::new(estimates);
        let errors = Vectors::new(errors);
        Self {
            estimator: name,
            order,
            samples,
            claimed,
            truth_norm: truth.iter().map(|x| x * x).sum::<f64>().sqrt(),
            bias: errors.length_of_mean(0.95),
            variance: spread.variance(0.95),
            mean_squared_error: Interval::of_mean(&squares).within(0.0, f64::INFINITY),
            cosine,
            correlation,
            signal_to_noise: signal_to_noise(&spread),
        }
    }
}

/// The cosine of two vectors, of their deviations from their means if `centred`; 0 if the estimate is 0 (or constant), nothing
/// if the truth is.
fn alignment(estimate: &[f64], truth: &[f64], centred: bool) -> Option<f64> {
    let mean = |x: &[f64]| if centred { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
    let (m, n) = (mean(estimate), mean(truth));
    let (mut product, mut square, mut scale) = (0.0, 0.0, 0.0);
    for (x, y) in estimate.iter().zip(truth) {
        let (x, y) = (x - m, y - n);
        (product, square, scale) = (product + x * y, square + x * x, scale + y * y);
    }
    // What is left of a constant by rounding is no direction.
    let nothing = scale.sqrt() <= 1e-13 * max_abs(truth);
    (!nothing).then(|| if square > 0.0 { product / (square.sqrt() * scale.sqrt()) } else { 0.0 })
}

/// Both ends from intervals of 97.5 %, so that they hold together in 95 %.
fn signal_to_noise(estimates: &Vectors) -> Option<Interval> {
    let (signal, variance) = (estimates.length_of_mean(0.975), estimates.variance(0.975));
    let over = |signal: f64, variance: f64| if signal > 0.0 { signal / variance.sqrt() } else { 0.0 };
    // An interval of the variance that reaches 0 says nothing about an upper end; half the estimate does for one.
    let least = if variance.low > 0.0 { variance.low } else { 0.5 * variance.value };
    (variance.value > 0.0).then(|| Interval {
        value: over(signal.value, variance.value),
        low: over(signal.low, variance.high),
        high: over(signal.high, least),
    })
}

/// An estimator on batches of one size: trajectories ↦ its derivatives of the plan's orders.
struct Recorded<'a, E> {
    estimator: &'a E,
    samples: usize,
    program: Program,
}

impl EstimatorReport {
    /// Measures estimators in a setting: `&all()`, or `&[DoublyRobust]`, or boxes of your own. Derivatives beyond an estimator's
    /// claim are measured like the others.
    ///
    /// The truth is the one the estimator is an estimate of: the value of the finite horizon, with the critic's value at its
    /// end if the estimator bootstraps. What an estimator draws by itself is drawn anew for each estimate.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without estimators, orders or numbers of trajectories; [`Error::Order`] for an order above 3;
    /// [`Error::TooFew`] for fewer than two repeats, or fewer trajectories than an estimator needs; [`Error::NotFinite`] names
    /// the estimator and the repeat; and those of [`check_unbiased`](crate::truth::check_unbiased) for the setting.
    pub fn new<E: Estimator>(setting: &Setting, estimators: &[E], plan: &Plan) -> Result<Self> {
        plan.check(estimators)?;
        ad::ready_threads();
        let highest = plan.orders.iter().copied().max().unwrap_or(0);
        let truths = estimators.iter().map(|estimator| setting.for_estimator(&estimator.facts()).derivatives(highest));
        let truths = truths.collect::<Result<Vec<_>>>()?;
        let mut rows = Vec::new();
        for &samples in &plan.samples {
            let recorded: Vec<Recorded<'_, E>> =
                estimators.iter().map(|estimator| plan.record(setting, estimator, samples)).collect::<Result<_>>()?;
            let repeats = (0..plan.repeats).into_par_iter();
            let estimates: Vec<Vec<Vec<ArrayD<f64>>>> =
                repeats.map(|repeat| plan.estimate(setting, &recorded, repeat)).collect::<Result<_>>()?;
            let cells: Vec<(usize, usize)> =
                (0..plan.orders.len()).flat_map(|o| (0..estimators.len()).map(move |e| (o, e))).collect();
            let measured = cells.par_iter().map(|&(o, e)| {
                let (estimator, order) = (&estimators[e], plan.orders[o]);
                let truth = truths[e][order].as_standard_layout();
                let truth = truth.as_slice().expect("in standard layout");
                let entries: Vec<f64> = estimates.iter().flat_map(|repeat| repeat[e][o].iter().copied()).collect();
                let rows = Array2::from_shape_vec((plan.repeats, truth.len()), entries).expect("one row a repeat");
                let claimed = estimator.facts().claim.contains(order, setting.is_off_policy());
                Row::new(estimator.facts().name, claimed, (order, samples), rows, truth)
            });
            rows.extend(measured.collect::<Vec<_>>());
        }
        rows.sort_by_key(|row| plan.orders.iter().position(|&order| order == row.order));
        Ok(Self { repeats: plan.repeats, seed: plan.seed, rows })
    }

    /// The row of the least mean squared error at an order and a number of trajectories, if it was measured.
    pub fn best(&self, order: usize, samples: usize) -> Option<&Row> {
        let rows = self.rows.iter().filter(|row| (row.order, row.samples) == (order, samples));
        rows.min_by(|a, b| a.mean_squared_error.value.total_cmp(&b.mean_squared_error.value))
    }

    /// The row of an estimator, by its name.
    pub fn row(&self, estimator: &str, order: usize, samples: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.estimator == estimator && (row.order, row.samples) == (order, samples))
    }

    /// Writes [`csv`](Self::csv).
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn to_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole([(path, self.csv())])
    }

    /// Writes [`json`](Self::json).
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn to_json(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole([(path, self.json())])
    }

    /// The fields of this struct.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a struct of numbers and names") + "\n"
    }
}

impl Plan {
    fn check<E: Estimator>(&self, estimators: &[E]) -> Result<()> {
        let lists = [
            ("estimators", estimators.len()),
            ("orders of derivative", self.orders.len()),
            ("numbers of trajectories", self.samples.len()),
        ];
        if let Some(&(what, _)) = lists.iter().find(|(_, length)| *length == 0) {
            return Err(Error::Empty { what });
        }
        if let Some(&order) = self.orders.iter().find(|&&order| order > 3) {
            return Err(Error::Order { order, highest: 3 });
        }
        if self.repeats < 2 {
            return Err(Error::TooFew { what: "repeats, for an interval".to_owned(), found: self.repeats, least: 2 });
        }
        for estimator in estimators {
            let least = estimator.facts().smallest_batch;
            if let Some(&found) = self.samples.iter().find(|&&samples| samples < least) {
                return Err(Error::TooFew {
                    what: format!("trajectories, for {}", estimator.facts().name),
                    found,
                    least,
                });
            }
        }
        Ok(())
    }

    /// One batch; the first trajectories of a larger batch of the same repeat are those of a smaller one.
    fn sample(&self, setting: &Setting, samples: usize, repeat: usize) -> Result<crate::rollout::Rollout> {
        setting.sample(samples, self.seed_of(repeat, 0))
    }

    /// Seeds of a repeat: that of the trajectories, that of what estimators draw.
    fn seed_of(&self, repeat: usize, which: usize) -> u64 {
        let mut rng = stream(self.seed, repeat as u64);
        [rng.next_u64(), rng.next_u64()][which]
    }

    fn record<'a, E: Estimator>(&self, setting: &Setting, estimator: &'a E, samples: usize) -> Result<Recorded<'a, E>> {
        let tape = Tape::new();
        let fixed = setting.record(&tape);
        let episodes = self.sample(setting, samples, 0)?.record(&tape);
        let surrogate = allow_biased(estimator).surrogate(&fixed.batch(setting, episodes));
        let results: Vec<Var> =
            self.orders.iter().map(|&order| derivative_or_zero(surrogate, fixed.theta, order)).collect();
        Ok(Recorded { estimator, samples, program: tape.compile(episodes.handles(), results) })
    }

    /// The estimates by every estimator, `[estimator][order]`, of one repeat.
    fn estimate<E: Estimator>(
        &self,
        setting: &Setting,
        recorded: &[Recorded<'_, E>],
        repeat: usize,
    ) -> Result<Vec<Vec<ArrayD<f64>>>> {
        let samples = recorded.first().map_or(1, |recorded| recorded.samples);
        let rollout = self.sample(setting, samples, repeat)?;
        let values: [Value<'_>; Episodes::COLUMNS] = rollout.values();
        let run = |Recorded { estimator, program, .. }: &Recorded<'_, E>| {
            // A program keeps what was drawn when it was recorded.
            let redrawn = estimator.redrawn(self.seed_of(repeat, 1));
            let program_of = |estimator| Ok::<_, Error>(self.record(setting, &estimator, samples)?.program);
            let redrawn = redrawn.map(program_of).transpose()?;
            let results = redrawn
                .as_ref()
                .unwrap_or(program)
                .run(&values)
                .expect("values of the shapes recorded, of the process itself");
            for (result, order) in results.iter().zip(&self.orders) {
                if let Some(&value) = result.iter().find(|x| !x.is_finite()) {
                    let what = format!(
                        "an entry of order {order} by {}, N = {samples}, repeat {repeat},",
                        estimator.facts().name
                    );
                    return Err(Error::NotFinite { what, value });
                }
            }
            Ok(results)
        };
        recorded.iter().map(run).collect()
    }
}
