//! A batch of trajectories on a tape, and the quantities that every estimator is made of: ratios, values, temporal
//! differences, advantages.
//!
//! Masks are applied here and nowhere else: every quantity below is already 0 (a ratio: 1) behind the end of its
//! trajectory, by selection and not by multiplication, so that a NaN there reaches nothing.

use std::ops::{Mul, Sub};

use ad::{DType, Handle, Index, Tape, Term, Value, Var, vmap_many};
use ndarray::Array1;

use crate::rollout::Rollout;

/// A [`Rollout`] on a tape: N trajectories of up to H steps. All are inputs, and can be replaced on replay.
#[derive(Clone, Copy, Debug)]
pub struct Episodes {
    /// s_0 … s_L, `[N, H + 1]`.
    pub states: Index,
    /// a_0 … a_{L−1}, `[N, H]`.
    pub actions: Index,
    /// r_0 … r_{L−1}, `[N, H]`.
    pub rewards: Var,
    /// 1 where a step was taken (t < L), `[N, H]`.
    pub step_mask: Var,
    /// 1 where V(s_t) counts (t < L, and t = L if truncated), `[N, H + 1]`.
    pub value_mask: Var,
}

impl Rollout {
    /// Records the trajectories as inputs of a tape, to be computed with in double precision.
    #[track_caller]
    pub fn record(&self, tape: &Tape) -> Episodes {
        self.record_as(tape, DType::F64)
    }

    /// [`record`](Self::record) with rewards (and masks) of a floating-point type: that of the policy's parameters. All that an
    /// estimator makes of them is of this type.
    ///
    /// Panics for a type that is not a floating-point one.
    #[track_caller]
    pub fn record_as(&self, tape: &Tape, dtype: DType) -> Episodes {
        assert!(dtype.is_float(), "record_as: rewards are floating-point numbers, not {dtype}");
        let [states, actions, rewards, step_mask, value_mask] = self.values_as(dtype);
        Episodes {
            states: tape.index("states", states),
            actions: tape.index("actions", actions),
            rewards: tape.input("rewards", rewards),
            step_mask: tape.input("step_mask", step_mask),
            value_mask: tape.input("value_mask", value_mask),
        }
    }

    /// These trajectories as values for a program, in the order of [`Episodes::handles`].
    pub fn values(&self) -> [Value<'_>; 5] {
        let (step_mask, value_mask) = (self.step_mask().into(), self.value_mask().into());
        [self.states().into(), self.actions().into(), self.rewards().into(), step_mask, value_mask]
    }

    /// [`values`](Self::values) for a program of trajectories [recorded](Self::record_as) in this floating-point type.
    ///
    /// Panics for a type that is not a floating-point one.
    #[track_caller]
    pub fn values_as(&self, dtype: DType) -> [Value<'_>; 5] {
        assert!(dtype.is_float(), "values_as: rewards are floating-point numbers, not {dtype}");
        self.values().map(|value| value.rounded(dtype))
    }

    /// The same, to keep when the rollout is gone.
    pub fn into_values(self) -> [Value<'static>; 5] {
        let (step_mask, value_mask) = (self.step_mask().into(), self.value_mask().into());
        let (states, actions, rewards) = self.into_arrays();
        [states.into(), actions.into(), rewards.into(), step_mask, value_mask]
    }
}

impl Episodes {
    /// The inputs, in the order that [`Rollout::values`] gives their values in.
    pub fn handles(&self) -> [Handle; 5] {
        let Self { states, actions, rewards, step_mask, value_mask } = *self;
        [states.into(), actions.into(), rewards.into(), step_mask.into(), value_mask.into()]
    }

    pub(crate) fn from_handles(handles: &[Handle]) -> Self {
        Self {
            states: handles[0].index(),
            actions: handles[1].index(),
            rewards: handles[2].var(),
            step_mask: handles[3].var(),
            value_mask: handles[4].var(),
        }
    }

    /// The number of trajectories N.
    pub fn trajectories(&self) -> usize {
        self.rewards.shape()[0]
    }

    /// The number of steps H there is room for.
    pub fn horizon(&self) -> usize {
        self.rewards.shape()[1]
    }

