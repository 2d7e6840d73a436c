//! Gradient descent: SGD and Adam, each one formula, on the tape and off it; and natural gradients (`natural.rs`).
//!
//! On the tape ([`TapeOptimiser`]) an update is recorded like everything else, and can be differentiated: an inner loop. Off it
//! ([`Optimiser`]) arrays are updated in place, and the state can be saved and resumed to the bit. All descend: to climb an
//! objective, hand in the gradient of its negative.

use std::ops::{Add, Div, Mul, Sub};

use ad::{Tree, Var};
use ndarray::{Array, ArrayD, Dimension, Zip};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite, check_rate, expect};
use crate::policy::{Numbers, Structure};
use crate::rollout::check_shape;

mod natural;

pub use natural::{add, conjugate_gradient, dot};

/// How a parameter follows from its gradient g. Rates are finite and not negative, β₁ and β₂ lie in [0, 1), ε is positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Rule {
    /// θ ← θ − rate·g.
    Sgd {
        /// The size of a step.
        rate: f64,
    },
    /// m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − rate · m̂ / (√v̂ + ε), where m̂ = m / (1 − β₁^k) and
    /// v̂ = v / (1 − β₂^k) after k steps. Kingma & Ba 2015.
    Adam {
        /// The size of a step.
        rate: f64,
        /// β₁, the decay of the mean.
        beta1: f64,
        /// β₂, the decay of the mean square.
        beta2: f64,
        /// ε.
        epsilon: f64,
    },
}

impl Rule {
    /// Gradient descent with this rate.
    pub const fn sgd(rate: f64) -> Self {
        Rule::Sgd { rate }
    }

    /// Adam with this rate, and β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
    pub const fn adam(rate: f64) -> Self {
        Rule::Adam { rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match *self {
            Rule::Sgd { rate } => check_rate(rate),
            Rule::Adam { rate, beta1, beta2, epsilon } => {
                check_rate(rate)?;
                let decay = |beta| (0.0..1.0).contains(&beta);
                let wrong = |name, value, range| Err(Error::Adam { name, value, range });
                match () {
                    () if !decay(beta1) => wrong("beta1", beta1, "lie in [0, 1)"),
                    () if !decay(beta2) => wrong("beta2", beta2, "lie in [0, 1)"),
                    // Where a gradient has always been 0, the mean 0 is divided by it.
                    () if !(epsilon > 0.0 && epsilon.is_finite()) => {
                        wrong("epsilon", epsilon, "be positive and finite")
                    }
                    () => Ok(()),
                }
            }
        }
    }

    /// The formulas, for numbers and for Vars: the parameter after step number `step` (from 1), given its gradient and its
    /// moments so far, which are updated. `own_rate` is the parameter's own, in place of the rule's.
    fn apply<X: Number>(
        &self,
        step: u64,
        parameter: X,
        gradient: X,
        own_rate: Option<X>,
        moments: &mut Option<[X; 2]>,
    ) -> X {
        let times_rate = |direction: X, rate: f64| own_rate.map_or_else(|| direction * rate, |own| direction * own);
        match *self {
            Rule::Sgd { rate } => parameter - times_rate(gradient, rate),
            Rule::Adam { rate, beta1, beta2, epsilon } => {
                let square = gradient * gradient;
                let (mean, square) = match *moments {
                    None => (gradient * (1.0 - beta1), square * (1.0 - beta2)),
                    Some([m, v]) => (m * beta1 + gradient * (1.0 - beta1), v * beta2 + square * (1.0 - beta2)),
                };
                *moments = Some([mean, square]);
                let unbiased = |moment: X, beta: f64| moment * (1.0 / (1.0 - beta.powf(step as f64)));
                let direction = unbiased(mean, beta1) / (unbiased(square, beta2).root() + epsilon);
                parameter - times_rate(direction, rate)
            }
        }
    }
}

/// What the formulas are written for.
trait Number:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f64, Output = Self>
    + Mul<f64, Output = Self>
{
    fn root(self) -> Self;
}

impl Number for f64 {
    fn root(self) -> Self {
        self.sqrt()
    }
}

impl Number for Var {
    /// With derivative 0 at 0, instead of an infinite one that would make a NaN of an entry whose gradient has always been 0
    /// (a state that was never visited). It is exact there: the mean it divides is 0 as well.
    fn root(self) -> Self {
        let positive = self.greater(0.0);
        positive.select(positive.select(self, 1.0).sqrt(), 0.0)
    }
}

/// An optimiser of recorded parameters: a step is a differentiable function of parameters, gradients and all steps before.
///
/// ```
/// use rl::optim::{Rule, TapeOptimiser};
///
/// let tape = ad::Tape::new();
/// let theta = tape.input("theta", &ndarray::arr1(&[1.0, -2.0]));
/// let loss = |x: ad::Var| (x * x * 0.5).sum();
/// let mut inner = TapeOptimiser::new(Rule::sgd(0.1));
/// let mut adapted = theta;
/// for _ in 0..3 {
///     adapted = inner.step(adapted, loss(adapted).grad(adapted));
/// }
/// let meta_gradient = loss(adapted).grad(theta);                  // through all three steps: 0.9⁶ θ
/// assert!((meta_gradient.value()[0] - 0.9_f64.powi(6)).abs() < 1e-15);
/// ```
#[derive(Clone, Debug)]
pub struct TapeOptimiser {
    rule: Rule,
    /// A rate for each parameter, in place of the rule's.
    rates: Option<Vec<Var>>,
    steps: u64,
    moments: Vec<Option<[Var; 2]>>,
}

impl TapeOptimiser {
    /// One that has made no step yet.
    ///
    /// Panics if the rule's rate, β₁, β₂ or ε is not what a [`Rule`] needs.
    #[track_caller]
    pub fn new(rule: Rule) -> Self {
        expect("TapeOptimiser", rule.check());
        Self { rule, rates: None, steps: 0, moments: Vec::new() }
    }

