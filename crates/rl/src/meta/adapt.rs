//! The inner loop on the tape: what steps of ascent lead to, as a function of where they began.

use ad::{Tree, Var};

use crate::error::expect;
use crate::optim::{Rule, TapeOptimiser};

/// How an inner step follows from a gradient: a rule, perhaps with a rate for each parameter, and what derivatives see of it.
///
/// ```
/// use rl::{meta::Inner, optim::Rule};
/// let maml: Inner = Rule::sgd(0.1).into();
/// let first_order: Inner = Inner::from(Rule::sgd(0.1)).first_order();
/// # let _ = (maml, first_order);
/// ```
#[derive(Clone, Debug)]
pub struct Inner<P = crate::policy::Params> {
    rule: Rule,
    rates: Option<P>,
    first_order: bool,
}

impl<P> From<Rule> for Inner<P> {
    fn from(rule: Rule) -> Self {
        Self { rule, rates: None, first_order: false }
    }
}

impl<P> Inner<P> {
    /// With rates of the parameters' own in place of the rule's: scalars, or one for each entry. They may be Vars that are
    /// differentiated by and learned (Meta-SGD, Li et al. 2017).
    #[must_use]
    pub fn rates(self, rates: P) -> Self {
        Self { rates: Some(rates), ..self }
    }

    /// With gradients that count as numbers: where a step leads is differentiated as if it went by a constant.
    #[must_use]
    pub fn first_order(self) -> Self {
        Self { first_order: true, ..self }
    }
}

/// θ_0 … θ_K, where K = `steps` steps of ascent lead from `theta` = θ_0: by gradient ascent θ_{i+1} = θ_i + α ∇_θ J(θ_i), or
/// another rule. `objective(i, θ_i)` records J at step i. θ is a Var or any tree of them. Derivatives flow through the gradients,
/// unless it is [`first_order`](Inner::first_order) (Liu et al. 2022, Eq. 2).
///
/// A derivative of θ_K needs one more of J, and an estimator that claims only one (LVC) panics, unless it is first order or
/// [`allow_biased`](crate::objective::allow_biased) of it.
///
/// Panics for a rule that has not what a [`Rule`] needs, or rates of other names than the parameters, or in another order.
///
/// ```
/// use rl::{meta::adapt, optim::Rule};
/// let tape = ad::Tape::new();
/// let theta = tape.input("theta", &ndarray::arr1(&[0.3, -0.2]));
/// // J = −|θ|²/2: each step shrinks θ by 1 − α.
/// let points = adapt(&theta, Rule::sgd(0.1), 3, |_, theta| theta.square().sum() * -0.5);
/// let meta_gradient = points[3].sum().grad(theta);
/// assert!((meta_gradient.value() - 0.9_f64.powi(3)).iter().all(|x| x.abs() < 1e-15));
/// ```
#[track_caller]
pub fn adapt<P>(
    theta: &P,
    inner: impl Into<Inner<P>>,
    steps: usize,
    mut objective: impl FnMut(usize, &P) -> Var,
) -> Vec<P>
where
    P: Clone,
    for<'a> &'a P: Tree<Output = P>,
{
    let Inner { rule, rates, first_order } = inner.into();
    expect("adapt", rule.check());
    let mut optimiser = TapeOptimiser::new(rule);
    if let Some(rates) = &rates {
        expect_like("adapt", "the rates", &theta, &rates);
        optimiser = optimiser.with_rates(rates);
    }
    let mut points = vec![theta.clone()];
    for step in 0..steps {
        let here = &points[step];
        // A rule descends.
        let gradient = (-objective(step, here)).grad(here);
        let gradient = if first_order { each(&gradient, Var::stop_gradient) } else { gradient };
        let next = optimiser.step(here, &gradient);
        points.push(next);
    }
    points
}

/// Panics unless two trees have the same structure: of names, in the same order.
#[track_caller]
fn expect_like<T: Tree>(operation: &str, what: &str, tree: &T, other: &T) {
    if let Err(problem) = tree.expect_like(other) {
        panic!("{operation}: {what} are not in the structure of what they are for: {problem}");
    }
}

/// A function of each variable of a tree.
fn each<P>(tree: &P, f: impl FnMut(Var) -> Var) -> P
where
    for<'a> &'a P: Tree<Output = P>,
{
    tree.rebuild(tree.leaves().into_iter().map(f).collect())
}

/// stop(θ_c) + θ_h − stop(θ_h): the numbers of `value` θ_c with the derivatives of `derivatives` θ_h, of Vars or trees of them.
///
/// It separates the two errors of an estimated inner step, the one of where it leads and the one of its derivative, by
/// taking them from different estimates (Liu et al. 2022, App. G.1.2).
///
/// Panics for trees of different names, or in different order.
#[track_caller]
pub fn evaluates_to<P>(value: &P, derivatives: &P) -> P
where
    for<'a> &'a P: Tree<Output = P>,
{
    expect_like("evaluates_to", "the derivatives", &value, &derivatives);
    let mut both = Vec::new();
    for (value, derivatives) in value.leaves().into_iter().zip(derivatives.leaves()) {
        // θ_h − stop(θ_h) first: it is exactly 0, so that the numbers are those of θ_c to the last bit.
        both.push(value.stop_gradient() + change(derivatives));
    }
    value.rebuild(both)
}

/// θ − stop(θ): 0, with the derivatives of θ. An infinite entry (the logit of an action that is never taken) is held fixed,
/// because ∞ − ∞ is NaN.
#[track_caller]
pub(super) fn change(theta: Var) -> Var {
    let theta = theta.abs().equal(f64::INFINITY).select(0.0, theta);
    theta - theta.stop_gradient()
}