    /// log π(a_t|s_t) of the tabular softmax policy with these logits `[S, A]`, `[N, H]`.
    #[track_caller]
    pub fn log_prob(&self, logits: Var) -> Var {
        self.look_up(logits.log_softmax())
    }

    /// The entries of a table `[S, A]` at (s_t, a_t), `[N, H]`.
    #[track_caller]
    pub fn look_up(&self, table: Var) -> Var {
        table.gather(&[self.states.slice(1, 0..self.horizon()), self.actions])
    }

    /// Maps a function of batches over the leading axis of arrays that have one more: all batches at once.
    #[track_caller]
    pub(crate) fn map(&self, f: impl FnOnce(Episodes) -> Var) -> Var {
        vmap_many(|handles| f(Self::from_handles(handles)), &self.handles())
    }

    /// These N trajectories as N / `batch` batches, along a new leading axis, ready for [`map`](Self::map).
    #[track_caller]
    pub(crate) fn in_batches(&self, batch: usize) -> Self {
        Self::from_handles(&split_leading(&self.handles(), batch))
    }
}

/// Arrays of N · `size` in front, as arrays `[N, size, …]`.
#[track_caller]
pub(crate) fn split_leading(handles: &[Handle], size: usize) -> Vec<Handle> {
    let split = |handle: &Handle| -> Handle {
        let shape = handle.shape();
        let shape = [&[shape[0] / size, size], &shape[1..]].concat();
        match handle {
            Handle::Var(var) => var.reshape(&shape).into(),
            Handle::Index(index) => index.reshape(&shape).into(),
        }
    };
    handles.iter().map(split).collect()
}

/// The gradient by `theta` of a surrogate of each single trajectory, in one computation: `[N]` followed by θ's shape.
///
/// `surrogate` is called once, with a batch of one trajectory; its mean over trajectories is the batch's surrogate where
/// nothing couples them (no batch baseline).
///
/// ```
/// # use rl::{batch::{Batch, per_trajectory_gradients}, mdp::TabularMdp, objective::{Estimator, ImportanceSampling}, policy};
/// # let mdp = TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0]]))?;
/// # let logits = ndarray::Array2::zeros((2, 2));
/// # let rollout = mdp.sample(&policy::softmax(&logits), 5, 8, 0)?;
/// let tape = ad::Tape::new();
/// let theta = tape.input("theta", &logits);
/// let gradients = per_trajectory_gradients(&rollout.record(&tape), theta, |one| {
///     ImportanceSampling.surrogate(&Batch::new(one, one.log_prob(theta), 0.9))
/// });
/// assert_eq!(gradients.value().shape(), [8, 2, 2]);
/// # Ok::<(), rl::error::Error>(())
/// ```
#[track_caller]
pub fn per_trajectory_gradients(episodes: &Episodes, theta: Var, surrogate: impl FnOnce(Episodes) -> Var) -> Var {
    episodes.in_batches(1).map(|one| surrogate(one).grad(theta))
}

/// A discount γ or a decay λ: a number in [0, 1], or a scalar of the tape, to be differentiated by (as meta-gradients of both
/// are, Xu et al. 2018). The range of the latter is its user's.
#[derive(Clone, Copy, Debug)]
pub enum Decay {
    /// A number.
    Number(f64),
    /// A recorded scalar.
    Var(Var),
}

impl From<f64> for Decay {
    fn from(number: f64) -> Self {
        Decay::Number(number)
    }
}

impl From<Var> for Decay {
    fn from(var: Var) -> Self {
        Decay::Var(var)
    }
}

impl From<Decay> for Term {
    fn from(decay: Decay) -> Self {
        match decay {
            Decay::Number(number) => number.into(),
            Decay::Var(var) => var.into(),
        }
    }
}

impl Mul for Decay {
    type Output = Decay;
    #[track_caller]
    fn mul(self, other: Decay) -> Decay {
        match (self, other) {
            (Decay::Number(a), Decay::Number(b)) => (a * b).into(),
            (Decay::Var(a), b) => (a * b).into(),
            (a, Decay::Var(b)) => (b * a).into(),
        }
    }
}