    /// With a rate for each parameter in place of the rule's: scalars, or one for each entry, which may be differentiated by and
    /// learned (Meta-SGD, Li et al. 2017). The structure is that of the parameters.
    #[must_use]
    pub fn with_rates(self, rates: impl Tree) -> Self {
        Self { rates: Some(rates.leaves()), ..self }
    }

    /// The parameters after one more step: one Var, several, or a tree of them, and their gradients in the same order.
    ///
    /// Panics if there are not as many gradients as parameters, or another number of them than before, or if shapes differ.
    #[track_caller]
    #[must_use]
    pub fn step<P: Tree, G: Tree>(&mut self, parameters: P, gradients: G) -> P::Output {
        let (leaves, gradients) = (parameters.leaves(), gradients.leaves());
        assert_eq!(leaves.len(), gradients.len(), "step: as many gradients as parameters are needed");
        for (parameter, gradient) in leaves.iter().zip(&gradients) {
            let (expected, found) = (parameter.shape(), gradient.shape());
            assert!(found == expected, "step: a parameter of shape {expected:?} has a gradient of shape {found:?}");
        }
        if self.steps == 0 {
            self.moments = vec![None; leaves.len()];
        }
        assert_eq!(leaves.len(), self.moments.len(), "step: there were another number of parameters before");
        let rates: Vec<Option<Var>> = match &self.rates {
            None => vec![None; leaves.len()],
            Some(rates) => {
                assert_eq!(leaves.len(), rates.len(), "step: as many rates as parameters are needed");
                for (parameter, rate) in leaves.iter().zip(rates) {
                    let (expected, found) = (parameter.shape(), rate.shape());
                    assert!(
                        found.is_empty() || found == expected,
                        "step: a parameter of shape {expected:?} has a rate of shape {found:?}, which is neither a scalar nor alike"
                    );
                }
                rates.iter().copied().map(Some).collect()
            }
        };
        self.steps += 1;
        let mut stepped = Vec::with_capacity(leaves.len());
        for (((parameter, gradient), rate), moments) in
            leaves.into_iter().zip(gradients).zip(rates).zip(&mut self.moments)
        {
            stepped.push(self.rule.apply(self.steps, parameter, gradient, rate, moments));
        }
        parameters.rebuild(stepped)
    }
}

/// An optimiser of arrays. Its state, written with any serde format that keeps every bit of an `f64`, resumes exactly; a
/// state that no optimiser can have been in is an error of the format's.
///
/// ```
/// use rl::optim::{Optimiser, Rule};
///
/// let mut theta = ndarray::arr1(&[1.0, -2.0]);
/// let mut optimiser = Optimiser::new(Rule::adam(0.1));
/// for _ in 0..100 {
///     let gradient = theta.clone();                               // of ½ θ²
///     optimiser.step(&mut theta, &gradient)?;
/// }
/// assert!(theta.iter().all(|x| x.abs() < 0.2));
///
/// let saved = serde_json::to_string(&optimiser)?;
/// let resumed: Optimiser = serde_json::from_str(&saved)?;
/// assert_eq!(resumed, optimiser);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Optimiser {
    rule: Rule,
    steps: u64,
    /// Of each array: the moments of its entries, nothing before the first step and for SGD.
    moments: Vec<Option<[ArrayD<f64>; 2]>>,
}