impl Sub for Decay {
    type Output = Decay;
    #[track_caller]
    fn sub(self, other: Decay) -> Decay {
        match (self, other) {
            (Decay::Number(a), Decay::Number(b)) => (a - b).into(),
            (Decay::Var(a), b) => (a - b).into(),
            (a, Decay::Var(b)) => (-(b - a)).into(),
        }
    }
}

impl Decay {
    #[track_caller]
    fn power(self, n: usize) -> Decay {
        match self {
            Decay::Number(number) => number.powi(n as i32).into(),
            Decay::Var(var) => var.powf(n as f64).into(),
        }
    }

    /// Panics if it is a number outside [0, 1], or an array.
    #[track_caller]
    fn expect(self, operation: &str, name: &str) {
        match self {
            Decay::Number(number) => {
                assert!((0.0..=1.0).contains(&number), "{operation}: {name} is {number}, but must lie in [0, 1]");
            }
            Decay::Var(var) => {
                let shape = var.shape();
                assert!(shape.is_empty(), "{operation}: {name} is an array of shape {shape:?}, but must be a scalar");
            }
        }
    }
}

/// What an estimator is a function of.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The trajectories.
    pub episodes: Episodes,
    log_prob: Var,
    log_behaviour: Option<Var>,
    critic: Option<Var>,
    /// Q(s_t, a_t) and Σ_a π_θ(a|s_t) Q(s_t, a).
    action_critic: Option<[Var; 2]>,
    gamma: Decay,
    /// Whether estimators limit derivatives to the orders they claim.
    limited: bool,
}

impl Batch {
    /// A batch sampled on policy, without a critic. `log_prob` is log π_θ(a_t|s_t), `[N, H]`; `gamma` the discount, a number or a
    /// scalar of the tape.
    ///
    /// Panics if a shape does not fit, or unless 0 ≤ γ ≤ 1.
    #[track_caller]
    pub fn new(episodes: Episodes, log_prob: Var, gamma: impl Into<Decay>) -> Self {
        let gamma = gamma.into();
        gamma.expect("Batch", "the discount");
        expect_shape("log_prob", log_prob, &[episodes.trajectories(), episodes.horizon()]);
        Self { episodes, log_prob, log_behaviour: None, critic: None, action_critic: None, gamma, limited: true }
    }

    /// The same, sampled by a behaviour policy μ: `log_behaviour` is log μ(a_t|s_t), `[N, H]`. Of outside data,
    /// [`Rollout::check_log_behaviour`] says whether they can be that.
    #[track_caller]
    #[must_use]
    pub fn off_policy(self, log_behaviour: Var) -> Self {
        expect_shape("log_behaviour", log_behaviour, &self.log_prob.shape());
        Self { log_behaviour: Some(log_behaviour), ..self }
    }

    /// The same, with a critic: `values` is V(s_t), `[N, H + 1]`, at the states s_0 … s_H. Its entry at the end of a
    /// truncated trajectory is bootstrapped from; whatever it says after termination counts as 0.
    ///
    /// No derivative flows through it, also where it shares parameters with the policy: to an estimator a critic is numbers,
    /// and claims are about that. [`with_differentiable_critic`](Self::with_differentiable_critic) is the other way.
    #[track_caller]
    #[must_use]
    pub fn with_critic(self, values: Var) -> Self {
        self.with_differentiable_critic(values.stop_gradient())
    }

    /// The same, with a critic that is differentiated like all else.
    ///
    /// That is right where V is part of the objective, as where rewards r_φ and the critic of r_φ are differentiated by φ; and
    /// by the policy's own parameters θ if a truncated end is to count V_θ(s_L) as a function of θ, for estimators that V
    /// cancels out of but for that end (`dr`, `loaded`, LVC, TayPO, those of DiCE). In others, `ad` and `loaded_tau` among
    /// them, E[∇V_θ] is left over: a bias.
    #[track_caller]
    #[must_use]
    pub fn with_differentiable_critic(self, values: Var) -> Self {
        expect_shape("critic", values, &[self.episodes.trajectories(), self.episodes.horizon() + 1]);
        Self { critic: Some(values), ..self }
    }

    /// The same, with a critic of states and actions: `taken` is Q(s_t, a_t), `[N, H]`, and `expected` is
    /// Σ_a π_θ(a|s_t) Q(s_t, a), `[N, H + 1]`. The latter depends on θ, and its derivatives are part of the estimate: give it
    /// as a function of the policy's rows, not as numbers. What either says after termination counts as 0.
    ///
    /// Both are differentiated. If Q itself depends on θ, as where it shares parameters with the policy, make both of
    /// `q.stop_gradient()`; made of Q_θ, both of them, they estimate the value whose truncated end counts Σ_a π_θ Q_θ.
    ///
    /// ```
    /// # use rl::{batch::Batch, mdp::TabularMdp, policy};
    /// # let mdp = TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0]]))?;
    /// # let logits = ndarray::Array2::zeros((2, 2));
    /// # let rollout = mdp.sample(&policy::softmax(&logits), 5, 8, 0)?;
    /// # let tape = ad::Tape::new();
    /// # let theta = tape.input("theta", &logits);
    /// # let episodes = rollout.record(&tape);
    /// let q = tape.constant(ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]));                    // of a table, [S, A]
    /// let expected = (theta.softmax() * q).sum_axes(&[1]).gather(&[episodes.states]);
    /// let batch = Batch::new(episodes, episodes.log_prob(theta), 0.9).with_action_critic(episodes.look_up(q), expected);
    /// # let _ = batch;
    /// # Ok::<(), rl::error::Error>(())
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_action_critic(self, taken: Var, expected: Var) -> Self {
        let (trajectories, horizon) = (self.episodes.trajectories(), self.episodes.horizon());
        expect_shape("the action critic at the actions taken", taken, &[trajectories, horizon]);
        expect_shape("the expected action critic", expected, &[trajectories, horizon + 1]);
        Self { action_critic: Some([taken, expected]), ..self }
    }

    /// Whether a behaviour policy was given.
    pub fn is_off_policy(&self) -> bool {
        self.log_behaviour.is_some()
    }

    /// The same, for derivatives beyond what estimators claim.
    pub(crate) fn without_limits(self) -> Self {
        Self { limited: false, ..self }
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited
    }

    /// γ.
    pub fn gamma(&self) -> Decay {
        self.gamma
    }

    /// γ^t, `[H]`, of the type that log-probabilities are of.
    #[track_caller]
    pub fn discounts(&self) -> Var {
        let steps = 0..self.episodes.horizon();
        match self.gamma {
            Decay::Number(gamma) => {
                self.log_prob.constant(steps.map(|t| gamma.powi(t as i32)).collect::<Array1<f64>>())
            }
            Decay::Var(gamma) => gamma.pow(self.log_prob.constant(steps.map(|t| t as f64).collect::<Array1<f64>>())),
        }
    }

    /// r_t, `[N, H]`.
    #[track_caller]
    pub fn rewards(&self) -> Var {
        self.on_steps(self.episodes.rewards)
    }

    /// log π_θ(a_t|s_t), `[N, H]`.
    #[track_caller]
    pub fn log_prob(&self) -> Var {
        self.on_steps(self.log_prob)
    }

    /// log ρ_t on and off policy: log π_θ, and log π_θ − log μ.
    #[track_caller]
    fn log_ratio(&self) -> Var {
        match self.log_behaviour {
            None => self.log_prob(),
            Some(log_behaviour) => self.log_prob() - self.on_steps(log_behaviour),
        }
    }

    /// ρ, given its logarithm as [`log_ratio`](Self::log_ratio) has it, or a sum of such.
    #[track_caller]
    fn ratio_of(&self, log_ratio: Var) -> Var {
        if self.is_off_policy() { log_ratio.exp() } else { log_ratio.magic_box() }
    }

    /// ρ_t, `[N, H]`: on policy the magic box of log π_θ.
    #[track_caller]
    pub fn ratio(&self) -> Var {
        self.ratio_of(self.log_ratio())
    }

    /// Π_{k≤t} ρ_k, `[N, H]`.
    #[track_caller]
    pub fn cumulative_ratio(&self) -> Var {
        self.ratio_of(self.log_ratio().cumsum(1))
    }