/// An [`Optimiser`] as it was saved, by whomever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    rule: Rule,
    steps: u64,
    moments: Vec<Option<[ArrayD<f64>; 2]>>,
}

impl TryFrom<Saved> for Optimiser {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<Self> {
        let Saved { rule, steps, moments } = saved;
        rule.check()?;
        let damaged = |what: String| Err(Error::SavedOptimiser(what));
        if steps == 0 && !moments.is_empty() {
            return damaged(format!("moments of {} arrays before the first step", moments.len()));
        }
        for (i, moments) in moments.iter().enumerate() {
            match (rule, moments) {
                (Rule::Sgd { .. }, None) => {}
                (Rule::Sgd { .. }, Some(_)) => return damaged(format!("array {i} has moments, which SGD has not")),
                (Rule::Adam { .. }, None) => return damaged(format!("array {i} has no moments after {steps} steps")),
                (Rule::Adam { .. }, Some([mean, square])) => {
                    if mean.shape() != square.shape() {
                        let shapes = (mean.shape(), square.shape());
                        return damaged(format!(
                            "the moments of array {i} have shapes {:?} and {:?}",
                            shapes.0, shapes.1
                        ));
                    }
                    if let Some(x) = mean.iter().find(|x| !x.is_finite()) {
                        return damaged(format!("a mean of array {i} is {x}, but must be finite"));
                    }
                    if let Some(x) = square.iter().find(|x| !(**x >= 0.0 && x.is_finite())) {
                        return damaged(format!(
                            "a mean square of array {i} is {x}, but must be finite and not negative"
                        ));
                    }
                }
            }
        }
        Ok(Self { rule, steps, moments })
    }
}

impl Optimiser {
    /// One that has made no step yet.
    ///
    /// Panics if the rule's rate, β₁, β₂ or ε is not what a [`Rule`] needs.
    #[track_caller]
    pub fn new(rule: Rule) -> Self {
        expect("Optimiser", rule.check());
        Self { rule, steps: 0, moments: Vec::new() }
    }

    /// One that goes on after `steps` steps with these [`moments`](Self::moments).
    ///
    /// # Errors
    ///
    /// [`Error::SavedOptimiser`] if no optimiser of this rule can have been there; and those of a rule that is none.
    pub fn resumed(rule: Rule, steps: u64, moments: Vec<Option<[ArrayD<f64>; 2]>>) -> Result<Self> {
        Saved { rule, steps, moments }.try_into()
    }

    /// What it goes by.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The number of steps made so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Of each array, m and v of its entries; nothing of it for SGD, and no array before the first step. With
    /// [`rule`](Self::rule) and [`steps`](Self::steps) they are all that it goes on from.
    pub fn moments(&self) -> &[Option<[ArrayD<f64>; 2]>] {
        &self.moments
    }