    /// Π_{k<t} ρ_k, `[N, H]`: what it was before step t; 1 for t = 0.
    #[track_caller]
    pub fn cumulative_ratio_before(&self) -> Var {
        self.ratio_of(self.log_ratio().cumsum_exclusive(1))
    }

    /// Σ_t x_t Π_{k≤t} ρ_k, `[N]`. Off policy the products may be beyond the range of numbers where x is 0, and add nothing
    /// there; the sum is infinite if it is itself beyond, and no NaN.
    #[track_caller]
    pub fn importance_weighted_sum(&self, x: Var) -> Var {
        if self.is_off_policy() {
            return sum_of_exponentials(x, self.log_ratio().cumsum(1));
        }
        (x * self.cumulative_ratio()).sum_axes(&[1])
    }

    /// Σ_t x_t (W_t − W′_t), `[N]`, with W_t = Π_{k≤t} ρ_k^(λ^{t−k}), the cumulative ratio that forgets what is long past, and
    /// W′_t the same product without k = t. At λ = 1 they are Π_{k≤t} ρ_k and Π_{k<t} ρ_k; at λ = 0, ρ_t and 1.
    ///
    /// Panics unless 0 ≤ λ ≤ 1.
    #[track_caller]
    pub fn decayed_weighted_sum(&self, x: Var, lambda: f64) -> Var {
        expect_decay("decayed_weighted_sum", lambda);
        let log_ratio = self.log_ratio();
        let (sum, before) = if lambda == 0.0 {
            // 0·log ρ would be NaN for an action that π never takes.
            (log_ratio, log_ratio.full_like(0.0))
        } else {
            let sum = log_ratio.scan(lambda, 1);
            (sum, sum.pad(1, 1, 0).slice(1, 0..self.episodes.horizon()) * lambda)
        };
        if self.is_off_policy() {
            return sum_of_exponentials(x * (self.ratio() - 1.0), before);
        }
        (x * (sum.magic_box() - before.magic_box())).sum_axes(&[1])
    }

    /// V(s_t), `[N, H + 1]`: 0 where no critic was given, after termination, and behind the end.
    #[track_caller]
    pub fn values(&self) -> Var {
        let mask = self.episodes.value_mask;
        match self.critic {
            None => mask.full_like(0.0),
            Some(critic) => mask.select(critic, 0.0),
        }
    }

    /// V(s_0) … V(s_{H−1}) and V(s_1) … V(s_H), `[N, H]` each.
    #[track_caller]
    pub fn values_here_and_next(&self) -> (Var, Var) {
        let (values, horizon) = (self.values(), self.episodes.horizon());
        (values.slice(1, 0..horizon), values.slice(1, 1..horizon + 1))
    }

    /// Q(s_t, a_t), `[N, H]`. Without an action critic it is V(s_t): then Q does not depend on the action.
    #[track_caller]
    pub fn action_values(&self) -> Var {
        match self.action_critic {
            None => self.values_here_and_next().0,
            Some([taken, _]) => self.on_steps(taken),
        }
    }

    /// Σ_a π_θ(a|s_t) Q(s_t, a), `[N, H + 1]`, a function of θ. Without an action critic it is V(s_t).
    #[track_caller]
    pub fn expected_action_values(&self) -> Var {
        match self.action_critic {
            None => self.values(),
            Some([_, expected]) => self.episodes.value_mask.select(expected, 0.0),
        }
    }

    /// δ_t = r_t + γ V(s_{t+1}) − V(s_t), `[N, H]`.
    #[track_caller]
    pub fn temporal_differences(&self) -> Var {
        let (here, next) = self.values_here_and_next();
        self.on_steps(self.episodes.rewards + next * self.gamma - here)
    }

    /// A_t = Σ_{l≥t} γ^{l−t} δ_l, `[N, H]`: the Monte-Carlo advantage (GAE with λ = 1). Without a critic it is the
    /// return-to-go.
    #[track_caller]
    pub fn advantages(&self) -> Var {
        self.temporal_differences().scan_reverse(self.gamma, 1)
    }