    /// One step of one array, in place.
    ///
    /// # Errors
    ///
    /// Those of [`step_all`](Self::step_all).
    pub fn step<D: Dimension>(&mut self, parameters: &mut Array<f64, D>, gradient: &Array<f64, D>) -> Result<()> {
        self.step_all([parameters], [gradient])
    }

    /// One step of a tree of parameters, in place, by a gradient like it.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] for a gradient of other names, or in another order, and those of [`step_all`](Self::step_all).
    pub fn step_tree(&mut self, parameters: &mut Numbers, gradient: &Numbers) -> Result<()> {
        Structure::of(parameters).check("the gradient", gradient)?;
        self.step_all(parameters.values_mut(), gradient.values())
    }

    /// One step of several arrays, in place: the same ones, in the same order, at every step. Of a policy's parameters, by what a
    /// program gives, it is `step_all(theta.values_mut(), &gradients)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if numbers or shapes of parameters, gradients and saved moments differ; [`Error::NotFinite`] for a
    /// gradient, or for what a parameter or a moment would be after the step. Then nothing has changed.
    pub fn step_all<'a, D: Dimension + 'a>(
        &mut self,
        parameters: impl IntoIterator<Item = &'a mut Array<f64, D>>,
        gradients: impl IntoIterator<Item = &'a Array<f64, D>>,
    ) -> Result<()> {
        let mut parameters: Vec<_> = parameters.into_iter().collect();
        let gradients: Vec<_> = gradients.into_iter().collect();
        check_shape("the list of gradients", &[gradients.len()], &[parameters.len()])?;
        if self.steps > 0 {
            check_shape("the list of parameters", &[parameters.len()], &[self.moments.len()])?;
        }
        for (i, (parameter, &gradient)) in parameters.iter().zip(&gradients).enumerate() {
            check_shape("gradient", gradient.shape(), parameter.shape())?;
            for moment in self.moments.get(i).and_then(Option::as_ref).into_iter().flatten() {
                check_shape("parameter", parameter.shape(), moment.shape())?;
            }
            check_finite(gradient, |entry| format!("entry {entry} of gradient {i}"))?;
        }
        let step = self.steps.saturating_add(1);
        let mut after = Vec::with_capacity(parameters.len());
        for (i, (parameter, &gradient)) in parameters.iter().zip(&gradients).enumerate() {
            let (mut parameter, mut moments) = (Array::clone(parameter), self.moments.get(i).cloned().flatten());
            self.rule.update(step, &mut parameter, gradient, &mut moments);
            check_finite(&parameter, |entry| format!("entry {entry} of parameter {i} after the step"))?;
            if let Some([mean, square]) = &moments {
                // Divided by an infinite mean square, every later step would be 0.
                check_finite(mean, |entry| format!("entry {entry} of the mean of gradient {i}"))?;
                check_finite(square, |entry| format!("entry {entry} of the mean square of gradient {i}"))?;
            }
            after.push((parameter, moments));
        }
        self.steps = step;
        self.moments.clear();
        for (parameter, (after, moments)) in parameters.iter_mut().zip(after) {
            **parameter = after;
            self.moments.push(moments);
        }
        Ok(())
    }
}

impl Rule {
    /// [`apply`](Self::apply) to every entry, in place.
    fn update<D: Dimension>(
        &self,
        step: u64,
        parameter: &mut Array<f64, D>,
        gradient: &Array<f64, D>,
        moments: &mut Option<[ArrayD<f64>; 2]>,
    ) {
        if let Rule::Sgd { .. } = self {
            parameter.zip_mut_with(gradient, |x, &g| *x = self.apply(step, *x, g, None, &mut None));
            return;
        }
        let [mean, square] =
            moments.get_or_insert_with(|| [(); 2].map(|()| ArrayD::zeros(gradient.raw_dim().into_dyn())));
        Zip::from(parameter.view_mut().into_dyn()).and(gradient.view().into_dyn()).and(mean).and(square).for_each(
            |x, &g, m, v| {
                let mut moments = Some([*m, *v]);
                *x = self.apply(step, *x, g, None, &mut moments);
                [*m, *v] = moments.unwrap_or([*m, *v]);
            },
        );
    }
}