    /// A_t^{GAE(λ)} = Σ_{l≥t} (γλ)^{l−t} δ_l, `[N, H]` (Schulman et al. 2016): λ = 1 is [`advantages`](Self::advantages), λ = 0
    /// the temporal difference.
    ///
    /// Panics unless 0 ≤ λ ≤ 1.
    #[track_caller]
    pub fn gae(&self, lambda: impl Into<Decay>) -> Var {
        let lambda = lambda.into();
        lambda.expect("gae", "λ");
        self.temporal_differences().scan_reverse(self.gamma * lambda, 1)
    }

    /// A_t^{(n)} = Σ_{l<n} γ^l r_{t+l} + γ^n V(s_{t+n}) − V(s_t), `[N, H]`: the advantage that looks n steps ahead, or up to the
    /// end if that comes first. n = 1 is the temporal difference, n ≥ H is [`advantages`](Self::advantages).
    ///
    /// Panics if n is 0.
    #[track_caller]
    pub fn n_step_advantages(&self, n: usize) -> Var {
        assert!(n > 0, "n_step_advantages: n must be at least 1");
        let horizon = self.episodes.horizon();
        if n >= horizon {
            return self.advantages();
        }
        // Σ_{l<n} γ^l δ_{t+l}, put together from sums over 1, 2, 4, … steps, as n is from powers of two. (The difference of
        // two returns would be shorter, but what is large and far ahead would take away what is small and near.)
        let ahead = |x: Var, steps: usize| x.slice(1, steps..horizon).pad(1, 0, steps) * self.gamma.power(steps);
        let (mut window, mut length, mut sum, mut summed) = (self.temporal_differences(), 1, None, 0);
        loop {
            if n & length != 0 {
                let next = ahead(window, summed);
                sum = Some(sum.map_or(next, |sum: Var| sum + next));
                summed += length;
            }
            if summed == n {
                return sum.expect("n is not 0");
            }
            window = window + ahead(window, length);
            length *= 2;
        }
    }

    /// V̂^μ = V(s_0) + A_0, `[N]`: the value estimate without any ratio. It does not depend on θ (unless the critic may).
    #[track_caller]
    pub fn plain_value(&self) -> Var {
        self.values().at(1, 0) + self.advantages().at(1, 0)
    }

    /// Σ_t γ^t x_t, `[N]`.
    #[track_caller]
    pub fn discounted_sum(&self, x: Var) -> Var {
        (x * self.discounts()).sum_axes(&[1])
    }

    /// `x` on the steps taken, 0 behind.
    #[track_caller]
    pub fn on_steps(&self, x: Var) -> Var {
        self.episodes.step_mask.select(x, 0.0)
    }
}

/// Σ_t x_t e^{c_t} over the steps, `[N]`, of x and c `[N, H]`. Where e^c is beyond the range of numbers, 0·∞ and ∞ − ∞ are not
/// what is meant: all exponents of a trajectory are lowered by what the largest that counts has beyond it, those that do
/// not count by as much as they need, and the sum is raised again. Nearly always that is by 0.
#[track_caller]
fn sum_of_exponentials(x: Var, exponent: Var) -> Var {
    // The logarithm of the largest number, 709 or 88; and well below it, so that a sum of many terms is finite.
    let largest = exponent.dtype().largest().ln().floor();
    let kept = if exponent.dtype() == DType::F32 { 60.0 } else { 600.0 };
    let beyond = exponent.stop_gradient() - kept;
    // What multiplies 0 does not count.
    let raised = x.stop_gradient().equal(0.0).select(0.0, beyond).max_axes(&[1]).max(0.0);
    let lowered = beyond.max(raised.insert_axis(1));
    let sum = (x * (exponent - lowered).exp()).sum_axes(&[1]);
    // In two steps, each finite, so that a sum that is 0 stays so; what is beyond both is infinite.
    let half = (raised * 0.5).min(largest).exp();
    sum * half * half
}

/// Panics unless λ (or τ) is one of a decaying sum or product.
#[track_caller]
pub(crate) fn expect_decay(operation: &str, lambda: f64) {
    Decay::Number(lambda).expect(operation, "λ");
}

#[track_caller]
fn expect_shape(what: &str, var: Var, expected: &[usize]) {
    let found = var.shape();
    assert!(found.as_slice() == expected, "Batch: {what} has shape {found:?}, but the episodes ask for {expected:?}");
}
